"""A run on a Ray cluster: actors are given shards by their number, and commit them as one host does."""

from __future__ import annotations

import os
import re
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DependencyError, EngineDeadError, JinaEmbeddingsError, OptionError, RunError
from .caution import Caution, Span, pieces
from .chunks import Chunks, Report
from .identity import Load
from .job import Job
from .shards import Done
from .storing import reason_of
from .supervise import MAX_DEATHS_IN_VAIN

_CONNECT_S = 10
_IMPORT_FAILED = "failed to import on the worker"
_MAX_EARLY_DEATHS = 4
"""Workers that end in a row before they have begun: more than on one host, for the same reason as below."""
_SUSPECT_AFTER_DEATHS = 2
"""Deaths of workers with a shard before its rows are suspected: nodes of a cluster are taken away for other reasons."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The Ray cluster that a run uses.

    address: of a cluster; `auto` for the one that there is, else one made on this machine.
    workers: how many models; if left out, one for each GPU, or one for all of a machine's cores where there is none.
    """

    address: str = "auto"
    workers: int | None = None


def run_on_ray(job: Job, load: Load, report: Report, cluster: Cluster) -> int:
    """Embeds what is left of a job, and returns the number of workers that died.

    load: gives the model, in each worker; has to be picklable, and the package installed on every node. report: called
        with `ended` and the rows of a shard, and `committed` and its `Done`, when it is there.

    Raises:
        EngineDeadError: workers die before they have begun, or again and again without a shard more.
        JinaEmbeddingsError: what a worker raised.
        OptionError: no cluster at the address.
    """
    with _connected(cluster.address) as ray:
        resources = _resources(ray)
        driver = _Driver(ray, job, load, report, resources)
        try:
            return driver.run(cluster.workers or _most_workers(ray, resources))
        finally:
            driver.close()


class Worker:
    """A Ray actor, which holds one model."""

    def begin(self, job: Job, load: Load) -> None:
        """Not when it is made: Ray says little of what is raised then. Raises as `load` does, and RunMismatchError."""
        self._job = job
        self._loaded = load()
        with _ends_with_its_engine():
            self._model = self._loaded.__enter__()
            self._manifest = job.begin(self._model)

    def embed(self, shard: int, caution: Caution) -> Done:
        found: list[Done] = []

        def report(name: str, *values: Any) -> None:
            if name == "committed":
                found.append(values[0])

        with _ends_with_its_engine():
            self._job.embed_shards(self._model, self._manifest, [shard], report, caution)
        return found[0]

    def try_alone(self, piece: Span, caution: Caution) -> None:
        job = self._job
        with _ends_with_its_engine():
            chunks = Chunks(self._model, job.plan, job.form, job.batch_size, lambda *_: None)
            chunks.try_alone(piece, caution.poison)


@dataclass(slots=True)
class _Task:
    """What a worker is doing.

    shard: None while it loads its model.
    piece: rows of a suspected shard; None for the whole shard.
    """

    shard: int | None
    piece: Span | None = None


@dataclass(slots=True)
class _Shard:
    """What is known of a shard that workers died with."""

    deaths: int = 0
    caution: Caution = field(default_factory=Caution)
    pieces: Iterator[Span] = field(default_factory=lambda: iter(()))

    def next_piece(self) -> Span | None:
        piece = next(self.pieces, None)
        if piece is None and self.caution.suspects:
            self.pieces = pieces(self.caution.suspects[0])
            piece = next(self.pieces)
        return piece


