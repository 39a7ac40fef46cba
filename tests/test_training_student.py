"""The training code's own model and the product's engine are one function of the same weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

TRAINING = Path(__file__).resolve().parents[1] / "training"
sys.path.insert(0, str(TRAINING))

from adapter_stage import adapter_tensors, remove_adapter  # noqa: E402
from export import export  # noqa: E402
from jina_embeddings import JinaEmbeddings  # noqa: E402
from jina_embeddings.prompts import IMAGE_TEMPLATE  # noqa: E402
from make_tokenizer import train_tokenizer  # noqa: E402
from student import Student, pool  # noqa: E402
from token_losses import token_vectors  # noqa: E402
from vision_stage import Template, follow_words, image_states, image_vectors  # noqa: E402

TASKS = ("retrieval", "text-matching", "code")
TEXTS = ["A boat near the harbour.", "def add(a, b):\n    return a + b", "Züge, Straßen und Bäume"]
COSINE = 0.9999


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A student with drawn weights and adapters, exported, and what it answers itself for `retrieval`."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pocket")
    tokenizer = train_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    student = Student().eval()
    with torch.no_grad():
        student.model.embed_tokens.weight.normal_()
        for parameter in student.parameters():
            parameter.copy_(parameter.half())
    adapters = {}
    for task in reversed(TASKS):
        remove_adapter(student)
        for _, layer in student.adapters():
            layer.adapt(16)
            layer.lora_a.data = layer.lora_a.data.half().float()
            layer.lora_b.data.normal_(std=0.05).copy_(layer.lora_b.data.half())
        adapters |= adapter_tensors(student, task)
    export(student, adapters, folder / "tokenizer.json", folder / "checkpoint")
    model = JinaEmbeddings(folder / "checkpoint", engine="torch")
    yield student, tokenizer, model
    model.close()


def cosines(a, b):
    return (np.asarray(a) * np.asarray(b)).sum(-1)


@torch.no_grad()
def test_texts_agree(trained):
    student, tokenizer, model = trained
    for text, expected in zip(TEXTS, model.encode_text(TEXTS, task="retrieval", prompt_name="passage"), strict=True):
        ids = torch.tensor([tokenizer.encode("Passage: " + text).ids])
        vector = pool(student.states(ids), torch.tensor([ids.shape[1]]))
        assert cosines(vector[0], expected) > COSINE


@torch.no_grad()
def test_padding_changes_nothing(trained):
    student, tokenizer, _ = trained
    ids = torch.tensor([tokenizer.encode("Query: " + TEXTS[0]).ids])
    padded = torch.cat([ids, torch.zeros(1, 9, dtype=torch.long)], 1)
    length = torch.tensor([ids.shape[1]])
    assert torch.allclose(pool(student.states(ids), length), pool(student.states(padded), length), atol=1e-5)


@torch.no_grad()
def test_token_vectors_agree(trained):
    student, tokenizer, model = trained
    ids = torch.tensor([tokenizer.encode("Query: " + TEXTS[0]).ids])
    expected = model.encode_text(TEXTS[0], task="retrieval", return_multivector=True)
    assert cosines(token_vectors(student, student.states(ids))[0], expected).min() > COSINE


@torch.no_grad()
def test_images_agree(trained):
    student, tokenizer, model = trained
    pixels = np.random.default_rng(0).integers(0, 256, (168, 224, 3), dtype=np.uint8)
    ids = tokenizer.encode(IMAGE_TEMPLATE).ids
    at = ids.index(tokenizer.token_to_id("<|image_pad|>"))
    template = Template(torch.tensor(ids[:at]), torch.tensor(ids[at + 1 :]))
    states, tokens = image_states(student, torch.from_numpy(pixels)[None], template)
    expected = model.encode_image(Image.fromarray(pixels), task="retrieval")
    assert cosines(image_vectors(states, tokens, template)[0], expected) > COSINE


def test_the_tower_goes_where_the_words_went():
    torch.manual_seed(1)
    student = Student()
    words, last = student.model.embed_tokens.weight, student.visual.merger.mlp[2]
    before, squares = words.detach().clone(), torch.randn(5, last.in_features)
    turned = torch.linalg.qr(torch.randn(384, 384)).Q
    with torch.no_grad():
        expected = last(squares) @ turned + 0.5
        words.copy_(before @ turned + 0.5)
    follow_words(student, before)
    assert torch.allclose(last(squares), expected, atol=1e-4)
