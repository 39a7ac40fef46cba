"""Records which model made the vectors of an index, and checks whether another model makes the same ones."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import IndexMismatchError, MultivectorUnavailableError, OptionError
from ...pipeline.provenance import PROBE, PROBE_COSINE
from ...vectors.similarity import similarity
from .multivectors import check_format

if TYPE_CHECKING:
    from ...embedder import JinaEmbeddings
    from ...types import FloatArray

FORMAT = 2
"""The format of the table. Later ones are refused; the first had no words and no multi-vectors."""

_READABLE = (1, FORMAT)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Settings of an index, written when it is created.

    model, revision: names for messages. Models are compared by `probe`, the vector of one fixed text: so other weights
        under the same name are refused, and the same weights in another folder are not.
    kind: what the index is for (`files`, `code`), since documents of each kind are cut differently.
    multivector: the number format of stored multi-vectors, None without them. multivector_dim: numbers of a token.
        token_pooling: tokens that were merged into one vector, on average; 1 for none.
    """

    model: str
    revision: str | None
    task: str
    dimension: int
    kind: str
    probe: list[float]
    format: int = FORMAT
    multivector: str | None = None
    multivector_dim: int | None = None
    token_pooling: int = 1

    @classmethod
    def of(
        cls,
        model: JinaEmbeddings,
        task: str,
        dimension: int | None,
        kind: str,
        *,
        multivector: str | None = None,
        token_pooling: int = 1,
    ) -> Fingerprint:
        """Returns the fingerprint of a new index.

        Raises DimensionError, TaskUnavailableError, MultivectorUnavailableError, OptionError for a wrong format.
        """
        _check_multivector(model, multivector, token_pooling)
        probe = _probe(model, task, dimension)
        info = model.info
        return cls(
            info.name,
            info.revision,
            task,
            len(probe),
            kind,
            [round(float(x), 6) for x in probe],
            multivector=multivector,
            multivector_dim=info.multivector_dim if multivector else None,
            token_pooling=token_pooling,
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes, address: str) -> Fingerprint:
        """Raises IndexMismatchError for an unknown format."""
        fields: dict[str, Any] = json.loads(text)
        if fields.get("format") not in _READABLE:
            raise IndexMismatchError(
                f"{address} has format {fields.get('format')}, this version reads {FORMAT}: make the index again"
            )
        return cls(**fields)

    def check(
        self,
        model: JinaEmbeddings,
        address: str,
        *,
        task: str | None = None,
        dimension: int | None = None,
        kind: str | None = None,
        multivector: str | None = None,
        token_pooling: int | None = None,
    ) -> None:
        """Raises IndexMismatchError if the model, or a setting that is not None, differs from the index."""
        for name, wanted, made in (
            ("kind", kind, self.kind),
            ("task", task, self.task),
            ("dimension", dimension, self.dimension),
            ("multivector", multivector, self.multivector),
            ("token_pooling", token_pooling, self.token_pooling),
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
        if cosine < PROBE_COSINE:
            raise IndexMismatchError(f"{mismatch}its vectors differ (cosine {cosine:.3f}). Load that one")


def _check_multivector(model: JinaEmbeddings, multivector: str | None, token_pooling: int) -> None:
    if token_pooling < 1 or (token_pooling > 1 and multivector is None):
        raise OptionError(f"token_pooling={token_pooling}: it is 1 or more, and above 1 only with multivector")
    if multivector is None:
        return
    check_format(multivector)
    if model.info.multivector_dim is None:
        raise MultivectorUnavailableError(f"{model.info.name} has no projector, so no multi-vectors can be stored")


def _probe(model: JinaEmbeddings, task: str, dimension: int | None) -> FloatArray:
    vector: FloatArray = model.encode_text(PROBE, task=task, prompt_name="passage", truncate_dim=dimension)
    return vector
