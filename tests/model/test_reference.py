"""The checkpoint maker and the reference, which all other tests of vectors depend on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel

from make_checkpoint import lora_shapes, main, make_checkpoint, split_shards, tensor_shapes
from make_config import SIZES, TASKS, config_json
from make_tokenizer import ADDED_TOKENS, SENTENCES, SPECIAL_TOKENS
from reference import LORA_NAME, MAX_TEXT_TOKENS, PROJECTOR, Reference, model_name, normalized, read_weights

SAME = 1e-6
"""Largest 1 - cosine between two float32 runs of one model."""

MERGED_BFLOAT16 = 1e-4
"""Largest 1 - cosine after the merged weights were rounded to bfloat16."""

TEXT = "the fastest way to sort a list"

Maker = Callable[..., Path]
Loader = Callable[..., Reference]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """`make_checkpoint` into a temporary folder, once for each set of options."""

    @cache
    def make(**options: Any) -> Path:
        return make_checkpoint(tmp_path_factory.mktemp("checkpoint"), **{"dtype": "float32", **options})

    return make


@pytest.fixture(scope="module")
def reference(checkpoint: Maker) -> Loader:
    @cache
    def load(task: str = "retrieval", **options: Any) -> Reference:
        return Reference(checkpoint(**options), task)

    return load


def picture(seed: int, width: int = 200, height: int = 150) -> Image.Image:
    """An image of a few coloured rectangles."""
    fields = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(fields).resize((width, height), Image.Resampling.NEAREST)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest 1 - cosine of two normalised vectors, or of the rows of two arrays."""
    assert a.shape == b.shape
    return float((1 - (a.astype(np.float64) * b).sum(axis=-1)).max())


def everything(model: Reference) -> list[np.ndarray]:
    return [
        model.text(TEXT),
        model.image(picture(0)),
        model.text_multivector(TEXT),
        model.image_multivector(picture(0)),
    ]


