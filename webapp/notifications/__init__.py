"""What people are told of, where, and through which channel."""
