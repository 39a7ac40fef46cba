"""Bulk work: rows are read, embedded and written as a stream, with a bounded number of them in memory."""
