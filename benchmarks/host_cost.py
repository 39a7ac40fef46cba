"""The host's CPU time for an input on the packed path: tokenising or resizing, packing, and splitting vectors.

    python benchmarks/host_cost.py [--texts 30000] [--pages 64] [--before RESULT]

The worker is replaced by one that answers at once with vectors of v4's size, so all the time is the host's. CPU time is
measured, since other load on the machine hardly changes it. `--before` keeps the pages of an earlier result beside the
new ones.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from from_tools import make_checkpoint, write_result
from input_sets import make_lines, make_pages, make_texts, text_pdf
from jina_embeddings.fill import Fill
from systems import PREFIX

if TYPE_CHECKING:
    from jina_embeddings.inputs.patches import ImageConfig
    from jina_embeddings.inputs.processor import Processor
    from jina_embeddings.types import Prepared

HIDDEN_SIZE, PACK_TOKENS = 2048, 16_384


class Front:
    """The packed path of the vLLM engine with a fake worker instead of vLLM."""

    name = "vllm"
    max_length = 32_768
    calls_at_once = 3
    chunk_size = 256
    hang_s = 60.0
    pack_fill = Fill()
    alive = True

    def __init__(self, image_config: ImageConfig):
        from jina_embeddings.engine.loop_thread import LoopThread
        from jina_embeddings.engine.vllm.packed import PackedPath
        from jina_embeddings.engine.vllm.sender import PackSender

        self._loop = LoopThread("front")
        self._results: dict[int, bytes] = {}
        sizes: dict[str, Any] = {"hidden_size": HIDDEN_SIZE, "multivector_dim": 128, "half": True}
        self._path = PackedPath(PackSender(self._answer, {}, image_config, **sizes), PACK_TOKENS)

    async def _answer(self, method: str, args: tuple[Any, ...]) -> list[Any]:
        from jina_embeddings.plugin.packs import Pack

        if method == "jina_forget_pack":
            return [None]
        if method == "jina_pack_is_done":
            return [True]
        ticket, wire, _, fetch = args
        if wire is not None:
            num_vectors = len(Pack.from_wire(wire).spans)
            self._results[ticket] = np.ones((num_vectors, HIDDEN_SIZE), dtype=np.float32).tobytes()
        return [None if fetch is None else self._results.pop(fetch)]

    def run(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Any]:
        return self._loop.run(self._run(batch))

    async def arun(
        self, batch: Sequence[Prepared], *, batch_size: int | None = None, call_size: int | None = None
    ) -> list[Any]:
        return await self._loop.arun(self._run(batch))

    async def _run(self, batch: Sequence[Prepared]) -> list[Any]:
        results: list[Any] = [None] * len(batch)
        await self._path.fill(results, batch, range(len(batch)))
        return results

    def close(self) -> None:
        self._loop.stop()


def page_costs(model: Any, processor: Processor, pages: list[Any]) -> dict[str, float]:
    """Milliseconds of CPU time for a page: of the whole call, of preparing it, and of sending it to the worker."""
    from jina_embeddings.plugin.packs import Pack, make_pack

    def warm_up(source: Any) -> None:
        """Prepares so many that what is compiled for many is ready."""
        processor.images([source] * 80, "retrieval")
        while any(thread.name == "jina-embeddings-compile" for thread in threading.enumerate()):
            time.sleep(0.1)

    warm_up(pages[0])
    model.encode_image(pages[:4])

    def per_page(work: Callable[[], Any]) -> tuple[float, Any]:
        before = time.process_time()
        made = work()
        return round(1e3 * (time.process_time() - before) / len(pages), 2), made

    whole, _ = per_page(lambda: model.encode_image(pages))
    preparing, prepared = per_page(lambda: processor.images(pages, "retrieval"))
    sending, wire = per_page(lambda: make_pack(prepared, processor.image_config, half=True).to_wire())
    receiving, _ = per_page(lambda: Pack.from_wire(wire))
    costs = {"cpu_ms": whole, "preparing_ms": preparing, "to_wire_ms": sending, "from_wire_ms": receiving}
    for kind in ("PNG", "JPEG", "PDF"):
        files = [encoded(page, kind, number) for number, page in enumerate(pages)]
        warm_up(files[0])
        costs[f"preparing_{kind.lower()}_ms"], _ = per_page(partial(processor.images, files, "retrieval"))
    return costs


def encoded(page: Image.Image, kind: str, number: int) -> bytes:
    """The page as a file. A PDF has a page of other text instead, with fonts, as scans are rare among PDFs."""
    file = io.BytesIO()
    if kind == "PDF":
        lines = make_lines(60, number)
        file.write(text_pdf(lines))
    else:
        page.save(file, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=int, default=30_000, help="short ones; passages are a tenth")
    parser.add_argument("--pages", type=int, default=64, help="A4 at 150 dots an inch")
    parser.add_argument("--before", type=Path, help="an earlier result")
    arguments = parser.parse_args()

    from jina_embeddings import JinaEmbeddings
    from jina_embeddings.checkpoint import open_checkpoint
    from jina_embeddings.inputs.processor import Processor

    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_checkpoint(Path(scratch) / "tiny", dtype="float32")
        counts = {"short": arguments.texts, "passages": arguments.texts // 10}
        sets = make_texts(folder / "tokenizer.json", counts, PREFIX)
        processor = Processor.from_checkpoint(open_checkpoint(folder), max_length=Front.max_length)
        front: Any = Front(processor.image_config)
        with JinaEmbeddings(folder, engine=front) as model:
            for name, texts in sets.items():
                model.encode_text(texts[: len(texts) // 10], prompt_name="passage")
                before = time.process_time()
                model.encode_text(texts, prompt_name="passage")
                used = time.process_time() - before
                figures[name] = {"num_texts": len(texts), "cpu_us_per_text": round(1e6 * used / len(texts), 1)}
            pages = [Image.fromarray(pixels) for pixels in make_pages(arguments.pages)]
            figures["pages"] = {"num_pages": len(pages), **page_costs(model, processor, pages)}
    earlier: dict[str, Any] = {}
    if arguments.before is not None:
        result = json.loads(arguments.before.read_text())
        earlier = {"before": {"commit": result["commit"], "pages": result["sets"]["pages"]}}
    write_result("host_cost", {"sets": figures, **earlier})


if __name__ == "__main__":
    main()
