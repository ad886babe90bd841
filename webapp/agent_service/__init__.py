"""The Agent Service: a task for an agent is created, worked on and looked up under its own words."""
