"""From the arguments of a call to its result: prepared, run, finished; in parts or as a stream where there is much."""
