"""Samples of a tar file as WebDataset has them: members whose names are equal up to the first dot."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import IMAGE_SUFFIXES
from .opening import open_bytes
from .records import Fields, row_of
from .rows import Failure, Row, printable

MAX_MEMBER_BYTES = 256 * 2**20


def sample_offsets(path: str) -> Iterator[int]:
    """Where the first header of each sample begins, in bytes of the unpacked file. Raises InputError."""
    key = None
    try:
        with closing(_members(path, 0)) as members:
            for _, member in members:
                if _key(member.name) != key:
                    key = _key(member.name)
                    yield member.offset
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"not a whole tar file: {error}") from None


def samples(path: str, offset: int) -> Iterator[dict[str, Any]]:
    """Samples from an offset on: `__key__`, and the bytes of each member under the rest of its name."""
    sample: dict[str, Any] = {}
    with closing(_members(path, offset)) as members:
        for tar, member in members:
            key = _key(member.name)
            if sample and sample["__key__"] != key:
                yield sample
                sample = {}
            file = tar.extractfile(member)
            sample |= {"__key__": key, _ending(member.name): file.read(MAX_MEMBER_BYTES + 1) if file else b""}
    if sample:
        yield sample


def sample_row(sample: dict[str, Any], fields: Fields, path: str) -> Row | Failure:
    """The image of a sample, else its text. A member named like the field for texts or images comes first.

    What is kept is a member (`json`, `txt`) or a field of its `json`.
    """
    name = printable(f"{path}#{sample['__key__']}")
    record = _fields(sample)
    kept = {column: record.get(column) for column in fields.keep}
    for ending, value in sample.items():
        if isinstance(value, bytes) and len(value) > MAX_MEMBER_BYTES:
            return Failure(name, InputError(f"its member .{ending} is over {MAX_MEMBER_BYTES >> 20} MiB"), kept)
    image = sample.get(fields.image)
    if image is None and fields.text not in sample:
        image = next((sample[ending] for ending in sample if f".{ending.lower()}" in IMAGE_SUFFIXES), None)
    text = None if image else record.get(fields.text) or record.get("txt")
    row = row_of({fields.id: record.get(fields.id), fields.image: image, fields.text: text}, name, fields, Path())
    return replace(row, kept=kept)


def _fields(sample: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for ending, value in sample.items():
        if isinstance(value, bytes) and f".{ending.lower()}" not in IMAGE_SUFFIXES:
            text = value.decode("utf-8", "replace")
            record[ending] = text.strip() if ending == "txt" else text
    try:
        own = json.loads(record.get("json", "{}"))
    except (ValueError, RecursionError):
        own = {}
    return {**(own if isinstance(own, dict) else {}), **record}


def _members(path: str, offset: int) -> Generator[tuple[tarfile.TarFile, tarfile.TarInfo], None, None]:
    with open_bytes(path) as file:
        file.seek(offset)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps every header that it has read
                if member.isfile():
                    yield tar, member


def _key(name: str) -> str:
    folder, file = os.path.split(name)
    return os.path.join(folder, file.partition(".")[0])


def _ending(name: str) -> str:
    return os.path.split(name)[1].partition(".")[2]
