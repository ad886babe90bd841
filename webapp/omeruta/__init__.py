"""Omeruta's API: the paths, shapes and socket that its documented client knows, over the same tasks as everything else."""
