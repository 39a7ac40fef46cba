"""The engines: one protocol, four implementations, and the choice of one by name."""
