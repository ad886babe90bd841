"""What can be done with knowledge, split by noun."""
