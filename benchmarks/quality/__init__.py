"""Public sets to measure search, matching and code search on, the measures, and what `pocket` is compared with."""
