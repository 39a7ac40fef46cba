"""Measures one system of the throughput benchmark in a process of its own, which frees its memory when it ends.

    python benchmarks/measure.py SYSTEM SCRATCH

Loads the system, says so by a file, waits for its turn, and appends each row to `SCRATCH/SYSTEM.jsonl` when it has
it. `SCRATCH` holds the inputs and the checkpoints; `SCRATCH/plan.json` says what to measure and for how long.
"""

from __future__ import annotations

import json
import math
import pickle
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from bulk_files import write_files
from call_sizes import measure as call_sizes

# The number of inputs of each set whose vectors are kept for the comparison with float32.
COMPARED = {"short": 48, "passages": 16, "pages": 4}
# The sets that are embedded whole, as the bulk runs beside them do.
WHOLE = ("many", "pdf")


def main() -> None:
    name, scratch = sys.argv[1], Path(sys.argv[2])
    plan = json.loads((scratch / "plan.json").read_text())
    from systems import SYSTEMS

    make, checkpoint, _, limit = SYSTEMS[name]
    started = time.monotonic()
    system = None
    try:
        system = make(scratch / checkpoint, plan["gpu"])
        report(scratch, name, {"system": name, "load_s": round(time.monotonic() - started, 1)})
        (scratch / f"{name}.ready").touch()
        go = scratch / f"{name}.go"
        while not go.exists():
            time.sleep(0.1)
        deadline = time.monotonic() + min(limit if plan["gpu"] else 600, float(go.read_text()))
        measure_all(system, name, scratch, plan, deadline)
    except Exception as error:
        traceback.print_exc()
        report(scratch, name, {"system": name, "error": f"{type(error).__name__}: {error}"[:500]})
    finally:
        (scratch / f"{name}.done").touch()
    if system is not None:
        system.close()


def measure_all(system: Any, name: str, scratch: Path, plan: dict[str, Any], deadline: float) -> None:
    inputs = read_inputs(scratch)
    how = system.rows[0][2] if system.rows else "8"
    keep_vectors(
        system, name, scratch, inputs, how, with_pages=any(row[1] == "pages" for row in system.rows) or how == "8"
    )
    # With several engines, `1:` measures one of them.
    alone = how.removesuffix("packed")
    if (name == "ours" or name.startswith("ours-on-")) and "paths" in plan["stages"]:
        compare_paths(system, name, scratch, inputs, alone)
    for label, set_name, how in system.rows:
        if set_name not in plan["sets"] or any(word in label for word in plan["without"]):
            continue
        if time.monotonic() + 2 * plan["seconds"] > deadline:
            report(scratch, name, {"system": name, "row": label, "set": set_name, "skipped": "no time left"})
            continue
        try:
            if how.endswith("+files"):
                figures = measure_files(system, scratch, inputs[set_name], how)
            else:
                figures = measure(system, inputs[set_name], how, plan["seconds"] if set_name not in WHOLE else math.inf)
        except Exception as error:
            traceback.print_exc()
            figures = {"error": f"{type(error).__name__}: {error}"[:500]}
        report(scratch, name, {"system": name, "row": label, "set": set_name, **figures})
    if (name == "ours" or name.startswith("ours-on-")) and "call-sizes" in plan["stages"]:
        figures = call_sizes(lambda texts, path: system.run(texts, alone + path), inputs["short"], 7)
        report(scratch, name, {"system": name, "call_sizes": figures})
    if name.startswith("ours") and "profile" in plan["stages"]:
        profile(system, name, scratch, inputs, plan["sets"], alone)
    report(scratch, name, {"system": name, "peak_gpu_bytes": system.peak_bytes(), **system.notes()})


