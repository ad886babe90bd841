"""Templates of tasks: a kind with a configuration that is filled in beforehand, used with one click."""
