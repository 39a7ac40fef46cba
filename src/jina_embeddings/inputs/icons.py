"""The PNG in an ICO, which then is checked and decoded as any other: Pillow would decode it as it opens the file."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_ICO, _PNG = b"\0\0\1\0", b"\x89PNG\r\n\x1a\n"


def png_in_icon(file: IO[bytes]) -> Image.Image | None:
    """The largest image of an ICO, opened, if it is a PNG; None for any other file. Raises what Pillow raises."""
    from PIL.IcoImagePlugin import IcoFile

    found = file.read(len(_ICO)) == _ICO
    file.seek(0)
    if not found:
        return None
    icon = IcoFile(file)
    if icon.entry:
        file.seek(icon.entry[0].offset)
        if file.read(len(_PNG)) == _PNG:
            return icon.frame(0)
    file.seek(0)
    return None
