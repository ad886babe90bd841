"""Take everything away in one file, put it back, and try an upgrade on a copy."""
