"""A run on this machine: its stages, their order, and resuming."""
