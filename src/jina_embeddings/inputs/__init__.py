"""What the model reads: prompts, token ids, image patches and positions, and the sources they come from."""
