"""Pooling of spans, compared with a simple loop; and registered functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch

from jina_embeddings import register_pooling
from jina_embeddings.errors import OptionError
from jina_embeddings.vectors import pooling
from jina_embeddings.vectors.pooling import BUILT_IN, pool, resolve_pooling

NAIVE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda rows: rows.sum(dim=0) / len(rows),
    "max": lambda rows: rows.max(dim=0).values,
    "first": lambda rows: rows[0],
    "last": lambda rows: rows[-1],
}

SPANS = {
    "whole": [(0, 20)],
    "part": [(3, 9)],
    "one token": [(7, 8)],
    "last token": [(19, 20)],
    "adjoining": [(0, 5), (5, 6), (6, 20)],
    "adjoining, not from the start": [(4, 5), (5, 11), (11, 18)],
    "gapped": [(0, 4), (6, 9), (15, 20)],
    "overlapping": [(0, 10), (5, 15), (5, 20)],
    "nested": [(0, 20), (5, 6)],
    "unordered": [(12, 20), (0, 3), (5, 9)],
    "unordered, meeting end to start": [(10, 20), (0, 10)],
    "repeated": [(2, 5), (2, 5)],
}


@pytest.fixture(params=[torch.float32, torch.bfloat16, torch.float16], ids=str)
def hidden(request: pytest.FixtureRequest) -> torch.Tensor:
    return torch.randn(20, 6, generator=torch.Generator().manual_seed(0)).to(request.param)


@pytest.mark.parametrize("how", BUILT_IN)
@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS.keys())
def test_each_span_is_pooled_by_itself(hidden: torch.Tensor, spans: list[tuple[int, int]], how: str) -> None:
    expected = torch.stack([NAIVE[how](hidden[start:stop].float()) for start, stop in spans])
    vectors = pool(hidden, spans, how)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, expected, atol=1e-6, rtol=1e-6)


def test_a_mean_of_many_half_precision_tokens_is_summed_in_float32() -> None:
    """A sum of ones in bfloat16 would stop growing at 256."""
    hidden = torch.ones(5000, 2, dtype=torch.bfloat16)
    torch.testing.assert_close(pool(hidden, [(0, 5000)], "mean"), torch.ones(1, 2))


def test_the_hidden_states_are_left_as_they_are(hidden: torch.Tensor) -> None:
    before = hidden.clone()
    for how in BUILT_IN:
        pool(hidden, [(0, 20)], how).zero_()
    assert torch.equal(hidden, before)


def test_a_nan_outside_a_span_does_not_reach_its_vector() -> None:
    hidden = torch.ones(6, 3)
    hidden[2] = torch.nan
    for how in BUILT_IN:
        vectors = pool(hidden, [(0, 2), (2, 3), (3, 6)], how)
        assert vectors.isfinite().all(dim=1).tolist() == [True, False, True]


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """An importable module with functions as a user might write them, good and bad."""
    module = ModuleType("functions_of_a_user")
    module.median = lambda hidden: hidden.median(dim=0).values  # type: ignore[attr-defined]
    module.scalar = lambda hidden: hidden.mean()  # type: ignore[attr-defined]
    module.unpooled = lambda hidden: hidden  # type: ignore[attr-defined]
    module.narrow = lambda hidden: hidden[0, :-1]  # type: ignore[attr-defined]
    module.double = lambda hidden: hidden.double().mean(dim=0)  # type: ignore[attr-defined]
    module.no_tensor = lambda hidden: hidden.mean(dim=0).tolist()  # type: ignore[attr-defined]
    module.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(pooling, "_registered", {})
    pooling._load.cache_clear()
    yield module
    pooling._load.cache_clear()


def test_a_registered_function_is_called_for_each_span(hidden: torch.Tensor, own_module: ModuleType) -> None:
    register_pooling("median", "functions_of_a_user:median")
    how = resolve_pooling("median")
    assert how == "functions_of_a_user:median", "what travels to other processes is the import path"
    spans = SPANS["overlapping"]
    expected = torch.stack([hidden[start:stop].float().median(dim=0).values for start, stop in spans])
    assert torch.equal(pool(hidden, spans, how), expected)


def test_a_function_gets_float32_and_gives_float32(hidden: torch.Tensor, own_module: ModuleType) -> None:
    seen: list[torch.dtype] = []

    def median(rows: torch.Tensor) -> torch.Tensor:
        seen.append(rows.dtype)
        return rows[0]

    own_module.median = median  # type: ignore[attr-defined]
    pool(hidden, [(0, 2)], resolve_pooling("functions_of_a_user:median"))
    assert seen == [torch.float32]
    assert pool(hidden, [(0, 2)], resolve_pooling("functions_of_a_user:double")).dtype == torch.float32


@pytest.mark.parametrize("name", ["scalar", "unpooled", "narrow", "no_tensor"])
def test_a_function_that_returns_anything_but_a_vector_is_named(own_module: ModuleType, name: str) -> None:
    path = resolve_pooling(f"functions_of_a_user:{name}")
    with pytest.raises(OptionError, match=f"{path}.*6"):
        pool(torch.ones(4, 6), [(0, 4)], path)


@pytest.mark.parametrize(
    ("name", "resolved"), [("MEAN", "mean"), ("MAX", "max"), ("CLS", "first"), ("LAST", "last"), ("mean", "mean")]
)
def test_the_names_that_vllm_uses_mean_the_same(name: str, resolved: str) -> None:
    assert resolve_pooling(name) == resolved


@pytest.mark.parametrize("name", [*BUILT_IN, "MEAN", "CLS"])
def test_a_built_in_name_can_not_be_taken(own_module: ModuleType, name: str) -> None:
    with pytest.raises(OptionError, match=name):
        register_pooling(name, "functions_of_a_user:median")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "functions_of_a_user",
        "functions_of_a_user:",
        "functions_of_a_user:missing",
        "functions_of_a_user:number",
        "no_such_module_anywhere:median",
        ":median",
    ],
)
def test_a_path_without_a_function_is_refused_when_it_is_registered(own_module: ModuleType, path: str) -> None:
    with pytest.raises(OptionError):
        register_pooling("own", path)
    with pytest.raises(OptionError, match="own"):
        resolve_pooling("own")


@pytest.mark.parametrize(("name", "meant"), [("maen", "mean"), ("lasst", "last"), ("own_on", "own_one")])
def test_an_unknown_name_gets_a_suggestion(own_module: ModuleType, name: str, meant: str) -> None:
    register_pooling("own_one", "functions_of_a_user:median")
    with pytest.raises(OptionError, match=f"'{name}'; did you mean '{meant}'"):
        resolve_pooling(name)


@pytest.mark.parametrize("name", [None, 3, ["mean"]])
def test_a_name_that_is_no_str_is_an_option_error(name: object) -> None:
    with pytest.raises(OptionError, match="pooling"):
        resolve_pooling(name)  # type: ignore[arg-type]


def test_a_path_is_imported_before_the_model_loads(own_module: ModuleType) -> None:
    with pytest.raises(OptionError, match="no_such_module_anywhere"):
        resolve_pooling("no_such_module_anywhere:median")
