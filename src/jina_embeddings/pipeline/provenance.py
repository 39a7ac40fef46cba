"""What made the vectors of a run, and whether another run would make the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..errors import DimensionError, OptionError
from ..inputs.prompts import resolve_task
from ..vectors.quantization import check_embedding_type

if TYPE_CHECKING:
    from ..embedder import JinaEmbeddings

DEFAULT_PROMPT = "passage"
_PROBE = "The quick brown fox jumps over the lazy dog; 42 × 17 = 714."
_PROBE_NUMBERS = 128
_PROBE_COSINE = 0.99
"""Engines and number formats of one model agree to 0.999 and better; two models don't agree at all."""


@dataclass(frozen=True, slots=True)
class Form:
    """How rows become vectors: options of `JinaEmbeddings.encode`, under their names there.

    embedding_type: also `float16`. also: further forms of the same dense vectors, each in a column of its own.
    """

    task: str | None = None
    prompt_name: str | None = None
    max_length: int | None = None
    truncate_dim: int | None = None
    multivector: bool = False
    embedding_type: str = "float"
    also: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises for what could never work, before a model is loaded."""
        for name in (self.embedding_type, *self.also):
            if name != "float16":
                check_embedding_type(name)
        if self.multivector and self.truncate_dim is not None:
            raise DimensionError("multi-vectors can't be truncated: leave truncate_dim out")
        if self.multivector and self.also:
            raise OptionError("further forms are made of dense vectors: leave multivector or also out")
        if len({self.embedding_type, *self.also}) <= len(self.also):
            raise OptionError("one form is asked for twice: name each once")
        resolve_task(self.task or "retrieval", self.prompt)

    @property
    def prompt(self) -> str | None:
        """Files are what is searched in; retrieval.query and the like name a prompt already."""
        if self.prompt_name is not None:
            return self.prompt_name
        return None if self.task and "." in self.task else DEFAULT_PROMPT

    @property
    def forms(self) -> dict[str, str]:
        """Type of the vectors in each column."""
        return {"embedding": self.embedding_type, **{f"embedding_{name}": name for name in self.also}}

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "also": list(self.also), "prompt_name": self.prompt}


def described(model: JinaEmbeddings, form: Form) -> dict[str, Any]:
    """What made vectors, in words and numbers for people."""
    task, prompt_name = resolve_task(form.task or model.task, form.prompt)
    info = model.info
    return {
        "model": info.name,
        "revision": info.revision,
        "task": task,
        "prompt_name": prompt_name,
        "dimension": info.multivector_dim if form.multivector else form.truncate_dim or info.dimension,
        "engine": model.engine,
        "version": __version__,
    }


def made_by(model: JinaEmbeddings, form: Form) -> dict[str, Any]:
    """What a manifest says of the model: its description, and numbers by which other weights are noticed."""
    made = described(model, form)
    vector = model.encode_text(_PROBE, task=made["task"])
    return {**made, "probe": [round(float(number), 6) for number in vector[:_PROBE_NUMBERS]]}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """In words. Engine and version may differ: they change vectors by less than a number format does."""
    for name in ("model", "revision", "task", "prompt_name", "dimension"):
        if before[name] != now[name]:
            yield f"{name} was {before[name]} and is {now[name]}"
    old, new = (np.array(made["probe"], dtype=np.float64) for made in (before, now))
    cosine = float(old @ new / (np.linalg.norm(old) * np.linalg.norm(new)))
    if not cosine >= _PROBE_COSINE:
        yield f"the model's vectors differ (cosine {cosine:.3f} for the same text)"
