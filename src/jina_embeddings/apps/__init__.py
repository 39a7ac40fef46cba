"""Applications of embeddings: retrieval, text matching and code search. They use `JinaEmbeddings` and no engine."""
