"""vLLM as an engine: started, fed with packs or requests, on one device or several."""
