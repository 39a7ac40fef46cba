"""What made the vectors of an index, and whether a model makes the same ones."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import IndexMismatchError
from ...vectors.similarity import similarity

if TYPE_CHECKING:
    from ...embedder import JinaEmbeddings
    from ...types import FloatArray

FORMAT = 1
"""Of the table. A reader refuses another one."""

_PROBE = "The quick brown fox jumps over the lazy dog; 42 × 17 = 714."
_PROBE_COSINE = 0.99
"""Engines and number formats of one model agree to 0.999 and better; two models don't agree at all."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Written into an index when it is made.

    model, revision: for people. What decides is the probe: the vector of one fixed text, so that other weights
    under the same name are noticed, and a model that has only moved is not refused.
    kind: what the index is for (`files`, `code`): indexes of different kinds are cut differently.
    """

    model: str
    revision: str | None
    task: str
    dimension: int
    kind: str
    probe: list[float]
    format: int = FORMAT

    @classmethod
    def of(cls, model: JinaEmbeddings, task: str, dimension: int | None, kind: str) -> Fingerprint:
        """That of an index which `model` would make. Raises DimensionError, TaskUnavailableError."""
        probe = _probe(model, task, dimension)
        info = model.info
        return cls(info.name, info.revision, task, len(probe), kind, [round(float(x), 6) for x in probe])

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes, address: str) -> Fingerprint:
        """Raises IndexMismatchError for an index of another format."""
        fields: dict[str, Any] = json.loads(text)
        if fields.get("format") != FORMAT:
            raise IndexMismatchError(
                f"{address} has format {fields.get('format')}, this version reads {FORMAT}: make the index again"
            )
        return cls(**fields)

    def check(
        self, model: JinaEmbeddings, address: str, *, task: str | None, dimension: int | None, kind: str | None
    ) -> None:
        """Raises IndexMismatchError where `model`, or an explicit task, dimension or kind, is another one."""
        for name, wanted, made in (
            ("kind", kind, self.kind),
            ("task", task, self.task),
            ("dimension", dimension, self.dimension),
        ):
            if wanted is not None and wanted != made:
                raise IndexMismatchError(
                    f"{address} was made with {name} {made}, not {wanted}: use {made}, or make another index"
                )
        made_by = self.model + (f" at {self.revision}" if self.revision else "")
        mismatch = f"{address} was made with the model {made_by}, not with {model.info.name}: "
        dims = (*model.info.matryoshka_dims, model.info.hidden_size)
        if self.task not in model.info.tasks or self.dimension not in dims:
            raise IndexMismatchError(f"{mismatch}load that one, or make another index")
        cosine = float(similarity(_probe(model, self.task, self.dimension), np.array(self.probe, dtype=np.float32)))
        if cosine < _PROBE_COSINE:
            raise IndexMismatchError(f"{mismatch}its vectors differ (cosine {cosine:.3f}). Load that one")


def _probe(model: JinaEmbeddings, task: str, dimension: int | None) -> FloatArray:
    vector: FloatArray = model.encode_text(_PROBE, task=task, prompt_name="passage", truncate_dim=dimension)
    return vector
