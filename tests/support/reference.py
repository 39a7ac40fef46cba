"""The independent reference: transformers' own Qwen2.5-VL, one input at a time, in float32 on the CPU.

It shares no code with the library: it reads the checkpoint, merges the adapter, writes the prompts and pools
by itself, so that a mistake has to be made twice to stay unseen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    FloatArray = NDArray[np.float32]

Tensors = dict[str, torch.Tensor]

MAX_TEXT_TOKENS = 32768
PREFIXES = {"query": "Query: ", "passage": "Passage: "}
IMAGE_PROMPT = "<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>Describe the image.<|im_end|>\n"

PROJECTOR = "multi_vector_projector"
LORA_NAME = re.compile(
    r"base_model\.model\.(?P<module>(?:model\.(?:language_model\.)?layers\.\d+\.(?:self_attn|mlp)\.\w+)"
    rf"|{PROJECTOR})\.lora_(?P<side>[AB])\.(?P<task>[\w-]+)\.weight"
)


class Reference:
    """One task of one checkpoint.

    folder: of either layout. Of a merged one `task` only chooses the prompts, and it has no multi-vectors.
    attention: transformers' `sdpa`, or its `eager`, which needs memory for the square of the tokens.

    Dense vectors are float32 (hidden,), multi-vectors float32 (tokens, projector dim), all L2-normalised.
    """

    def __init__(self, folder: str | Path, task: str = "retrieval", attention: str = "sdpa") -> None:
        self.folder = Path(folder)
        self.task = task
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.image_processor = Qwen2VLImageProcessorPil.from_pretrained(self.folder)
        config = Qwen2_5_VLConfig.from_pretrained(self.folder, dtype=torch.float32, attn_implementation=attention)

        weights = read_weights(self.folder)
        if (self.folder / "adapters").is_dir():
            merge_adapter(weights, self.folder / "adapters", task)
        self.projector = {
            kind: weights.pop(f"{PROJECTOR}.{kind}") for kind in ("weight", "bias") if f"{PROJECTOR}.{kind}" in weights
        }
        if len(self.projector) == 1:
            raise ValueError(f"{self.folder} has half of a {PROJECTOR}: {list(self.projector)}")
        self.model = Qwen2_5_VLModel(config).eval()
        self.model.load_state_dict(weights, strict=True, assign=True)

    def text(self, text: str, prompt_name: str = "query", max_length: int = MAX_TEXT_TOKENS) -> FloatArray:
        return self.text_pooled(text, "mean", prompt_name, max_length)

    def text_pooled(
        self, text: str, how: str, prompt_name: str = "query", max_length: int = MAX_TEXT_TOKENS
    ) -> FloatArray:
        """One dense vector of the prompt's tokens; `how` is mean, max, first or last."""
        hidden = self.hidden_states(self.text_ids(text, prompt_name, max_length))
        pooled = {
            "mean": hidden.mean(dim=0),
            "max": hidden.amax(dim=0),
            "first": hidden[0],
            "last": hidden[-1],
        }
        return normalized(pooled[how])

    def text_multivector(self, text: str, prompt_name: str = "query", max_length: int = MAX_TEXT_TOKENS) -> FloatArray:
        return self.project(self.hidden_states(self.text_ids(text, prompt_name, max_length)))

    def chunks(self, chunks: Sequence[str], prompt_name: str = "passage") -> FloatArray:
        """Late chunking: one forward over all chunks, one dense vector for each, (chunks, hidden).

        Prefix and chunks are tokenised apart: the prompt is tokens(prefix) + tokens(chunk 1) + tokens(chunk 2)
        and so on. A chunk's vector is the mean over tokens(chunk) alone; the prefix is in no span.
        """
        ids = self.token_ids(self.prefix(prompt_name))
        spans = []
        for chunk in chunks:
            chunk_ids = self.token_ids(chunk)
            spans.append((len(ids), len(ids) + len(chunk_ids)))
            ids = ids + chunk_ids
        hidden = self.hidden_states(ids)
        return np.stack([normalized(hidden[start:stop].mean(dim=0)) for start, stop in spans])

    def image(self, image: Image) -> FloatArray:
        """The mean from vision start to vision end, both included."""
        ids, pixels = self.image_inputs(image)
        hidden = self.hidden_states(ids, **pixels)
        start = ids.index(self.model.config.vision_start_token_id)
        end = ids.index(self.model.config.vision_end_token_id)
        return normalized(hidden[start : end + 1].mean(dim=0))

    def image_multivector(self, image: Image) -> FloatArray:
        ids, pixels = self.image_inputs(image)
        return self.project(self.hidden_states(ids, **pixels))

    def prefix(self, prompt_name: str) -> str:
        """`Query: ` or `Passage: `; text matching is symmetric and knows only the first."""
        prefix = PREFIXES[prompt_name]
        return PREFIXES["query"] if self.task == "text-matching" else prefix

    def token_ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def text_ids(self, text: str, prompt_name: str, max_length: int = MAX_TEXT_TOKENS) -> list[int]:
        return self.token_ids(self.prefix(prompt_name) + text)[:max_length]

    def image_inputs(self, image: Image) -> tuple[list[int], Tensors]:
        """Token ids of the prompt; pixel_values (patches, values) and image_grid_thw (1, 3)."""
        pixels = self.image_processor(images=image, return_tensors="pt")
        num_pads = int(pixels["image_grid_thw"].prod()) // self.image_processor.merge_size**2
        ids = self.token_ids(IMAGE_PROMPT.format(pads="<|image_pad|>" * num_pads))
        return ids, dict(pixels)

    @torch.inference_mode()
    def hidden_states(self, ids: list[int], **pixels: torch.Tensor) -> torch.Tensor:
        """Last hidden states after the final norm, (tokens, hidden)."""
        input_ids = torch.tensor([ids])
        hidden: torch.Tensor = self.model(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            # Marks image tokens with 1. Without it, image tokens silently get text positions.
            mm_token_type_ids=(input_ids == self.model.config.image_token_id).int(),
            use_cache=False,
            **pixels,
        ).last_hidden_state
        return hidden[0]

    def project(self, hidden: torch.Tensor) -> FloatArray:
        """Multi-vectors of hidden states (tokens, hidden)."""
        if not self.projector:
            raise ValueError(f"{self.folder} has no {PROJECTOR}: a merged checkpoint gives no multi-vectors")
        return normalized(torch.nn.functional.linear(hidden, **self.projector))


