"""The error of float8 with guessed scales, compared with scales from the largest value; runs on a CPU.

python benchmarks/float8_guesses.py

Rows are as wide as the inside of v4's MLPs. An error is that of the columns that aren't far above the others, relative
to these, in the mean of the rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import silu

from from_tools import write_result
from jina_embeddings.plugin.kernels.fp8 import FLOAT8
from jina_embeddings.plugin.kernels.fp8_guess_triton import MARGIN, SAMPLES

ROWS, WIDTH, LARGEST = 1024, 11_008, 448
APART = WIDTH // SAMPLES
# A column that the guess samples, one that it doesn't, and the factor by which an outlier exceeds the others.
SEEN, UNSEEN, FAR = 5 * APART, 7, 3000
FACTORS = (1 / 16, 1 / 4, 1, 4, 16)


def main() -> None:
    torch.manual_seed(0)
    normal = silu(torch.randn(ROWS, WIDTH)) * torch.randn(ROWS, WIDTH)
    kinds = {
        "normal gates and ups": normal,
        "values of very different sizes": normal * torch.exp(1.5 * torch.randn(ROWS, WIDTH)),
        "one in twenty is not zero": normal * (torch.rand(ROWS, WIDTH) < 0.05),
        f"a column {FAR} times the others, which the guess sees": times(normal, SEEN),
        f"a column {FAR} times the others, which it does not see": times(normal, UNSEEN),
    }
    write_result("float8_guesses", {"found": {name: compare(rows) for name, rows in kinds.items()}})


def times(rows: torch.Tensor, column: int) -> torch.Tensor:
    rows = rows.clone()
    rows[:, column] *= FAR
    return rows


def compare(rows: torch.Tensor) -> dict[str, Any]:
    largest = rows.abs().amax(dim=1, keepdim=True)
    seen = rows[:, ::APART][:, :SAMPLES]
    guess = seen.abs().sqrt().mean(dim=1, keepdim=True).square() * MARGIN
    guesses = {f"guess times {factor:g}": guess * factor for factor in FACTORS}
    # Divided by 2.8, both guesses are equal for normally distributed gates and ups.
    guesses["by root mean square"] = seen.square().mean(dim=1, keepdim=True).sqrt() * (MARGIN / 2.8)
    found: dict[str, Any] = {"exact": {"error": error(rows, largest / LARGEST)}}
    for name, guess in guesses.items():
        lost = largest > guess
        scales = torch.where(lost, largest, guess) / LARGEST
        found[name] = {"error": error(rows, scales), "done again": float(lost.float().mean())}
    return found


def error(rows: torch.Tensor, scales: torch.Tensor) -> float:
    off = (rows / scales).to(FLOAT8).float() * scales - rows
    usual = torch.ones(WIDTH, dtype=torch.bool)
    usual[[SEEN, UNSEEN]] = False
    return float((off[:, usual].norm(dim=1) / rows[:, usual].norm(dim=1)).mean())


if __name__ == "__main__":
    main()
