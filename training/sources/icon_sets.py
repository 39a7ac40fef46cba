"""The drawings of each source with their names and tags."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from emoji_names import VARIATION, emoji_names, spoken
from packages import fetch, members
from picture_files import Picture, from_image, from_svg, trimmed
from picture_words import group_of, phrase, words_of

LICENCES = {
    "noto-emoji": "OFL-1.1 (names: Unicode-DFS-2016)",
    "fluent-emoji": "MIT (names: Unicode-DFS-2016)",
    "tabler": "MIT",
    "mdi": "Apache-2.0",
    "lucide": "ISC",
    "openclipart": "public domain",
}
PACKAGES = {
    "noto-emoji": "deb:fonts-noto-color-emoji=2.042-0+deb12u1",
    "fluent-emoji": "npm:@iconify-json/fluent-emoji-flat@1.2.6",
    "tabler": "npm:@tabler/icons@3.51.0",
    "mdi": "npm:@mdi/svg@7.4.47",
    "lucide": "npm:lucide-static@1.62.0",
    "openclipart": "deb:openclipart-svg=1:0.18+dfsg-19",
}
EMOJI_COLOURS = 28
LINE_COLOURS = 8
# Marks of companies say little and belong to them.
BRANDS = ("brand-", "logo-")
BITMAP_SIZE = 109  # the one size that the emoji font has pictures of
# Hundreds of patterns that only a number tells apart.
UNTOLD = re.compile(r"/(shapes/stars|special/(gradients|patterns)|shapes/jigsaw|recreation/games/cards)/")
MANY = 4  # a title that so many drawings share is the name of a collection
MEANINGLESS = re.compile(r"^hash\b|theme$")  # left behind by a converter; sets of icons
GENERIC = {"", "unsorted", "icons", "special", "svg", "openclipart", "signs and symbols", "shapes", "computer", "hash"}
ITALIAN_AUTHOR = "rollandin"  # hundreds of drawings with English keywords and Italian titles
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"


def file_of(source: str, cache: Path, pattern: str) -> bytes:
    return next(content for _, content in members(fetch(PACKAGES[source], cache), pattern))


def picture(image: bytes | None, name: str, tags: list[str], source: str) -> Iterator[Picture]:
    text = phrase(name, tags)
    if image is not None and re.search(r"[^\W\d_]{2}", text):
        yield Picture(image, text, source, group_of(name) or group_of(text))


def noto_emoji(cache: Path) -> Iterator[Picture]:
    content = file_of("noto-emoji", cache, r"NotoColorEmoji\.ttf$")
    known = TTFont(io.BytesIO(content)).getBestCmap()
    font = ImageFont.truetype(io.BytesIO(content), BITMAP_SIZE, layout_engine=ImageFont.Layout.RAQM)
    one_wide = font.getlength("\U0001f600")
    for emoji, (name, tags) in emoji_names(cache).items():
        # A sequence that the font doesn't know falls apart into several pictures.
        if all(ord(c) in known or c == "\u200d" for c in emoji) and font.getlength(emoji) == one_wide:
            sheet = Image.new("RGBA", (136, 136), (255, 255, 255, 0))
            ImageDraw.Draw(sheet).text((0, 0), emoji, font=font, embedded_color=True)
            yield from picture(from_image(trimmed(sheet), EMOJI_COLOURS), spoken(name), tags, "noto-emoji")


def fluent_emoji(cache: Path) -> Iterator[Picture]:
    icons = json.loads(file_of("fluent-emoji", cache, r"package/icons\.json$"))
    by_code = json.loads(file_of("fluent-emoji", cache, r"package/chars\.json$"))
    names = emoji_names(cache)
    for code, icon in by_code.items():
        emoji = "".join(chr(int(part, 16)) for part in code.split("-")).replace(VARIATION, "")
        if emoji in names and icon in icons["icons"]:
            name, tags = names.pop(emoji)
            drawing, side = icons["icons"][icon]["body"], icons.get("width", 32)
            svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">{drawing}</svg>'
            yield from picture(from_svg(svg, EMOJI_COLOURS), spoken(name), tags, "fluent-emoji")


def tabler(cache: Path) -> Iterator[Picture]:
    entries = json.loads(file_of("tabler", cache, r"package/icons\.json$"))
    for path, content in members(fetch(PACKAGES["tabler"], cache), r"package/icons/(outline|filled)/.*\.svg$"):
        name = PurePosixPath(path).stem
        if name.startswith(BRANDS) or name not in entries:
            continue
        tags = [*map(str, entries[name].get("tags") or []), (entries[name].get("category") or "").lower()]
        yield from picture(from_svg(content.decode(), LINE_COLOURS), words_of(name), tags, "tabler")


def mdi(cache: Path) -> Iterator[Picture]:
    entries = {entry["name"]: entry for entry in json.loads(file_of("mdi", cache, r"package/meta\.json$"))}
    for path, content in members(fetch(PACKAGES["mdi"], cache), r"package/svg/.*\.svg$"):
        entry = entries[PurePosixPath(path).stem]
        if entry["deprecated"] or "Brand / Logo" in entry["tags"]:
            continue
        subjects = [tag.lower() for label in entry["tags"] for tag in re.split(r" [/+] ", label) if tag != "Other"]
        tags = [*map(words_of, entry["aliases"]), *subjects]
        yield from picture(from_svg(content.decode(), LINE_COLOURS), words_of(entry["name"]), tags, "mdi")


def lucide(cache: Path) -> Iterator[Picture]:
    tags = json.loads(file_of("lucide", cache, r"package/tags\.json$"))
    for path, content in members(fetch(PACKAGES["lucide"], cache), r"package/icons/.*\.svg$"):
        name = PurePosixPath(path).stem
        if name in tags:
            yield from picture(from_svg(content.decode(), LINE_COLOURS), words_of(name), tags[name], "lucide")


def openclipart(cache: Path) -> Iterator[Picture]:
    found = members(fetch(PACKAGES["openclipart"], cache), r"share/openclipart/svg/.*\.svg$")
    drawings = [
        (PurePosixPath(path), content, *described(content)) for path, content in found if not UNTOLD.search(path)
    ]
    titles = Counter(drawing[2] for drawing in drawings)
    for file, content, title, authors, keywords in drawings:
        signature = set(words_of(" ".join(authors)).lower().split())
        telling = re.search(r"[A-Za-z]{3}", title) and titles[title] < MANY
        name = without(signature, words_of(title if telling else file.stem).lower())
        name = name.removeprefix("by ")
        words = [words_of(word).lower() for word in (*keywords, *reversed(file.parts[4:-1]))]
        tags = [without(signature, word) for word in words if word not in GENERIC and not MEANINGLESS.search(word)]
        if ITALIAN_AUTHOR in signature:
            name, tags = (tags[0], tags[1:]) if tags else ("", [])
        yield from picture(from_svg(content.decode("utf-8", "replace"), trim=True), name, tags, "openclipart")


def without(signature: set[str], words: str) -> str:
    return " ".join(word for word in words.split() if word not in signature)


def described(svg: bytes) -> tuple[str, list[str], list[str]]:
    """Title, authors and keywords out of the metadata of a drawing; empty where it has none."""
    try:
        root = ET.fromstring(svg)
    except ET.ParseError:
        return "", [], []
    titles = [element.text or "" for element in root.iter(f"{DC}title")]
    authors = [title.text or "" for creator in root.iter(f"{DC}creator") for title in creator.iter(f"{DC}title")]
    subjects = [item.text or "" for subject in root.iter(f"{DC}subject") for item in subject.iter(f"{RDF}li")]
    return (titles[0] if titles else ""), authors, [item for item in subjects if item.strip()]


SETS = (noto_emoji, fluent_emoji, tabler, mdi, lucide, openclipart)
