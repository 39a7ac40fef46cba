"""What users write with Transformers alone: padded batches, a mean over the attention mask, vectors to the host.

Where transformers can't load its image processor (it wants a torchvision that fits), this package's stands in; `notes`
tells which it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jina_embeddings.checkpoint.tokenizer import IMAGE_PAD, VISION_END, VISION_START
from jina_embeddings.inputs.patches import ImageConfig, grid, patchify, resize_image

Reader = Callable[[list[Any], str], Mapping[str, torch.Tensor]]


class PlainTransformers:
    """transformers' own model, tokenizer and image processor on a checkpoint with one task merged; SDPA attention."""

    def __init__(self, folder: Path, gpu: bool):
        from jina_embeddings.torch_companions import repair

        repair()
        from transformers import AutoTokenizer, Qwen2_5_VLModel

        self.device = "cuda" if gpu else "cpu"
        dtype = torch.bfloat16 if gpu else torch.float32
        model: Any = Qwen2_5_VLModel.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
        self._model = model.to(self.device).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="right")
        image = (VISION_START, IMAGE_PAD, VISION_END)
        self._image_ids = torch.tensor(self._tokenizer.convert_tokens_to_ids(image), device=self.device)
        self._read, self.notes = image_reader(folder, self._tokenizer)

    def texts(self, texts: list[str], batch_size: int) -> np.ndarray:
        """Mean vectors (len(texts), hidden), L2-normalised; texts of similar length share a batch."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
        parts = []
        for batch in batches:
            inputs = self._tokenizer(
                [texts[index] for index in batch], padding=True, add_special_tokens=False, return_tensors="pt"
            ).to(self.device)
            parts.append(self._embed(inputs, inputs["attention_mask"]))
        vectors: np.ndarray = np.empty_like(whole := np.concatenate(parts))
        vectors[order] = whole
        return vectors

    def pages(self, pages: list[Any], prompt: str, batch_size: int) -> np.ndarray:
        """Mean vectors of images, over the tokens from vision start to vision end."""
        parts = []
        for first in range(0, len(pages), batch_size):
            some = pages[first : first + batch_size]
            inputs = {name: value.to(self.device) for name, value in self._read(some, prompt).items()}
            parts.append(self._embed(inputs, torch.isin(inputs["input_ids"], self._image_ids)))
        return np.concatenate(parts)

    @torch.inference_mode()
    def _embed(self, inputs: Any, mask: torch.Tensor) -> np.ndarray:
        hidden = self._model(**inputs, use_cache=False).last_hidden_state.float()
        weights = mask.unsqueeze(-1).float()
        means = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return torch.nn.functional.normalize(means, dim=-1).cpu().numpy()


def image_reader(folder: Path, tokenizer: Any) -> tuple[Reader, dict[str, str]]:
    """A function from images and a prompt to the model's inputs, and a note about the implementation."""
    from transformers import AutoProcessor

    try:
        processor: Any = AutoProcessor.from_pretrained(folder)
        if processor.image_processor is None:
            raise ValueError("it has none")
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        return own_reader(tokenizer), {"image processor": f"this package's; transformers' did not load: {reason}"}

    def read(images: list[Any], prompt: str) -> Mapping[str, torch.Tensor]:
        inputs: Mapping[str, torch.Tensor] = processor(
            text=[prompt] * len(images), images=images, padding=True, return_tensors="pt"
        )
        return inputs

    return read, {"image processor": f"transformers' {type(processor.image_processor).__name__}"}


def own_reader(tokenizer: Any) -> Reader:
    """The same values, computed by this package for one image after another."""
    config = ImageConfig()

    def read(images: list[Any], prompt: str) -> Mapping[str, torch.Tensor]:
        bounds = {"factor": config.factor, "min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
        resized = [resize_image(image, **bounds) for image in images]
        grids = [grid(pixels, config) for pixels in resized]
        prompts = [prompt.replace(IMAGE_PAD, IMAGE_PAD * (rows * columns // 4)) for _, rows, columns in grids]
        inputs = dict(tokenizer(prompts, padding=True, add_special_tokens=False, return_tensors="pt"))
        pad = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
        return inputs | {
            "pixel_values": torch.from_numpy(np.concatenate([patchify(pixels, config) for pixels in resized])),
            "image_grid_thw": torch.tensor(grids),
            "mm_token_type_ids": (inputs["input_ids"] == pad).int(),
        }

    return read
