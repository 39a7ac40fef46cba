"""Pages that other processes render are those that this one does, and a process that ends costs its page at most."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from jina_embeddings.errors import DependencyError, ImageError
from jina_embeddings.inputs import pdf, renderers
from jina_embeddings.inputs.renderers import Renderer, Renderers
from jina_embeddings.inputs.sources import load_image
from pdf_files import blank_pdf, colour_pdf, form_pdf, written_pdf

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only on Linux")

Use = Callable[[Renderers], Renderers]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    used: list[Renderers] = []

    def use(pool: Renderers) -> Renderers:
        monkeypatch.setattr(pdf, "RENDERERS", pool)
        used.append(pool)
        return pool

    # Shorter than a test may take, and a thread that waited for so long rendered its page itself.
    monkeypatch.setattr(renderers, "_WAIT_S", 2)
    yield use
    for pool in used:
        assert pool._num_running == len(pool._idle), "a place was not given back"
        pool.end()


def text_pdf(media_box: bytes = b"0 0 300 200", rotate: int = 0) -> bytes:
    text = b"BT /F1 24 Tf 20 120 Td (a page of text) Tj ET 0.9 0.2 0.1 rg 40 20 50 60 re f"
    return written_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Rotate %d /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>" % (media_box, rotate),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Times-Roman >>",
    )


def noise_pdf() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PDF", resolution=40)
    return file.getvalue()


PAGES = {
    "text": text_pdf(),
    "turned": text_pdf(rotate=90),
    "odd width": text_pdf(b"0 0 301.3 77.7"),
    "image": noise_pdf(),
    "large": text_pdf(b"0 0 4000 5000"),
    "form": form_pdf(),
    "blank": blank_pdf(b"0 0 72 72"),
}


def outcome(data: bytes | str) -> tuple[tuple[int, int], bytes] | str:
    try:
        image = load_image(data)
    except ImageError as error:
        return str(error)
    return image.size, image.tobytes()


def test_the_pages_are_the_same(use: Use, tmp_path: Path) -> None:
    here = {name: outcome(data) for name, data in PAGES.items()}
    pool = use(Renderers(1, pages_before=0))
    for name, data in PAGES.items():
        assert isinstance(here[name], tuple)
        assert outcome(data) == here[name], name
        (tmp_path / f"{name}.pdf").write_bytes(data)
        assert outcome(str(tmp_path / f"{name}.pdf")) == here[name], name
    (renderer,) = pool._idle
    assert "libtorch" not in Path(f"/proc/{renderer.pid}/maps").read_text()
    # The memory of the largest page is not kept.
    assert os.fstat(renderer._memory).st_size <= 32 * 2**20


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.4\nnothing",
        blank_pdf(b"0 0 72 72", trailer=b"/Encrypt << /Filter /Standard /V 9 /R 9 >>"),
        written_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"),
        colour_pdf((1, 2, 3), (4, 5, 6)),
        blank_pdf(b"0 0 90000 72"),
        "missing.pdf",
    ],
    ids=["broken", "encrypted", "empty", "two pages", "too large", "missing"],
)
def test_the_errors_are_the_same(use: Use, data: bytes | str) -> None:
    here = outcome(data)
    assert isinstance(here, str)
    use(Renderers(1, pages_before=0))
    assert outcome(data) == here
    assert isinstance(outcome(PAGES["text"]), tuple)


def test_there_are_no_processes_for_a_few_pages_nor_more_than_threads_want(use: Use) -> None:
    pool = use(Renderers(3, pages_before=4))
    for _ in range(4):
        load_image(PAGES["text"])
    assert pool._num_running == 0
    for _ in range(3):
        load_image(PAGES["text"])
    assert pool._num_running == 1
    with ThreadPoolExecutor(8) as threads:
        images = list(threads.map(load_image, [PAGES["text"], PAGES["image"]] * 40))
    assert 2 <= pool._num_running <= 3
    expected = [load_image(PAGES[name]).tobytes() for name in ("text", "image")]
    assert [image.tobytes() for image in images] == expected * 40


def test_a_killed_process_is_replaced(use: Use) -> None:
    pool = use(Renderers(1, pages_before=0))
    expected = outcome(PAGES["text"])
    pid = pool._idle[0].pid
    os.kill(pid, signal.SIGKILL)
    assert outcome(PAGES["text"]) == expected
    assert pool._num_running == 1
    assert pool._idle[0].pid != pid
    assert not psutil.pid_exists(pid)


def test_a_page_that_ends_its_process_or_hangs_is_an_error_of_its_own(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Renderer.size
    sent: list[signal.Signals] = []

    def size(renderer: Renderer, number: int) -> tuple[float, float]:
        if sent:
            os.kill(renderer.pid, sent[0])
        return real(renderer, number)

    monkeypatch.setattr(Renderer, "size", size)
    use(Renderers(1, pages_before=0, page_s=0.5))
    sent.append(signal.SIGKILL)
    with pytest.raises(ImageError, match="ends the process that renders it"):
        load_image(PAGES["text"])
    sent[0] = signal.SIGSTOP
    start = time.monotonic()
    with pytest.raises(ImageError, match="takes too long to render"):
        load_image(PAGES["text"])
    assert time.monotonic() - start < 5
    sent.clear()
    assert isinstance(outcome(PAGES["text"]), tuple)


@pytest.mark.parametrize("num_bytes", [0, 3 * 2**20])
def test_a_process_that_is_stopped_between_pages_is_replaced(use: Use, num_bytes: int) -> None:
    """Small files fit in the pipe, large ones have to be read."""
    pool = use(Renderers(1, pages_before=0, page_s=0.5))
    page = PAGES["text"] + b"%" * num_bytes
    expected = outcome(page)
    pid = pool._idle[0].pid
    os.kill(pid, signal.SIGSTOP)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(outcome(page)), daemon=True)
    thread.start()
    thread.join(20)
    if not found:
        os.kill(pid, signal.SIGKILL)
    assert found == [expected]
    assert pool._idle[0].pid != pid
    assert not psutil.pid_exists(pid)


def test_a_thread_that_is_interrupted_leaves_no_answer_behind(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = use(Renderers(1, pages_before=0))
    expected = outcome(PAGES["text"])
    real = Renderer._answer

    for number in range(4):  # open, size, draw, close
        calls = itertools.count()

        def answer(renderer: Renderer, timeout_s: float, calls: Any = calls, number: int = number) -> object:
            if next(calls) == number:
                raise KeyboardInterrupt
            return real(renderer, timeout_s)

        monkeypatch.setattr(Renderer, "_answer", answer)
        with pytest.raises(KeyboardInterrupt):
            load_image(PAGES["image"])
        monkeypatch.setattr(Renderer, "_answer", real)
        assert outcome(PAGES["text"]) == expected

    def interrupted(renderer: Renderer, page_s: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Renderer, "__init__", interrupted)
    pool.end()
    with pytest.raises(KeyboardInterrupt):
        load_image(PAGES["image"])
    assert pool._num_running == 0


def test_a_thread_that_waits_in_vain_renders_its_page(use: Use) -> None:
    pool = use(Renderers(1, pages_before=0, wait_s=0.1))
    with pool.place(PAGES["text"]) as held:
        assert held is not None
        with pool.place(PAGES["image"]) as other:
            assert other is None


@pytest.mark.parametrize("ends", [True, False])
def test_a_thread_that_waits_gets_the_place_of_another(use: Use, ends: bool) -> None:
    pool = use(Renderers(1, pages_before=0, wait_s=60))
    load_image(PAGES["text"])
    with pool.place(PAGES["text"]) as held:
        assert held is not None
        thread = threading.Thread(target=load_image, args=(PAGES["text"],), daemon=True)
        thread.start()
        time.sleep(0.1)
        if ends:
            os.kill(held.pid, signal.SIGKILL)
            with pytest.raises(renderers.RendererEndedError):
                held.open(PAGES["text"])
    thread.join(20)
    assert not thread.is_alive()


def test_large_files_in_memory_are_rendered_here(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderers, "_MOST_SENT_BYTES", 10)
    pool = use(Renderers(1, pages_before=0))
    load_image(PAGES["text"])
    assert pool._num_running == 0


def test_a_path_is_of_the_working_directory_of_now(use: Use, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(Renderers(1, pages_before=0))
    for name in ("text", "image"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "page.pdf").write_bytes(PAGES[name])
        monkeypatch.chdir(tmp_path / name)
        assert outcome("page.pdf") == outcome(PAGES[name])


@pytest.mark.parametrize(
    ("program", "reason"), [("/bin/false", "ended before it was ready"), ("/none", "No such file")]
)
def test_this_process_renders_where_no_other_can_be_started(
    use: Use, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, program: str, reason: str
) -> None:
    expected = outcome(PAGES["text"])
    monkeypatch.setattr(sys, "executable", program)
    pool = use(Renderers(2, pages_before=0))
    descriptors = len(os.listdir("/proc/self/fd"))
    assert [outcome(PAGES["text"]) for _ in range(3)] == [expected] * 3
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert reason in caplog.text
    assert len(caplog.records) == 1
    assert pool._idle == []


def test_a_process_without_the_library_says_so(use: Use, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pypdfium2.py").write_text("raise ModuleNotFoundError('No module named pypdfium2')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    use(Renderers(1, pages_before=0))
    with pytest.raises(DependencyError, match="pypdfium2 is needed"):
        load_image(PAGES["text"])


CODE = """
import os, sys, time
from jina_embeddings.inputs import pdf
from jina_embeddings.inputs.renderers import RENDERERS
from jina_embeddings.inputs.sources import load_image
RENDERERS.__init__(1, 0)
load_image(sys.argv[1])
child = os.fork()
if not child:
    # A forked process renders alone, and keeps the pipe of its parent's process open.
    load_image(sys.argv[1])
    assert RENDERERS._num_running == 0
    time.sleep(60 if sys.argv[2] == "killed" else 0)
    os._exit(0)
print(RENDERERS._idle[0].pid, child, flush=True)
time.sleep(60 if sys.argv[2] == "killed" else 0)
"""


@pytest.mark.parametrize("end", ["returns", "killed"])
def test_nothing_is_left_at_the_end(tmp_path: Path, end: str) -> None:
    (tmp_path / "page.pdf").write_bytes(PAGES["text"])
    command = [sys.executable, "-c", CODE, str(tmp_path / "page.pdf"), end]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        renderer, forked = map(int, process.stdout.readline().split())
        if end == "killed":
            time.sleep(0.5)
            process.kill()
        assert process.wait(20) == (-signal.SIGKILL if end == "killed" else 0)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(renderer) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(renderer)
    if end == "killed":
        os.kill(forked, signal.SIGKILL)


def test_a_page_that_comes_alone_is_rendered_here(use: Use) -> None:
    """As in the server's decoders, whose memory is bounded."""
    pool = use(Renderers(1, pages_before=0))
    assert pdf.pdf_page(PAGES["text"], None, "page").tobytes() == load_image(PAGES["text"]).tobytes()
    pool.end()
    pdf.pdf_page(PAGES["text"], None, "page")
    assert pool._num_running == 0
