"""Finds the navigation of an HTML page: by element name, by role, by class or id, or because it is all links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .page import WITHOUT_TEXT, attributes_of, children_of

_NAMES = frozenset({"nav", "footer"})
_ROLES = frozenset({"navigation", "menu", "menubar", "search", "contentinfo", "banner", "toolbar"})
_CLASS = re.compile(
    r"(doc|sub|top|bottom|side|site)?-?nav|nav(bar|header|footer|igation|box|path|-.*)|breadcrumbs?|pag(ination|er)"
    r"|toc|table-?of-?contents|skip-?link|banner|headerlink|mw-editsection|printfooter|catlinks",
    re.IGNORECASE,
)
"""Classes and ids of navigation in pages by DocBook, Sphinx, Doxygen, Javadoc, MediaWiki and other generators."""

_CONTENT = frozenset({"main", "article", "section", "aside"})
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_LINK_LISTS = frozenset(
    {"ul", "ol", "dl", "menu", "dir", "div", "table", "tr", "section", "aside", "header", "center", "form"}
)
"""Elements that are navigation if nearly all of their text is in links within the site."""

_MAX_UNLINKED_SHARE = 0.1


@dataclass(slots=True)
class _Count:
    """Of one element with all below it. links: how many links within the site there are. linked, unlinked: how many
    letters and digits are in such links, and how many outside.
    """

    unlinked: int = 0
    linked: int = 0
    links: int = 0

    def add(self, inner: _Count) -> None:
        self.unlinked += inner.unlinked
        self.linked += inner.linked
        self.links += inner.links


def navigation_of(page: Any) -> frozenset[int]:
    """Returns the ids (of Python's `id`) of the elements that are navigation.

    An element that is called navigation but has more than half of the page's unlinked text isn't returned: it was
    probably never closed.

    page: the root node of justhtml.
    """
    found, named = set[int](), list[tuple[int, _Count]]()
    total = _Count()
    counts: list[_Count] = [total]
    pending: list[tuple[Any, bool]] = [(page, False)]
    inside: list[str] = []
    while pending:
        node, is_end = pending.pop()
        if node.name == "#text":
            counts[-1].unlinked += sum(map(str.isalnum, node.data))
        elif not is_end and node.name not in WITHOUT_TEXT:
            counts.append(_Count())
            inside.append(node.name)
            pending.append((node, True))
            pending.extend((child, False) for child in reversed(children_of(node)))
        elif is_end:
            count = counts.pop()
            inside.pop()
            if node.name == "a" and _is_within_site(node):
                # A heading may be a link to itself, and is text all the same.
                if not _HEADINGS.intersection(inside[-3:]):
                    count = _Count(linked=count.unlinked, links=1)
            elif _is_called_navigation(node, inside):
                named.append((id(node), count))
            elif _is_link_list(node.name, count):
                found.add(id(node))
            counts[-1].add(count)
    found.update(node for node, count in named if count.unlinked * 2 <= total.unlinked)
    return frozenset(found)


def _is_called_navigation(node: Any, inside: list[str]) -> bool:
    if node.name in _NAMES:
        return node.name == "nav" or _CONTENT.isdisjoint(inside[-8:])
    attributes = attributes_of(node)
    if attributes.get("role") in _ROLES:
        return True
    names = f"{attributes.get('class') or ''} {attributes.get('id') or ''}".split()
    return node.name not in ("html", "body") and any(map(_CLASS.fullmatch, names))


def _is_within_site(node: Any) -> bool:
    href = attributes_of(node).get("href")
    return href is not None and not re.match(r"\s*([a-z][a-z0-9+.-]*:|//)", href, re.IGNORECASE)


def _is_link_list(name: str, count: _Count) -> bool:
    min_links = 1 if name in _LINK_LISTS else 2 if name == "p" else None
    return min_links is not None and count.links >= min_links and count.unlinked <= _MAX_UNLINKED_SHARE * count.linked
