"""Imports what the benchmarks use from tools/, which is no package: result files and untrained checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from make_checkpoint import lora_module, make_checkpoint, tensor_shapes
from results import RESULTS, circumstances, device, write_result

__all__ = ["RESULTS", "circumstances", "device", "lora_module", "make_checkpoint", "tensor_shapes", "write_result"]
