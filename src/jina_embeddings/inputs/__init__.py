"""Prepares inputs: prompts, token ids, images from any source, patches and positions."""
