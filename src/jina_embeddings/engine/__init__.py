"""The engines: one protocol, four implementations, and the choice between them."""
