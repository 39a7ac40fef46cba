"""Files at addresses such as `s3://bucket/path`, through fsspec and the package that it wants for the scheme."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import IO, Any

from ..errors import DependencyError, InputError

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


def is_address(path: str) -> bool:
    """Whether a path is no path of this machine, but `scheme://...`."""
    return _ADDRESS.match(path) is not None


def store_of(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it.

    Raises:
        DependencyError: a package is missing.
        InputError: no such scheme.
    """
    scheme = address.partition("://")[0].lower()
    filesystem = _filesystem(scheme)
    return filesystem, filesystem._strip_protocol(address)


@lru_cache
def _filesystem(scheme: str) -> Any:
    try:
        import fsspec

        return fsspec.filesystem(scheme)
    except ImportError:
        package = _PACKAGES.get(scheme, "fsspec")
        raise DependencyError(f"{scheme}:// needs {package}: pip install {package}") from None
    except ValueError as error:
        raise InputError(f"{scheme}:// is no store that fsspec knows: {error}") from None


def open_address(address: str) -> IO[bytes]:
    """A file of a store, open for reading at any place of it."""
    filesystem, path = store_of(address)
    return filesystem.open(path, "rb")  # type: ignore[no-any-return]


def stored_state(address: str) -> tuple[int, str]:
    """Size in bytes, and what changes when the file does: its etag where there is one."""
    filesystem, path = store_of(address)
    info = filesystem.info(path)
    return int(info["size"]), str(info.get("ETag") or filesystem.ukey(path)).strip('"')


def make_folder(address: str) -> bool:
    """Makes a folder where a store has some; returns False for object stores, where a bucket would be made."""
    if address.partition("://")[0].lower() in _PACKAGES:
        return False
    filesystem, path = store_of(address)
    filesystem.makedirs(path, exist_ok=True)
    return True


def forget(addresses: Iterable[str]) -> None:
    """Drops what fsspec remembers of listings with these addresses, so that the store is asked again."""
    for folder in {address.rpartition("/")[0] for address in addresses}:
        filesystem, path = store_of(folder)
        filesystem.invalidate_cache(path)


def list_again(folders: Iterable[str]) -> None:
    """Lists folders of stores, by which `stored_state` then knows each file in them where fsspec remembers listings."""
    for folder in folders:
        filesystem, path = store_of(folder)
        with suppress(FileNotFoundError):
            filesystem.ls(path, detail=True)


def find_addresses(address: str) -> list[str]:
    """The files that an address stands for: those that match its `*`, those below it if it is a folder, or itself."""
    filesystem, path = store_of(address)
    if any(sign in path for sign in "*?["):
        found = filesystem.glob(path)
    elif filesystem.isdir(path):
        found = filesystem.find(path)
    else:
        found = [path]
    names = (filesystem.unstrip_protocol(name) for name in sorted(found))
    return [name for name in names if not name.rpartition("/")[2].startswith(".")]
