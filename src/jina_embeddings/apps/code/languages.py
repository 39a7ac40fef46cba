"""The languages that are cut by their syntax: their files, their tree-sitter grammars, and the nodes of definitions."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from ...errors import DependencyError

_JS_WHOLE = frozenset({"function_declaration", "generator_function_declaration", "method_definition"})
_JS_OPEN = frozenset({"class_declaration"})
_TS_WHOLE = _JS_WHOLE | {"interface_declaration", "enum_declaration", "type_alias_declaration"}
_TS_OPEN = _JS_OPEN | {"abstract_class_declaration", "internal_module", "module"}
_C_WHOLE = frozenset({"function_definition", "struct_specifier", "union_specifier", "enum_specifier"})


@dataclass(frozen=True, slots=True)
class Language:
    """One language.

    grammar: the module of the grammar, and the function in it that returns the grammar.
    suffixes, interpreters: what its files end with, and the programs that their `#!` lines name.
    whole: types of nodes that are one chunk each: functions, methods, small types.
    open: types of nodes whose members are chunks: classes, namespaces, and the like.
    """

    name: str
    grammar: tuple[str, str]
    suffixes: tuple[str, ...]
    whole: frozenset[str]
    open: frozenset[str] = frozenset()
    interpreters: tuple[str, ...] = ()


LANGUAGES: tuple[Language, ...] = (
    Language(
        "python",
        ("tree_sitter_python", "language"),
        (".py", ".pyi", ".pyw"),
        frozenset({"function_definition"}),
        frozenset({"class_definition"}),
        ("python", "pypy"),
    ),
    Language(
        "javascript",
        ("tree_sitter_javascript", "language"),
        (".js", ".jsx", ".mjs", ".cjs"),
        _JS_WHOLE,
        _JS_OPEN,
        ("node",),
    ),
    Language(
        "typescript", ("tree_sitter_typescript", "language_typescript"), (".ts", ".mts", ".cts"), _TS_WHOLE, _TS_OPEN
    ),
    Language("tsx", ("tree_sitter_typescript", "language_tsx"), (".tsx",), _TS_WHOLE, _TS_OPEN),
    Language(
        "go",
        ("tree_sitter_go", "language"),
        (".go",),
        frozenset({"function_declaration", "method_declaration", "type_spec", "type_alias"}),
    ),
    Language(
        "rust",
        ("tree_sitter_rust", "language"),
        (".rs",),
        frozenset({"function_item", "struct_item", "enum_item", "union_item", "macro_definition"}),
        frozenset({"impl_item", "trait_item", "mod_item"}),
    ),
    Language(
        "java",
        ("tree_sitter_java", "language"),
        (".java",),
        frozenset({"method_declaration", "constructor_declaration", "compact_constructor_declaration"}),
        frozenset(
            {
                "class_declaration",
                "interface_declaration",
                "enum_declaration",
                "record_declaration",
                "annotation_type_declaration",
            }
        ),
    ),
    Language("c", ("tree_sitter_c", "language"), (".c", ".h"), _C_WHOLE),
    Language(
        "cpp",
        ("tree_sitter_cpp", "language"),
        (".cc", ".cpp", ".cxx", ".c++", ".hh", ".hpp", ".hxx", ".cu", ".cuh"),
        frozenset({"function_definition", "union_specifier", "enum_specifier"}),
        frozenset({"class_specifier", "struct_specifier", "namespace_definition"}),
    ),
    Language(
        "ruby",
        ("tree_sitter_ruby", "language"),
        (".rb", ".rake", ".gemspec"),
        frozenset({"method", "singleton_method"}),
        frozenset({"class", "module", "singleton_class"}),
        ("ruby",),
    ),
    Language(
        "php",
        ("tree_sitter_php", "language_php"),
        (".php",),
        frozenset({"function_definition", "method_declaration"}),
        frozenset({"class_declaration", "interface_declaration", "trait_declaration", "enum_declaration"}),
        ("php",),
    ),
    Language(
        "csharp",
        ("tree_sitter_c_sharp", "language"),
        (".cs",),
        frozenset(
            {
                "method_declaration",
                "constructor_declaration",
                "destructor_declaration",
                "operator_declaration",
                "local_function_statement",
                "delegate_declaration",
            }
        ),
        frozenset(
            {
                "class_declaration",
                "struct_declaration",
                "interface_declaration",
                "record_declaration",
                "enum_declaration",
                "namespace_declaration",
            }
        ),
    ),
    Language(
        "bash",
        ("tree_sitter_bash", "language"),
        (".sh", ".bash", ".zsh"),
        frozenset({"function_definition"}),
        frozenset(),
        ("sh", "bash", "zsh", "dash"),
    ),
)

_BY_SUFFIX = {suffix: language for language in LANGUAGES for suffix in language.suffixes}
_BY_INTERPRETER = {name: language for language in LANGUAGES for name in language.interpreters}


def language_of(path: str, text: str = "") -> Language | None:
    """The language of a file by its suffix, else by the `#!` line of its text; None for any other file."""
    found = _BY_SUFFIX.get(PurePosixPath(path).suffix.lower())
    if found is None and text.startswith("#!"):
        found = _BY_INTERPRETER.get(_interpreter(text.partition("\n")[0][2:].split()))
    return found


def _interpreter(words: list[str]) -> str:
    """What a `#!` line runs, without its version: `python` for `/usr/bin/env -S python3.11 -u`."""
    if words and PurePosixPath(words[0]).name == "env":
        # Options of env, and the variables that it sets.
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return re.sub(r"[\d.]+$", "", PurePosixPath(words[0]).name) if words else ""


@cache
def parser_of(language: Language) -> Any:
    """The tree-sitter parser of a language. Raises DependencyError if tree-sitter or the grammar is not installed."""
    module, function = language.grammar
    try:
        from tree_sitter import Language as Grammar
        from tree_sitter import Parser

        return Parser(Grammar(getattr(importlib.import_module(module), function)()))
    except ImportError:
        raise DependencyError(
            f"cutting {language.name} needs tree-sitter: pip install 'jina-embeddings-vllm[apps]'"
        ) from None