@pytest.mark.parametrize(
    "options",
    [{"shards": 5}, {"names": "current", "shards": 94}, {"tasks": ("code", "retrieval")}],
    ids=str,
)
def test_names_shards_and_other_tasks_do_not_change_the_model(reference: Loader, options: dict[str, Any]) -> None:
    for ours, theirs in zip(everything(reference(**options)), everything(reference()), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_seed_is_another_model(reference: Loader) -> None:
    assert distance(reference(seed=1).text(TEXT), reference().text(TEXT)) > 0.3


@pytest.mark.parametrize(
    ("task", "dtype", "limit"),
    [*((task, "float32", SAME) for task in TASKS), ("retrieval", "bfloat16", MERGED_BFLOAT16)],
)
def test_merged_checkpoint_is_the_multi_task_one_with_that_task(
    checkpoint: Maker, reference: Loader, task: str, dtype: str, limit: float
) -> None:
    merged = Reference(checkpoint(layout="merged", task=task, dtype=dtype, lora_alpha=16), task)
    multi_task = reference(task, dtype=dtype, lora_alpha=16)
    assert distance(merged.text(TEXT), multi_task.text(TEXT)) < limit
    assert distance(merged.image(picture(0)), multi_task.image(picture(0))) < limit
    with pytest.raises(ValueError, match="no multi-vectors"):
        merged.text_multivector(TEXT)


@pytest.mark.parametrize("lora_alpha", [8, 16])
def test_merged_weights_equal_unmerged_lora(checkpoint: Maker, reference: Loader, lora_alpha: int) -> None:
    folder = checkpoint(lora_alpha=lora_alpha)
    unmerged = Reference(folder, "code")
    base = read_weights(folder)
    loras: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in load_file(folder / "adapters" / "adapter_model.safetensors").items():
        match = LORA_NAME.fullmatch(name)
        assert match
        if match["task"] == "code":
            loras.setdefault(model_name(match["module"]), {})[match["side"]] = tensor
    projector_lora = loras.pop(PROJECTOR)

    for name, sides in loras.items():
        module = unmerged.model.get_submodule(name)
        module.weight = torch.nn.Parameter(base[f"{name}.weight"])

        def add_lora(_: Any, inputs: Any, output: Any, sides: Any = sides) -> Any:
            return output + lora_alpha / 8 * (inputs[0] @ sides["A"].T @ sides["B"].T)

        module.register_forward_hook(add_lora)

    merged = reference("code", lora_alpha=lora_alpha)
    assert len(loras) == 3 * 7
    assert distance(unmerged.text(TEXT), merged.text(TEXT)) < SAME
    assert distance(unmerged.image(picture(0)), merged.image(picture(0))) < SAME

    hidden = unmerged.hidden_states(unmerged.text_ids(TEXT, "query"))
    projected = hidden @ base[f"{PROJECTOR}.weight"].T + base[f"{PROJECTOR}.bias"]
    projected += lora_alpha / 8 * (hidden @ projector_lora["A"].T @ projector_lora["B"].T)
    assert distance(normalized(projected), merged.text_multivector(TEXT)) < SAME


def test_tasks_texts_and_images_are_far_apart(reference: Loader) -> None:
    retrieval, matching, code = (reference(task) for task in TASKS)
    texts = [TEXT, "a red boat near the harbour", "def search(query): return index", "快速搜索", "x"]
    vectors = np.stack([retrieval.text(text) for text in texts])
    assert np.triu(vectors @ vectors.T, 1).max() < 0.9
    images = np.stack([retrieval.image(picture(seed)) for seed in range(4)])
    assert np.triu(images @ images.T, 1).max() < 0.9
    for one, other in [(retrieval, matching), (retrieval, code), (matching, code)]:
        for ours, theirs in zip(everything(one), everything(other), strict=True):
            assert distance(ours, theirs) > 0.05


def test_prompts_have_the_published_tokens(reference: Loader) -> None:
    model, matching = reference(), reference("text-matching")
    assert model.tokenizer.decode(model.text_ids(TEXT, "passage")) == f"Passage: {TEXT}"
    assert model.tokenizer.decode(matching.text_ids(TEXT, "passage")) == f"Query: {TEXT}"
    assert distance(model.text(TEXT, "query"), model.text(TEXT, "passage")) > 0.05
    with pytest.raises(KeyError):
        matching.text(TEXT, "code")

    ids, pixels = model.image_inputs(picture(0, width=84, height=56))
    expected = "<|im_start|>user\n<|vision_start|>" + "<|image_pad|>" * 6
    expected += "<|vision_end|>Describe the image.<|im_end|>\n"
    assert model.tokenizer.decode(ids) == expected
    assert pixels["image_grid_thw"].tolist() == [[1, 4, 6]]
    hidden = model.hidden_states(ids, **pixels)
    # 2 by 3 merged patches take 6 tokens and 3 positions.
    assert model.model.rope_deltas.item() == 3 - 6
    start = ids.index(model.tokenizer.convert_tokens_to_ids("<|vision_start|>"))
    assert distance(normalized(hidden[start : start + 8].mean(dim=0)), model.image(picture(0, 84, 56))) < SAME


def test_large_and_small_images_keep_the_pixel_limits(reference: Loader) -> None:
    model = reference()
    grids = [model.image_inputs(picture(0, *size))[1]["image_grid_thw"].prod() for size in [(2000, 1500), (5, 5)]]
    assert 700 * 4 < grids[0] <= 768 * 4
    assert grids[1] == 4 * 4
    assert model.image(picture(0, 2000, 1500)).shape == (128,)


def test_an_image_does_not_change_the_text_after_it(reference: Loader) -> None:
    model = reference()
    before = model.text(TEXT)
    model.image(picture(0))
    np.testing.assert_array_equal(model.text(TEXT), before)


def test_pooling_and_late_chunking_by_hand(reference: Loader) -> None:
    model = reference()
    hidden = model.hidden_states(model.text_ids(TEXT, "query"))
    for how, pooled in [("max", hidden.max(dim=0).values), ("first", hidden[0]), ("last", hidden[-1])]:
        assert distance(model.text_pooled(TEXT, how), normalized(pooled)) < SAME
    assert distance(model.text_pooled(TEXT, "mean"), model.text(TEXT)) < SAME

    first, second = model.chunks(["a red boat", " near the harbour"], "query")
    prefix, one, two = (len(model.token_ids(text)) for text in ["Query: ", "a red boat", " near the harbour"])
    ids = [*model.token_ids("Query: "), *model.token_ids("a red boat"), *model.token_ids(" near the harbour")]
    hidden = model.hidden_states(ids)
    assert distance(first, normalized(hidden[prefix : prefix + one].mean(dim=0))) < SAME
    assert distance(second, normalized(hidden[-two:].mean(dim=0))) < SAME
    # Attention is causal: what follows a chunk does not change it.
    assert distance(first, model.chunks(["a red boat"], "query")[0]) < SAME


def test_vectors_have_length_one_and_texts_are_cut(reference: Loader) -> None:
    model = reference()
    for vectors in everything(model):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-6)
        assert vectors.dtype == np.float32
    assert model.text_multivector(TEXT, max_length=4).shape == (4, 32)
    assert len(model.text_ids("word " * MAX_TEXT_TOKENS, "query")) == MAX_TEXT_TOKENS


def test_eager_attention_agrees(checkpoint: Maker, reference: Loader) -> None:
    eager = Reference(checkpoint(), attention="eager")
    for ours, theirs in zip(everything(eager), everything(reference()), strict=True):
        assert distance(ours, theirs) < SAME


