"""What the caller's tasks say, as lines of a log."""
