"""Tasks: the one area for long work. A request becomes a row, a worker does it, progress is seen live."""
