"""What a client sends is never the name of a file: a trace of the server's system calls shows none of them opened."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hostile import encoded, pdf
from inputs import picture
from served import serving

pytestmark = pytest.mark.long

FORMS = (
    "{}",
    "file://{}",
    "file://localhost{}",
    "FILE://{}",
    "../../../../../../..{}",
    "/proc/self/root{}",
    "{}#page=1",
)


def bodies_of(name: str) -> list[tuple[str, dict[str, Any]]]:
    """A name as an image and as a PDF on each route that takes them."""
    cohere = {"input_type": "image"}
    parts = {"content": [{"type": "image_url", "image_url": {"url": name}}]}
    return [
        *(("/v1/embeddings", {"input": {field: name}}) for field in ("image", "url", "bytes", "pdf")),
        ("/v1/multi-vector", {"input": [{"image": name}]}),
        ("/v1/multi-vector", {"input": {"pdf": name}}),
        ("/v1/rerank", {"query": {"image": name}, "documents": ["a"]}),
        ("/v1/rerank", {"query": "a", "documents": [{"image": name}]}),
        ("/v2/embed", {**cohere, "images": [name]}),
        ("/v2/embed", {**cohere, "inputs": [parts]}),
    ]


@pytest.mark.parametrize("options", [(), ("--allow-urls",)], ids=["no URLs", "URLs"])
def test_no_name_of_a_file_is_opened(tmp_path: Path, options: tuple[str, ...]) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace: apt-get install strace")
    canary = tmp_path / "canary.png"
    picture(56, 56, 1).save(canary)
    (tmp_path / "canary.pdf").write_bytes(pdf(1))
    log = tmp_path / "calls"
    names = [form.format(path) for path in ("/etc/passwd", canary, tmp_path / "canary.pdf") for form in FORMS]
    with serving(tmp_path, "--no-log-requests", *options) as served, served.client() as client:
        command = [
            "strace",
            "-f",
            "-qq",
            "-s",
            "4096",
            "-e",
            "trace=%file",
            "-o",
            str(log),
            "-p",
            str(served.process.pid),
        ]
        with subprocess.Popen(command) as tracer:
            try:
                until = time.monotonic() + 30
                while "TracerPid:\t0" in Path(f"/proc/{served.process.pid}/status").read_text():
                    assert time.monotonic() < until
                    time.sleep(0.05)
                for name in names:
                    for route, body in bodies_of(name):
                        answer = client.post(route, json=body)
                        assert 400 <= answer.status_code < 500, (route, body, answer.text)
                good = client.post("/v1/embeddings", json={"input": {"image": encoded(picture(56, 56, 1))}})
                assert good.status_code == 200
                served.process.send_signal(signal.SIGHUP)
                assert client.get("/v1/models").status_code == 200
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(30)
    calls = log.read_text()
    # The trace sees the server, which was told to read its keys again, and the process that decodes, which it started.
    assert "keys.txt" in calls
    assert "jina_embeddings/server/decoding" in calls
    assert [line for line in calls.splitlines() if "/etc/passwd" in line or "canary" in line] == []
