"""Decoder layers over a pack, compared with the same layers over one prompt at a time, in float64."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fake_decoder import FLOAT8, HIDDEN, fake_fp8_model, fake_model, linear_layers, prompt_alone, rounded_to_fp8
from jina_embeddings.inputs.patches import ImageConfig
from jina_embeddings.plugin.packed.layout import PackMetadata, kept_tokens, positions_in_prompts
from jina_embeddings.plugin.packs import make_pack
from jina_embeddings.types import Prepared

if TYPE_CHECKING:
    from jina_embeddings.plugin.packed.decoder import PackDecoder

# The third prompt shares more with the second than the second with the first.
LENGTHS, SHARED = np.array([7, 4, 4, 5, 3], np.int32), np.array([0, 2, 3, 1, 0], np.int32)

pytest.importorskip("vllm")


@pytest.fixture
def fp8_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretends that the device has fp8 kernels; the same arithmetic is done in float64 instead."""
    monkeypatch.setattr("jina_embeddings.plugin.packed.decoder.runs_on", lambda device, dtype: True)


def decoder_of(model: SimpleNamespace) -> PackDecoder | None:
    from jina_embeddings.plugin.packed.decoder import PackDecoder

    return PackDecoder.of(model)


def prompts() -> tuple[torch.Tensor, ...]:
    """Random prompts; each shares its first `SHARED` tokens with the one before."""
    torch.manual_seed(1)
    made = torch.split(torch.randn(int(LENGTHS.sum()), HIDDEN, dtype=torch.float64), LENGTHS.tolist())
    for before, prompt, count in zip(made, made[1:], SHARED[1:].tolist(), strict=False):
        prompt[:count] = before[:count]
    return made


def packed(decoder: PackDecoder | None) -> torch.Tensor:
    """The last hidden states of the prompts in one pack."""
    assert decoder is not None
    kept = torch.from_numpy(kept_tokens(LENGTHS, SHARED))
    positions = torch.from_numpy(positions_in_prompts(LENGTHS))[kept].expand(3, -1)
    pack = PackMetadata.of_prompts(LENGTHS, SHARED, torch.device("cpu"))
    return pack.whole(decoder(torch.cat(prompts())[kept], positions, pack))


def test_a_pack_has_the_hidden_states_of_each_prompt_alone() -> None:
    model = fake_model()
    expected = torch.cat([prompt_alone(model, prompt) for prompt in prompts()])
    assert torch.allclose(packed(decoder_of(model)), expected, atol=1e-10)


@pytest.mark.usefixtures("fp8_runs")
@pytest.mark.parametrize("per_channel", [False, True])
def test_with_fp8_weights_the_input_of_every_product_is_quantised_by_row(per_channel: bool) -> None:
    model = fake_fp8_model(per_channel=per_channel)
    expected = torch.cat([prompt_alone(model, prompt, rounded_to_fp8) for prompt in prompts()])
    assert torch.allclose(packed(decoder_of(model)), expected, atol=1e-10)


@pytest.mark.usefixtures("fp8_runs")
def test_with_fp8_weights_hidden_states_are_near_unquantised_ones() -> None:
    states = packed(decoder_of(fake_fp8_model()))
    expected = torch.cat([prompt_alone(fake_model(), prompt) for prompt in prompts()])
    assert float((states - expected).norm() / expected.norm()) < 0.1


@pytest.mark.usefixtures("fp8_runs")
def test_weights_and_scales_swapped_in_by_a_bank_are_used() -> None:
    model = fake_fp8_model()
    decoder = decoder_of(model)
    packed(decoder)
    for layer in linear_layers(model):
        layer.weight, layer.weight_scale = layer.weight.t().flip(0).t(), layer.weight_scale * 1.5
        assert layer.weight.dtype == FLOAT8
    expected = torch.cat([prompt_alone(model, prompt, rounded_to_fp8) for prompt in prompts()])
    assert torch.allclose(packed(decoder), expected, atol=1e-10)


@pytest.mark.parametrize("change", [{"tp_size": 2}, {"quant_method": object()}])
def test_sharded_or_otherwise_quantised_layers_are_left_to_vllm(change: dict[str, Any]) -> None:
    model = fake_model()
    vars(linear_layers(model)[0]).update(change)
    assert decoder_of(model) is None


@pytest.mark.usefixtures("fp8_runs")
@pytest.mark.parametrize(
    "change",
    [
        {"tp_size": 2},
        {"input_scale": torch.ones(1)},
        {"weight_scale": None},
        {"weight_scale": torch.ones(8, 1)},
        {"weight": None},
        {"weight": torch.zeros(64, 48).to(FLOAT8)},
        {"output_size_per_partition": 60},
    ],
)
def test_fp8_weights_of_which_one_has_another_layout_are_left_to_vllm(change: dict[str, Any]) -> None:
    model = fake_fp8_model()
    assert decoder_of(model) is not None
    vars(linear_layers(model)[0]).update(change)
    assert decoder_of(model) is None


def test_fp8_without_its_kernels_is_left_to_vllm() -> None:
    assert decoder_of(fake_fp8_model()) is None


@pytest.mark.parametrize(("whole", "by"), [(True, "decoder"), (False, "vLLM's model")])
def test_a_pack_runs_in_our_decoder_where_the_weights_contain_the_adapter(
    whole: bool, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jina_embeddings.plugin.packed import worker as packed

    ran: list[str] = []

    class Model:
        def embed_input_ids(self, ids: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(ids), HIDDEN)

        def __call__(self, *, inputs_embeds: torch.Tensor, **_: Any) -> torch.Tensor:
            ran.append("vLLM's model")
            return inputs_embeds

    def decoder(embeds: torch.Tensor, *_: Any) -> torch.Tensor:
        ran.append("decoder")
        return embeds

    monkeypatch.setattr(packed, "set_forward_context", lambda *_, **__: nullcontext())
    runner = SimpleNamespace(
        _model=Model(),
        _decoder=decoder,
        _vision=SimpleNamespace(features=lambda images: [], merge_size=2),
        device=torch.device("cpu"),
        _positions=torch.zeros((3, 64), dtype=torch.int64),
        _config=None,
        _layers=(),
    )
    prompts = [
        Prepared(token_ids=np.arange(length, dtype=np.int32), task="code", spans=((0, length),)) for length in (4, 3)
    ]
    pack = make_pack(prompts, ImageConfig(), half=False)
    states = packed.PackRunner._hidden_states(runner, pack, whole)  # type: ignore[arg-type]
    assert ran == [by]
    assert states.shape == (7, HIDDEN)
