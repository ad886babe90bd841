"""The documentation as pages of the application."""
