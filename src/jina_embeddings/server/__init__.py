"""The HTTP server: the hosted Jina API, OpenAI's and Cohere's, in front of one `JinaEmbeddings`."""
