"""Supervisor, edge, state and engine environments: the first room with effects on processes."""
