"""Who answers: the agents, and the orchestrator that chooses one for a question."""
