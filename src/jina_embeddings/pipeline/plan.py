"""The rows of a run by number: which source each is in, and reading a stretch of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..errors import InputError, JinaEmbeddingsError
from .positions import COLUMNAR, json_object, read_columns, read_lines, read_records
from .readers import Reader
from .rows import Failure, Row
from .sources import Source


@dataclass(frozen=True, slots=True)
class Fields:
    """Columns and JSON fields that hold the text, the path or bytes of an image, and the id; and those to keep."""

    text: str = "text"
    image: str = "image"
    id: str = "id"
    keep: tuple[str, ...] = ()

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys((self.text, self.image, self.id, *self.keep)))


@dataclass(frozen=True, slots=True)
class Plan:
    """Row 0 is the first of the first source; shard 0 holds rows 0 to `shard_rows`."""

    sources: list[Source]
    shard_rows: int
    fields: Fields = field(default_factory=Fields)

    @property
    def num_rows(self) -> int:
        return sum(source.rows for source in self.sources)

    @property
    def num_shards(self) -> int:
        return -(-self.num_rows // self.shard_rows)

    def span(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the first after it."""
        return shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.num_rows)

    def read(self, start: int, stop: int) -> Iterator[Row | Failure]:
        """One item for each number; what can't be read is a `Failure` in its place.

        Raises InputError if a source has fewer rows than it had.
        """
        ends = list(accumulate(source.rows for source in self.sources))
        index = bisect_right(ends, start)
        while start < stop:
            source, offset = self.sources[index], ends[index] - self.sources[index].rows
            last = min(stop, ends[index])
            given = 0
            for item in self._read(source, start - offset, last - offset):
                given += 1
                yield item
            if given != last - start:
                raise InputError(f"{source.path} has changed since the run was planned: use another folder")
            start, index = last, index + 1

    def _read(self, source: Source, start: int, stop: int) -> Iterator[Row | Failure]:
        path, kind = source.path, source.kind
        if kind == "unreadable":
            yield Failure(path, InputError(source.error))
        elif kind in ("text", "image"):
            yield next(iter(Reader().read([path])))  # type: ignore[misc]
        elif kind == "pdf":
            for number in range(start + 1, stop + 1):
                page = f"{path}#page={number}"
                yield Row(page, "image", {"image": Path(page)})
        elif kind == "lines":
            for number, line in enumerate(read_lines(path, start, stop, source.marks), start + 1):
                yield _line(f"{path}:{number}", line, first=number == 1)
        elif kind == "jsonl":
            for number, line in enumerate(read_lines(path, start, stop, source.marks), start + 1):
                try:
                    yield self._record(json_object(line), f"{path}:{number}", path)
                except InputError as error:
                    yield Failure(f"{path}:{number}", error)
        else:
            records = (
                read_columns(path, kind, start, stop, self.fields.all)
                if kind in COLUMNAR
                else read_records(path, start, stop, source.marks)
            )
            for number, record in enumerate(records, start + 1):
                yield self._record(record, f"{path}:{number}", path)

    def _record(self, record: dict[str, Any], name: str, path: str) -> Row | Failure:
        fields = self.fields
        kept = {column: record.get(column) for column in fields.keep}
        try:
            for value in record.values():
                if isinstance(value, str):
                    value.encode()
        except UnicodeEncodeError as error:
            return Failure(name, InputError(f"not UTF-8: {error.reason}: convert it"), dict.fromkeys(fields.keep))
        image = record.get(fields.image)
        # As `datasets` stores one: {"bytes": ..., "path": ...}.
        if isinstance(image, dict):
            image = image.get("bytes") or image.get("path")
        given = record.get(fields.id)
        own = name if given in (None, "") else str(given)
        if isinstance(image, bytes) and record.get(fields.text) in (None, ""):
            return Row(own, "image", {"image": image}, kept)
        made = Reader(fields.text, fields.image)._record({**record, fields.image: image, "id": own}, name, path)
        return replace(made, kept=kept)


def _line(name: str, line: bytes, *, first: bool) -> Row | Failure:
    try:
        return Row(name, "text", {"text": line.decode("utf-8-sig" if first else "utf-8").strip("\r\n")})
    except (UnicodeDecodeError, JinaEmbeddingsError) as error:
        return Failure(name, InputError(f"not UTF-8: {error}: convert it"))
