"""`Processor`: token ids of texts and chunks, their lengths, and bad texts."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inputs import SCRIPTS, SPECIAL, long_text, picture
from jina_embeddings.checkpoint import Checkpoint
from jina_embeddings.checkpoint.tokenizer import load_tokenizer
from jina_embeddings.errors import EmptyInputError, InputError, TextTooLongError
from jina_embeddings.inputs.processor import Processor, read_image_config
from jina_embeddings.inputs.prompts import PREFIXES
from jina_embeddings.types import Prepared
from prepared import MAX_LENGTH, one_text

if TYPE_CHECKING:
    pass


# Texts


@pytest.mark.parametrize("text", [*SCRIPTS.values(), *SPECIAL.values()], ids=[*SCRIPTS, *SPECIAL])
@pytest.mark.parametrize("prompt_name", PREFIXES)
def test_tokens_are_those_of_transformers(
    processor: Processor, auto_tokenizer: Any, text: str, prompt_name: str
) -> None:
    (prepared,) = processor.texts([text], "code", prompt_name)
    assert isinstance(prepared, Prepared)
    assert prepared.token_ids.tolist() == auto_tokenizer(PREFIXES[prompt_name] + text).input_ids
    assert prepared.token_ids.dtype == np.int32
    assert prepared.spans == ((0, prepared.num_tokens),)
    assert prepared.task == "code"
    assert prepared.image is None


def test_the_rest_of_a_batch_does_not_change_the_tokens(processor: Processor) -> None:
    texts = [*SCRIPTS.values(), long_text(200), *SPECIAL.values()]
    for text, prepared in zip(texts, processor.texts(texts, "retrieval", "query"), strict=True):
        assert isinstance(prepared, Prepared)
        assert np.array_equal(prepared.token_ids, one_text(processor, text).token_ids)


class Word(str, enum.Enum):  # noqa: UP042 - whose str() is "Word.HELLO"
    HELLO = "hello"


@pytest.mark.parametrize("text", [Word.HELLO, np.str_("hello")], ids=["enum", "numpy"])
def test_a_subclass_of_str_is_embedded_by_its_characters(processor: Processor, text: str) -> None:
    expected = one_text(processor, "hello").token_ids
    assert one_text(processor, text).token_ids.tolist() == expected.tolist()
    chunked = processor.chunks([text, text], "retrieval", "query")
    assert chunked.token_ids.tolist() == processor.chunks(["hello", "hello"], "retrieval", "query").token_ids.tolist()


class CountingTokenizer:
    """A tokenizer that records the number of texts of each call."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.calls: list[int] = []

    def encode_batch_fast(self, texts: Sequence[str], **options: Any) -> Any:
        self.calls.append(len(texts))
        return self.tokenizer.encode_batch_fast(texts, **options)

    def token_to_id(self, token: str) -> int | None:
        return self.tokenizer.token_to_id(token)  # type: ignore[no-any-return]


def test_a_batch_is_one_call_of_the_tokenizer(opened: Checkpoint) -> None:
    tokenizer: Any = CountingTokenizer(load_tokenizer(opened.folder / "tokenizer.json"))
    processor = Processor(tokenizer, read_image_config(opened), MAX_LENGTH)
    processor.texts(["a", "", *SCRIPTS.values(), 3], "retrieval", "query")
    assert tokenizer.calls == [1 + len(SCRIPTS)]
    tokenizer.calls.clear()
    processor.chunks(["one", "two", "three"], "retrieval", "passage")
    assert tokenizer.calls == [4]
    tokenizer.calls.clear()
    processor.images([picture(28, 28)] * 3, "retrieval")
    processor.images([picture(56, 28)], "retrieval")
    assert tokenizer.calls == [1], "the image prompt is tokenised once"


