"""Writes a student as a checkpoint in the published multi-task layout, in float16."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from make_config import write_json
from make_tokenizer import write_tokenizer
from sizes import pocket_adapter, pocket_config, pocket_preprocessor
from student import Student


def export(student: Student, adapters: dict[str, Tensor], tokenizer: Path, folder: Path) -> None:
    """Writes config, tokenizer, weights and adapters into `folder`."""
    (folder / "adapters").mkdir(parents=True, exist_ok=True)
    ids = write_tokenizer(folder, Tokenizer.from_file(str(tokenizer)))
    write_json(folder / "config.json", pocket_config(ids))
    write_json(folder / "preprocessor_config.json", pocket_preprocessor())
    write_json(folder / "adapters" / "adapter_config.json", pocket_adapter())
    weights = {
        name: tensor.detach().half().contiguous().cpu()
        for name, tensor in student.state_dict().items()
        if "lora" not in name
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_file(adapters, folder / "adapters" / "adapter_model.safetensors", metadata={"format": "pt"})