def test_missing_and_unexpected_tensors_are_refused(checkpoint: Maker, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "broken", dtype="float32")
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()}, folder / "model.safetensors")
    Reference(folder)
    save_file({**weights, "model.extra.weight": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(RuntimeError, match="Unexpected key"):
        Reference(folder)
    norm = weights.pop("model.norm.weight")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(RuntimeError, match="Missing key"):
        Reference(folder)
    save_file({**weights, "model.norm.weight": norm}, folder / "model.safetensors")

    adapter = folder / "adapters" / "adapter_model.safetensors"
    loras = load_file(adapter)
    loras.pop("base_model.model.model.language_model.layers.1.mlp.up_proj.lora_B.code.weight")
    save_file(loras, adapter)
    Reference(folder, "retrieval")
    with pytest.raises(ValueError, match=r"lora_B of code.*layers\.1\.mlp\.up_proj"):
        Reference(folder, "code")
    with pytest.raises(ValueError, match="no adapter for the task 'code'"):
        Reference(checkpoint(tasks=("retrieval",)), "code")


def test_the_tokenizer_keeps_text_in_every_script(checkpoint: Maker) -> None:
    folder = checkpoint()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    unseen = (
        "Qué día",
        "Привет мир",
        "Καλημέρα",
        "مرحبا",
        "שלום",
        "नमस्ते",
        "স্বাগতম",
        "வணக்கம்",
        "สวัสดี",
        "你好",
        "こんにちは",
        "안녕",
    )
    for text in (*SENTENCES, *unseen, "👋🏽 \t tabs\r\n\n  and   spaces ", "<|im_start|>user\n<|im_end|>"):
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids) == text
        assert plain.encode(text).ids == ids


def test_the_config_has_the_tokenizers_ids(checkpoint: Maker) -> None:
    folder = checkpoint()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    ids = dict(zip(SPECIAL_TOKENS, tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)), strict=True))
    assert config.image_token_id == ids["<|image_pad|>"]
    assert config.video_token_id == ids["<|video_pad|>"]
    assert config.vision_start_token_id == ids["<|vision_start|>"]
    assert config.vision_end_token_id == ids["<|vision_end|>"]
    assert config.text_config.bos_token_id == ids["<|endoftext|>"] == tokenizer.pad_token_id
    assert config.text_config.eos_token_id == ids["<|im_end|>"] == tokenizer.eos_token_id
    assert set(tokenizer.all_special_tokens) == set(SPECIAL_TOKENS)
    for token in SPECIAL_TOKENS + ADDED_TOKENS:
        assert tokenizer.convert_ids_to_tokens(tokenizer.encode(token)) == [token]
    assert len(tokenizer) <= config.text_config.vocab_size
    assert max(ids.values()) < 100_000, "a real id in the code would go unseen"


def test_flat_and_nested_config_agree(checkpoint: Maker) -> None:
    content = json.loads((checkpoint() / "config.json").read_text())
    nested = {key: value for key, value in content["text_config"].items() if key != "model_type"}
    assert nested == {key: content[key] for key in nested}
    assert content["architectures"] == ["JinaEmbeddingsV4Model"]
    config = AutoConfig.from_pretrained(checkpoint())
    assert type(config) is Qwen2_5_VLConfig
    assert config.text_config.rope_parameters["mrope_section"] == [4, 6, 6]


def test_chat_template(checkpoint: Maker) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint())
    parts = [{"type": "image"}, {"type": "text", "text": "Describe the image."}]
    chat = [{"role": "system", "content": "Be brief.\n"}, {"role": "user", "content": parts}]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.\n<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_v4_has_the_published_shapes(checkpoint: Maker) -> None:
    shapes = tensor_shapes("v4")
    base = {name: shape for name, shape in shapes.items() if not name.startswith(PROJECTOR)}
    assert sum(map(math.prod, base.values())) == pytest.approx(3.75e9, rel=0.005)
    loras = lora_shapes("v4")
    assert len(loras) == 1518
    assert loras[f"base_model.model.{PROJECTOR}.lora_A.code.weight"] == (32, 2048)
    assert loras[f"base_model.model.{PROJECTOR}.lora_B.code.weight"] == (128, 32)

    ids = {token: index for index, token in enumerate(SPECIAL_TOKENS)}
    config = Qwen2_5_VLConfig(**config_json(SIZES["v4"], ids, layout="merged", dtype="bfloat16"))
    with torch.device("meta"):
        model = Qwen2_5_VLModel(config)
    assert {f"model.{name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()} == base


@pytest.mark.parametrize("shards", [1, 2, 4, 93, 94])
def test_shards_hold_every_tensor_once(shards: int) -> None:
    shapes = tensor_shapes("tiny")
    parts = split_shards(shapes, shards)
    assert len(parts) == shards
    assert all(parts)
    assert [name for part in parts for name in part] == list(shapes)


def test_the_command_writes_what_the_function_does(
    checkpoint: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--names", "current", "--shards", "2", "--dtype", "float16", "--tasks", "code", "--lora-alpha", "4"]
    monkeypatch.setattr("sys.argv", ["make_checkpoint.py", str(tmp_path), *arguments])
    main()
    expected = checkpoint(names="current", shards=2, dtype="float16", tasks=("code",), lora_alpha=4)
    files = sorted(path.relative_to(expected) for path in expected.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((tmp_path / file).read_bytes() == (expected / file).read_bytes() for file in files)


def test_wrong_options_are_refused(checkpoint: Maker, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        make_checkpoint(checkpoint())
    with pytest.raises(ValueError, match="no adapter to merge for the task 'other'"):
        make_checkpoint(tmp_path, layout="merged", task="other")
    with pytest.raises(ValueError, match="95"):
        split_shards(tensor_shapes("tiny"), 95)
