"""The model in plain PyTorch, compared with transformers' classes part by part."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from inputs import COSINE, TEXTS
from jina_embeddings import JinaEmbeddings
from jina_embeddings.errors import CheckpointInvalidError, EngineUnavailableError
from jina_embeddings.model.windows import Layout

if TYPE_CHECKING:
    from conftest import CheckpointMaker


def together(groups: tuple[np.ndarray, ...], count: int) -> np.ndarray:
    """(count, count): which patches see each other."""
    sees = np.zeros((count, count), dtype=bool)
    for of_size in groups:
        for group in of_size:
            sees[np.ix_(group, group)] = True
    return sees


@pytest.mark.parametrize("grids", [[(1, 8, 8)], [(1, 16, 24)], [(1, 10, 14), (1, 18, 4)], [(2, 12, 20)], [(1, 2, 2)]])
@pytest.mark.parametrize("window", [112, 126], ids=["whole tokens", "and half of one"])
def test_windows_and_positions_equal_transformers(grids: list[tuple[int, int, int]], window: int) -> None:
    from transformers import vision_utils

    layout = Layout.of(grids, 2, window // 14)
    grid = torch.tensor(grids)
    index, bounds = vision_utils.get_vision_window_index(grid, 2, window, 14)
    patches = (4 * index[:, None] + torch.arange(4)).flatten().numpy()
    windows = np.split(patches, bounds.tolist()[1:-1])
    sizes = [rows * columns for frames, rows, columns in grids for _ in range(frames)]
    images = np.split(np.arange(len(patches)), np.cumsum(sizes)[:-1])
    for found, wanted in ((layout.windows, windows), (layout.images, images)):
        expected = np.zeros((len(patches), len(patches)), dtype=bool)
        for group in wanted:
            expected[np.ix_(group, group)] = True
        assert np.array_equal(together(found, len(patches)), expected)
    places = vision_utils.get_vision_position_ids(grid, 2)
    assert np.array_equal(layout.places, places.numpy().reshape(layout.places.shape))


@pytest.mark.long
def test_neither_transformers_nor_torchs_compiler_is_imported(checkpoint: CheckpointMaker) -> None:
    """Importing them takes longer than everything else before the first vector."""
    code = (
        "import sys; from jina_embeddings import JinaEmbeddings\n"
        f"with JinaEmbeddings({str(checkpoint())!r}) as model: model.encode_text('a'); print(model.engine)\n"
        "print({'transformers', 'torchvision', 'sklearn', 'torch._dynamo', 'sympy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split("\n")[:2] == ["torch", "set()"]


@pytest.fixture
def copy(checkpoint: CheckpointMaker, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint(dtype="float32"), tmp_path / "copy"))


def rewrite(folder: Path, *, vision_config: dict[str, object] | None = None, **changes: object) -> None:
    """Changes fields of the text model in config.json, flat or nested; None removes a field."""
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"].update(vision_config or {})
    for part in (config, config.get("text_config")):
        if part is not None:
            part.update(changes)
            for name in [name for name, value in changes.items() if value is None]:
                del part[name]
    (folder / "config.json").write_text(json.dumps(config))


ROPE = {"rope_type": "default", "rope_theta": 5000.0, "mrope_section": [4, 6, 6]}


@pytest.mark.parametrize(
    "changes",
    [{"rope_parameters": ROPE, "rope_theta": None, "rope_scaling": None}, {"rms_norm_eps": 0.1}],
    ids=["positions in one place, as in newer files", "another epsilon"],
)
def test_values_of_config_json_are_used(copy: Path, changes: dict[str, Any]) -> None:
    rewrite(copy, **changes)
    found = []
    for engine in ("torch", "transformers"):
        with JinaEmbeddings(copy, engine=engine) as model:
            found.append(model.encode_text(TEXTS["middling"]))
    assert found[0] @ found[1] >= COSINE


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "mrope_section": [4, 6, 6]}}, "rope_type 'yarn'"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"vision_config": {"hidden_act": "gelu"}}, "hidden_act 'gelu' in its vision tower"),
        ({"use_sliding_window": True}, "use_sliding_window"),
    ],
)
def test_unsupported_settings_are_refused_with_another_engine(copy: Path, changes: dict[str, Any], what: str) -> None:
    rewrite(copy, **changes)
    with pytest.raises(EngineUnavailableError, match=f"no {what}: choose engine='transformers'"):
        JinaEmbeddings(copy, engine="torch")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 7]}}, "'mrope_section' must sum up to 16, not 17"),
        ({"rope_scaling": {"type": "mrope", "mrope_section": "4,6,6"}}, "'mrope_section' must be a list"),
        ({"vision_config": {"fullatt_block_indexes": None}}, "'fullatt_block_indexes' must be a list"),
        ({"rms_norm_eps": -1}, "'rms_norm_eps' must be a number above 0, not -1"),
        ({"rope_theta": "10000"}, "'rope_theta' must be a number above 0"),
    ],
)
def test_impossible_sizes_are_refused_by_name(copy: Path, changes: dict[str, Any], message: str) -> None:
    rewrite(copy, **changes)
    with pytest.raises(CheckpointInvalidError, match=message):
        JinaEmbeddings(copy, engine="torch")


def test_weights_are_copies_and_not_maps_of_the_files(copy: Path) -> None:
    with JinaEmbeddings(copy, engine="torch", dtype="float32") as model:
        before = model.encode_text(TEXTS["latin"])
        tokens = model.encode_text(TEXTS["latin"], return_multivector=True)
        for path in copy.rglob("*.safetensors"):
            with path.open("r+b") as file:
                start = 8 + int.from_bytes(file.read(8), "little")
                file.seek(start)
                file.write(bytes(path.stat().st_size - start))
        np.testing.assert_array_equal(model.encode_text(TEXTS["latin"], return_multivector=True), tokens)
        np.testing.assert_array_equal(model.encode_text(TEXTS["latin"]), before)
