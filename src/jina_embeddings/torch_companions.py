"""Repairs torchvision, torchaudio and torchcodec builds that don't fit the installed torch.

Registries have one build of each, made for CUDA. With a CPU build of torch, their compiled parts can't be loaded, so
importing them fails, and so does importing transformers and vLLM, which import them if they are installed. If an import
fails, it is repaired:

torchvision: its import fails at the first compiled operator, with `operator torchvision::nms does not exist`. The rest
    is plain torch. Declaring the schemas of the missing operators is enough; nothing here calls them.
torchaudio, torchcodec: nothing here needs them, so they are made to look as if they weren't installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys

logger = logging.getLogger(__name__)

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# torch forgets a library's operators when the object is collected.
_libraries: list[object] = []


def repair() -> None:
    """Imports all three, and repairs those that fail. Packages that are absent or imported already are skipped.

    vLLM calls this as a platform plugin in every process that it starts, since that hook runs before vLLM imports
    torchvision. Returning None means that there is no platform.
    """
    for package in ("torchaudio", "torchcodec"):
        _hide_if_broken(package)
    _repair_torchvision()


def _repair_torchvision() -> None:
    if not _to_be_imported("torchvision"):
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        _forget("torchvision")
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            library.define(schema)
        _libraries.append(library)
        importlib.import_module("torchvision")
        logger.info("torchvision's compiled operators don't fit this torch: declared the missing ones")


def _hide_if_broken(package: str) -> None:
    if not _to_be_imported(package):
        return
    try:
        importlib.import_module(package)
    except (ImportError, OSError, RuntimeError) as error:
        _forget(package)
        # With None in sys.modules, Python raises ModuleNotFoundError.
        sys.modules[package] = None  # type: ignore[assignment]
        _correct_caches(package)
        logger.info("%s can't be imported (%s): hidden", package, str(error).partition("\n")[0])


def _correct_caches(package: str) -> None:
    """Corrects what transformers and datasets have noted about installed packages, if they were imported before."""
    config = sys.modules.get("datasets.config")
    if config is not None:
        setattr(config, f"{package.upper()}_AVAILABLE", False)
    loaded = sys.modules.get("transformers.utils.import_utils")
    for name, function in vars(loaded).items() if loaded is not None else ():
        if name.endswith("_available") and hasattr(function, "cache_clear"):
            function.cache_clear()


def _to_be_imported(package: str) -> bool:
    return package not in sys.modules and importlib.util.find_spec(package) is not None


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
