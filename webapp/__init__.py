"""Brainstem: a self-hosted AI workbench where every long job is durable, visible and honest."""

__version__ = "0.1.0"
