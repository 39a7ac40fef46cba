"""Compares systems on one machine: texts and pages a second, and the share of the device's rate that they use.

    python benchmarks/throughput.py --systems ours,transformers,reference --scratch /tmp/t
    python benchmarks/throughput.py --size tiny           # a CPU: a few minutes, says nothing about speed

README.md beside this file has the calls for a machine with a GPU. Makes an untrained checkpoint (twice: with all
adapters, and with one merged for stock vLLM), and inputs: runs of docstrings of 27, 256 and 2,000 tokens and of mixed
length, A4 pages at 150 dots an inch, also as PDF files, and photographs, charts and texts in turn. On a GPU systems
are loaded together, as many as fit in its memory, since loading takes longer than measuring, the first of them on the
first GPU; they are measured one after another, while the others wait. Each row is printed, and written to the output,
when it is there, so a run that is stopped keeps what it has.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from from_tools import RESULTS, circumstances, lora_module, make_checkpoint, tensor_shapes
from input_sets import CHART, LENGTHS, PHOTOGRAPH, make_lines, make_media, make_pages, make_texts, text_pdf
from jina_embeddings.inputs.patches import ImageConfig, resized_size
from measure import COMPARED, least
from systems import OTHER_VECTORS, PREFIX, SYSTEMS, num_devices

HERE = Path(__file__).parent

# Inputs of each set for each two GPUs, enough for ten seconds of the fastest system on H100s.
COUNTS = {
    "short": 96_000,
    "passages": 10_000,
    "mixed": 3_000,
    "long": 300,
    "pages": 800,
    "media": 1_200,
    "many": 200_000,
    "pdf": 1_200,
}
IMAGE_SETS = ("pages", "media", "pdf")
# What else is measured: packed and scheduled vectors, calls of few texts, and the device's time by kind of kernel.
STAGES = ("paths", "call-sizes", "profile")
# The systems of a default run: those that need one GPU.
DEFAULT = [name for name in SYSTEMS if num_devices(name) == 1]
# Seconds that a system may take besides its rows, for the vectors that are compared, and to end.
SPARE_S = 20
TINY = {"short": 400, "passages": 60, "mixed": 40, "long": 8, "pages": 8, "media": 9, "many": 900, "pdf": 8}


class Run:
    """The results so far, and the file that they are written to."""

    def __init__(self, output: Path, found: dict[str, Any]):
        self.output = output
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.found = {**circumstances(), **found, "rows": [], "notes": []}

    def add(self, line: dict[str, Any]) -> None:
        self.found["rows" if "inputs_per_s" in line else "notes"].append(self._with_shares(line))
        self.write()
        print(json.dumps(line)[:1200], flush=True)

    def write(self) -> None:
        self.output.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")

    def _with_shares(self, line: dict[str, Any]) -> dict[str, Any]:
        cost = self.found.get("flop_per_input", {}).get(line.get("set"))
        if "inputs_per_s" not in line or cost is None:
            return line
        rates = self.found["matrix_flop_per_s"]
        kind = "float8" if "fp8" in line["system"] and "float8" in rates else next(iter(rates), None)
        line["tokens_per_s"] = round(line["inputs_per_s"] * self.found["tokens_per_input"][line["set"]])
        if kind is not None:
            line["share_of_matrix_rate"] = round(line["inputs_per_s"] * cost / rates[kind], 4)
        return line


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", choices=["v4", "tiny"], default="v4")
    parser.add_argument("--systems", default=",".join(DEFAULT), help=f"comma-separated, of {', '.join(SYSTEMS)}")
    parser.add_argument("--sets", default=",".join(COUNTS), help="comma-separated")
    parser.add_argument("--stages", default=",".join(STAGES), help="beside the rows; comma-separated, or none")
    parser.add_argument("--seconds", type=float, default=6, help="of each row")
    parser.add_argument("--without", help="words, comma-separated: rows with one of them in their names are left out")
    parser.add_argument("--seconds-load", type=float, default=240, help="most that systems loaded together may take")
    parser.add_argument("--seconds-budget", type=float, default=560, help="of the whole run")
    parser.add_argument(
        "--scratch",
        type=Path,
        help="folder for checkpoints and inputs, used again if it is there (default: a temporary one)",
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "throughput.json")
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.seconds_budget
    names, sets, stages = (given.split(",") for given in (arguments.systems, arguments.sets, arguments.stages))
    for given, known in ((names, SYSTEMS), (sets, COUNTS), (stages, (*STAGES, "none"))):
        if unknown := set(given) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    import torch

    gpu = torch.cuda.is_available()
    memory = [torch.cuda.get_device_properties(i).total_memory / 1e9 for i in range(torch.cuda.device_count())]
    scratch = prepared_folder(arguments.scratch)
    try:
        pairs = max(1, max(map(num_devices, names)) // 2)
        counts = {name: COUNTS[name] * pairs if arguments.size == "v4" else TINY[name] for name in sets}
        seconds = arguments.seconds if gpu else min(arguments.seconds, 2)
        without = arguments.without.split(",") if arguments.without else []
        plan = {"gpu": gpu, "sets": sets, "stages": stages, "seconds": seconds, "without": without}
        (scratch / "plan.json").write_text(json.dumps(plan))
        run = Run(arguments.output, {"size": arguments.size, "matrix_flop_per_s": {}})
        make_checkpoints(scratch, arguments.size, names, gpu)
        made = False
        for wave in waves(names, memory):
            with loading(wave, scratch, run) as children:
                if not made:
                    run.found |= make_inputs(scratch, arguments.size, counts)
                    made = True
                run_wave(children, scratch, run, arguments.seconds_load, deadline, gpu)
        compare(run, scratch, names)
    finally:
        if arguments.scratch is None:
            shutil.rmtree(scratch, ignore_errors=True)
    print(table(run.found))


def prepared_folder(given: Path | None) -> Path:
    """The given folder or a temporary one, without files of an earlier run."""
    if given is None:
        return Path(tempfile.mkdtemp(prefix="throughput-"))
    given.mkdir(parents=True, exist_ok=True)
    for pattern in ("*.ready", "*.go", "*.done", "*.jsonl", "vectors.*.npy"):
        for path in given.glob(pattern):
            path.unlink()
    return given


def make_checkpoints(scratch: Path, size: str, names: list[str], gpu: bool) -> None:
    started = time.monotonic()
    device, dtype = ("cuda", "bfloat16") if gpu else (None, "float32")
    # Stock vLLM needs the adapters, which only the multi-task checkpoint has.
    for kind in {"multi-task": 1} | {SYSTEMS[name][1]: 1 for name in names}:
        whole = scratch / f"{kind}.{size}"
        if not whole.exists():
            shutil.rmtree(scratch / kind, ignore_errors=True)
            layout: dict[str, Any] = {"layout": "merged"} if kind == "merged" else {}
            make_checkpoint(scratch / kind, size=size, dtype=dtype, device=device, **layout)
            whole.touch()
    if gpu:
        import torch

        torch.cuda.empty_cache()
    print(f"checkpoints in {time.monotonic() - started:.0f} s", flush=True)


def make_inputs(scratch: Path, size: str, counts: dict[str, int]) -> dict[str, Any]:
    """Writes the inputs of each set, while systems are loading; returns the number of inputs."""
    started = time.monotonic()
    texts = {name: count for name, count in counts.items() if name not in IMAGE_SETS}
    if "media" in counts:
        # Every third input of the set is a text.
        texts.setdefault("short", counts["media"])
    made = make_texts(scratch / "multi-task" / "tokenizer.json", texts, PREFIX)
    (scratch / "texts.json").write_text(json.dumps(made))
    if "pages" in counts:
        np.save(scratch / "pages.npy", make_pages(counts["pages"]))
    if "pdf" in counts:
        pages = [text_pdf(make_lines(60, number)) for number in range(counts["pdf"])]
        (scratch / "pdf.pickle").write_bytes(pickle.dumps(pages))
    if "media" in counts:
        with (scratch / "media.pickle").open("wb") as file:
            pickle.dump(make_media(2 * counts["media"] // 3), file)
    print(f"inputs in {time.monotonic() - started:.0f} s", flush=True)
    return sizes(size, scratch / "multi-task" / "tokenizer.json", made)


def sizes(size: str, tokenizer_file: Path, texts: dict[str, list[str]]) -> dict[str, Any]:
    """The tokens of an input of each set, and the FLOPs of its products with weights."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    shapes = tensor_shapes(size)
    text = sum(shape[0] * shape[1] for name, shape in shapes.items() if lora_module(name) and "layers" in name)
    vision = sum(int(np.prod(shape)) for name, shape in shapes.items() if "visual.blocks" in name and len(shape) == 2)
    tokens = {
        name: float(
            np.mean([len(encoding.ids) for encoding in tokenizer.encode_batch([PREFIX + t for t in some[:500]])])
        )
        for name, some in texts.items()
    }
    flop = {name: 2 * text * count for name, count in tokens.items()}
    # An A4 page at 150 dpi becomes 32 x 23 tokens of 2 x 2 patches, and its prompt has about 11 more.
    for name in ("pages", "pdf"):
        tokens[name] = 747
        flop[name] = 2 * (text * 747 + vision * 4 * 736)
    if "short" in texts:
        config = ImageConfig()
        bounds = {"factor": config.factor, "min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
        images = sum(math.prod(resized_size(*size, **bounds)) // config.factor**2 for size in (PHOTOGRAPH, CHART))
        tokens["media"] = (images + 2 * 11 + tokens["short"]) / 3
        flop["media"] = 2 * (text * tokens["media"] + vision * 4 * images / 3)
    return {"tokens_per_input": tokens, "flop_per_input": flop}


def waves(names: list[str], memory: list[float]) -> list[dict[str, str]]:
    """Groups of systems that are loaded together, and their GPUs: in order, where they fit; on a CPU, one at a time.

    memory: gigabytes of each GPU.
    """
    made: list[dict[str, str]] = []
    left: list[float] = []
    for name in names:
        needed, count = SYSTEMS[name][2], num_devices(name)
        fit = [gpu for gpu, space in enumerate(left) if space >= needed][:count]
        if len(fit) < count:
            made.append({})
            left = [space - 4 for space in memory]
            fit = list(range(min(count, len(memory))))
        made[-1][name] = ",".join(str(gpu) for gpu in fit)
        for gpu in fit:
            left[gpu] -= needed
    return made


@contextmanager
def loading(wave: dict[str, str], scratch: Path, run: Run) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Starts these systems, which load in parallel, and ends them at the end."""
    with ExitStack() as files:
        children = {}
        for name, gpus in wave.items():
            log = files.enter_context((run.output.parent / f"{run.output.stem}.{name}.log").open("w"))
            command = [sys.executable, str(HERE / "measure.py"), name, str(scratch)]
            seen = {"CUDA_VISIBLE_DEVICES": gpus} if gpus else {}
            children[name] = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | seen)
        try:
            yield children
        finally:
            for child in children.values():
                stop(child)


def run_wave(
    children: dict[str, subprocess.Popen[bytes]],
    scratch: Path,
    run: Run,
    load_s: float,
    deadline: float,
    gpu: bool,
) -> None:
    """Waits until these systems are loaded, and measures them one after another, each within its time limit."""
    seen = dict.fromkeys(children, 0)
    patience = min(time.monotonic() + load_s, deadline - 20)
    while late := [
        name for name, child in children.items() if child.poll() is None and not (scratch / f"{name}.ready").exists()
    ]:
        if time.monotonic() > patience:
            for name in late:
                run.add({"system": name, "error": "not loaded in time"})
            break
        time.sleep(0.2)
    for name in late:
        # A system that is still running would disturb the others.
        stop(children[name])
    for name in children:
        seen[name] = collect(name, scratch, run, seen[name])
    if gpu or not run.found["matrix_flop_per_s"]:
        measure_rates(run, gpu)
    for name, child in children.items():
        own = min(deadline, time.monotonic() + SYSTEMS[name][3] + SPARE_S) if gpu else deadline
        (scratch / f"{name}.go.tmp").write_text(str(own - time.monotonic()))
        (scratch / f"{name}.go.tmp").rename(scratch / f"{name}.go")
        done = scratch / f"{name}.done"
        while child.poll() is None and not done.exists() and time.monotonic() < own:
            time.sleep(0.2)
            seen[name] = collect(name, scratch, run, seen[name])
        seen[name] = collect(name, scratch, run, seen[name])
        if not done.exists() and name not in late:
            how = "did not end in time" if child.poll() is None else f"ended with {child.returncode}"
            run.add({"system": name, "error": f"{how}; its log says more"})
        stop(child)


def collect(name: str, scratch: Path, run: Run, seen: int) -> int:
    """Reads the lines that a system has written since the last call; returns their number."""
    path = scratch / f"{name}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines[seen:]:
        run.add(json.loads(line))
    return len(lines)


def stop(child: subprocess.Popen[bytes]) -> None:
    """Ends a system and all processes that it has started, in whatever state they are."""
    import psutil

    if child.poll() is not None:
        return
    try:
        family = [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)
    with suppress(subprocess.TimeoutExpired):
        child.wait(timeout=10)


def measure_rates(run: Run, gpu: bool) -> None:
    """Measures the device's rate in a process of its own while nothing else runs; the best measurement counts."""
    command = [sys.executable, str(HERE / "device_rate.py"), *(["bfloat16", "float8"] if gpu else ["float32"])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except subprocess.SubprocessError as error:
        run.add({"notes": f"no matrix rate: {error}; {(getattr(error, 'stderr', None) or '')[-300:]}"})
        return
    rates = run.found["matrix_flop_per_s"]
    for kind, rate in json.loads(done.stdout.splitlines()[-1]).items():
        rates[kind] = max(rate, rates.get(kind, 0.0))
    print("matrix rates:", {kind: f"{rate / 1e12:.1f} TFLOP/s" for kind, rate in rates.items()}, flush=True)


def compare(run: Run, scratch: Path, names: list[str]) -> None:
    """Compares each system's vectors with those of float32, or of the first system if that did not run."""
    against = next((name for name in ("reference", *names) if list(scratch.glob(f"vectors.{name}.*.npy"))), None)
    figures = {}
    for name in set(names) - set(OTHER_VECTORS):
        for set_name in COMPARED:
            mine, other = (scratch / f"vectors.{who}.{set_name}.npy" for who in (name, against))
            if name != against and mine.exists() and other.exists():
                figures[f"{name}, {set_name}"] = least(np.load(mine), np.load(other))
    run.found["least_cosine"] = {"to": against, **figures}
    run.write()


def table(found: dict[str, Any]) -> str:
    lines = [f"{found['device']}, {found['commit']}; least cosine: {found.get('least_cosine')}"]
    lines += [
        f"{row['row']:<28} {row['set']:<9} {row['inputs_per_s']:>9.1f}/s {row.get('tokens_per_s', 0):>8} tokens/s  "
        f"{row.get('share_of_matrix_rate', 0):.1%}  {row['cpu_s_per_1000']:.2f} CPU s a 1000"
        for row in found["rows"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    assert LENGTHS.keys() <= COUNTS.keys()
    main()
