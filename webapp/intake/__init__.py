"""What a person gives a task to read: texts, addresses, files. Checked before the task is stored, read once while it runs."""
