"""What is sent to others: rows with attempts, and the task that sends them."""
