"""Sections of an HTML page: its headings, and the text of its blocks. Offsets are those of the page's source."""

from __future__ import annotations

from html.parser import HTMLParser

from .sections import Block, Section, join_title

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LEFT_OUT = frozenset({"script", "style", "template", "noscript", "nav", "svg", "head", "iframe"})
_IN_HEAD = frozenset({"base", "link", "meta", "title", "style", "script", "noscript", "template", "head"})
_INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd", "label"}
    | {"mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var"}
)
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)


def html_sections(text: str) -> list[Section]:
    """Of the element `main` if there is one, else of the whole page. Broken markup is read as browsers do, roughly."""
    lowered = text.lower()
    if "<main" in lowered or 'role="main"' in lowered:
        sections = _read(text, only_main=True)
        if any(section.blocks for section in sections):
            return sections
    return _read(text, only_main=False)


def _read(text: str, only_main: bool) -> list[Section]:
    reader = _Reader(text, only_main)
    reader.feed(text)
    reader.close()
    return reader.finish()


class _Reader(HTMLParser):
    def __init__(self, text: str, only_main: bool):
        super().__init__(convert_charrefs=True)
        self._starts = [0]
        for line in text.split("\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._size = len(text)
        lowered = text.lower()
        self._unclosed = {"nav"} if lowered.count("<nav") > lowered.count("</nav") else set()
        self._only_main = only_main
        self._main: list[str] = []
        self._left_out: list[str] = []
        self._heading: int | None = None
        self._preformatted = 0
        self._trail: list[tuple[int, str]] = []
        self._sections: list[Section] = []
        self._blocks: list[Block] = []
        self._words: list[str] = []
        self._first: int | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            if tag not in ("wbr", "img"):
                self._words.append("\n" if self._preformatted else " ")
            return
        if self._left_out == ["head"] and tag not in _IN_HEAD:
            # As in browsers: what can't stand in a head ends it.
            self._left_out.clear()
        if self._left_out or (tag in _LEFT_OUT and tag not in self._unclosed):
            # Only the same tag again can be nested; an element that is never closed must not swallow the page.
            if not self._left_out or tag == self._left_out[-1]:
                self._left_out.append(tag)
            return
        if self._main:
            self._main += [tag] if tag == self._main[0] else []
        elif tag == "main" or ("role", "main") in attrs:
            self._main.append(tag)
        if tag in _INLINE:
            return
        self._end_block()
        if tag in _HEADINGS:
            self._heading = _HEADINGS[tag]
        self._preformatted += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if self._left_out:
            if tag == self._left_out[-1] or (tag in ("body", "html") and self._left_out[-1] != "head"):
                self._left_out.pop()
            return
        if tag in _INLINE or tag in _VOID:
            return
        if tag in _HEADINGS and self._heading is not None:
            self._end_heading()
        else:
            self._end_block()
        if tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)
        if self._main and tag == self._main[0]:
            self._main.pop()

    def handle_data(self, data: str) -> None:
        if self._left_out or (self._only_main and not self._main):
            return
        if self._first is None:
            if not data.strip():
                return
            self._first = self._offset() + len(data) - len(data.lstrip())
        self._words.append(data)

    def finish(self) -> list[Section]:
        self._end_block(end=self._size)
        self._end_section()
        return self._sections

    def _offset(self) -> int:
        line, column = self.getpos()
        return self._starts[line - 1] + column

    def _text(self) -> str:
        text = "".join(self._words)
        if self._preformatted:
            return text.strip("\n").rstrip()
        return " ".join(text.split())

    def _end_block(self, end: int | None = None) -> None:
        if self._first is not None and (text := self._text()):
            self._blocks.append(Block(text, self._first, self._offset() if end is None else end))
        self._words, self._first = [], None

    def _end_heading(self) -> None:
        # The sign that Sphinx and others put behind a heading as its link.
        title = self._text().rstrip("¶#").strip()
        level = self._heading or 1
        self._words, self._first, self._heading = [], None, None
        self._end_section()
        self._trail = [(above, name) for above, name in self._trail if above < level] + [(level, title)]

    def _end_section(self) -> None:
        self._sections.append(Section(join_title(*(name for _, name in self._trail)), tuple(self._blocks)))
        self._blocks = []
