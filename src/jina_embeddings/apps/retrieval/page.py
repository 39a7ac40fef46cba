"""A local web page that searches an index with words or an image, and shows which part of an image matched."""

from __future__ import annotations

import base64
import html
import io
import logging
from pathlib import Path
from typing import Any

from PIL import Image

from ...errors import DependencyError, JinaEmbeddingsError
from ...inputs.sources import load_image
from ..index import Hit, Index
from ..index.passage import KINDS
from ..index.search import DEFAULT_MODE, MODES
from .marking import mark
from .origin import OwnOrigin
from .overlay import draw

HOST = "127.0.0.1"
_LIMIT = 12
_THUMBNAIL = 420
_MAX_UPLOAD_BYTES = 32 * 2**20
_NO_PICTURE = f"not a picture, or over {_MAX_UPLOAD_BYTES >> 20} MiB"
_EVERY_KIND = "everything"
_ALL_WORDS = "all words"
_SCORES = {"dense": "cosine", "words": "BM25", "hybrid": "cosine and BM25, scaled", "rerank": "MaxSim"}
_PRIMARY = "#1d6fb8"
"""Of buttons and, in the light, of titles: dark enough for white letters on it, and for it on white."""

_CSS = """
.body--light { background: #f6f7f9; --muted: #5b6570; }
.body--dark { --muted: #a7b0ba; }
.muted { color: var(--muted); }
.body--dark :is(.text-primary, .q-field) { --q-primary: #8fc1f0; }
.panel, .result { border: 1px solid #8884; border-radius: 10px; box-shadow: none; }
.text { overflow-wrap: anywhere; }
.question { min-width: min(20rem, 100%); }
mark { background: #ffd54f; color: #222; border-radius: 3px; }
.result .source { overflow-wrap: anywhere; }
.picture { max-width: 100%; border: 1px solid #8884; border-radius: 6px; }
.q-uploader { box-shadow: none; border: 2px dashed #c5cbd3; border-radius: 10px; max-height: none; }
.q-uploader__header { background: none; color: var(--muted); }
.q-uploader__subtitle, .q-uploader__list { display: none; }
"""


