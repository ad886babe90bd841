"""What can be learnt from what was done: statistics of tasks."""
