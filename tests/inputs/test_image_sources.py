"""Images by path, bytes, data URL and base64, and which of them a policy allows."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from image_files import COLOUR, PNG, encoded, is_right
from jina_embeddings.errors import ImageError
from jina_embeddings.inputs.sources import CONTENTS_ONLY, SourcePolicy, load_image

BASE64 = base64.b64encode(PNG).decode()


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "a picture, 100%.png"
    path.write_bytes(PNG)
    return path


def test_paths_in_every_form(png: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(png.parent)
    for source in (png, str(png), png.name, png.as_uri(), f"file://localhost{png.as_uri()[7:]}"):
        assert is_right(load_image(source)), source


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    for name in ("noextension", "wrong.jpg", "abcd", "data.http"):
        (tmp_path / name).write_bytes(PNG)
        assert is_right(load_image(tmp_path / name))


def test_an_existing_path_wins_over_base64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = base64.b64encode(encoded("GIF", (255, 0, 0))).decode().replace("/", "A")[:80]
    Path(small).write_bytes(PNG)
    assert is_right(load_image(small))


def test_bytes_in_every_form() -> None:
    for source in (PNG, bytearray(PNG), memoryview(PNG)):
        assert is_right(load_image(source))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{BASE64}",
        f"DATA:image/png;charset=x;BASE64,{BASE64}",
        f"data:;base64,{BASE64.rstrip('=')}",
        "data:image/png;base64," + BASE64.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        f"data:image/png;base64,{BASE64[:40]}\n {BASE64[40:]}",
        "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
    ],
)
def test_data_urls(url: str) -> None:
    assert is_right(load_image(url))


@pytest.mark.parametrize(
    "url", ["data:image/png;base64", "data:image/png;base64,A*B=", "data:image/png;base64,A", "data:,hello"]
)
def test_damaged_data_urls_are_errors(url: str) -> None:
    with pytest.raises(ImageError, match="data URL"):
        load_image(url)


def test_base64_without_a_header() -> None:
    assert is_right(load_image(BASE64))
    assert is_right(load_image(f"{BASE64[:76]}\n{BASE64[76:]}\n"))


def test_base64_of_something_else_is_no_such_file_and_not_shown() -> None:
    text = base64.b64encode(bytes(range(256)) * 40).decode()
    with pytest.raises(ImageError, match=r"no such file, nor an image in base64") as caught:
        load_image(text)
    assert len(str(caught.value)) < 250


def test_base64_of_a_damaged_image_says_so() -> None:
    buffer = io.BytesIO()
    Image.effect_noise((99, 99), 50).save(buffer, "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        load_image(base64.b64encode(buffer.getvalue()[:2000]).decode())


@pytest.mark.parametrize("text", ["cat.png", "abcd", "photos/cat", "", "ü.png", "a\0b", "x" * 5000])
def test_text_that_names_nothing_is_no_such_file(text: str) -> None:
    with pytest.raises(ImageError, match="no such file"):
        load_image(text)


@pytest.mark.parametrize("text", ["missing.png", "a\0b", "abcd"])
def test_a_path_is_never_base64(text: str) -> None:
    with pytest.raises(ImageError, match=r"no such file|null (byte|character)"):
        load_image(Path(text))


@pytest.mark.parametrize("url", ["ftp://example.org/x.png", "s3://bucket/x.png"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(ImageError, match="only http, https"):
        load_image(url)


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="directory"):
        load_image(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_an_error(png: Path) -> None:
    png.chmod(0)
    with pytest.raises(ImageError, match="denied"):
        load_image(png)


def test_pixels_bytes_and_base64_are_read_under_every_policy() -> None:
    for source in (
        PNG,
        BASE64,
        BASE64.rstrip("="),
        f"data:image/png;base64,{BASE64}",
        Image.new("RGB", (16, 8), COLOUR),
    ):
        assert is_right(load_image(source, CONTENTS_ONLY))


def test_paths_can_be_excluded(png: Path, tmp_path: Path) -> None:
    policy = SourcePolicy(paths=False)
    missing = tmp_path / "missing.png"
    for path in (png, missing):
        for source in (path, str(path), path.as_uri(), f"{path}#page=1"):
            with pytest.raises(ImageError, match="by the policy") as caught:
                load_image(source, policy)
            # The error doesn't reveal whether there is such a file.
            assert "no such file" not in str(caught.value)


def test_an_open_file_is_read_as_bytes(png: Path) -> None:
    with png.open("rb") as file:
        assert is_right(load_image(file))
    assert is_right(load_image(io.BytesIO(PNG)))
    with png.open(encoding="latin-1") as text, pytest.raises(ImageError, match="binary mode"):
        load_image(text)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_and_devices_are_not_opened_as_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero"), Path("/dev/stdin")):
        with pytest.raises(ImageError, match="not a file"):
            load_image(path)


def test_base64_needs_no_padding() -> None:
    for size in range(3):
        data = PNG + bytes(size)
        assert is_right(load_image(base64.b64encode(data).decode().rstrip("=")))
