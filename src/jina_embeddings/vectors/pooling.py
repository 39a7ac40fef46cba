"""Pooling: from the hidden states of tokens to one vector for each span, on their device.

Built in are `mean` (what the model was trained with), `max`, `first` and `last`. Other functions are registered by
import path, since they may run in another process:

    register_pooling("median", "my_package.pooling:median")

Such a function gets the hidden states of one span, a float32 torch tensor (num_tokens, hidden_size), and returns
(hidden_size,) on the same device.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from ..errors import OptionError, suggest
from ..types import Span

if TYPE_CHECKING:
    import torch

    PoolingFunction = Callable[[torch.Tensor], torch.Tensor]

BUILT_IN = ("mean", "max", "first", "last")

# vLLM's names of the built-in ones.
_ALIASES = {"MEAN": "mean", "MAX": "max", "CLS": "first", "LAST": "last"}
_registered: dict[str, str] = {}


def register_pooling(name: str, path: str) -> None:
    """Make `pooling_type=name` run the function at `path`, `"package.module:function"`.

    Raises:
        OptionError: the name is built in, or there is no function at the path.
    """
    if name in BUILT_IN or name in _ALIASES:
        raise OptionError(f"pooling {name!r} is built in: choose another name")
    _load(path)
    _registered[name] = path


def resolve_pooling(name: str) -> str:
    """The built-in name or the import path of a function, which is what workers are sent.

    name: a built-in name or vLLM's name for it, a registered name, or an import path.

    Raises:
        OptionError: the name is unknown, or there is no function at the path.
    """
    if not isinstance(name, str):
        raise OptionError(f"pooling_type is a str, not {type(name).__name__}{suggest(name, BUILT_IN)}")
    name = _ALIASES.get(name, name)
    if name in BUILT_IN:
        return name
    if name in _registered:
        return _registered[name]
    if ":" in name:
        _load(name)
        return name
    raise OptionError(f"unknown pooling_type {name!r}{suggest(name, (*BUILT_IN, *_registered))}")


@cache
def _load(path: str) -> PoolingFunction:
    module, _, attribute = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(
            f"no pooling function at {path!r} ({error}): write 'package.module:function', importable in every process"
        ) from error
    if not callable(function):
        raise OptionError(f"{path!r} is not callable")
    return function  # type: ignore[no-any-return]


def pool(hidden: torch.Tensor, spans: Sequence[Span], how: str) -> torch.Tensor:
    """One float32 vector for each span.

    Args:
        hidden: (num_tokens, hidden_size) of any floating point dtype; sums are computed in float32.
        spans: token ranges within `hidden`, in any order; they may leave tokens out.
        how: what `resolve_pooling` returned.

    Returns:
        (len(spans), hidden_size) on the device of `hidden`.
    """
    import torch

    starts = [start for start, _ in spans]
    stops = [stop for _, stop in spans]
    if how == "first":
        return hidden[_on_device_of(hidden, torch.tensor(starts))].float()
    if how == "last":
        return hidden[_on_device_of(hidden, torch.tensor(stops) - 1)].float()
    if how not in BUILT_IN:
        function = _load(how)
        pooled = [function(hidden[start:stop].float()) for start, stop in spans]
        for vector in pooled:
            if not isinstance(vector, torch.Tensor) or vector.shape != hidden.shape[-1:]:
                found = f"shape {tuple(vector.shape)}" if isinstance(vector, torch.Tensor) else type(vector).__name__
                raise OptionError(f"pooling {how!r} returned {found}, expected a tensor ({hidden.shape[-1]},)")
        return torch.stack(pooled).float()
    adjoining = starts[1:] == stops[:-1]
    if adjoining:
        rows = hidden[starts[0] : stops[-1]]
    else:
        rows = hidden[_on_device_of(hidden, torch.cat([torch.arange(a, b) for a, b in spans]))]
    lengths = _on_device_of(hidden, torch.tensor([b - a for a, b in spans]))
    # unsafe=True: checking the lengths would wait for the device.
    return torch.segment_reduce(rows.float(), how, lengths=lengths, unsafe=True)


def _on_device_of(hidden: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """The indices on the device of `hidden`; copied from pinned memory, which doesn't wait for kernels on a GPU."""
    return indices.pin_memory().to(hidden.device, non_blocking=True) if hidden.is_cuda else indices.to(hidden.device)
