"""Calls of other programs through the outbound gate: sent once, secrets sealed, answers mapped by paths."""
