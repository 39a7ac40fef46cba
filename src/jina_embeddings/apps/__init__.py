"""What embeddings are for: retrieval, text matching and code search. Knows `JinaEmbeddings` and no engine."""
