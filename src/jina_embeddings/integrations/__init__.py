"""The model inside other frameworks, one file for each: LangChain, LlamaIndex, Haystack, Arrow. Imports none."""
