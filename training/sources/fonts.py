"""Collects the typefaces of the rendered pages, all under the SIL Open Font License, cut to the scripts in use.

    python training/sources/fonts.py [--cache DIR]

Writes BUILD/fonts/*.ttf, BUILD/fonts/fallback/* (tried for characters that a face lacks) and BUILD/fonts-heldout/*.ttf
(families that no training page uses). Needs apt-get, dpkg-deb and fonttools.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from fontTools import subset
from fontTools.ttLib import TTFont

from packages import CACHE, fetch, members
from tables import BUILD, write_record

# Latin, Greek, Cyrillic, punctuation, currency, letter-like signs, arrows, mathematics, boxes, shapes.
ALPHABETS = (
    *(range(0x20, 0x250), range(0x2B0, 0x500), range(0x1E00, 0x1F00)),
    *(range(0x2000, 0x2070), range(0x2070, 0x20D0), range(0x2100, 0x2200), range(0x2200, 0x2300)),
    *(range(0x2500, 0x2600), range(0xFB00, 0xFB07), range(0xFFFD, 0xFFFE)),
)
# Encoding, first bytes and second bytes of the characters in daily use.
FIRST_LEVELS = (
    ("gb2312", range(0xB0, 0xD8), range(0xA1, 0xFF)),
    ("euc_jp", range(0xB0, 0xD0), range(0xA1, 0xFF)),
    ("euc_kr", range(0xB0, 0xC9), range(0xA1, 0xFF)),
    ("big5", range(0xA4, 0xC7), (*range(0x40, 0x7F), *range(0xA1, 0xFF))),
)
COPYRIGHT, LICENCE, LICENCE_URL = 0, 13, 14


@dataclass(frozen=True)
class Family:
    package: str
    version: str
    files: tuple[str, ...]
    folder: str = "fonts"

    @property
    def debian(self) -> str:
        return f"deb:{self.package}={self.version}"


NOTO = ("fonts-noto-core", "20201225-1")
TRAINING = (
    Family(*NOTO, ("NotoSans-Regular.ttf", "NotoSans-Bold.ttf", "NotoSans-Italic.ttf")),
    Family(*NOTO, ("NotoSerif-Regular.ttf", "NotoSerif-Bold.ttf", "NotoSerif-Italic.ttf")),
    Family("fonts-noto-mono", "20201225-1", ("NotoSansMono-Regular.ttf", "NotoSansMono-Bold.ttf")),
    Family("fonts-lato", "2.0-2.1", ("Lato-Regular.ttf", "Lato-Bold.ttf")),
    Family("fonts-sil-charis", "6.101-1", ("CharisSIL-Regular.ttf", "CharisSIL-Bold.ttf")),
    Family("fonts-manrope", "4.504+git20201211-2", ("Manrope-Regular.ttf", "Manrope-Bold.ttf")),
    Family("fonts-yrsa-rasa", "2.005-1", ("Yrsa-Regular.ttf", "Yrsa-Bold.ttf")),
    Family(*NOTO, ("NotoSans-Regular.ttf",), "fonts/fallback"),
)
HELD_OUT = (
    Family("fonts-vollkorn", "4.105-2", ("Vollkorn-Regular.ttf",), "fonts-heldout"),
    Family("fonts-sil-andika", "6.101-2", ("Andika-Regular.ttf",), "fonts-heldout"),
    Family("fonts-firacode", "6.2-2", ("FiraCode-Regular.ttf",), "fonts-heldout"),
)
CJK = Family("fonts-noto-cjk", "1:20220127+repack1-1", ("NotoSansCJK-Regular.ttc",), "fonts/fallback")


def letters() -> list[int]:
    return [code for block in ALPHABETS for code in block]


def east_asian_letters() -> list[int]:
    """Kana, punctuation, and the characters of the first levels of GB 2312, JIS X 0208, KS X 1001 and Big5."""
    codes = {*range(0x20, 0x7F), *range(0x2010, 0x2027)}
    codes |= {*range(0x3000, 0x3100), *range(0x3131, 0x3164), *range(0xFF01, 0xFF61)}
    for encoding, leads, trails in FIRST_LEVELS:
        pairs = bytes(byte for lead in leads for trail in trails for byte in (lead, trail))
        codes.update(map(ord, pairs.decode(encoding, "ignore")))
    return sorted(codes)


def cut(font: TTFont, codes: list[int]) -> bytes:
    """The font with the characters alone: no layout tables, since pages are drawn without; no names but the rights."""
    options = subset.Options(layout_features=[], name_IDs=[COPYRIGHT, LICENCE, LICENCE_URL], notdef_outline=True)
    options.drop_tables += ["GPOS", "GSUB", "GDEF", "BASE", "kern", "vhea", "vmtx", "VORG", "DSIG"]
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=codes)
    cutter.subset(font)
    font.save(written := BytesIO())
    return written.getvalue()


def collect(family: Family, cache: Path, build: Path, codes: list[int], suffix: str | None = None) -> int:
    folder = build / family.folder
    folder.mkdir(parents=True, exist_ok=True)
    archive = fetch(family.debian, cache)
    pattern = "/({})$".format("|".join(map(re.escape, family.files)))
    total = 0
    for path, content in members(archive, pattern):
        small = cut(TTFont(BytesIO(content), fontNumber=0), codes)
        target = folder / PurePosixPath(path).name
        (target.with_suffix(suffix) if suffix else target).write_bytes(small)
        total += len(small)
        print(f"{family.folder}/{PurePosixPath(path).name}: {len(content):,} -> {len(small):,} bytes")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Collect the typefaces of the rendered pages.")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    total = sum(collect(family, options.cache, BUILD, letters()) for family in (*TRAINING, *HELD_OUT))
    total += collect(CJK, options.cache, BUILD, east_asian_letters(), suffix=".otf")
    print(f"{total:,} bytes in all")
    for source, families in (("fonts", (*TRAINING, CJK)), ("fonts-heldout", HELD_OUT)):
        packages = {family.debian: "OFL-1.1" for family in families}
        faces = {file for family in families for file in family.files}
        write_record("fonts", source, packages, "typefaces of rendered pages", len(faces))


if __name__ == "__main__":
    main()
