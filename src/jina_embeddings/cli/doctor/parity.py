"""Compares the vectors of two engines, or of two dtypes of one engine."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...embedder import JinaEmbeddings
from ...errors import JinaEmbeddingsError, OptionError, suggest
from ...types import ModelInfo
from .machine import can_run
from .report import Report

LIMITS = {"float32": 0.9999, "bfloat16": 0.999, "float16": 0.999}
"""The least cosine of vectors that count as the same, by the less precise of the two dtypes."""

_MAX_TOKENS = 2048
_TEXTS = (
    "tree",
    "Which rivers of Europe flow into the Black Sea?",
    "Die Größe des Gebäudes überraschte die Besucher – sie blieben stehen.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "春眠不觉晓,处处闻啼鸟。夜来风雨声,花落知多少。",
    "吾輩は猫である。名前はまだ無い。",
    "هذا النص مكتوب باللغة العربية من اليمين إلى اليسار.",
    "यह वाक्य हिन्दी में लिखा गया है।",
    "이 문장은 한국어로 쓰여 있습니다.",
    "def mean(numbers: list[float]) -> float:\n    return sum(numbers) / len(numbers)\n",
    "🙂 emoji, symbols ∑ ∫ √, and  several   spaces\n\nand empty lines",
    "The committee met again on the third day and went through the report. " * 20,
)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two ways to run the model that are compared."""

    engine: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.engine} in {self.dtype}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The cosines between both sides for one task and one form of vector.

    texts: the least cosine of all texts. image: that of the image. For multi-vectors, the mean over an input's tokens.
    least_token: the least cosine of all tokens; None for dense vectors.
    """

    task: str
    form: str
    texts: float
    image: float
    least_token: float | None


def choose_sides(report: Report, engine: str, dtype: str) -> tuple[Side, Side]:
    """Returns two engines in one dtype: vLLM (or torch, if vLLM can't run or torch is wanted) and Transformers. If only
    Transformers can run or is wanted, returns it in two dtypes.

    Raises:
        OptionError: an engine or a dtype that can't be compared.
    """
    if engine == "fake":
        raise OptionError("--parity compares real engines: choose auto, vllm, torch or transformers")
    if dtype not in ("auto", *LIMITS):
        raise OptionError(f"unknown dtype {dtype!r}{suggest(dtype, ('auto', *LIMITS))}")
    if engine != "transformers":
        same = dtype if dtype != "auto" else "bfloat16" if report.sections["gpus"] else "float32"
        ours = "vllm" if engine != "torch" and can_run(report, "vllm") else "torch"
        return Side(ours, same), Side("transformers", same)
    other = dtype if dtype in ("bfloat16", "float16") else "bfloat16"
    return Side("transformers", "float32"), Side("transformers", other)


def check_parity(
    report: Report, model: str, sides: tuple[Side, Side], info: ModelInfo, options: dict[str, Any]
) -> None:
    """Adds the section `parity`, and a problem for each task and form of vector that differs."""
    limit = min(LIMITS[side.dtype] for side in sides)
    section: dict[str, Any] = {"compared": f"{sides[0]} with {sides[1]}", "least_cosine_allowed": limit}
    report.sections["parity"] = section
    if sides[0].engine == sides[1].engine:
        section["note"] = "one engine in two dtypes, since no other was asked for"
    try:
        section["cosines"] = [asdict(row) for row in compare(model, sides, info, options)]
    except JinaEmbeddingsError as error:
        report.problem(f"parity: {error}", "see the message; --debug shows the engine's own log")
        return
    for row in section["cosines"]:
        # In float32 each token is checked. In lower precision, rounding moves single tokens by more than the limit.
        exact = limit == LIMITS["float32"] and row["least_token"] is not None
        least = row["least_token"] if exact else min(row["texts"], row["image"])
        if not least >= limit:
            report.problem(
                f"{row['task']}, {row['form']}: cosine {least:.6f} between {section['compared']}, below {limit}",
                "don't mix vectors of the two; report it with the output of doctor --parity --json",
            )


def compare(model: str, sides: tuple[Side, Side], info: ModelInfo, options: dict[str, Any]) -> list[Comparison]:
    """Compares every task, dense and, if there is a projector, multi-vector. One side is loaded at a time."""
    first = _vectors(model, sides[0], info, options)
    # Engines have reference cycles, and the second one needs the memory of the first.
    gc.collect()
    second = _vectors(model, sides[1], info, options)
    results = []
    for (task, form), ours in first.items():
        cosines = [_cosines(a, b) for a, b in zip(ours, second[task, form], strict=True)]
        *texts, image = [float(each.mean()) for each in cosines]
        least_token = None if form == "dense" else float(min(each.min() for each in cosines))
        results.append(Comparison(task, form, min(texts), image, least_token))
    return results


def _vectors(model: str, side: Side, info: ModelInfo, options: dict[str, Any]) -> dict[tuple[str, str], list[Any]]:
    inputs: list[Any] = [*_TEXTS, _image()]
    length = min(_MAX_TOKENS, info.max_length)
    with JinaEmbeddings(model, engine=side.engine, dtype=side.dtype, max_model_len=length, **options) as loaded:
        return {
            (task, form): list(loaded.encode(inputs, task=task, return_multivector=form == "multi-vector"))
            for task in info.tasks
            for form in _forms(info)
        }


def _forms(info: ModelInfo) -> Sequence[str]:
    return ("dense",) if info.multivector_dim is None else ("dense", "multi-vector")


def _cosines(a: Any, b: Any) -> NDArray[np.float64]:
    """Returns the cosines of two vectors, or of the pairs of two lists of vectors; -1 if their lengths differ."""
    if a.shape != b.shape:
        return np.array([-1.0])
    a, b = np.atleast_2d(np.float64(a), np.float64(b))
    cosines: NDArray[np.float64] = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return cosines


def _image() -> Any:
    """An image of 200 x 140 pixels with a gradient, a disc and stripes: no two patches are equal."""
    from PIL import Image

    y, x = np.mgrid[:140, :200]
    pixels = np.stack([x * 255 // 199, y * 255 // 139, (x // 10 % 2) * 120], axis=-1)
    pixels[(x - 60) ** 2 + (y - 80) ** 2 < 35**2] = (230, 40, 20)
    return Image.fromarray(pixels.astype(np.uint8))
