"""Pages of a PDF, made here with Pillow or by hand."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jina_embeddings.errors import DependencyError, ImageError, InputError
from jina_embeddings.inputs.pdf import PDF_PIXELS, num_pdf_pages, pdf_pages
from jina_embeddings.inputs.sources import load_image
from pdf_files import blank_pdf, colour_pdf, form_pdf, written_pdf

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def colour_at_centre(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    colour: np.ndarray = np.asarray(image)[image.height // 2, image.width // 2]
    return colour.astype(int)


@pytest.fixture
def three_pages(tmp_path: Path) -> Path:
    path = tmp_path / "three pages.pdf"
    path.write_bytes(colour_pdf(*COLOURS))
    return path


def test_pages_are_rendered_in_order_at_150_dpi(three_pages: Path) -> None:
    pages = list(pdf_pages(three_pages))
    assert [page.size for page in pages] == [(150, 300)] * 3
    for page, colour in zip(pages, COLOURS, strict=True):
        assert np.abs(colour_at_centre(page) - colour).max() <= 3


def test_pages_of_paths_as_text_and_of_bytes_are_the_same(three_pages: Path) -> None:
    for source in (str(three_pages), three_pages.read_bytes()):
        assert num_pdf_pages(source) == 3
        assert [page.size for page in pdf_pages(source)] == [(150, 300)] * 3


def test_dpi_scales_the_page(three_pages: Path) -> None:
    assert next(pdf_pages(three_pages, dpi=72)).size == (72, 144)
    assert next(pdf_pages(three_pages, dpi=36)).size == (36, 72)


@pytest.mark.parametrize("dpi", [0, -1, float("nan"), float("inf")])
def test_dpi_must_be_a_number_over_zero(three_pages: Path, dpi: float) -> None:
    with pytest.raises(InputError, match="dpi"):
        next(pdf_pages(three_pages, dpi=dpi))


def test_a_page_is_rendered_only_when_its_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Image.new("RGB", size, "red") for size in ((72, 72), (500, 500))]
    buffer = io.BytesIO()
    pages[0].save(buffer, "PDF", save_all=True, append_images=pages[1:], resolution=72)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    rendered = pdf_pages(buffer.getvalue(), dpi=72)
    assert next(rendered).size == (72, 72)
    with pytest.raises(ImageError, match=r"page 2 at 72 dpi: 500 x 500 = 250000 pixels"):
        next(rendered)


def test_a_page_number_picks_the_page(three_pages: Path) -> None:
    for source in (f"{three_pages}#page=2", Path(f"{three_pages}#page=2"), f"{three_pages.as_uri()}#page=2"):
        image = load_image(source)
        assert image.size == (150, 300)
        assert np.abs(colour_at_centre(image) - COLOURS[1]).max() <= 3


@pytest.mark.parametrize("number", [0, 4])
def test_a_page_that_is_not_there_is_an_error(three_pages: Path, number: int) -> None:
    with pytest.raises(ImageError, match=rf"no page {number} in a PDF of 3"):
        load_image(f"{three_pages}#page={number}")


def test_several_pages_without_a_number_are_an_error_that_says_how(three_pages: Path) -> None:
    for source in (three_pages, three_pages.read_bytes()):
        with pytest.raises(ImageError, match=r"3 pages.*#page=N.*pdf_pages"):
            load_image(source)


def test_a_single_page_needs_no_number(tmp_path: Path) -> None:
    data = colour_pdf(COLOURS[2])
    path = tmp_path / "named otherwise"
    path.write_bytes(data)
    for source in (path, data):
        assert np.abs(colour_at_centre(load_image(source)) - COLOURS[2]).max() <= 3


def test_a_pdf_with_bytes_before_its_header_is_recognised_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mailed.PDF"
    path.write_bytes(b"X-Header: 1\n\n" + colour_pdf(COLOURS[2]))
    assert np.abs(colour_at_centre(load_image(path)) - COLOURS[2]).max() <= 3


def test_a_file_whose_name_ends_like_a_page_is_read_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf#page=7"
    path.write_bytes(colour_pdf(COLOURS[0]))
    assert load_image(str(path)).size == (150, 300)


def test_only_a_pdf_has_pages(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(ImageError, match="only a PDF has pages"):
        load_image(f"{path}#page=1")


def test_filled_in_form_fields_are_rendered() -> None:
    red, green, blue = colour_at_centre(load_image(form_pdf()))
    assert red > 150
    assert max(green, blue) < red - 50


def test_a_broken_pdf_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "broken.pdf"
    path.write_bytes(b"%PDF-1.7\nnothing else")
    with pytest.raises(ImageError, match=r"broken\.pdf.*broken or encrypted"):
        load_image(path)
    for use in (num_pdf_pages, lambda source: next(pdf_pages(source))):
        with pytest.raises(ImageError, match=r"broken\.pdf.*broken or encrypted"):
            use(path)
        with pytest.raises(ImageError, match=r"<21 bytes>.*broken or encrypted"):
            use(path.read_bytes())


def test_an_encrypted_pdf_is_an_error() -> None:
    secret = b"00" * 32
    encrypt = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O <%s> /U <%s> /P -4 >> /ID [<00> <00>]" % (
        secret,
        secret,
    )
    with pytest.raises(ImageError, match=r"encrypted.*[Pp]assword"):
        load_image(blank_pdf(b"0 0 72 72", encrypt))
    assert load_image(blank_pdf(b"0 0 72 72")).size == (150, 150)


@pytest.mark.parametrize("box", [b"0 0 14400 14400", b"0 0 14400 7200"])
def test_a_page_of_the_largest_size_is_rendered_with_fewer_pixels(box: bytes) -> None:
    image = load_image(blank_pdf(box))
    _, _, width, height = map(int, box.split())
    assert image.width / image.height == pytest.approx(width / height, rel=0.001)
    assert 0.99 * PDF_PIXELS < image.width * image.height < 1.01 * PDF_PIXELS
    with pytest.raises(ImageError, match=r"page 1 at 150 dpi: .* pixels"):
        next(pdf_pages(blank_pdf(b"0 0 14400 14400")))


def test_a_page_of_a_usual_size_is_rendered_at_150_dpi() -> None:
    """Up to A2, pages are rendered at 150 dpi."""
    assert load_image(blank_pdf(b"0 0 1191 1684")).size == (2482, 3509)


def test_a_pdf_without_pages_says_so() -> None:
    data = written_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>")
    for read in (load_image, num_pdf_pages, lambda data: list(pdf_pages(data))):
        with pytest.raises(ImageError, match="a PDF without pages"):
            read(data)


def test_a_damaged_page_is_an_error() -> None:
    data = written_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [9 0 R] /Count 1 >>",
    )
    with pytest.raises(ImageError, match=r"page 1 at 150 dpi: can't be rendered"):
        load_image(data)


def test_a_missing_pdf_is_an_error(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pdf"
    for use in (load_image, num_pdf_pages, lambda source: next(pdf_pages(source))):
        with pytest.raises(ImageError, match=r"missing\.pdf.*no such file"):
            use(missing)
    with pytest.raises(ImageError, match=r"missing\.pdf#page=2.*no such file"):
        load_image(f"{missing}#page=2")


def test_without_pypdfium2_the_message_has_the_remedy(three_pages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(DependencyError, match=r"pip install 'jina-embeddings-vllm\[pdf\]'"):
        load_image(f"{three_pages}#page=1")
