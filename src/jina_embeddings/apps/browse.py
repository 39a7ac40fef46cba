"""One page on the local machine: search an index with words or a dropped picture, and see which part matched."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import DependencyError, JinaEmbeddingsError
from ..image_sources import load_image
from .index import Hit, Index
from .index.passage import KINDS
from .overlay import draw

HOST = "127.0.0.1"
_LIMIT = 12
_THUMBNAIL = 420
_MAX_UPLOAD_BYTES = 32 * 2**20
_ALL_WORDS = "all words"


def serve(index: Index, *, port: int = 8080, show: bool = True) -> None:
    """Serves the page until the process is told to stop; only this machine can reach it.

    show: open it in the browser.

    Raises DependencyError without NiceGUI, OSError for a port that is taken.
    """
    try:
        from nicegui import app, ui
    except ImportError:
        raise DependencyError("the page needs NiceGUI: pip install 'jina-embeddings-vllm[apps]'") from None
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    _check_port(port)
    # A page elsewhere could otherwise reach this one through a name that it points at this machine.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    ui.run(
        lambda: _Page(index, ui),
        host=HOST,
        port=port,
        title=f"{index.store.address} – Jina Embeddings",
        show=show,
        reload=False,
        show_welcome_message=False,
    )


def _check_port(port: int) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise OSError(f"port {port} can't be used ({error.strerror}): choose another with --port") from None


class _Page:
    """What one visitor sees. ui: `nicegui.ui`."""

    def __init__(self, index: Index, ui: Any):
        self._index, self._ui = index, ui
        self._query: str | Image.Image | None = None
        with ui.column().classes("w-full max-w-screen-xl mx-auto"):
            ui.label(f"{index.store.address}: {len(index):,} passages, {index.store.fingerprint.model}").classes(
                "text-gray-500"
            )
            with ui.row().classes("w-full items-center no-wrap"):
                self._question = ui.input("What are you looking for?").classes("grow").props("clearable autofocus")
                self._question.on("keydown.enter", self._ask)
                self._kind = ui.select(["everything", *KINDS], value="everything", on_change=self._again)
                self._rerank = ui.switch("multi-vectors", on_change=self._again)
                ui.button("Search", on_click=self._ask)
            ui.upload(
                label="or drop a picture here",
                auto_upload=True,
                max_file_size=_MAX_UPLOAD_BYTES,
                on_upload=self._dropped,
                on_rejected=lambda: ui.notify("not a picture, or over 32 MiB", type="warning"),
            ).props('accept="image/*" flat bordered').classes("w-full")
            self._status = ui.label().classes("status")
            self._results = ui.column().classes("results w-full")

    async def _ask(self) -> None:
        self._query = (self._question.value or "").strip() or None
        await self._again()

    async def _dropped(self, event: Any) -> None:
        data = await event.file.read()
        try:
            self._query = load_image(data)
        except JinaEmbeddingsError as error:
            self._status.text = str(error)
            return
        self._question.value = ""
        event.sender.reset()
        await self._again()

    async def _again(self) -> None:
        from nicegui import run

        query = self._query
        if query is None:
            return
        self._status.text = "searching …"
        filters = {} if self._kind.value == "everything" else {"kind": self._kind.value}
        try:
            hits = await run.io_bound(
                self._index.search, query, limit=_LIMIT, filters=filters, rerank=self._rerank.value
            )
        except JinaEmbeddingsError as error:
            self._status.text = str(error)
            return
        self._status.text = f"{len(hits)} results" if hits else "nothing found"
        self._results.clear()
        with self._results:
            for rank, hit in enumerate(hits, 1):
                self._card(rank, hit, query)

    def _card(self, rank: int, hit: Hit, query: str | Image.Image) -> None:
        ui, passage = self._ui, hit.passage
        with ui.card().classes("result w-full"):
            ui.label(f"{rank}. {passage.source}").classes("source font-bold")
            ui.label(" · ".join(filter(None, [passage.title, f"{hit.score:.3f}"]))).classes("text-gray-500")
            if passage.text:
                ui.label(passage.text).classes("whitespace-pre-wrap")
            if passage.image:
                picture = self._picture(passage.image)
                if picture is None:
                    ui.label("the picture is not there any more").classes("text-gray-500")
                    return
                thumbnail = picture.copy()
                thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
                shown = ui.image(_data_url(thumbnail)).classes("picture").style(f"width: {thumbnail.width}px")
                if isinstance(query, str):
                    row = ui.row()
                    with row:
                        ui.button("What matched?", on_click=lambda: self._explain(query, picture, shown, row)).props(
                            "flat"
                        )

    def _picture(self, source: str) -> Image.Image | None:
        try:
            return load_image(Path(source))
        except (JinaEmbeddingsError, OSError):
            return None

    async def _explain(self, query: str, picture: Image.Image, shown: Any, row: Any) -> None:
        from nicegui import run

        task = self._index.store.fingerprint.task
        try:
            found = await run.io_bound(self._index.model.similarity_map, query, picture, task=task)
        except JinaEmbeddingsError as error:
            self._ui.notify(str(error), type="warning")
            return
        maps = {_ALL_WORDS: found.maps.mean(axis=0)}
        maps.update({f"{number}. {word}": found.maps[number - 1] for number, word in enumerate(found.words, 1)})

        def draw_word(word: str) -> None:
            drawn = draw(picture, maps[word])
            shown.set_source(_data_url(drawn))
            shown.style(f"width: {drawn.width}px")

        row.clear()
        with row:
            toggle = self._ui.toggle(list(maps), value=_ALL_WORDS, on_change=lambda event: draw_word(event.value))
            toggle.classes("words").props("no-caps")
        draw_word(_ALL_WORDS)


def _data_url(image: Image.Image) -> str:
    # Given the picture itself, NiceGUI would leave a file for each on the disk.
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
