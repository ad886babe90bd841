"""Options weighed against criteria: what is given is computed with, what is not given stays open."""