class _Driver:
    """Hands out what is left and takes back what dead workers had."""

    def __init__(self, ray: Any, job: Job, load: Load, report: Report, resources: dict[str, float]):
        self._ray, self._job, self._report = ray, job, report
        self._make = ray.remote(**resources, max_restarts=0)(Worker).remote
        self._arguments = ray.put(job), load
        self._running: dict[Any, tuple[Any, _Task]] = {}
        self._known: dict[int, _Shard] = {}
        self._rejected = self._deaths = self._early = self._in_vain = 0

    def run(self, num_workers: int) -> int:
        from .manifest import Manifest

        done = self._job.done(Manifest.read(self._job.folder))
        self._rejected = sum(shard.rejected for shard in done.values())
        self._job.check_rejected(self._rejected)
        self._left = deque(shard for shard in self._job.shards if shard not in done)
        if not self._left:
            # One is to compare its model with the run's.
            self._start()
            while self._running:
                self._take_one()
            return self._deaths
        for _ in range(min(num_workers, len(self._left))):
            self._start()
        # A worker that replaces another may find no place any more, and wait for one when all is done.
        while self._left or any(task.shard is not None for _, task in self._running.values()):
            self._take_one()
        return self._deaths

    def close(self) -> None:
        for worker, _ in self._running.values():
            self._ray.kill(worker)

    def _start(self) -> None:
        worker = self._make()
        self._running[worker.begin.remote(*self._arguments)] = worker, _Task(None)

    def _take_one(self) -> None:
        (ended, *_), _ = self._ray.wait(list(self._running), num_returns=1)
        worker, task = self._running.pop(ended)
        try:
            result = self._ray.get(ended)
        except self._ray.exceptions.RayActorError as error:
            if _IMPORT_FAILED in str(error):
                raise _missing_package(str(error)) from None
            self._died(task)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ImportError):
                raise _missing_package(str(error)) from None
            if isinstance(error.cause, JinaEmbeddingsError | OSError):
                raise error.cause from None
            raise RunError(f"a Ray worker has failed: {reason_of(error.cause)}") from error
        else:
            if task.piece is not None and task.shard is not None:
                known = self._known[task.shard]
                known.caution = known.caution.cleared(task.piece)
            elif isinstance(result, Done):
                self._committed(result)
            self._early = 0
            self._give(worker, task)

    def _give(self, worker: Any, last: _Task) -> None:
        """The next piece of the shard that it is at, else a shard."""
        if last.piece is None or last.shard is None:
            if not self._left:
                self._ray.kill(worker)
                return
            shard = self._left.popleft()
        else:
            shard = last.shard
        known = self._known.get(shard, _Shard())
        piece = known.next_piece()
        work = (
            worker.embed.remote(shard, known.caution)
            if piece is None
            else worker.try_alone.remote(piece, known.caution)
        )
        self._running[work] = worker, _Task(shard, piece)

    def _died(self, task: _Task) -> None:
        self._deaths += 1
        self._in_vain += 1
        if task.shard is None:
            self._early += 1
        else:
            self._left.appendleft(task.shard)
            self._suspect(self._known.setdefault(task.shard, _Shard()), task)
        if self._early == _MAX_EARLY_DEATHS or self._in_vain == MAX_DEATHS_IN_VAIN:
            raise EngineDeadError(f"workers ended {max(self._early, self._in_vain)} times without having got on")
        self._start()

    def _suspect(self, known: _Shard, task: _Task) -> None:
        assert task.shard is not None
        known.deaths += 1
        known.pieces = iter(())
        if task.piece is not None:
            before = known.caution.poison
            known.caution = known.caution.after_death([], task.piece)
            if known.caution.poison != before:
                self._in_vain = 0
        elif known.deaths >= _SUSPECT_AFTER_DEATHS:
            known.caution = known.caution.after_death([self._job.plan.span(task.shard)], None)

    def _committed(self, done: Done) -> None:
        self._in_vain = 0
        self._report("ended", *self._job.plan.span(done.shard))
        self._report("committed", done)
        self._rejected += done.rejected
        self._job.check_rejected(self._rejected)


def _missing_package(error: str) -> DependencyError:
    """The error for a worker that couldn't import what it was given. error: what Ray says of it."""
    node = re.search(r"ip=([0-9a-fA-F.:]+)", error)
    where = f" on {node[1]}" if node else ""
    reason = error.strip().rpartition("\n")[2]
    return DependencyError(
        f"a Ray worker{where} can't import what it is to run ({reason}): install jina-embeddings-vllm, in one version, "
        "and whatever makes your model, on every node"
    )


@contextmanager
def _ends_with_its_engine() -> Iterator[None]:
    """A worker whose engine has died ends too: Ray would give it one piece of work after another."""
    try:
        yield
    except EngineDeadError:
        os._exit(70)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise DependencyError("a run on Ray needs it: pip install 'jina-embeddings-vllm[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    _check_address(address)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    try:
        ray.init(address="local" if address == "auto" and _is_left_behind() else address, **options)
    except (ConnectionError, ray.exceptions.RayError) as error:
        # Ray says so of a cluster that doesn't let this process in, too.
        if address != "auto" or not isinstance(error, ConnectionError) or "Failed to connect" in str(error):
            raise OptionError(
                f"can't connect to the Ray cluster at {address}: {str(error).partition('. Ensure')[0]}. If it asks for "
                "a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file with the cluster's"
            ) from None
        ray.init(address="local", **options, include_dashboard=False)
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Ray itself waits for minutes. Raises OptionError where nobody listens at host:port."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except OSError as error:
        raise OptionError(f"there is no Ray cluster at {address}: {error.strerror or error}") from None


def _is_left_behind() -> bool:
    """Whether `auto` stands for a cluster that was killed, and left its address: Ray would wait for it for minutes."""
    if os.environ.get("RAY_ADDRESS"):
        return False
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        _check_address((Path(folder) / "ray" / "ray_current_cluster").read_text().strip())
    except OptionError:
        return True
    except OSError:
        pass
    return False


def _resources(ray: Any) -> dict[str, float]:
    """Of one worker: a GPU, or what one machine has in cores."""
    nodes: Sequence[dict[str, Any]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(node.get("GPU") for node in nodes):
        return {"num_gpus": 1, "num_cpus": 1}
    return {"num_gpus": 0, "num_cpus": 1}


def _most_workers(ray: Any, resources: dict[str, float]) -> int:
    found = ray.cluster_resources()
    return int(max(1, found.get("GPU", 0) if resources["num_gpus"] else len(ray.nodes())))
