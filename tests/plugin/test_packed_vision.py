"""Patches and copies of a pack's images, on a CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jina_embeddings.inputs.patches import ImageConfig, patchify
from jina_embeddings.inputs.processor import image_threads, num_threads
from jina_embeddings.plugin.packed.images import patchify_on
from jina_embeddings.plugin.packed.transfer import SideCopies

CONFIG = ImageConfig()


def pictures(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_patches_of_several_images_are_those_of_each(dtype: torch.dtype) -> None:
    pixels = pictures(3, 56, 84)
    one_by_one = torch.from_numpy(np.concatenate([patchify(image, CONFIG) for image in pixels])).to(dtype)
    assert torch.equal(patchify_on(torch.from_numpy(pixels), CONFIG, dtype), one_by_one)


def test_side_copies_concatenate_the_bytes_of_all_arrays() -> None:
    arrays = [pictures(1, 28, 28)[0], pictures(1, 56, 28)[0]]
    arrived = SideCopies(torch.device("cpu")).to_device(arrays)
    assert arrived.numpy().tobytes() == b"".join(array.tobytes() for array in arrays)


def test_with_many_cores_image_threads_leave_two_to_the_engine() -> None:
    assert [num_threads(cores) for cores in (1, 2, 4, 6, 16)] == [1, 2, 4, 4, 14]
    assert image_threads() is image_threads()
