"""Runs the Python of documents: run_pages.py PAGE... in a folder with a folder for each page; writes `REPORT`.

Blocks of a page run in order and in one namespace. What a fence may say besides `python`:

    no-run                needs a GPU or a server
    title="my_module.py"  a file that later blocks import

A line `print(...)  # -> text` has to print just that text.
"""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from forked import fork_engines
from pages import blocks

REPORT = "report.json"
NOT_RUN = "no-run"


def run_pages(paths: list[str]) -> None:
    """Writes for each page the traceback of what failed, or an empty text."""
    folder = Path.cwd()
    failed = {}
    for path in map(Path, paths):
        os.chdir(folder / path.stem)
        try:
            run_page(path)
            failed[path.name] = ""
        except BaseException:  # a page may do anything, leaving the program included
            failed[path.name] = traceback.format_exc()
    (folder / REPORT).write_text(json.dumps(failed), encoding="utf-8")


def run_page(path: Path) -> None:
    """Tracebacks have the line numbers of the page."""
    page = path.read_text(encoding="utf-8")
    lines = page.splitlines()
    missed: list[str] = []

    def checked_print(*values: object, **options: Any) -> None:
        number = sys._getframe(1).f_lineno
        expected = lines[number - 1].partition("  # -> ")[2]
        printed = " ".join(map(str, values))
        if expected and printed != expected:
            missed.append(f"line {number} says {expected!r} and prints {printed!r}")
        print(*values, **options)

    sys.path.insert(0, os.getcwd())
    namespace: dict[str, Any] = {"__name__": "__main__", "print": checked_print}
    for block in blocks(page):
        if block.language != "python" or block.info == NOT_RUN:
            continue
        if title := re.fullmatch(r'title="(\w+\.py)"', block.info):
            Path(title[1]).write_text(block.text, encoding="utf-8")
        else:
            exec(compile("\n" * block.line + block.text, path, "exec"), namespace)
    assert not missed, "\n".join(missed)


if __name__ == "__main__":
    fork_engines()
    run_pages(sys.argv[1:])
