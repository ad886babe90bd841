"""Research: find sources, read them within a budget, answer with them, and say what changed."""
