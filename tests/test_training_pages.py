"""The rendered pages that `pocket` is trained on: every word is where its box says, and says what the text says."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

from page_batches import letters_of
from page_style import CELL, HEIGHTS, WIDTHS, bold_of, piece_style, random_size
from pages import Page, PageStyle, random_style, render_page

WORDS = "Quick foxes jump, glyphs (by the way) hang below; each line of type keeps its own place on paper. "
PASSAGE = WORDS * 12
CODE = "def half(x):\n    if x:\n        return x / 2\n\n\nclass Empty:\n    pass\n"


@pytest.fixture(scope="session")
def font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pillow's own typeface, so that the test needs no font of this machine."""
    built_in = ImageFont.load_default(size=20)
    assert isinstance(built_in, ImageFont.FreeTypeFont)
    path = tmp_path_factory.mktemp("fonts") / "BuiltIn-Regular.ttf"
    path.write_bytes(built_in.font_bytes)
    return path


def random_pages(font: Path, text: str, count: int = 60) -> list[tuple[Page, PageStyle]]:
    rng = np.random.default_rng(7)
    styles = [random_style(rng, [font]) for _ in range(count)]
    return [(render_page(text, style), style) for style in styles]


def ink(page: Page, style: PageStyle) -> np.ndarray:
    """Where the page is nearer to its ink than to its paper."""
    pixels = np.asarray(page.image, dtype=np.int64)
    return np.abs(pixels - style.ink).sum(axis=2) < np.abs(pixels - style.paper).sum(axis=2)


def test_sizes_are_whole_cells_and_a_given_size_is_kept(font: Path) -> None:
    for page, style in random_pages(font, PASSAGE):
        assert page.image.size == (style.width, style.height)
        assert page.image.mode == "RGB"
        assert style.width % CELL == style.height % CELL == 0
        assert 280 <= style.width <= 504
        assert 280 <= style.height <= 672
    assert random_style(np.random.default_rng(1), [font], size=(336, 448)).width == 336


@pytest.mark.parametrize("text", [PASSAGE, CODE])
def test_offsets_give_the_words_back(font: Path, text: str) -> None:
    for page, _ in random_pages(font, text):
        shown = "".join(text[box.start : box.end] for box in page.boxes)
        assert shown == "".join(text[: page.num_characters].split())
        assert all(box.start < box.end and not any(map(str.isspace, text[box.start : box.end])) for box in page.boxes)
        assert [box.start for box in page.boxes] == sorted(box.start for box in page.boxes)


def test_boxes_lie_in_the_image_and_apart(font: Path) -> None:
    for page, style in random_pages(font, PASSAGE):
        assert len(page.boxes) > 10
        for box in page.boxes:
            assert 0 <= box.x0 < box.x1 <= style.width - style.margin_x
            assert 0 <= box.y0 < box.y1 <= style.height
        for one, following in zip(page.boxes, page.boxes[1:], strict=False):
            same_line = one.y0 == following.y0
            new_column = following.y0 < one.y0
            assert (one.x1 < following.x0) if same_line or new_column else (one.y1 <= following.y0)


def test_every_box_holds_ink_and_none_lies_outside(font: Path) -> None:
    for page, style in random_pages(font, PASSAGE):
        dark = ink(page, replace(style, paper=style.box_paper) if style.decoration == "box" else style)
        outside = dark.copy()
        for box in page.boxes:
            rows, columns = slice(int(box.y0) - 2, int(box.y1) + 2), slice(int(box.x0) - 2, int(box.x1) + 2)
            assert dark[rows, columns].any(), PASSAGE[box.start : box.end]
            outside[rows, columns] = False
        if style.decoration == "none":
            assert not outside.any()


def test_what_does_not_fit_is_counted_out(font: Path) -> None:
    style = PageStyle(font, font, width=280, height=280, size=20)
    page = render_page(PASSAGE, style)
    assert 0 < page.num_characters < len(PASSAGE)
    assert PASSAGE[page.boxes[-1].start : page.num_characters].strip()
    taller = render_page(PASSAGE, replace(style, height=560))
    assert taller.num_characters > page.num_characters
    assert render_page(WORDS, replace(style, height=560)).num_characters == len(WORDS.rstrip())


def test_a_long_word_goes_on_in_the_next_line(font: Path) -> None:
    page = render_page("x" * 100, PageStyle(font, font, width=280, height=280, size=20))
    assert page.num_characters == 100
    assert len({box.y0 for box in page.boxes}) == len(page.boxes) > 3
    assert all(one.end == following.start for one, following in zip(page.boxes, page.boxes[1:], strict=False))


