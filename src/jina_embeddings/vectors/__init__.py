"""Operations on vectors: pooling, similarity, quantisation and similarity maps."""
