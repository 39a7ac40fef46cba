"""Writes the parts of the documents that are generated from the source.

    python tools/generate_docs.py            # write them
    python tools/generate_docs.py --check    # status 1, and their names, if any is out of date

A generated part is between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "jina_embeddings"
_PART = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


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


def errors() -> str:
    """The tree of errors: codes, builtin bases, and when each is raised."""
    from jina_embeddings.errors import JinaEmbeddingsError

    rows = [_error(JinaEmbeddingsError, ""), *_errors_below(JinaEmbeddingsError, "")]
    return "\n".join(["| class | `code` | also a | raised when |", "|---|---|---|---|", *rows])


def _errors_below(base: type[Any], indent: str) -> Iterator[str]:
    children = [child for child in base.__subclasses__() if child.__module__ == base.__module__]
    for child in children:
        last = child is children[-1]
        yield _error(child, f"{indent}{'└' if last else '├'} ")
        yield from _errors_below(child, f"{indent}{'  ' if last else '│ '}")


def _error(error: type[Any], tree: str) -> str:
    builtin = [f"`{base.__name__}`" for base in error.__bases__ if base.__module__ == "builtins"]
    also = ", ".join(name for name in builtin if name != "`Exception`")
    words = " ".join((error.__doc__ or "").split("\n\n")[0].split())
    link = f"[`{error.code}`](troubleshooting.md#{error.code})"
    return f"| {tree}`{error.__name__}` | {link} |{f' {also} ' if also else ' '}| {words} |"


def options() -> str:
    """The options of `JinaEmbeddings`, each with what the docstring says of it."""
    from jina_embeddings.options import OBSOLETE, ONLY_PADDED, ONLY_VLLM, Options

    words: dict[str, str] = {}
    for entry in re.split(r"\n(?=\w[\w, ]*: )", inspect.cleandoc(Options.__doc__ or "")):
        names, _, meaning = entry.split("\n\n")[0].partition(": ")
        words |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    engines = dict.fromkeys(ONLY_PADDED, "torch, transformers") | dict.fromkeys(ONLY_VLLM, "vllm")
    engines |= dict.fromkeys(OBSOLETE, "none")
    rows = [
        f"| `{field.name}` | `{_literal(field.default)}` | {engines.get(field.name, 'all')} | {words[field.name]} |"
        for field in dataclasses.fields(Options)
    ]
    return "\n".join(["| option | default | engine | meaning |", "|---|---|---|---|", *rows])


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def variables() -> str:
    """The environment variables."""
    from jina_embeddings.options import VARIABLES

    rows = [f"| `{names.replace(', ', '`, `')}` | {by} | {meaning} |" for names, (by, meaning) in VARIABLES.items()]
    return "\n".join(["| variable | read by | meaning |", "|---|---|---|", *rows])


def commands() -> dict[str, Any]:
    """All commands by name; those of groups have names of two words, a hidden one its group's alone."""
    import typer.main

    from jina_embeddings.cli import app

    return dict(_commands(typer.main.get_command(app), ""))


def _commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} ")
        else:
            yield prefix.strip() if command.hidden else prefix + name, command


def model_options() -> str:
    """The options of every command that loads a model."""
    embed = commands()["embed"]
    return _options(parameter for parameter in embed.params if parameter.name in _of_the_model())


def command(name: str) -> str:
    """The options of one command; those of the model are left out where it has all of them."""
    shared, parameters = _of_the_model(), commands()[name].params
    if not shared <= {parameter.name for parameter in parameters}:
        shared = set()
    return _options(parameter for parameter in parameters if parameter.name not in shared)


def _of_the_model() -> set[str]:
    from jina_embeddings.cli.model import ModelChoice

    return {name for name in inspect.signature(ModelChoice.of).parameters if name != "cls"}


def _options(parameters: Iterable[Any]) -> str:
    rows = ["| option | |", "|---|---|"]
    for parameter in parameters:
        names = [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")]
        if not names or "--help" in names:
            continue
        value = f" {parameter.metavar}" if parameter.metavar and not parameter.is_flag else ""
        default = parameter.default
        said = "" if default in (None, "", False) or callable(default) else f" Default: `{default}`."
        shown = ", ".join(f"`{name}{value if name is names[0] else ''}`" for name in names)
        rows.append(f"| {shown} | {parameter.help}{said} |")
    return "\n".join(rows)


PARTS: dict[str, Callable[..., str]] = {
    "tree": tree,
    "fields": fields,
    "vllm_hooks": vllm_hooks,
    "errors": errors,
    "options": options,
    "variables": variables,
    "model_options": model_options,
    "command": command,
}


def generated(text: str) -> str:
    """The document with its generated parts as the source has them now."""

    def current(match: re.Match[str]) -> str:
        name, _, argument = match[2].partition(" ")
        part = PARTS[name](argument) if argument else PARTS[name]()
        return f"{match[1]}{part}\n{match[3]}"

    return _PART.sub(current, text)


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
