"""The model inside other frameworks, one file each: LangChain, LlamaIndex, Haystack. Imports none of them."""
