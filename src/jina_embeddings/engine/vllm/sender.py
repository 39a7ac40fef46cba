"""`PackSender`: turns inputs into the message that workers get for a pack, and their answer into the calls' results."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import EngineError
from ...fill import Fill
from ...inputs.patches import ImageConfig
from ...plugin.packs import make_pack, split_vectors
from ...types import Prepared, Task
from .pixel_memory import PixelMemory, Segment
from .queue import Pick

if TYPE_CHECKING:
    from .channel import Channel, PackTimes

logger = logging.getLogger(__name__)

Rpc = Callable[..., Awaitable[Any]]
Adapter = tuple[str, int, str]
"""Name, id and folder of a task's LoRA."""


@dataclass(frozen=True, eq=False, slots=True)
class Message:
    """A pack for the workers: its wire format, its task's adapter, and its pixels' memory if they aren't in it."""

    wire: list[Any]
    adapter: Adapter | None
    segment: Segment | None


class PackSender:
    """Sends packs to the workers of one engine.

    rpc: `collective_rpc` of vLLM's engine.
    adapters: the adapter of each task; empty if one is merged into the weights.
    half: whether workers send multi-vectors as float16.
    graphs: whether small packs run as CUDA graphs.
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
        graphs: bool = False,
    ):
        self.rpc = rpc
        self._adapters = adapters
        self._image_config = image_config
        self._hidden_size = hidden_size
        self._multivector_dim = multivector_dim or 0
        self._half = half
        self._graphs = graphs
        self.pack_fill = Fill()
        # The weights that each task's packs run on, and why; set before its first pack.
        self.choices: dict[Task, str] = {}
        # A connection to the worker besides vLLM's RPCs; only if there is one worker and it has CUDA graphs.
        self.channel: Channel | None = None
        self._memory: PixelMemory | None = None
        # Makes large packs, one after another.
        self._thread = ThreadPoolExecutor(1, "jina-embeddings-packs")

    async def message(self, picks: Sequence[Pick], max_tokens: int, *, small: bool = False) -> Message:
        """The serialised pack of these inputs; `answered` or `abandoned` must follow.

        max_tokens: the most tokens that the pack may have.
        small: see `make_pack`; others are made in a thread, which leaves the event loop to other calls.
        """
        inputs = inputs_of(picks)
        segment = self._segment(inputs)
        try:
            reference = None if self._memory is None or segment is None else self._memory.reference(segment)
            work = partial(self._serialised, inputs, small, None if segment is None else segment.place, reference)
            made = work() if small else await asyncio.get_running_loop().run_in_executor(self._thread, work)
            wire, num_tokens = made
            self.pack_fill.add(num_tokens, max_tokens)
            return Message(wire, await self._adapter(inputs[0].task), segment)
        except BaseException:
            self._retire(segment)
            raise

    def _segment(self, inputs: Sequence[Prepared]) -> Segment | None:
        """Memory for the pixels of the inputs; None if there are none, or they are sent."""
        num_bytes = sum(one.image.pixels.nbytes for one in inputs if one.image is not None)
        if self._memory is None or not num_bytes:
            return None
        try:
            return self._memory.take(num_bytes)
        except OSError as error:
            logger.warning("the pixels of a pack are sent, as there is no memory to share: %s", error)
            return None

    def _serialised(
        self, inputs: Sequence[Prepared], small: bool, memory: Any, reference: list[Any] | None
    ) -> tuple[list[Any], int]:
        """The pack in its wire format, and its tokens."""
        half = self._half and inputs[0].multivector
        pack = make_pack(inputs, self._image_config, half=half, small=small, for_graph=small and self._graphs)
        return pack.to_wire(memory, reference), pack.num_tokens

    def answered(self, message: Message) -> None:
        """To be called when the vectors of the message's pack are here, so that its memory is reused."""
        if self._memory is not None and message.segment is not None:
            self._memory.were_told(message.wire[-1])
            self._memory.give_back(message.segment)

    def abandoned(self, message: Message) -> None:
        """To be called if they will not come."""
        self._retire(message.segment)

    def _retire(self, segment: Segment | None) -> None:
        if self._memory is not None and segment is not None:
            self._memory.retire(segment)

    async def share_memory(self) -> None:
        """From now on writes pixels to memory that the workers map, if they can."""
        self._memory = await PixelMemory.open(self.rpc)

    def close(self) -> None:
        """In the event loop, after which no message is made."""
        if self.channel is not None:
            self.channel.close()
        if self._memory is not None:
            self._memory.close()
        self._thread.shutdown(wait=False)

    async def answer(self, picks: Sequence[Pick], max_tokens: int) -> PackTimes | None:
        """Runs a small pack of these inputs, and writes its vectors to the results of its calls.

        Returns the times that the worker has measured, if it has.
        """
        message = await self.message(picks, max_tokens, small=True)
        try:
            answers, times = await self._answers(message)
        except BaseException:
            self.abandoned(message)
            raise
        self.answered(message)
        self.place(picks, answers)
        return times

    async def _answers(self, message: Message) -> tuple[Sequence[bytes | None], PackTimes | None]:
        if self.channel is not None and self.channel.is_open:
            number = 0 if message.adapter is None else message.adapter[1]
            vectors, times = await self.channel.answer(message.wire, number)
            if vectors is not None:
                return [vectors], times
        return await self.rpc("jina_answer_pack", args=(message.wire, message.adapter)), None

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
