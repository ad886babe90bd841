"""Uploaded files: kept under random names, read back only by their owner's tasks."""