def test_two_columns_use_both_halves(font: Path) -> None:
    style = PageStyle(font, font, width=504, height=280, size=14, columns=2)
    boxes = render_page(PASSAGE, style).boxes
    left, right = [box for box in boxes if box.x1 < 252], [box for box in boxes if box.x0 > 252]
    assert left
    assert right
    assert len(left) + len(right) == len(boxes)
    assert right[0].y0 == left[0].y0


def test_lines_and_indents_of_the_text_are_kept(font: Path) -> None:
    boxes = render_page(CODE, PageStyle(font, font, width=392, height=392, size=16)).boxes
    by_word = {CODE[box.start : box.end]: box for box in boxes}
    assert by_word["def"].x0 < by_word["if"].x0 < by_word["return"].x0
    assert by_word["class"].x0 == by_word["def"].x0
    one_line = by_word["if"].y0 - by_word["def"].y0
    assert by_word["class"].y0 - by_word["return"].y0 > one_line


def test_a_heading_is_larger_and_ends_its_line(font: Path) -> None:
    style = PageStyle(font, font, size=16, heading_words=2, heading_scale=1.5)
    boxes = render_page(PASSAGE, style).boxes
    height = boxes[0].y1 - boxes[0].y0
    assert boxes[1].y1 - boxes[1].y0 == height > boxes[2].y1 - boxes[2].y0
    assert boxes[2].y0 >= boxes[1].y1
    assert boxes[2].x0 == boxes[0].x0


def test_characters_of_chinese_and_japanese_have_boxes_of_their_own(font: Path) -> None:
    text = "東京は首都です。次の行"
    boxes = render_page(text, PageStyle(font, font)).boxes
    assert [text[box.start : box.end] for box in boxes] == [
        "東",
        "京",
        "は",
        "首",
        "都",
        "で",
        "す。",
        "次",
        "の",
        "行",
    ]


def test_the_same_seed_draws_the_same_page(font: Path) -> None:
    one, other = (render_page(PASSAGE, random_style(np.random.default_rng(5), [font])) for _ in range(2))
    assert one.boxes == other.boxes
    assert one.image.tobytes() == other.image.tobytes()


def test_blank_text_gives_blank_paper(font: Path) -> None:
    page = render_page(" \n ", PageStyle(font, font))
    assert (page.boxes, page.num_characters) == ([], 0)
    assert page.image.getcolors() == [(392 * 504, (255, 255, 255))]


def test_bold_stands_beside_regular(font: Path) -> None:
    assert bold_of(font) == font
    bold = font.with_name("BuiltIn-Bold.ttf")
    bold.write_bytes(font.read_bytes())
    bold_of.cache_clear()
    assert bold_of(font) == bold


def test_impossible_requests_say_what_to_change(font: Path) -> None:
    with pytest.raises(ValueError, match="smaller margins or a larger page"):
        render_page("text", PageStyle(font, font, width=280, margin_x=130))
    with pytest.raises(ValueError, match="pass at least one TTF path"):
        random_style(np.random.default_rng(1), [])


def test_letters_stand_in_the_patches_that_show_them(font: Path) -> None:
    style = PageStyle(font, font, width=112, height=56, size=20, margin_x=0, margin_y=0)
    page = render_page("il mm", style)
    patches, letters, shares = letters_of("il mm", page.boxes, 112, 56, page=1)
    cells, quarters = np.divmod(patches - 4 * 8, 4)
    columns = 2 * (cells % 4) + quarters % 2
    assert set(letters) == set(b"ilm")
    assert columns[letters == ord("i")].max() <= columns[letters == ord("m")].min()
    assert np.isclose(shares.sum(), sum((box.x1 - box.x0) * (box.y1 - box.y0) for box in page.boxes))


def test_images_grow_to_pages_with_progress(font: Path) -> None:
    rng = np.random.default_rng(3)
    assert {random_size(rng, 0.0) for _ in range(200)} <= {(w, h) for w in (84, 112, 140) for h in (56, 84)}
    assert all(width in WIDTHS and height in HEIGHTS for width, height in (random_size(rng, 1.0) for _ in range(200)))


def test_a_piece_of_a_page_has_room_for_every_style(font: Path) -> None:
    rng = np.random.default_rng(4)
    for grown in np.linspace(0, 1, 300):
        size = random_size(rng, grown)
        assert render_page(PASSAGE, piece_style(rng, [font], size)).boxes
