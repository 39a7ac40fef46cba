"""`Page`: an HTML page as a tree, repaired as browsers do it, with the offsets of its texts in the source."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Set
from typing import Any

from ...errors import DependencyError
from .sections import trimmed

WITHOUT_TEXT = frozenset(
    {"script", "style", "template", "noscript", "svg", "head", "iframe", "object", "canvas", "select", "button"}
)
"""Elements whose text isn't part of the page's."""

_NOTHING: frozenset[int] = frozenset()


class Page:
    """A parsed page.

    root: justhtml's root node. Elements have `name`, `attrs` and `children`; texts have the name `#text`, and `data`.

    Raises DependencyError without justhtml.
    """

    def __init__(self, source: str):
        try:
            from justhtml import JustHTML
        except ImportError:
            raise DependencyError("HTML needs justhtml: pip install 'jina-embeddings-vllm[apps]'") from None
        self.source = source
        self.root: Any = JustHTML(source, sanitize=False).root
        # Parsed twice: with locations, justhtml returns markup that browsers skip, such as <?xml ?>, as text.
        located = JustHTML(source, sanitize=False, track_node_locations=True).root
        self._offsets = _aligned(self.root, located)

    def span(self, nodes: list[Any]) -> tuple[int, int]:
        """Offsets in the source of where the texts of nodes start and end; (0, 0) if none of them is a text."""
        texts = [(self._offsets.get(id(node), 0), len(node.data)) for node in nodes if is_words(node)]
        if not texts:
            return 0, 0
        (first, _), (last, size) = min(texts), max(texts)
        # A text with entities is longer in the source, so its end is looked for.
        end = self.source.find("<", last + size)
        block = trimmed(self.source, first, end if end >= 0 else len(self.source))
        return block.start, block.end


def nodes_of(root: Any, left_out: Set[int] = _NOTHING) -> Iterator[Any]:
    """Yields a node and all below it in document order, without elements in `WITHOUT_TEXT` and ids in `left_out`.

    It is a loop, since elements may be nested more deeply than Python's recursion limit.
    """
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(
            child
            for child in reversed(children_of(node))
            if child.name not in WITHOUT_TEXT and id(child) not in left_out
        )


def children_of(node: Any) -> list[Any]:
    return [] if node.name == "#text" else node.children or []


def attributes_of(node: Any) -> dict[str, str | None]:
    return {} if node.name == "#text" else node.attrs or {}


def is_words(node: Any) -> bool:
    """Whether a node is a text and more than white space."""
    return node.name == "#text" and bool(node.data.strip())


def _aligned(root: Any, located: Any) -> dict[int, int]:
    """Finds the offset of each text of `root` in `located`, another tree of the same page, which may have more texts.

    Returns offsets in the source by the ids of nodes.
    """
    places: dict[str, deque[tuple[int, int]]] = defaultdict(deque)
    for number, node in enumerate(filter(is_words, nodes_of(located))):
        places[node.data].append((number, node.origin_offset or 0))
    offsets: dict[int, int] = {}
    passed, offset = -1, 0
    for node in filter(is_words, nodes_of(root)):
        found = places[node.data]
        while found and found[0][0] <= passed:
            found.popleft()
        if found:
            passed, offset = found.popleft()
        offsets[id(node)] = offset
    return offsets
