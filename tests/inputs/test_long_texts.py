"""Of a text that is far too long, only the beginning is tokenised: its tokens are those of the whole."""

from __future__ import annotations

import asyncio
import json
import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from inputs import SCRIPTS
from jina_embeddings import JinaEmbeddings
from jina_embeddings.calls.request import Request
from jina_embeddings.checkpoint import open_checkpoint
from jina_embeddings.checkpoint.fake import WordTokenizer
from jina_embeddings.checkpoint.tokenizer import load_tokenizer
from jina_embeddings.cli import app
from jina_embeddings.errors import CautionWarning, TextTooLongError
from jina_embeddings.inputs.processor import Processor, read_image_config
from jina_embeddings.types import Prepared

if TYPE_CHECKING:
    from jina_embeddings.inputs.tokens import Tokens

LIMIT = 40
LENGTH = 30_000


class Watched:
    """A tokenizer that says which texts it was given."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.texts: list[str] = []

    def encode_batch_fast(self, texts: Sequence[str], **options: Any) -> Any:
        self.texts += texts
        return self.tokenizer.encode_batch_fast(texts, **options)

    def token_to_id(self, token: str) -> int | None:
        return self.tokenizer.token_to_id(token)  # type: ignore[no-any-return]

    @property
    def num_characters(self) -> int:
        return sum(map(len, self.texts))


@pytest.fixture(scope="module")
def opened() -> Any:
    return open_checkpoint("pocket")


@pytest.fixture
def tokenizer(opened: Any) -> Watched:
    return Watched(load_tokenizer(opened.folder / "tokenizer.json"))


@pytest.fixture
def processor(opened: Any, tokenizer: Watched) -> Processor:
    watched: Any = tokenizer
    return Processor(watched, read_image_config(opened), LIMIT)


def _repeated(piece: str) -> str:
    return piece * (LENGTH // len(piece))


def _drawn(pieces: Sequence[str]) -> str:
    draw = random.Random(1)
    return "".join(draw.choice(pieces) for _ in range(LENGTH))


LONG = {
    **{name: _repeated(text + " ") for name, text in SCRIPTS.items()},
    "spaces": _repeated(" "),
    "a word and spaces": "word" + _repeated(" ") + "word",
    "line breaks": _repeated("\r\n"),
    "white space of all kinds": _drawn(" \t\n\u00a0\u3000"),
    "one letter": _repeated("a"),
    "one word": _drawn("aeiounrstl"),
    "tokens of many characters": _repeated("=" * 64 + " " * 48),
    "special tokens": _repeated("<|vision_start|>"),
    "special tokens in spaces": _repeated("   <|im_end|>   "),
    "marks on one letter": "e" + _repeated("\u0301\u0323"),
    "marks on letters": _repeated("q\u0323\u0301"),
    "jamo": _repeated("\u1112\u1161\u11ab"),
    "symbols": _drawn("=-+*/#"),
    "bytes apart": _drawn("🙂🙃é數\x00"),
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
@pytest.mark.parametrize("limit", [1, LIMIT])
def test_a_long_text_has_the_first_tokens_of_the_whole(
    processor: Processor, tokenizer: Watched, text: str, limit: int
) -> None:
    whole = _tokens(tokenizer, "Query: " + text)
    (prepared,) = processor.texts([text], "retrieval", "query", max_length=limit)
    assert isinstance(prepared, Prepared)
    assert prepared.token_ids.tolist() == whole[:limit].tolist()
    assert prepared.cut


def test_texts_on_both_sides_of_the_border_are_cut_alike(processor: Processor, tokenizer: Watched) -> None:
    """Borders: the limit in tokens, and the length from which a text is not tokenised whole."""
    for words in range(1, 60):
        text = "border " * words
        whole = _tokens(tokenizer, "Passage: " + text)
        (prepared,) = processor.texts([text], "retrieval", "passage")
        assert isinstance(prepared, Prepared)
        assert prepared.token_ids.tolist() == whole[:LIMIT].tolist()
        assert prepared.cut == (len(whole) > LIMIT)
    text = LONG["latin"]
    whole = _tokens(tokenizer, "Passage: " + text)
    for length in range(2200, 2500, 3):
        (prepared,) = processor.texts([text[:length]], "retrieval", "passage")
        assert isinstance(prepared, Prepared)
        assert prepared.token_ids.tolist() == whole[:LIMIT].tolist()


@pytest.mark.parametrize("text", [LONG["latin"], LONG["han"], LONG["one word"]], ids=["words", "han", "one word"])
def test_what_is_tokenised_does_not_grow_with_the_text(processor: Processor, tokenizer: Watched, text: str) -> None:
    found = []
    for times in (1, 100):
        tokenizer.texts.clear()
        processor.texts([text * times], "retrieval", "query")
        found.append(tokenizer.num_characters)
    assert found[0] == found[1] < 4000


def test_what_cannot_be_cut_is_an_error_before_it_is_tokenised(processor: Processor, tokenizer: Watched) -> None:
    (error,) = processor.texts([LONG["latin"]], "retrieval", "query", truncate=False)
    assert isinstance(error, TextTooLongError)
    assert f"at least {LIMIT + 1} tokens, {LIMIT} fit" in str(error)
    with pytest.raises(TextTooLongError, match=rf"2 chunks have at least \d+ tokens together, {LIMIT} fit"):
        processor.chunks(["a", LONG["latin"]], "retrieval", "query")
    assert tokenizer.num_characters < 8000


def test_equal_texts_are_tokenised_once(processor: Processor, tokenizer: Watched) -> None:
    prepared = processor.texts(["same", "other", *["same"] * 1000], "retrieval", "query")
    assert tokenizer.texts == ["Query: same", "Query: other"]
    assert len(prepared) == 1002
    assert prepared[0] is prepared[2] is prepared[-1]


@pytest.mark.long
def test_many_long_texts_are_tokenised_in_portions(opened: Any, tokenizer: Watched) -> None:
    """The tokenizer holds many bytes for each character until a call of it is over."""
    calls: list[int] = []

    class Portions(Watched):
        def encode_batch_fast(self, texts: Sequence[str], **options: Any) -> Any:
            calls.append(sum(map(len, texts)))
            return super().encode_batch_fast(texts, **options)

    portions: Any = Portions(tokenizer)
    texts = [f"{number} " + "word " * 60_000 for number in range(10)]
    prepared = Processor(portions, read_image_config(opened), 32_768).texts(texts, "retrieval", "query")
    assert max(calls) <= 2**21 < sum(calls)
    for text, one in zip(texts, prepared, strict=True):
        assert isinstance(one, Prepared)
        assert one.token_ids.tolist() == _tokens(tokenizer, "Query: " + text)[:32_768].tolist()


@pytest.mark.parametrize("source", ["jsonl", "csv", "stdin", "call", "asyncio"])
def test_every_way_in_cuts_before_it_tokenises(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    encode = WordTokenizer.encode_batch_fast

    def watched(self: WordTokenizer, texts: list[str], add_special_tokens: bool = False) -> list[Any]:
        seen.append(sum(map(len, texts)))
        return encode(self, texts, add_special_tokens)

    monkeypatch.setattr(WordTokenizer, "encode_batch_fast", watched)
    text = "word " * 1_000_000
    if source in ("call", "asyncio"):
        with JinaEmbeddings(engine="fake") as model:
            if source == "call":
                model.encode_text(text, max_length=10)
            else:
                asyncio.run(model.aencode_text(text, max_length=10))
    else:
        given: dict[str, str] = {"jsonl": json.dumps({"text": text}), "csv": f"text\n{text}\n", "stdin": text}
        path = tmp_path / f"long.{source}"
        path.write_text(given[source])
        name = "-" if source == "stdin" else str(path)
        arguments = ["embed", name, "-o", str(tmp_path / "out.npy"), "--engine", "fake", "--max-length", "10"]
        result = CliRunner().invoke(app, arguments, input=text, catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
    assert 0 < max(seen) < 10_000


def test_texts_that_were_cut_are_counted_and_warned_of() -> None:
    texts = [LONG["latin"], "short", LONG["latin"], LONG["han"]]
    with JinaEmbeddings("pocket", engine="torch", max_model_len=LIMIT) as model:
        with pytest.warns(CautionWarning, match=f"3 texts were cut at {LIMIT} tokens"):
            result = model.embed(Request.texts(texts, {}))
        assert result.usage.num_cut == 3
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            same = model.encode_text(texts)
    assert np.array_equal(result.embeddings, same)


def _tokens(tokenizer: Watched, text: str) -> Tokens:
    (encoding,) = tokenizer.tokenizer.encode_batch_fast([text], add_special_tokens=False)
    return np.array(encoding.ids, dtype=np.int32)
