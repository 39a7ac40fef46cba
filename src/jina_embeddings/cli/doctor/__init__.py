"""`jina-embeddings doctor`: what is installed, whether the checkpoint and the device fit, and whether engines agree."""
