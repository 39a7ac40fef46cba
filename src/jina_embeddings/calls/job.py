"""`Job`: the prepared inputs of one call, the batch that an engine runs, and the result made of its output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EmptyInputError, EngineDeadError, InputError, JinaEmbeddingsError, NonFiniteError, OptionError
from ..types import Both, Partial, Prepared, Skipped, Usage
from ..vectors.quantization import check_embedding_type, quantize
from ..vectors.similarity import normalize_if_finite, normalize_parts, truncate
from .options import OnError

if TYPE_CHECKING:
    from ..types import FloatArray, Vectors


@dataclass(frozen=True, slots=True)
class Output:
    """The form of a call's result.

    single: the input was not in a list, so the result is one vector instead of rows.
    dim: size of a vector before truncation; needed for the shape of a result without rows.
    multivector, both: multi-vectors are returned, or a `Both`, instead of dense vectors.
    The other fields are the arguments of `JinaEmbeddings.encode_text`.
    """

    multivector: bool = False
    both: bool = False
    truncate_dim: int | None = None
    normalize: bool = True
    embedding_type: str = "float"
    return_numpy: bool = True
    on_error: OnError = "raise"
    single: bool = False
    dim: int = 0

    def check(self) -> None:
        check_embedding_type(self.embedding_type)
        check_on_error(self.on_error)
        if not self.return_numpy and self.embedding_type == "base64":
            raise OptionError("base64 strings can't be tensors: leave return_numpy out")


def check_on_error(on_error: object) -> None:
    """Raises OptionError for anything but `raise` and `skip`."""
    if on_error not in ("raise", "skip"):
        raise OptionError(f"on_error is 'raise' or 'skip', not {on_error!r}")


class Job:
    """The prepared inputs of one call, or of one part of it.

    Args:
        items: for each input, its `Prepared` or the error that it caused.
        first: index in the call of the first of them.

    batch: the inputs that an engine has to run; of equal ones only the first.
    usage: the tokens of all good inputs, equal ones included.
    cut: indices in the call of the texts that were cut.

    Raises:
        EmptyInputError: there are no inputs.
        InputError: the error of the first bad input, unless the call skips bad ones.
    """

    def __init__(self, items: Sequence[Prepared | InputError], output: Output, pooling: str, first: int = 0):
        if not items:
            raise EmptyInputError("the list of inputs is empty: give at least one")
        self.output = output
        self.batch: list[Prepared] = []
        self._alone = first == 0 and len(items) == 1
        self._kept: list[int] = []
        self._place: list[int] = []
        self._skipped: list[Skipped] = []
        seen: dict[Any, int] = {}
        # Compared by identity, which is faster: the processor returns the same object for equal texts.
        places: dict[int, int] = {}
        self.cut: list[int] = []
        num_tokens = num_image_tokens = 0
        for index, item in enumerate(items, start=first):
            if isinstance(item, InputError):
                self._skip(index, item)
                continue
            place = places.get(id(item))
            if place is None:
                digest = item.image.digest if item.image else None
                key = (item.token_ids.tobytes(), item.task, digest, item.spans)
                place = places[id(item)] = seen.setdefault(key, len(self.batch))
                if place == len(self.batch):
                    spans = () if output.multivector else item.spans
                    tokens = output.multivector or output.both
                    if (item.spans, item.multivector, item.pooling) != (spans, tokens, pooling):
                        item = replace(item, spans=spans, multivector=tokens, pooling=pooling)
                    self.batch.append(item)
            num_tokens += item.num_tokens
            num_image_tokens += item.image.num_tokens if item.image else 0
            if item.cut:
                self.cut.append(index)
            self._kept.append(index)
            self._place.append(place)
        self.usage = Usage(num_tokens, num_image_tokens, len(self.cut))

    def _skip(self, index: int, error: JinaEmbeddingsError) -> None:
        if self.output.on_error == "raise":
            raise error if self._alone else error.at(index) from error
        self._skipped.append(Skipped(index, error))

    def finish(self, outputs: Sequence[Vectors]) -> Any:
        """The call's result: the engine's output checked, truncated, normalised and quantised, in the inputs' order.

        Raises:
            NonFiniteError: the engine returned NaN or infinity, and the call doesn't skip bad inputs.
        """
        result = self._formed_if_finite(outputs)
        if result is None:
            good = [_is_finite(output) for output in outputs]
            for index in () if all(good) else self._drop(good):
                error = NonFiniteError(
                    "the model produced NaN or infinity: use dtype='bfloat16' or 'float32', since float16 overflows"
                )
                self._skip(index, error)
            result = self._formed([outputs[place] for place in self._place])
        if self.output.on_error == "skip":
            return Partial(result, self._kept, sorted(self._skipped, key=lambda skipped: skipped.index))
        return result

    def rescue(self, error: EngineDeadError) -> EngineDeadError:
        """Turns the error of an engine that died into the call's: indices of the call, and finished embeddings."""
        outputs: Sequence[Any] = error.done or [None] * len(self.batch)
        not_done = self._drop([output is not None for output in outputs])
        self.output = replace(self.output, on_error="skip")
        nothing = np.empty(0, dtype=np.float32)
        return EngineDeadError(error.reason, not_done, self.finish([nothing if o is None else o for o in outputs]))

    def _drop(self, good: Sequence[bool]) -> list[int]:
        """Removes the inputs whose output isn't good, and returns their indices in the call."""
        pairs = list(zip(self._kept, self._place, strict=True))
        self._kept = [index for index, place in pairs if good[place]]
        self._place = [place for _, place in pairs if good[place]]
        return [index for index, place in pairs if not good[place]]

    def _formed_if_finite(self, outputs: Sequence[Any]) -> Any:
        """The result if a look at the whole of it tells that all is finite: vectors that are normalised and not cut."""
        output = self.output
        if output.both or output.multivector or not output.normalize or output.truncate_dim not in (None, output.dim):
            return None
        stacked = normalize_if_finite([outputs[place] for place in self._place]) if self._place else None
        return None if stacked is None else self._dense_as_asked(stacked)

    def _formed(self, vectors: list[Any]) -> Any:
        if self.output.both:
            dense, tokens = [both.dense for both in vectors], [both.multivector for both in vectors]
            return Both(self._dense_as_asked(self._stacked(dense)), self._multivectors(tokens))
        return self._multivectors(vectors) if self.output.multivector else self._dense_as_asked(self._stacked(vectors))

    def _stacked(self, vectors: list[FloatArray]) -> FloatArray:
        output = self.output
        if not vectors:
            vectors = [np.zeros((0, output.dim), dtype=np.float32)]
        parts = [truncate(vector, output.truncate_dim) for vector in vectors]
        return normalize_parts(parts) if output.normalize else np.concatenate(parts)

    def _dense_as_asked(self, stacked: FloatArray) -> Any:
        if self.output.single and self.output.on_error == "raise":
            stacked = stacked[0]
        asked = self._as_asked(stacked)
        # The published model returns a list of tensors.
        return asked if self.output.return_numpy or asked.ndim == 1 else list(asked)

    def _multivectors(self, vectors: list[FloatArray]) -> Any:
        seen: set[int] = set()
        results = []
        for place, vector in zip(self._place, vectors, strict=True):
            # Equal inputs share one output; copied, so that changing one result doesn't change another.
            results.append(self._as_asked(vector.copy() if place in seen else vector))
            seen.add(place)
        return results[0] if self.output.single and self.output.on_error == "raise" else results

    def _as_asked(self, vectors: FloatArray) -> Any:
        quantized = quantize(vectors, self.output.embedding_type)
        if self.output.return_numpy:
            return quantized
        import torch

        return torch.from_numpy(quantized)


def _is_finite(vectors: Vectors) -> bool:
    if isinstance(vectors, Both):
        return _is_finite(vectors.dense) and _is_finite(vectors.multivector)
    # The sum of squares is quicker, and finite only if all numbers are; it may overflow though they are.
    return math.isfinite(np.vdot(vectors, vectors)) or bool(np.isfinite(vectors).all())
