"""Public data sets for search, matching and code search, metrics, and the baselines of `pocket`."""
