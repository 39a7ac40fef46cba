"""What comes out: pooled, compared, quantised."""
