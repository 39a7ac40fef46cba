"""Calls: from the arguments of one call to its result, in parts or as a stream if there are many inputs."""
