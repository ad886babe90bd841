"""People's quotas, what is kept how long, and the settings that an administrator may change while the program runs."""
