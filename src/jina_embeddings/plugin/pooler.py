"""Pooling inside vLLM's worker: one dense vector for each span, or one projected vector for each token.

There are two kinds of requests. Those of this package carry `extra_kwargs` (see `request_fields`) and get one pooled
vector a span, neither truncated nor normalised, the vectors of their tokens, or the numbers of both in one row. Those
of a plain `vllm serve` carry none and get one vector: the mean over the prompt, or over the image in it, truncated and
normalised as the request asks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear, normalize

from ..types import Prepared, Span
from ..vectors.pooling import pool
from .compat import imported

if TYPE_CHECKING:
    from vllm.model_executor.layers.pooler import PoolingParamsUpdate
    from vllm.pooling_params import PoolingParams
    from vllm.tasks import PoolingTask
    from vllm.v1.pool.metadata import PoolingMetadata

Pooler: Any = imported("pooler", "Pooler")
Projector = tuple[torch.Tensor, torch.Tensor]


def request_fields(prepared: Prepared) -> dict[str, Any]:
    """The `extra_kwargs` of a request of this package, as plain values that can be sent between processes."""
    return {
        "task": prepared.task,
        "spans": [bound for span in prepared.spans for bound in span],
        "multivector": prepared.multivector,
        "pooling": prepared.pooling,
    }


@dataclass(frozen=True, slots=True)
class _Request:
    """What one request asks for.

    finish: whether vectors are truncated to `dimensions` and normalised here; this package's engine does that itself.
    """

    task: str
    spans: tuple[Span, ...]
    multivector: bool
    pooling: str
    finish: bool
    dimensions: int | None
    normalize: bool


class EmbeddingPooler(Pooler):  # type: ignore[misc]
    """Pools each request as it asks: dense vectors of its spans, or multi-vectors.

    projectors: weight (dim, hidden) and bias (dim,) of each task, float32; set while weights load.
    default_task: the task of requests that don't name one.
    """

    def __init__(self, default_task: str, vision_start: int, vision_end: int, image_pad: int):
        super().__init__()
        self.projectors: dict[str, Projector] = {}
        self.default_task = default_task
        self._vision = (vision_start, vision_end, image_pad)
        # Mask of the image tokens of the step that is pooled next. None where it isn't known, as in all pipeline stages
        # but the first; token ids are used then.
        self.image_rows: torch.Tensor | None = None

    def get_supported_tasks(self) -> Set[PoolingTask]:
        # A merged checkpoint has no projector, so it answers no request for multi-vectors.
        return {"embed", "token_embed"} if self.projectors else {"embed"}

    def get_pooling_updates(self, task: PoolingTask) -> PoolingParamsUpdate:
        update: PoolingParamsUpdate = imported("pooler", "PoolingParamsUpdate")(requires_token_ids=True)
        return update

    def forward(
        self, hidden_states: torch.Tensor, pooling_metadata: PoolingMetadata
    ) -> torch.Tensor | list[torch.Tensor | None]:
        """One tensor for each request; None for those whose prompt continues in the next step.

        hidden_states: (num_tokens of this step, hidden), the requests concatenated.
        """
        cursor = pooling_metadata.get_pooling_cursor()
        counts = cursor.num_scheduled_tokens_cpu.tolist()
        token_ids = pooling_metadata.get_prompt_token_ids_cpu()
        images = self._have_images(counts, token_ids, pooling_metadata)
        requests = [
            self._read(params, ids, has_image)
            for params, ids, has_image in zip(pooling_metadata.pooling_params, token_ids, images, strict=True)
        ]
        if cursor.is_partial_prefill():
            return self._with_earlier_chunks(hidden_states, counts, requests, pooling_metadata)
        outputs = self._pool(hidden_states, counts, requests)
        if all(output.ndim == 1 for output in outputs):
            # Stacked, they take one copy to the host.
            return torch.stack(outputs)
        return list(outputs)

    def _with_earlier_chunks(
        self, hidden: torch.Tensor, counts: list[int], requests: list[_Request], metadata: PoolingMetadata
    ) -> list[torch.Tensor | None]:
        """Pools with chunked prefill: keeps the hidden states of a prompt until its last chunk."""
        finished = metadata.get_pooling_cursor().is_finished().tolist()
        seen = metadata.get_pooling_cursor().seq_lens_cpu.tolist()
        outputs: list[torch.Tensor | None] = [None] * len(requests)
        whole: dict[int, torch.Tensor] = {}
        for index, rows in enumerate(hidden.split(counts)):
            cache = metadata.pooling_states[index].hidden_states_cache
            # Cloned, since vLLM overwrites the buffer of `hidden` in the next step.
            cache.append(rows.clone() if not finished[index] else rows)
            if finished[index]:
                whole[index] = torch.cat(cache)
                cache.clear()
                if len(whole[index]) != seen[index]:
                    raise RuntimeError(
                        f"{seen[index] - len(whole[index])} tokens of a prompt were not computed here: prefix caching "
                        "leaves tokens out of the pooling, start vLLM with --no-enable-prefix-caching"
                    )
        if whole:
            rows = torch.cat(list(whole.values()))
            done = self._pool(rows, [len(part) for part in whole.values()], [requests[index] for index in whole])
            for index, output in zip(whole, done, strict=True):
                outputs[index] = output
        return outputs

    def _pool(self, rows: torch.Tensor, counts: Sequence[int], requests: Sequence[_Request]) -> list[torch.Tensor]:
        outputs: list[torch.Tensor | None] = [None] * len(requests)
        starts = [0]
        for count in counts:
            starts.append(starts[-1] + count)
        dense: dict[str, list[int]] = defaultdict(list)
        tokens: dict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            if request.multivector:
                tokens[request.task].append(index)
            if request.spans:
                dense[request.pooling].append(index)
        for how, members in dense.items():
            spans = [(starts[i] + a, starts[i] + b) for i in members for a, b in requests[i].spans]
            vectors = pool(rows, spans, how).split([len(requests[i].spans) for i in members])
            for index, vector in zip(members, vectors, strict=True):
                outputs[index] = _finished(vector, requests[index])
        for task, members in tokens.items():
            weight, bias = self.projectors[task]
            chosen = torch.cat([rows[starts[i] : starts[i + 1]] for i in members])
            vectors = normalize(linear(chosen.float(), weight, bias), dim=-1).split([counts[i] for i in members])
            for index, vector in zip(members, vectors, strict=True):
                pooled = outputs[index]
                outputs[index] = vector if pooled is None else torch.cat([pooled.flatten(), vector.flatten()])[None]
        return outputs  # type: ignore[return-value]

    def _have_images(
        self, counts: Sequence[int], token_ids: Sequence[torch.Tensor], metadata: PoolingMetadata
    ) -> list[bool]:
        """Whether each request has an image. Token ids aren't enough: a text may contain the image-pad token."""
        rows, self.image_rows = self.image_rows, None
        named = [bool((ids == self._vision[2]).any()) for ids in token_ids]
        if rows is None or not any(named):
            return named
        steps = rows.cpu()[: sum(counts)].split(list(counts))
        found = []
        for index, step in enumerate(steps):
            state = metadata.pooling_states[index]
            # The image may have been in an earlier chunk of the same prompt.
            state.jina_has_image = bool(step.any()) or getattr(state, "jina_has_image", False)
            found.append(named[index] and state.jina_has_image)
        return found

    def _read(self, params: PoolingParams, token_ids: torch.Tensor, has_image: bool) -> _Request:
        fields = params.extra_kwargs
        if fields and "spans" in fields:
            bounds = fields["spans"]
            spans = tuple(zip(bounds[::2], bounds[1::2], strict=True))
            return _Request(fields["task"], spans, fields["multivector"], fields["pooling"], False, None, False)
        multivector = params.task == "token_embed"
        return _Request(
            task=self.default_task,
            spans=() if multivector else (self._image_or_all(token_ids) if has_image else (0, len(token_ids)),),
            multivector=multivector,
            pooling="mean",
            finish=True,
            dimensions=params.dimensions,
            normalize=params.use_activation is not False,
        )

    def _image_or_all(self, token_ids: torch.Tensor) -> Span:
        vision_start, vision_end, _ = self._vision
        starts, ends = (token_ids == vision_start).nonzero(), (token_ids == vision_end).nonzero()
        if len(starts) and len(ends) and int(starts[0]) < int(ends[-1]):
            return int(starts[0]), int(ends[-1]) + 1
        return 0, len(token_ids)


def _finished(vectors: torch.Tensor, request: _Request) -> torch.Tensor:
    """The request's vectors, truncated and normalised if it asks for that: (num_spans, dim), or (dim,) for one span."""
    if request.finish:
        vectors = vectors[:, : request.dimensions]
        if request.normalize:
            vectors = normalize(vectors, dim=-1)
    return vectors[0] if len(vectors) == 1 else vectors
