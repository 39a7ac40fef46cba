"""Cuts what training needs, or has made, into files small enough to be carried to another machine and back.

    python training/carry.py pack PARTS --megabytes 60 FILE_OR_FOLDER ...
    python training/carry.py unpack PARTS FOLDER

`pack` puts the files into one archive and cuts it into PARTS/part-00 and so on; paths are kept from the current folder
on. Nothing is compressed: Parquet and weights hardly shrink. `unpack` joins them in order, whole or not at all.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tarfile
from pathlib import Path

PATTERN = "part-*"
SUM = "sha256"


class Cut(io.RawIOBase):
    """A stream that goes on in the next file when one is full."""

    def __init__(self, folder: Path, size: int):
        self.folder, self.size, self.count, self.room = folder, size, 0, 0
        self.digest = hashlib.sha256()
        self._file: io.BufferedWriter | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        view = memoryview(data)
        self.digest.update(view)
        while view:
            if not self.room:
                self._next()
            written = self._file.write(view[: self.room])  # type: ignore[union-attr]
            view, self.room = view[written:], self.room - written
        return len(data)

    def _next(self) -> None:
        if self._file:
            self._file.close()
        self._file = (self.folder / f"part-{self.count:02}").open("wb")
        self.count, self.room = self.count + 1, self.size

    def close(self) -> None:
        if self._file:
            self._file.close()
        super().close()


class Joined(io.RawIOBase):
    """Files read one after the other."""

    def __init__(self, files: list[Path]):
        self.files = list(files)
        self._file: io.BufferedReader | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while self._file or self.files:
            if self._file is None:
                self._file = self.files.pop(0).open("rb")
            if count := self._file.readinto(buffer):
                return count
            self._file.close()
            self._file = None
        return 0


def pack(parts: Path, things: list[Path], size: int, root: Path) -> int:
    """Writes the parts and their checksum, with paths from `root` on; returns how many there are."""
    parts.mkdir(parents=True, exist_ok=True)
    for old in parts.glob(PATTERN):
        old.unlink()
    with Cut(parts, size) as cut:
        with tarfile.open(fileobj=cut, mode="w|") as archive:
            for thing in things:
                archive.add(thing, thing.resolve().relative_to(root.resolve()))
        (parts / SUM).write_text(cut.digest.hexdigest(), encoding="ascii")
    return cut.count


def unpack(parts: Path, folder: Path) -> None:
    """Writes what was packed below `folder`; ValueError if a part is missing or broken."""
    files = sorted(parts.glob(PATTERN))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    if digest.hexdigest() != (parts / SUM).read_text(encoding="ascii"):
        raise ValueError(f"{parts} has {len(files)} parts, and they aren't what was packed: carry all of them anew")
    with tarfile.open(fileobj=io.BufferedReader(Joined(files)), mode="r|") as archive:
        # Python 3.11 has the filter from 3.11.4 on.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("parts", type=Path)
    packing.add_argument("things", type=Path, nargs="+")
    packing.add_argument("--megabytes", type=int, default=60, help="the most that a part holds")
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("parts", type=Path)
    unpacking.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.command == "pack":
        count = pack(options.parts, options.things, options.megabytes * 1_000_000, Path.cwd())
        print(f"{count} parts in {options.parts}")
    else:
        unpack(options.parts, options.folder)


if __name__ == "__main__":
    main()
