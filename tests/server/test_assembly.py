"""The options of `serve` reach the server, and the server does what they say."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from jina_embeddings import JinaEmbeddings
from jina_embeddings.cli import main
from jina_embeddings.server import assembly
from jina_embeddings.server.assembly import Settings, assembled
from jina_embeddings.server.limits import Limits
from jina_embeddings.server.media import UrlPolicy
from jina_embeddings.server.request_log import RequestLog


def test_every_option_of_the_command_reaches_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("a-key\n")
    asked = Settings(
        host="::1",
        port=4321,
        api_key_file=keys,
        drain_s=1.5,
        deadline_s=2.5,
        limits=Limits(max_body_bytes=7 * 2**20, max_inputs=8, max_pdf_pages=9),
        requests_per_minute=10,
        tokens_per_minute=11,
        urls=UrlPolicy(frozenset({"example.org"})),
        token_ids="model",
        decoders=3,
        log_requests=False,
        open_metrics=True,
        traces=True,
    )
    served: list[Settings] = []

    def serve_model(model: JinaEmbeddings, settings: Settings, begun: Callable[[], None]) -> bool:
        served.append(settings)
        return True

    monkeypatch.setattr(assembly, "serve_model", serve_model)
    options = (
        f"--host ::1 --port 4321 --api-key-file {keys} --drain 1.5 --deadline 2.5 --max-body-mb 7 --max-inputs 8 "
        "--max-pdf-pages 9 --requests-per-minute 10 --tokens-per-minute 11 --allow-urls-from example.org "
        "--token-ids model --decoders 3 --no-log-requests --open-metrics --traces"
    )
    monkeypatch.setattr("sys.argv", ["jina-embeddings", "serve", "--engine", "fake", *options.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert served == [asked]
    # Whoever adds a setting gives it above another value than its default; the others have tests of their own.
    same = {field.name for field in fields(Settings) if getattr(asked, field.name) == getattr(Settings(), field.name)}
    assert same == {"index", "front_ends"}


def test_metrics_are_open_only_if_asked_for(tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("a-key\n")
    with JinaEmbeddings(engine="fake") as model:
        for is_open, status in ((False, 401), (True, 200)):
            settings = Settings(api_key_file=keys, open_metrics=is_open, log_requests=False)
            with assembled(model, settings) as parts, TestClient(parts.app) as client:
                assert client.get("/metrics").status_code == status


@pytest.mark.parametrize(("token_ids", "status"), [("model", 200), (None, 422)])
def test_token_ids_are_taken_only_if_asked_for(token_ids: str | None, status: int) -> None:
    settings = Settings(token_ids=token_ids, log_requests=False)
    with (
        JinaEmbeddings(engine="fake") as model,
        assembled(model, settings) as parts,
        TestClient(parts.app) as client,
    ):
        assert client.post("/v1/embeddings", json={"input": [5, 6]}).status_code == status


@pytest.mark.parametrize("is_logged", [True, False])
def test_requests_are_logged_unless_it_is_switched_off(capfd: pytest.CaptureFixture[str], is_logged: bool) -> None:
    with JinaEmbeddings(engine="fake") as model, assembled(model, Settings(log_requests=is_logged)) as parts:
        with TestClient(parts.app) as client:
            client.post("/v1/embeddings", json={"input": "a text"})
        parts.gate.ledger.flush()
    assert ("/v1/embeddings" in capfd.readouterr().out) == is_logged


def test_lines_of_several_processes_are_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe takes as much at once, whole, as these writes have."""
    written: list[bytes] = []

    def write(descriptor: int, text: bytes) -> int:
        written.append(text)
        return len(text)

    monkeypatch.setattr(os, "write", write)
    RequestLog(1).write({"request": "x" * 700, "number": number} for number in range(20))
    assert 1 < len(written) < 20
    assert all(len(text) <= select.PIPE_BUF and text.endswith(b"\n") for text in written)
    assert b"".join(written).count(b"\n") == 20
