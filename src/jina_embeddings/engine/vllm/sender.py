"""`PackSender`: turns inputs into the message that workers get for a pack, and their answer into the calls' results."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import EngineError
from ...fill import Fill
from ...inputs.patches import ImageConfig
from ...plugin.packs import make_pack, split_vectors
from ...types import Prepared, Task
from .queue import Pick

if TYPE_CHECKING:
    from .channel import Channel, PackTimes

logger = logging.getLogger(__name__)

Rpc = Callable[..., Awaitable[Any]]
Adapter = tuple[str, int, str]
"""Name, id and folder of a task's LoRA."""


class PackSender:
    """Sends packs to the workers of one engine.

    rpc: `collective_rpc` of vLLM's engine.
    adapters: the adapter of each task; empty if one is merged into the weights.
    half: whether workers send multi-vectors as float16.
    """

    def __init__(
        self,
        rpc: Rpc,
        adapters: dict[Task, Adapter],
        image_config: ImageConfig,
        *,
        hidden_size: int,
        multivector_dim: int | None,
        half: bool,
    ):
        self.rpc = rpc
        self._adapters = adapters
        self._image_config = image_config
        self._hidden_size = hidden_size
        self._multivector_dim = multivector_dim or 0
        self._half = half
        self.pack_fill = Fill()
        # The weights that each task's packs run on, and why; set before its first pack.
        self.choices: dict[Task, str] = {}
        # A connection to the worker besides vLLM's RPCs; only if there is one worker and it has CUDA graphs.
        self.channel: Channel | None = None

    async def message(
        self, picks: Sequence[Pick], max_tokens: int, *, small: bool = False
    ) -> tuple[list[Any], Adapter | None]:
        """The serialised pack of these inputs, and its task's adapter.

        max_tokens: the most tokens that the pack may have. small: see `make_pack`.
        """
        inputs = inputs_of(picks)
        half = self._half and inputs[0].multivector
        pack = make_pack(inputs, self._image_config, half=half, small=small)
        self.pack_fill.add(pack.num_tokens, max_tokens)
        return pack.to_wire(), await self._adapter(inputs[0].task)

    async def answer(self, picks: Sequence[Pick], max_tokens: int) -> PackTimes | None:
        """Runs a small pack of these inputs, and writes its vectors to the results of its calls.

        Returns the times that the worker has measured, if it has.
        """
        wire, adapter = await self.message(picks, max_tokens, small=True)
        if self.channel is not None and self.channel.is_open:
            vectors, times = await self.channel.answer(wire, 0 if adapter is None else adapter[1])
            if vectors is not None:
                self.place(picks, [vectors])
                return times
        self.place(picks, await self.rpc("jina_answer_pack", args=(wire, adapter)))
        return None

    def place(self, picks: Sequence[Pick], answers: Sequence[bytes | None]) -> None:
        """Writes the vectors of a pack, which one of the workers has sent, to the results of its calls."""
        data = next((answer for answer in answers if answer is not None), None)
        if data is None:
            raise EngineError("no worker sent the vectors of a pack")
        vectors = split_vectors(
            data,
            inputs_of(picks),
            hidden_size=self._hidden_size,
            multivector_dim=self._multivector_dim,
            half=self._half,
        )
        for (call, index), vector in zip(picks, vectors, strict=True):
            call.place(index, vector)

    async def _adapter(self, task: Task) -> Adapter | None:
        """The task's adapter. Before the task's first pack, the workers choose the weights that it runs on."""
        adapter = self._adapters.get(task)
        if adapter is not None and task not in self.choices:
            ((merged, reason), *_) = await self.rpc("jina_choose_weights", args=(adapter,))
            self.choices[task] = f"{'merged weights' if merged else 'LoRA'}: {reason}"
            logger.info("packs of %s run on %s", task, self.choices[task])
        return adapter


def inputs_of(picks: Sequence[Pick]) -> list[Prepared]:
    return [call.batch[index] for call, index in picks]
