"""The command `jina-embeddings doctor`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ...checkpoint.resolve import DEFAULT_MODEL
from ...logs import shown
from ..settings import ENGINE
from ..terminal import PROBLEM, command

if TYPE_CHECKING:
    from .report import Report


def doctor(
    index: Annotated[
        str | None, typer.Argument(metavar="[INDEX]", help="Check this index too.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Check this checkpoint too: a folder, a hub id, or a bundled model's name.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="The engine to check: auto, vllm, torch, transformers or fake.", envvar=ENGINE)
    ] = "auto",
    task: Annotated[
        str | None, typer.Option(help="The task of a merged checkpoint, if its files don't say it.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    local_files_only: Annotated[bool, typer.Option("--local-files-only", help="Download nothing.")] = False,
    parity: Annotated[
        bool,
        typer.Option(
            "--parity",
            help="Compare the vectors of vLLM, or of torch if vLLM is missing, with those of Transformers.",
        ),
    ] = False,
    dtype: Annotated[
        str,
        typer.Option(
            help="The dtype for --parity: float32, bfloat16 or float16; auto is bfloat16 on a GPU, else float32."
        ),
    ] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show all logs, and tracebacks.")] = False,
) -> None:
    """Check versions, GPUs, memory and engines, and an index and a checkpoint if they are given.

    Exit status: 0 no problem; 1 problems, each with what to do about it; 2 wrong arguments.
    """
    with command(debug):
        with _stdout_kept_clean():
            report = _examine(index, model, engine, task, revision, local_files_only, parity, dtype, debug)
        print(report.as_json() if json else "\n".join(map(shown, report.lines())))
        if not report.healthy:
            raise typer.Exit(PROBLEM)


def _examine(
    index: str | None,
    model: str | None,
    engine: str,
    task: str | None,
    revision: str | None,
    local_files_only: bool,
    parity: bool,
    dtype: str,
    debug: bool,
) -> Report:
    from ..arguments import check_engine
    from . import machine, packages
    from .checkpoint import check_checkpoint
    from .report import Report

    check_engine(engine)
    report = Report()
    packages.check_packages(report)
    packages.check_extras(report)
    packages.check_companions(report)
    machine.check_hardware(report)
    machine.check_engines(report, engine)
    machine.check_cache(report)
    if index is not None:
        from .index import check_index

        check_index(report, index)
    if model is None and not parity:
        return report
    name = model or DEFAULT_MODEL
    checkpoint = check_checkpoint(report, name, task=task, revision=revision, local_files_only=local_files_only)
    if parity and checkpoint is not None:
        from ..process import EngineOutput
        from .parity import check_parity, choose_sides

        sides = choose_sides(report, engine, dtype)
        options = {"task": task, "revision": revision, "local_files_only": local_files_only}
        with EngineOutput(shown=debug) as output, output.redirected():
            check_parity(report, name, sides, checkpoint.info, options)
    return report


@contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """Redirects what libraries and their processes print on stdout to stderr, so that stdout has the report only."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
