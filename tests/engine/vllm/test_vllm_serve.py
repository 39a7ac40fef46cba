"""A plain vLLM server with our plugin, tested over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import parity
from inputs import COSINE, TEXTS, picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import CheckpointMaker

    from jina_embeddings import JinaEmbeddings

    Post = Callable[[dict[str, Any]], dict[str, Any]]

pytestmark = pytest.mark.engine

START_TIMEOUT_S = 240


@pytest.fixture(scope="module")
def post(checkpoint: CheckpointMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    """Starts `vllm serve MODEL`; returns a function that posts a body to /v1/embeddings."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    template = files("jina_embeddings") / "plugin" / "chat_template.jinja"
    # The module behind `vllm serve`: the CPU build's own command looks for a distribution named vllm and stops.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint(dtype="float32"))]
    command += ["--served-model-name", "jina", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", "4096", "--enforce-eager", "--chat-template", str(template)]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(server, address, log)
        yield lambda body: _post(address, body)
    finally:
        server.terminate()
        server.wait(timeout=60)


def _wait_until_healthy(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-4000:]
        try:
            urllib.request.urlopen(address + "/health", timeout=5)
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise AssertionError("the server did not come up:\n" + log.read_text()[-4000:])


def _post(address: str, body: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps({"model": "jina", "encoding_format": "float", **body}).encode()
    request = urllib.request.Request(address + "/v1/embeddings", data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return dict(json.load(response))


def test_texts_with_their_prompt_get_the_retrieval_vectors(post: Post, torch_model: JinaEmbeddings) -> None:
    texts = [TEXTS["latin"], TEXTS["hangul"], TEXTS["middling"]]
    answer = post({"input": [f"Passage: {text}" for text in texts]})
    vectors = [item["embedding"] for item in answer["data"]]
    assert parity.cosines(vectors, torch_model.encode_text(texts, prompt_name="passage")).min() >= COSINE
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_dimensions_choose_a_matryoshka_size(post: Post, torch_model: JinaEmbeddings) -> None:
    (item,) = post({"input": "Query: a text", "dimensions": 32})["data"]
    assert parity.cosines(item["embedding"], torch_model.encode_text("a text", truncate_dim=32)) >= COSINE


def test_a_size_that_was_not_trained_is_refused(post: Post) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        post({"input": "Query: a text", "dimensions": 33})
    assert refusal.value.code == 400


@pytest.mark.parametrize("mode", ["RGB", "I;16", "LA"])
def test_an_image_in_a_chat_message_gets_its_vector(post: Post, torch_model: JinaEmbeddings, mode: str) -> None:
    image = picture(300, 200)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "LA":
        image.putalpha(image.convert("L"))
    file = io.BytesIO()
    image.save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Describe the image."}]
    (item,) = post({"messages": [{"role": "user", "content": content}]})["data"]
    # vLLM resizes the image with another bicubic filter here, which differs most for greyscale images.
    assert parity.cosines(item["embedding"], torch_model.encode_image(image)) >= (0.9999 if mode == "RGB" else 0.999)


WORDS = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.mark.parametrize("text", [f"a text about {WORDS} and more", f"{WORDS} first", "<|image_pad|>" * 3, WORDS * 4])
def test_a_text_with_the_image_pad_token_is_pooled_as_a_text(
    post: Post, torch_model: JinaEmbeddings, text: str
) -> None:
    (item,) = post({"input": f"Passage: {text}"})["data"]
    assert parity.cosines(item["embedding"], torch_model.encode_text(text, prompt_name="passage")) >= COSINE