def serve(index: Index, *, port: int = 8080, show: bool = True) -> None:
    """Serves the page on the loopback interface until the process is stopped.

    show: whether to open it in the browser.

    Raises:
        DependencyError: NiceGUI is not installed.
        OSError: the port is taken.
    """
    try:
        from nicegui import app, ui
    except ImportError:
        raise DependencyError("the page needs NiceGUI: pip install 'jina-embeddings-vllm[apps]'") from None
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    _check_port(port)
    # A second Ctrl-C ends uvicorn at once, which it logs as a failure with a traceback.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "KeyboardInterrupt" not in record.getMessage())
    # Otherwise another website could read this page through a name that resolves to this machine (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app.add_middleware(OwnOrigin, hosts=frozenset({f"{HOST}:{port}", f"localhost:{port}"}))
    ui.run(
        lambda: _Page(index, ui),
        host=HOST,
        port=port,
        title=f"{index.store.address} – Jina Embeddings",
        show=show,
        # None: dark or light like the visitor's system.
        dark=None,
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
            raise OSError(f"port {port} can't be used ({error.strerror}): choose another with `port`") from None


class _Page:
    """The page of one visitor. ui: the module `nicegui.ui`."""

    def __init__(self, index: Index, ui: Any):
        self._index, self._ui = index, ui
        self._query: str | Image.Image | None = None
        ui.add_css(_CSS)
        ui.colors(primary=_PRIMARY)
        with ui.column().classes("w-full max-w-screen-lg mx-auto gap-3"):
            with ui.row().classes("w-full items-baseline"):
                ui.label(Path(index.store.address).name).classes("text-2xl font-medium")
                ui.label(f"{len(index):,} passages · {index.store.fingerprint.model}").classes("muted")
            with ui.card().classes("panel w-full gap-3"):
                with ui.row().classes("w-full items-center"):
                    self._question = (
                        ui.input("What are you looking for?").classes("question grow").props("clearable autofocus")
                    )
                    self._question.on("keydown.enter", self._ask)
                    self._kind = ui.select(
                        [_EVERY_KIND, *KINDS], value=_EVERY_KIND, label="kind", on_change=self._again
                    )
                    self._mode = ui.select(list(MODES), value=DEFAULT_MODE, label="mode", on_change=self._again)
                    self._path = ui.input("path, * for anything").props("clearable").classes("path")
                    self._path.on("keydown.enter", self._again)
                    self._rerank = ui.switch("multi-vectors", on_change=self._again)
                    self._rerank.tooltip("rank the best again, token by token: slower and better")
                    ui.button("Search", on_click=self._ask).props("unelevated")
                ui.upload(
                    label="or drop a picture here",
                    auto_upload=True,
                    max_file_size=_MAX_UPLOAD_BYTES,
                    on_upload=self._dropped,
                    on_rejected=lambda: ui.notify(_NO_PICTURE, type="warning"),
                ).props('accept="image/*" flat').classes("w-full")
            self._status = ui.label().classes("status muted")
            self._results = ui.column().classes("results w-full gap-3")

    async def _ask(self) -> None:
        self._query = (self._question.value or "").strip() or None
        await self._again()

    async def _dropped(self, event: Any) -> None:
        # The limit of the upload element is checked by the browser only.
        if event.file.size() > _MAX_UPLOAD_BYTES:
            self._ui.notify(_NO_PICTURE, type="warning")
            return
        try:
            self._query = load_image(await event.file.read())
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
        filters = {} if self._kind.value == _EVERY_KIND else {"kind": self._kind.value}
        if path := (self._path.value or "").strip():
            filters["path"] = path
        # An image can be searched by its vector only.
        mode = self._mode.value if isinstance(query, str) else None
        rerank = self._rerank.value
        try:
            hits = await run.io_bound(
                self._index.search, query, limit=_LIMIT, filters=filters, mode=mode, rerank=rerank
            )
        except JinaEmbeddingsError as error:
            self._status.text = str(error)
            return
        self._status.text = f"{len(hits)} results" if hits else "nothing found"
        self._results.clear()
        with self._results:
            for rank, hit in enumerate(hits, 1):
                self._card(rank, hit, query, _SCORES["rerank" if rerank else mode or "dense"])

    def _card(self, rank: int, hit: Hit, query: str | Image.Image, scored_by: str) -> None:
        ui, passage = self._ui, hit.passage
        folder, _, name = passage.source.rpartition("/")
        with ui.card().classes("result w-full gap-2"):
            with ui.row().classes("w-full items-baseline no-wrap"):
                ui.label(f"{rank}. {name}").classes("source font-bold").tooltip(passage.source)
                ui.label(folder).classes("grow text-xs muted truncate")
                ui.badge(f"{hit.score:.3f}").props("outline").tooltip(f"{scored_by}; cosine {hit.cosine:.3f}")
            if passage.title:
                ui.label(passage.title).classes("text-primary")
            if passage.text:
                marked = mark(passage.text, query) if isinstance(query, str) else html.escape(passage.text)
                ui.html(marked, sanitize=False).classes("text whitespace-pre-wrap")
            if passage.image:
                self._show_picture(hit, query)

    def _show_picture(self, hit: Hit, query: str | Image.Image) -> None:
        ui = self._ui
        picture = self._picture(hit)
        if picture is None:
            ui.label("the picture is not there any more").classes("muted")
            return
        thumbnail = picture.copy()
        thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
        row = ui.row()
        shown = ui.image(_data_url(thumbnail)).classes("picture").style(f"width: {thumbnail.width}px")
        if isinstance(query, str):
            with row:
                ui.button("What matched?", on_click=lambda: self._explain(query, picture, shown, row)).props(
                    "flat dense no-caps"
                )

    def _picture(self, hit: Hit) -> Image.Image | None:
        try:
            return load_image(hit.passage.input["image"], self._index.model.source_policy)
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
            shown.style(f"width: min({drawn.width}px, 32rem)")

        row.clear()
        with row:
            toggle = self._ui.toggle(list(maps), value=_ALL_WORDS, on_change=lambda event: draw_word(event.value))
            toggle.classes("words").props("no-caps unelevated")
        draw_word(_ALL_WORDS)


def _data_url(image: Image.Image) -> str:
    # NiceGUI would write a file for each PIL image that it is given.
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
