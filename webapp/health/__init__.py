"""Does everything we depend on answer? Health, readiness, metrics."""
