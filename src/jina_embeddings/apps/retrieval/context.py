"""The context for a language model: passages with their sources, within a limit of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..index import Hit

CountTokens = Callable[[Sequence[str]], list[int]]


def context(hits: Sequence[Hit], max_tokens: int, count_tokens: CountTokens) -> str:
    """Numbered passages with their sources, for the prompt of a language model.

    Whole passages in the order of the hits. Images, and passages that don't fit, are left out. If none fits, the first
    is truncated.

    Args:
        max_tokens: the most tokens of the whole text.
        count_tokens: returns the number of tokens of each of several texts: `JinaEmbeddings.count_tokens`, or the
            language model's own.
    """
    chosen: list[str] = []
    hits = [hit for hit in hits if hit.passage.text]
    for hit in hits:
        entry = _entry(len(chosen) + 1, hit)
        if _fits([*chosen, entry], max_tokens, count_tokens):
            chosen.append(entry)
    if not chosen and hits:
        words = _entry(1, hits[0])
        low, high = 0, len(words)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if _fits([words[:middle]], max_tokens, count_tokens) else (low, middle - 1)
        return words[:low].rstrip()
    return _joined(chosen)


def _entry(number: int, hit: Hit) -> str:
    passage = hit.passage
    title = f" ({passage.title})" if passage.title else ""
    return f"[{number}] {passage.source}{title}\n{passage.text}"


def _joined(entries: Sequence[str]) -> str:
    return "\n\n".join(entries)


def _fits(entries: Sequence[str], max_tokens: int, count_tokens: CountTokens) -> bool:
    return count_tokens([_joined(entries)])[0] <= max_tokens
