"""`jina-embeddings doctor`: checks the installation, the machine, a checkpoint, an index, and that engines agree."""