def read_weights(folder: Path) -> Tensors:
    """All tensors of the weight files in float32, under the names of Qwen2_5_VLModel and of the projector."""
    index = folder / "model.safetensors.index.json"
    files = ["model.safetensors"]
    if index.exists():
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    weights: Tensors = {}
    for file in files:
        for name, tensor in load_file(folder / file).items():
            if name == "lm_head.weight":
                continue
            own = model_name(name)
            if own in weights:
                raise ValueError(f"{folder} has two tensors for {own}; the second is {name} in {file}")
            weights[own] = tensor.float()
    return weights


def model_name(name: str) -> str:
    """The name in Qwen2_5_VLModel of a weight or module with a name of either generation."""
    name = name.removeprefix("model.")
    if name.startswith(("layers.", "embed_tokens.", "norm.")):
        return f"language_model.{name}"
    return name


def merge_adapter(weights: Tensors, adapters: Path, task: str) -> None:
    """Adds the task's alpha / rank times B A to the weights, in place.

    Every linear of the text layers and the projector must have both sides, and nothing else may have any.
    """
    config = json.loads((adapters / "adapter_config.json").read_text())
    check_plain_lora(config)
    scaling = config["lora_alpha"] / config["r"]

    sides: dict[str, Tensors] = {"A": {}, "B": {}}
    tasks = set()
    for name, tensor in load_file(adapters / "adapter_model.safetensors").items():
        match = LORA_NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{adapters} has a tensor of unknown name: {name}")
        tasks.add(match["task"])
        if match["task"] == task:
            sides[match["side"]][f"{model_name(match['module'])}.weight"] = tensor.float()
    if task not in tasks:
        raise ValueError(f"{adapters} has no adapter for the task {task!r}, only {sorted(tasks)}")

    targets = {name for name in weights if name.startswith("language_model.layers.") and "_proj.weight" in name}
    targets.add(f"{PROJECTOR}.weight")
    for side, tensors in sides.items():
        if tensors.keys() != targets:
            raise ValueError(f"lora_{side} of {task} is missing or left over: {sorted(tensors.keys() ^ targets)}")
    for name in targets:
        a, b = sides["A"][name], sides["B"][name]
        if not a.shape[0] == b.shape[1] == config["r"]:
            raise ValueError(f"the LoRA of {name} is of rank {a.shape[0]} and {b.shape[1]}, not {config['r']}")
        weights[name] += scaling * (b @ a)


def check_plain_lora(config: dict[str, Any]) -> None:
    """Refuses what would change the formula of the merge."""
    changed = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out")
    if others := {key: config[key] for key in changed if config.get(key)}:
        raise ValueError(f"the adapter is more than plain LoRA: {others}")


def normalized(vectors: torch.Tensor) -> FloatArray:
    """Vectors along the last axis, divided by their L2 norm."""
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()
