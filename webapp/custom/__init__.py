"""Steps one after the other: prompts, searches, fetches, analyses, tasks and conditions, each done once."""
