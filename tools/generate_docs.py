"""Writes the parts of the documents that are generated from the source.

    python tools/generate_docs.py            # write them
    python tools/generate_docs.py --check    # status 1, and their names, if any is out of date

A generated part is between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "jina_embeddings"
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def summary(path: Path) -> str:
    """The first sentence of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return paragraph.split(". ")[0].removesuffix(".").removesuffix(":")


def tree() -> str:
    """The tree of the package, with the first sentence of each module's docstring."""
    return "\n".join(["```text", "src/jina_embeddings/", *_lines(SOURCE, "  "), "```"])


def _lines(folder: Path, indent: str) -> Iterator[str]:
    files = sorted(path for path in folder.glob("*.py") if path.name not in ("__init__.py", "__main__.py"))
    folders = sorted(path.parent for path in folder.glob("*/__init__.py"))
    for path in [*files, *folders]:
        name = path.name if path.is_file() else f"{path.name}/"
        words = summary(path if path.is_file() else path / "__init__.py")
        yield f"{indent}{name:{max(26 - len(indent), len(name) + 1)}} {words}"
        if path.is_dir():
            yield from _lines(path, indent + "  ")


def fields() -> str:
    """The fields of every body that the server takes, as its OpenAPI document has them."""
    from jina_embeddings.server import schemas

    routes = {
        "POST /v1/embeddings, POST /v1/multi-vector": schemas.EmbeddingsRequest,
        "POST /v1/rerank": schemas.RerankRequest,
        "POST /v2/embed": schemas.CohereRequest,
        "POST /v1/search": schemas.SearchRequest,
        "POST /tokenize": schemas.TokenizeRequest,
    }
    (_, components) = msgspec.json.schema_components(routes.values())
    lines = ["| | field | default | meaning |", "|---|---|---|---|"]
    for route, kind in routes.items():
        schema = components[kind.__name__]
        lines.append(f"| **{route}** | | | {schema['description']} |")
        for name, field in schema["properties"].items():
            default = "needed" if name in schema["required"] else _default(field.get("default"))
            lines.append(f"| | `{name}` | {default} | {field.get('description', '')} |")
    return "\n".join(lines)


def _default(value: object) -> str:
    return "" if value is None else f"`{json.dumps(value)}`"


def vllm_hooks() -> str:
    """The private parts of vLLM that the package relies on."""
    from jina_embeddings.plugin.compat import HOOKS

    rows = [f"| {name} | {hook.stops} | {hook.in_033} |" for name, hook in HOOKS.items()]
    return "\n".join(["| hook | where it has moved | in vLLM 0.33 |", "|-|-|-|", *rows])


PARTS: dict[str, Callable[[], str]] = {"tree": tree, "fields": fields, "vllm_hooks": vllm_hooks}


def generated(text: str) -> str:
    """The document with its generated parts made again."""
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}\n{match[3]}", text)


def main() -> int:
    stale = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        if (current := generated(text)) != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if "--check" not in sys.argv:
                path.write_text(current, encoding="utf-8")
    print("\n".join(stale) or "all current")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