def measure(system: Any, inputs: list[Any], how: str, seconds: float) -> dict[str, Any]:
    """Inputs a second over about `seconds`, after two smaller rounds to warm up and to choose the number of inputs.

    Of some full packs each: memory of that size is taken, and kernels for it are chosen, before the clock runs.
    """
    first = count = max(4, len(inputs) // 20)
    rate = 0.0
    for _ in range(2):
        rate = max(rate, timed(system, inputs[:first], how)[0])
    count = int(min(len(inputs) - first, max(count, rate * seconds)))
    before, threads = cpu_seconds(), thread_seconds()
    # From the other end, as results of inputs that were just embedded may be cached.
    rate, used = timed(system, inputs[-count:], how)
    return {
        "num_inputs": count,
        "seconds": round(used, 3),
        "inputs_per_s": round(rate, 2),
        "cpu_s_per_1000": round((cpu_seconds() - before) / count * 1000, 3),
        "busiest_threads": busiest(threads, thread_seconds(), used),
    }


def measure_files(system: Any, scratch: Path, inputs: list[Any], how: str) -> dict[str, Any]:
    """Rows a second of a bulk run: from the files' survey to the last shard's commit."""
    files = write_files(scratch / "files", inputs)
    shutil.rmtree(scratch / "into", ignore_errors=True)
    before, threads, started = cpu_seconds(), thread_seconds(), time.perf_counter()
    count = system.run_files(files, scratch / "into", how)
    used = time.perf_counter() - started
    return {
        "num_inputs": count,
        "seconds": round(used, 3),
        "inputs_per_s": round(count / used, 2),
        "cpu_s_per_1000": round((cpu_seconds() - before) / count * 1000, 3),
        "busiest_threads": busiest(threads, thread_seconds(), used),
    }


def timed(system: Any, inputs: list[Any], how: str) -> tuple[float, float]:
    """(inputs a second, seconds)."""
    started = time.perf_counter()
    vectors = system.run(inputs, how)
    used = time.perf_counter() - started
    if not np.isfinite(vectors).all():
        raise ValueError("a vector is not finite")
    return len(inputs) / used, used


def cpu_seconds() -> float:
    """CPU seconds of this process and its children, including those that have ended."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        try:
            # The time of a process that has ended is added to its parent's.
            total += sum(process.cpu_times()[:4])
        except psutil.Error:
            continue
    return total


def thread_seconds() -> dict[tuple[int, int], tuple[str, float, float]]:
    """Name, user seconds and system seconds of each thread of this process and its children."""
    own = psutil.Process()
    found = {}
    for process in (own, *own.children(recursive=True)):
        try:
            for thread in process.threads():
                name = Path(f"/proc/{process.pid}/task/{thread.id}/comm").read_text().strip()
                found[process.pid, thread.id] = f"{process.name()}/{name}", thread.user_time, thread.system_time
        except (psutil.Error, OSError):
            continue
    return found


def busiest(before: dict[Any, Any], after: dict[Any, Any], seconds: float) -> list[list[Any]]:
    """[name, number, busy cores in user mode, busy cores in system mode] of threads by name, busiest first."""
    spent: dict[str, list[float]] = {}
    for key, (name, user, system) in after.items():
        _, user_before, system_before = before.get(key, (name, 0.0, 0.0))
        entry = spent.setdefault(name, [0, 0.0, 0.0])
        for place, value in enumerate((1, (user - user_before) / seconds, (system - system_before) / seconds)):
            entry[place] += value
    ranked = sorted(spent.items(), key=lambda item: -item[1][1] - item[1][2])
    return [[name, count, round(user, 2), round(system, 2)] for name, (count, user, system) in ranked[:6]]


def profile(system: Any, name: str, scratch: Path, inputs: dict[str, list[Any]], sets: list[str], alone: str) -> None:
    """The device's time by kind of kernel, in a call of a few packs of each set."""
    for set_name in ("short", "passages", "pages"):
        if set_name in sets:
            # A first call with other inputs, since kernels for this set may not be chosen yet.
            system.run(inputs[set_name][-4:], alone + "packed")
            system.on_workers("start_profile")
            # Pages are embedded in parts, and the first parts are small.
            share = 4 if set_name == "pages" else 16
            system.run(unseen(inputs[set_name][: max(4, len(inputs[set_name]) // share)]), alone + "packed")
            report(scratch, name, {"system": name, "set": set_name, "profile": system.on_workers("stop_profile")})


def unseen(inputs: list[Any]) -> list[Any]:
    """The inputs, with pages turned upside down, as features of the measured ones may be cached."""
    return [page if isinstance(page, str) else page.transpose(Image.Transpose.ROTATE_180) for page in inputs]


def keep_vectors(
    system: Any, name: str, scratch: Path, inputs: dict[str, list[Any]], how: str, *, with_pages: bool
) -> None:
    for set_name, count in COMPARED.items():
        if set_name in inputs and (set_name != "pages" or with_pages):
            np.save(scratch / f"vectors.{name}.{set_name}.npy", system.run(inputs[set_name][:count], how))


def compare_paths(system: Any, name: str, scratch: Path, inputs: dict[str, list[Any]], alone: str) -> None:
    """Cosines of packed and scheduled vectors, and of an input's vectors from packs with different other inputs."""

    def run(some: list[Any], path: str) -> np.ndarray:
        vectors: np.ndarray = system.run(some, alone + path)
        return vectors

    figures = {}
    for set_name, count in COMPARED.items():
        if set_name not in inputs:
            continue
        some = inputs[set_name][:count]
        packed = run(some, "packed")
        figures[set_name] = {"packed to scheduled": least(packed, run(some, "scheduled"))}
        others = inputs[set_name][count : 8 * count]
        figures[set_name]["among others"] = least(packed, run([*others, *some], "packed")[-count:])
    mixed = inputs["short"][:48]
    figures["three tasks"] = {"packed to scheduled": least(run(mixed, "packed+tasks"), run(mixed, "scheduled+tasks"))}
    report(scratch, name, {"system": name, "least_cosines": figures})


def least(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    cosines = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return round(float(cosines.min()), 7)


def read_inputs(scratch: Path) -> dict[str, list[Any]]:
    inputs: dict[str, list[Any]] = json.loads((scratch / "texts.json").read_text())
    if (scratch / "pages.npy").exists():
        inputs["pages"] = [Image.fromarray(pixels) for pixels in np.load(scratch / "pages.npy")]
    if (scratch / "pdf.pickle").exists():
        inputs["pdf"] = [{"image": page} for page in pickle.loads((scratch / "pdf.pickle").read_bytes())]
    if (scratch / "media.pickle").exists():
        images = [Image.fromarray(pixels) for pixels in pickle.loads((scratch / "media.pickle").read_bytes())]
        texts = inputs["short"]
        inputs["media"] = [one for i in range(0, len(images) - 1, 2) for one in (*images[i : i + 2], texts[i // 2])]
    return inputs


def report(scratch: Path, name: str, line: dict[str, Any]) -> None:
    with (scratch / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
