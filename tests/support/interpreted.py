"""Runs functions that launch Triton kernels in Triton's interpreter, which uses numpy on a CPU.

Which is chosen when Triton is imported, so it takes a process of its own: one for all tests of this one.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def interpreted(folder: Path, module: str, function: str, *arguments: Any) -> list[Any]:
    """The arguments after the call, what it has written into them included; then what it returned.

    module: of `jina_embeddings.plugin.kernels`.
    """
    given, found = folder / "given.pt", folder / "found.pt"
    torch.save((module, function, arguments), given)
    _interpreter().submit(_call, str(given), str(found)).result(timeout=300)
    result: list[Any] = torch.load(found, weights_only=False)
    return result


@cache
def _interpreter() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start)


def _start() -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    _mend_interpreter()


def _call(given: str, found: str) -> None:
    module, function, arguments = torch.load(given, weights_only=False)
    result = getattr(importlib.import_module(f"jina_embeddings.plugin.kernels.{module}"), function)(*arguments)
    torch.save([*arguments, result], found)


def _mend_interpreter() -> None:
    """Triton 3.9's gives what it compares the type of the operands, and then refuses it as a mask.

    And where rounding to float8 carries into the exponent, it halves the number.
    """
    from triton.language import float8e4nv, float32, int1
    from triton.runtime import interpreter

    def mended(compare: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *operands: interpreter.TensorHandle(compare(*operands).data, int1)

    builder, convert = interpreter.InterpreterBuilder, interpreter._convert_float
    for name in dir(builder):
        if name.startswith(("create_icmp", "create_fcmp")):
            setattr(builder, name, mended(getattr(builder, name)))

    def convert_float(data: Any, given: Any, wanted: Any, rounding: Any) -> Any:
        if (given, wanted) != (float32, float8e4nv):
            return convert(data, given, wanted, rounding)
        return torch.from_numpy(data).to(torch.float8_e4m3fn).view(torch.uint8).numpy()

    interpreter._convert_float = convert_float
