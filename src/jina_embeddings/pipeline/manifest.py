"""The folder of a run: its manifest, and the lock of who works on it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import OptionError, RunBusyError, RunError, RunMismatchError
from .folder import Folder
from .memory_tables import FOLDER as TABLES
from .plan import Plan
from .provenance import Form, differences, other_settings, tell_apart
from .records import Fields
from .sources import Source, changed

NAME = "_manifest.json"
FORMAT = 2


@dataclass(frozen=True)
class Manifest:
    """The definition of a run, which is written once, before its first shard.

    made_by: see `provenance.made_by`.
    """

    plan: Plan
    form: Form
    made_by: dict[str, Any]

    # Each shard asks for it.
    @cached_property
    def run(self) -> str:
        """A digest that each shard's footer carries."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=16).hexdigest()

    def to_json(self) -> str:
        fields = {
            "format": FORMAT,
            "rows": self.plan.num_rows,
            "shards": self.plan.num_shards,
            "shard_rows": self.plan.shard_rows,
            "made_by": self.made_by,
            "form": self.form.to_dict(),
            "fields": {**asdict(self.plan.fields), "keep": list(self.plan.fields.keep)},
            "sources": [source.to_dict() for source in self.plan.sources],
        }
        return json.dumps(fields, indent=1, ensure_ascii=False)

    @classmethod
    def read(cls, folder: Folder) -> Manifest | None:
        """None where there is none. Raises RunError for one that this version can't read."""
        try:
            fields = json.loads(folder.read(NAME))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise RunError(f"{folder}/{NAME} is damaged: {error}") from None
        try:
            if fields["format"] != FORMAT:
                raise RunError(f"{folder} has format {fields['format']}, this version reads {FORMAT}")
            names = fields["fields"]
            plan = Plan(
                [Source.from_dict(source) for source in fields["sources"]],
                fields["shard_rows"],
                Fields(**{**names, "keep": tuple(names["keep"])}),
            )
            return cls(plan, Form(**{**fields["form"], "also": tuple(fields["form"]["also"])}), fields["made_by"])
        except (KeyError, TypeError) as error:
            raise RunError(f"{folder}/{NAME} is no manifest of a run: {type(error).__name__}: {error}") from None

    def write(self, folder: Folder) -> Manifest:
        """The one that the folder has then: this, or the one that another process wrote at the same time."""
        draft = folder.draft(NAME)
        try:
            draft.file.write(self.to_json().encode())
            draft.commit_new()
        finally:
            draft.discard()
        written = Manifest.read(folder)
        assert written is not None
        return written

    def check_inputs(self, plan: Plan, form: Form, folder: Folder) -> None:
        """Raises RunMismatchError where another run is asked for, with what differs."""
        wrong = list(changed(self.plan.sources, plan.sources))
        old, new = (_flat(plan_, form_) for plan_, form_ in ((self.plan, self.form), (plan, form)))
        wrong += [f"{name} was {old[name]} and is {new[name]}" for name in old if old[name] != new[name]]
        _refuse(wrong, folder)

    def check_model(self, made: dict[str, Any], folder: Folder) -> None:
        """Raises RunMismatchError for another model or task, and for options with which vectors are others.

        made: see `provenance.identified`; of a model that is loaded, `made_by` there.
        """
        wrong = [*differences(self.made_by, made), *other_settings(self.made_by, made)]
        _refuse(wrong, folder, "Embed with what the run was begun with, or give another folder")

    def check_unloaded(self, identity: dict[str, Any] | None, folder: Folder) -> bool:
        """Whether the run's model is this one; False where only its vectors would tell. identity: see `identity_of`.

        Raises RunMismatchError for another model or task, as `check_model`.
        """
        if identity is None or not tell_apart(self.made_by, identity):
            return False
        self.check_model(identity, folder)
        return True


def _flat(plan: Plan, form: Form) -> dict[str, Any]:
    return {"shard_rows": plan.shard_rows, **asdict(plan.fields), **form.to_dict()}


def _refuse(wrong: Sequence[str], folder: Folder, change: str = "Give another folder") -> None:
    if wrong:
        more = f"; and {len(wrong) - 5:,} more" if len(wrong) > 5 else ""
        raise RunMismatchError(f"{folder} holds another run: {'; '.join(wrong[:5])}{more}. {change}")


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a run's shards: every `of`th, beginning with shard `number` - 1."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """Raises OptionError for anything but `3/8`."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise OptionError(f"a share is written 3/8, the third of eight, not {text!r}")
        return cls(int(number), int(of))

    def has(self, shard: int) -> bool:
        return shard % self.of == self.number - 1

    @property
    def name(self) -> str:
        return "" if self.of == 1 else f"-{self.number}-of-{self.of}"


@contextmanager
def locked(folder: Folder, share: Share) -> Iterator[None]:
    """Locks the folder, which is made if it isn't there; does nothing in an object store, which has no locks.

    Shares may run at the same time; a run without shares excludes all others.

    Raises RunBusyError while another process has it.
    """
    alone = share.of == 1
    with folder.locked(".lock", exclusive=alone) as whole, folder.locked(f".lock{share.name}-", exclusive=True) as part:
        if not (whole and part):
            raise RunBusyError(f"another process works on {folder}: wait until it ends, or take shares with `shard`")
        yield


def folder_for(into: str | os.PathLike[str]) -> Folder:
    """The folder of a run that is there or is to be. Raises RunMismatchError for one that holds something else."""
    if not os.fspath(into) or os.path.isfile(into):
        raise OptionError(f"{into} is a file: give a folder" if os.fspath(into) else "no folder is named: give one")
    folder = Folder.at(into)
    # A run that was killed before its manifest leaves tables at most, and hidden files.
    others = [name for name in folder.names() if name != TABLES]
    if others and NAME not in others:
        raise RunMismatchError(f"{into} holds other files and no run: give a folder of its own")
    return folder


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a run."""
    return (Path(path) / NAME).is_file()
