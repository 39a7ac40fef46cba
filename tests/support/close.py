"""Compares vectors of one engine that differ only by how the inputs were batched."""

from __future__ import annotations

from typing import Any

import numpy as np

CLOSE = 1e-4
"""Largest difference of a value of a normalised vector between two ways to batch; float32 on the CPU."""


def assert_close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, atol=CLOSE)
