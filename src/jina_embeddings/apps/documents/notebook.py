"""Converts a Jupyter notebook to Markdown: text cells as they are, code cells fenced, no outputs."""

from __future__ import annotations

from ...errors import DependencyError, InputError


def notebook_markdown(text: str) -> str:
    """Returns the cells as Markdown. Raises InputError for what isn't a notebook, DependencyError without nbformat."""
    try:
        import nbformat
    except ImportError:
        raise DependencyError("needs nbformat: pip install 'jina-embeddings-vllm[documents]'") from None
    try:
        notebook = nbformat.reads(text, as_version=4)
        language = notebook.metadata.get("kernelspec", {}).get("language", "python")
        return "\n\n".join(_cell(cell.cell_type, cell.source, str(language)) for cell in notebook.cells)
    except Exception as error:  # for JSON that isn't a notebook, nbformat raises almost any exception
        raise InputError(f"not a notebook: {error}") from error


def _cell(kind: str, source: str, language: str) -> str:
    if kind != "code":
        return source
    fence = "```"
    while fence in source:
        fence += "`"
    return f"{fence}{language}\n{source}\n{fence}"
