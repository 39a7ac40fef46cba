"""Packed prefill inside a worker of vLLM: many prompts in one forward, pooled where they are computed."""
