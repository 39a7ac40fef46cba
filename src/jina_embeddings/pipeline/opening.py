"""Files of a run opened by their name: here or in a store, unpacked where the name says that they are packed."""

from __future__ import annotations

import gzip
import io
from typing import IO, Any

from ..errors import DependencyError
from .stores import is_address, open_address

_PACKED = (".gz", ".zst")
_SKIPPED_BYTES = 2**20


def unpacked_name(path: str) -> str:
    """In lower case, without what says that it is packed."""
    name = path.lower()
    for suffix in _PACKED:
        name = name.removesuffix(suffix)
    return name


def is_packed(path: str) -> bool:
    """Whether a file is compressed, so that it can only be read from its start."""
    return path.lower().endswith(_PACKED)


def open_stored(path: str) -> IO[bytes]:
    """Opens the file as it is, compressed or not."""
    return open_address(path) if is_address(path) else open(path, "rb")


def open_bytes(path: str) -> IO[bytes]:
    """Opens the file, and decompresses it if its name ends in .gz or .zst. Raises DependencyError."""
    if path.lower().endswith(".gz"):
        return gzip.open(open_stored(path), "rb")  # type: ignore[return-value]
    if path.lower().endswith(".zst"):
        return io.BufferedReader(_Zstandard(path))
    return open_stored(path)


class _Zstandard(io.RawIOBase):
    """What is packed in a .zst file, with places in it: zstandard's own reader knows no lines and never goes back."""

    def __init__(self, path: str):
        self._path = path
        self._start()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        import zstandard

        try:
            count = int(self._reader.readinto(buffer))
        except zstandard.ZstdError as error:
            # As gzip says it.
            raise OSError(f"a broken .zst: {error}") from None
        self._place += count
        return count

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset if whence == io.SEEK_SET else self._place + offset
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the length of what is packed isn't known")
        if target < self._place:
            self._reader.close()
            self._start()
        while self._place < target and self.read(min(_SKIPPED_BYTES, target - self._place)):
            pass
        return self._place

    def close(self) -> None:
        self._reader.close()
        super().close()

    def _start(self) -> None:
        try:
            import zstandard
        except ImportError:
            raise DependencyError(f"{self._path} needs zstandard: pip install 'jina-embeddings-vllm[bulk]'") from None
        packed: Any = open_stored(self._path)
        self._reader: Any = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        self._place = 0