def test_settings_in_the_tokenizer_file_do_not_cut_or_pad(opened: Checkpoint, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(opened.folder / "tokenizer.json"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=512)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    changed = Processor(load_tokenizer(tmp_path / "tokenizer.json"), read_image_config(opened), MAX_LENGTH)
    plain = Processor(load_tokenizer(opened.folder / "tokenizer.json"), read_image_config(opened), MAX_LENGTH)
    for text in SCRIPTS.values():
        assert one_text(changed, text).token_ids.tolist() == one_text(plain, text).token_ids.tolist()


BAD_TEXTS: dict[str, tuple[object, type[InputError], str]] = {
    "nothing": ("", EmptyInputError, "empty"),
    "None": (None, InputError, "NoneType"),
    "a number": (3, InputError, "int"),
    "bytes": (b"text", InputError, "bytes"),
    "a list": (["text"], InputError, "list"),
    "not a number": (float("nan"), InputError, "float"),
    "half a character": ("fine until \ud83e", InputError, "character 11"),
    "the other half": ("\udd8a", InputError, "character 0"),
}


@pytest.mark.parametrize(("text", "kind", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_a_bad_text_is_an_error_in_its_place(
    processor: Processor, text: object, kind: type[InputError], message: str
) -> None:
    before, error, after = processor.texts(["before", text, "after"], "retrieval", "query")
    assert type(error) is kind
    assert message in str(error)
    for prepared, good in ((before, "before"), (after, "after")):
        assert isinstance(prepared, Prepared)
        assert prepared.token_ids.tolist() == one_text(processor, good).token_ids.tolist()


def test_each_bad_text_of_a_batch_is_an_error(processor: Processor) -> None:
    texts = [text for text, _, _ in BAD_TEXTS.values()]
    results = processor.texts(texts, "retrieval", "query")
    assert [type(result) for result in results] == [kind for _, kind, _ in BAD_TEXTS.values()]


@pytest.mark.parametrize(
    "text", ["\x00", "\u200b", ".", "\ufeff", " ", "\n\t\r\n", "\u3000\u00a0\u2003", "\v"], ids=ascii
)
def test_a_text_of_odd_characters_or_white_space_is_a_text(processor: Processor, text: str) -> None:
    assert one_text(processor, text).num_tokens > 2


# Length


@pytest.mark.parametrize("max_length", [1, 2, 7, 100, MAX_LENGTH - 1, MAX_LENGTH])
def test_a_long_text_is_cut_at_the_end(processor: Processor, auto_tokenizer: Any, max_length: int) -> None:
    text = long_text(1000)
    whole = auto_tokenizer("Query: " + text).input_ids
    assert len(whole) > MAX_LENGTH
    prepared = one_text(processor, text, max_length=max_length)
    assert prepared.token_ids.tolist() == whole[:max_length]
    assert prepared.spans == ((0, max_length),)


@pytest.mark.parametrize("max_length", [None, MAX_LENGTH + 1, 10**9])
def test_no_text_is_longer_than_the_model_allows(processor: Processor, max_length: int | None) -> None:
    assert one_text(processor, long_text(1000), max_length=max_length).num_tokens == MAX_LENGTH


def test_a_text_that_may_not_be_cut_is_an_error_with_both_numbers(processor: Processor) -> None:
    text = long_text(30)
    num_tokens = one_text(processor, text).num_tokens
    fits = one_text(processor, text, max_length=num_tokens, truncate=False)
    assert fits.num_tokens == num_tokens
    short, error = processor.texts(["a", text], "retrieval", "query", max_length=num_tokens - 1, truncate=False)
    assert isinstance(short, Prepared)
    assert isinstance(error, TextTooLongError)
    assert re.search(rf"\b{num_tokens} tokens\b.*\b{num_tokens - 1} fit\b", str(error))


@pytest.mark.parametrize("max_length", [0, -1, 1.5, 128.0, "128", True, [128]])
def test_an_invalid_max_length_is_refused(processor: Processor, max_length: Any) -> None:
    with pytest.raises(InputError, match="max_length"):
        processor.texts(["a"], "retrieval", "query", max_length=max_length)
    with pytest.raises(InputError, match="max_length"):
        processor.chunks(["a"], "retrieval", "query", max_length=max_length)


# Chunks


@pytest.mark.parametrize("prompt_name", ["query", "passage"])
def test_chunks_are_one_prompt_with_a_span_for_each(
    processor: Processor, auto_tokenizer: Any, prompt_name: str
) -> None:
    chunks = [*SCRIPTS.values(), "a", " with space before", "a"]
    prepared = processor.chunks(chunks, "code", prompt_name)
    prefix = auto_tokenizer(PREFIXES[prompt_name]).input_ids
    assert prepared.token_ids[: len(prefix)].tolist() == prefix
    assert prepared.spans[0][0] == len(prefix), "the prefix belongs to no chunk"
    assert prepared.spans[-1][1] == prepared.num_tokens
    for chunk, (start, stop) in zip(chunks, prepared.spans, strict=True):
        assert prepared.token_ids[start:stop].tolist() == auto_tokenizer(chunk).input_ids
    assert all(before[1] == after[0] for before, after in zip(prepared.spans, prepared.spans[1:], strict=False))
    assert prepared.token_ids.dtype == np.int32


@pytest.mark.parametrize(("text", "kind", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_a_bad_chunk_is_named_by_its_index(
    processor: Processor, text: object, kind: type[InputError], message: str
) -> None:
    with pytest.raises(kind, match=f"chunk 1: .*{message}"):
        processor.chunks(["fine", text], "retrieval", "query")


def test_chunks_that_do_not_fit_together_are_refused_with_both_numbers(processor: Processor) -> None:
    chunks = [long_text(20)] * 5
    num_tokens = processor.chunks(chunks, "retrieval", "query").num_tokens
    assert processor.chunks(chunks, "retrieval", "query", max_length=num_tokens).num_tokens == num_tokens
    with pytest.raises(TextTooLongError, match=rf"5 chunks have {num_tokens} tokens.* {num_tokens - 1} fit"):
        processor.chunks(chunks, "retrieval", "query", max_length=num_tokens - 1)
