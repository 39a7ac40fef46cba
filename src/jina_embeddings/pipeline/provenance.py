"""What made the vectors of a run, and whether another run would make the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import __version__
from ..errors import DimensionError, OptionError, suggest
from ..inputs.prompts import resolve_task
from ..vectors.quantization import EMBEDDING_TYPES, check_embedding_type

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings
    from ..opened import Opened
    from ..types import FloatArray

DEFAULT_PROMPT = "passage"
PROBE = "The quick brown fox jumps over the lazy dog; 42 × 17 = 714."
"""By the vector of this passage other weights under the same name are noticed."""

PROBE_COSINE = 0.99
"""Engines and number formats of one model agree to 0.999 and better; two models don't agree at all."""

_PROBE_NUMBERS = 128
_SETTINGS = ("pooling_type", "normalize", "max_model_len", "min_pixels", "max_pixels", "image_reading")
"""Options that change vectors."""

LAYOUTS = ("parquet", "npy", "safetensors", "lance")
NUMBERS = (*EMBEDDING_TYPES, "float16")
_MULTIVECTOR = "multivector"


class Column(NamedTuple):
    """Vectors in one form. numbers: one of `NUMBERS`."""

    multivector: bool
    numbers: str


@dataclass(frozen=True, slots=True)
class Form:
    """How rows become vectors: options of `JinaEmbeddings.encode`, under their names there.

    embedding_type: also `float16`.
    also: further forms, each in a column of its own: a number format of the same vectors, or `multivector`,
        `multivector-int8` and so on.
    layout: where vectors lie: in the shards' Parquet files, in a file of `npy` or `safetensors` beside each, or in one
        Lance dataset.
    """

    task: str | None = None
    prompt_name: str | None = None
    max_length: int | None = None
    truncate_dim: int | None = None
    multivector: bool = False
    embedding_type: str = "float"
    also: tuple[str, ...] = ()
    layout: str = "parquet"

    def check(self) -> None:
        """Raises for what could never work, before a model is loaded."""
        columns = self.columns
        for column in columns.values():
            if column.numbers != "float16":
                check_embedding_type(column.numbers)
        if self.multivector and self.truncate_dim is not None:
            raise DimensionError("multi-vectors can't be truncated: leave truncate_dim out")
        if len(set(columns.values())) <= len(self.also):
            raise OptionError("one form is asked for twice: name each once")
        if self.layout not in LAYOUTS:
            raise OptionError(f"unknown layout {self.layout!r}{suggest(self.layout, LAYOUTS)}")
        unequal = any(column.multivector or column.numbers == "base64" for column in columns.values())
        if unequal and self.layout in ("npy", "safetensors"):
            raise OptionError(f"{self.layout} holds vectors of one length: choose parquet or lance for this form")
        resolve_task(self.task or "retrieval", self.prompt)

    @property
    def prompt(self) -> str | None:
        """Files are what is searched in; retrieval.query and the like name a prompt already."""
        if self.prompt_name is not None:
            return self.prompt_name
        return None if self.task and "." in self.task else DEFAULT_PROMPT

    @property
    def columns(self) -> dict[str, Column]:
        """What is in each column of vectors."""
        found = {"embedding": Column(self.multivector, self.embedding_type)}
        for name in self.also:
            first, dash, numbers = name.partition("-")
            if first == _MULTIVECTOR:
                found[f"embedding_{name.replace('-', '_')}"] = Column(True, numbers if dash else "float")
            else:
                found[f"embedding_{name}"] = Column(self.multivector, name)
        return found

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "also": list(self.also), "prompt_name": self.prompt}


def described(opened: Opened, form: Form) -> dict[str, Any]:
    """Describes the model and form that make vectors, for people."""
    task, prompt_name = resolve_task(form.task or opened.task, form.prompt)
    info = opened.info
    return {
        "model": info.name,
        "revision": info.revision,
        "task": task,
        "prompt_name": prompt_name,
        "dimension": form.truncate_dim or info.dimension,
        "multivector_dim": info.multivector_dim,
        "version": __version__,
    }


def identified(opened: Opened, form: Form) -> dict[str, Any]:
    """The description, and what tells models of one name apart. checkpoint: see `Checkpoint.digest`."""
    settings = {name: getattr(opened.options, name) for name in _SETTINGS}
    return {**described(opened, form), "checkpoint": opened.checkpoint.digest, "settings": settings}


def made_by(model: JinaEmbeddings, form: Form) -> dict[str, Any]:
    """What a manifest says of the model: its description, and numbers by which other weights are noticed."""
    made = identified(model.opened, form)
    probe = shortened(model.encode_text(PROBE, task=made["task"], prompt_name="passage"))
    return {**made, "engine": model.engine, "probe": probe}


def shortened(probe: Sequence[float] | FloatArray) -> list[float]:
    """The numbers of a probe's vector that a manifest keeps: of shorter vectors they are the same, up to a factor."""
    return [round(float(number), 6) for number in probe[:_PROBE_NUMBERS]]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yields what differs, in words, of what both say.

    Engine and version may: they change vectors by less than a number format does. The name of a model may too where its
    checkpoint, or the vector of the probe, is the same.
    """
    names = [
        f"{name} was {before[name]} and is {now[name]}" for name in ("model", "revision") if _other(name, before, now)
    ]
    probes = [np.array(made["probe"], dtype=np.float64) for made in (before, now) if "probe" in made]
    if before.get("checkpoint") and now.get("checkpoint"):
        if before["checkpoint"] != now["checkpoint"]:
            yield from names or [f"the weights of {now['model']} have changed"]
    elif len(probes) < 2:
        yield from names
    yield from (
        f"{name} was {before[name]} and is {now[name]}"
        for name in ("task", "prompt_name", "dimension", "multivector_dim")
        if _other(name, before, now)
    )
    if len(probes) == 2 and not (cosine := _cosine(*probes)) >= PROBE_COSINE:
        yield "; ".join([*names, f"the model's vectors differ (cosine {cosine:.3f} for the same text)"])


def tell_apart(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether `differences` knows without the vector of the probe if both are the same model."""
    return bool(before.get("checkpoint")) or not (_other("model", before, now) or _other("revision", before, now))


def other_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yields which options that change vectors differ."""
    old, new = before.get("settings", {}), now.get("settings", {})
    yield from (
        f"{name} was {old[name]} and is {new[name]}" for name in old.keys() & new.keys() if old[name] != new[name]
    )


def _other(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    # An index without multi-vectors doesn't know what they would be.
    unknown = name not in now or (name == "multivector_dim" and None in (before[name], now[name]))
    return not unknown and bool(before[name] != now[name])


def _cosine(old: Any, new: Any) -> float:
    common = min(len(old), len(new))
    old, new = old[:common], new[:common]
    return float(old @ new / (np.linalg.norm(old) * np.linalg.norm(new)))
