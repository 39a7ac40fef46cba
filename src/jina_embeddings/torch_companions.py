"""torchvision, torchaudio and torchcodec builds that don't fit the installed torch.

Registries serve one build of each, made for CUDA. Beside a CPU build of torch their compiled parts can't be
loaded, importing them fails, and with them transformers and vLLM, which import them where they are installed.
What is mended, and only where the import does fail:

torchvision: its Python part stops at the first compiled operator that it expects, with `operator
    torchvision::nms does not exist`. The rest of it is plain torch. Declaring the missing operators' schemas is
    enough; they stay without an implementation, and nothing here calls them.
torchaudio, torchcodec: nothing here needs them, so they are made to look absent.
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
    """Imports all three, and mends what fails for the reasons above. Absent and imported ones cost nothing.

    vLLM calls this through its platform plugins, the one hook that runs before it imports torchvision itself,
    in every process that it starts; returning None tells it that this is no platform.
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
        # None is how Python itself marks a module as not to be found.
        sys.modules[package] = None  # type: ignore[assignment]
        _ask_again()
        logger.info("%s can't be imported (%s): hidden", package, str(error).partition("\n")[0])


def _ask_again() -> None:
    """Where transformers was imported before, it remembers what it found."""
    loaded = sys.modules.get("transformers.utils.import_utils")
    for name, function in vars(loaded).items() if loaded is not None else ():
        if name.endswith("_available") and hasattr(function, "cache_clear"):
            function.cache_clear()


def _to_be_imported(package: str) -> bool:
    return package not in sys.modules and importlib.util.find_spec(package) is not None


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
