"""README.md and docs/: what is generated is current, links work, and what they name exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer.main

import jina_embeddings
from generate_docs import generated
from jina_embeddings import errors
from jina_embeddings.cli import app
from pages import PAGES, ROOT, blocks, code_of, prose

SOURCE = ROOT / "src" / "jina_embeddings"


def test_what_is_generated_is_current() -> None:
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    assert [name for name, text in texts.items() if generated(text) != text] == [], "run python tools/generate_docs.py"


def test_the_list_of_pages_is_whole() -> None:
    listed = re.findall(r"\]\((\w+\.md)\)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(page.name for page in (ROOT / "docs").glob("*.md") if page.name != "index.md")


def test_troubleshooting_has_a_section_for_every_code() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    _, _, by_code = page.partition("\n## Errors by code\n")
    found = [value for value in vars(errors).values() if isinstance(value, type) and hasattr(value, "code")]
    assert re.findall(r"^### `(.*)`$", by_code, re.MULTILINE) == [error.code for error in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_function_and_file_of_the_package_that_is_named_exists(page: Path) -> None:
    text = prose(page.read_text(encoding="utf-8"))
    for name in re.findall(r"`jina_embeddings/([\w./]+)`", text):
        assert (SOURCE / name).exists()
    for name in set(re.findall(r"`(jina_embeddings(?:\.\w+)+)`", text)):
        found: Any = jina_embeddings
        for part in name.split(".")[1:]:
            if not hasattr(found, part):
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_flag_of_ours_exists(page: Path) -> None:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    groups = {name: command.commands for name, command in commands.items() if hasattr(command, "commands")}
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for block in blocks(text) for line in block.text.splitlines()] + code_of(prose(text))
    for line in lines:
        called = re.match(r"(?:\$ )?jina-embeddings ([a-z]\w*)(.*?)(?: +# .*)?$", line)
        if called:
            flags = re.findall(r"(?<= )--?[a-z][\w-]*", called[2])
            command = commands[called[1]]
            if called[1] in groups:
                # A hidden one stands for the group, where the first word names none of the others.
                usual = next((command for command in groups[called[1]].values() if command.hidden), None)
                command = groups[called[1]].get((called[2].split() or [""])[0], usual)
                assert command is not None, line
            known = [flag for parameter in command.params for flag in parameter.opts]
            assert sorted(set(flags) - {*known, "--help"}) == [], line


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    seen: dict[str, int] = {}
    found = set()
    for title in re.findall(r"^#{1,6} +(.*?) *#*$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = seen.get(slug, 0)
        seen[slug] = number + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found


@pytest.mark.parametrize("page", [*PAGES, *sorted(set(ROOT.glob("*.md")) - set(PAGES))], ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for link in re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", re.sub(r"`[^`\n]*`", "", prose(text))):
        if re.match(r"[a-z][a-z+.-]*:|//", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []
