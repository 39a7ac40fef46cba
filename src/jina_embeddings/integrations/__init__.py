"""The model inside other frameworks, one file for each: LangChain, LlamaIndex, Haystack. Imports none of them."""
