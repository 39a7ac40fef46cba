"""What type checkers are told that a call returns, which is what it returns; mypy reads `assert_type` in here."""

from __future__ import annotations

import asyncio
from typing import Any, assert_type

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from jina_embeddings import JinaEmbeddings
from jina_embeddings.types import Partial

Floats = NDArray[np.float32]
IMAGE = Image.new("RGB", (56, 56))


def is_floats(value: object, ndim: int) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float32 and value.ndim == ndim


def test_dense_vectors_are_arrays(fake_model: JinaEmbeddings) -> None:
    assert is_floats(assert_type(fake_model.encode_text("a"), Floats), 1)
    assert is_floats(assert_type(fake_model.encode_text(["a"], "code", prompt_name="passage"), Floats), 2)
    assert is_floats(assert_type(fake_model.encode_image(IMAGE), Floats), 1)
    assert is_floats(assert_type(fake_model.encode_image([IMAGE], max_pixels=3136), Floats), 2)
    assert is_floats(assert_type(fake_model.encode({"text": "a"}, task="code"), Floats), 1)
    assert is_floats(assert_type(fake_model.encode(["a", IMAGE]), Floats), 2)


def test_multivectors_are_a_list_of_arrays_and_one_alone_is_an_array(fake_model: JinaEmbeddings) -> None:
    one = assert_type(fake_model.encode_text("a b", return_multivector=True), Floats)
    several = assert_type(fake_model.encode_text(["a", "b"], return_multivector=True), list[Floats])
    images = assert_type(fake_model.encode_image([IMAGE], return_multivector=True), list[Floats])
    mixed = assert_type(fake_model.encode(["a", IMAGE], return_multivector=True), list[Floats])
    assert is_floats(one, 2)
    assert all(isinstance(found, list) and is_floats(found[0], 2) for found in (several, images, mixed))


def test_without_numpy_they_are_tensors(fake_model: JinaEmbeddings) -> None:
    one = assert_type(fake_model.encode_text("a", return_numpy=False), torch.Tensor)
    several = assert_type(fake_model.encode_text(["a"], return_numpy=False), list[torch.Tensor])
    tokens = assert_type(fake_model.encode(["a"], return_numpy=False, return_multivector=True), list[torch.Tensor])
    assert isinstance(one, torch.Tensor)
    assert all(isinstance(found, list) and isinstance(found[0], torch.Tensor) for found in (several, tokens))


def test_smaller_forms_have_their_own_types(fake_model: JinaEmbeddings) -> None:
    signed = assert_type(fake_model.encode_text(["a"], embedding_type="binary"), NDArray[np.int8])
    unsigned = assert_type(fake_model.encode_image([IMAGE], embedding_type="ubinary"), NDArray[np.uint8])
    string = assert_type(fake_model.encode("a", embedding_type="base64"), str)
    strings = assert_type(fake_model.encode_text(["a"], embedding_type="base64"), list[str])
    assert (signed.dtype.name, unsigned.dtype.name) == ("int8", "uint8")
    assert isinstance(string, str)
    assert strings == [string]


def test_what_skips_is_partial(fake_model: JinaEmbeddings) -> None:
    found = assert_type(fake_model.encode(["a", b"no image"], on_error="skip"), Partial)
    assert found.kept == [0]


def test_what_is_not_known_before_the_call_may_be_anything(fake_model: JinaEmbeddings) -> None:
    form: Any = True
    for flag in (form, False):
        assert_type(fake_model.encode_text(["a"], None, None, None, flag), Any)


def test_asyncio_returns_the_same_types(fake_model: JinaEmbeddings) -> None:
    async def calls() -> None:
        assert is_floats(assert_type(await fake_model.aencode_text("a", "code"), Floats), 1)
        images = assert_type(await fake_model.aencode_image([IMAGE], return_multivector=True), list[Floats])
        tensors = assert_type(await fake_model.aencode(["a"], return_numpy=False), list[torch.Tensor])
        partial = assert_type(await fake_model.aencode_text(["a"], on_error="skip"), Partial)
        assert is_floats(images[0], 2)
        assert isinstance(tensors[0], torch.Tensor)
        assert partial.kept == [0]

    asyncio.run(calls())
