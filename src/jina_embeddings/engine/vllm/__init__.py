"""The vLLM engine: started, given packs or requests, on one device or several."""
