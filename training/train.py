"""Trains `pocket`, stage by stage, each within its seconds:

    python training/train.py --teacher FOLDER --work WORK --stages text,vision,head,adapters

A stage starts from what the last one left in WORK, so runs of a few minutes add up. `export` writes the checkpoint.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from adapter_stage import remove_adapter, train_adapter, train_head
from batches import Data, Ragged, Tokenizers, end_to_end
from corpus import BUILD
from export import export
from icons import load_icons
from jina_embeddings.prompts import IMAGE_TEMPLATE
from page_batches import Pages, loader, progress_at
from peers import Peers
from quick_evaluation import report
from student import Student
from synthesis import MadeBatch, MadeTexts, material, nearest
from teacher import load_teacher, teach
from text_stage import start_from_teacher, train_text
from vision_stage import Template, follow_words, train_vision

TASKS = ("retrieval", "text-matching", "code")
SPACE = "Ġ"
SPAN_HELP = "which part of the stage this run is, if it takes several"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=BUILD, help="what the sources and prepare.py wrote")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--work", type=Path, required=True, help="where stages leave their results")
    parser.add_argument("--start", type=Path, help="checkpoint whose weights and tokenizer the first stage starts from")
    parser.add_argument("--stages", default="text,vision,head,adapters,export")
    parser.add_argument("--text-seconds", type=float, default=300)
    parser.add_argument("--vision-seconds", type=float, default=150)
    for stage in ("text", "vision"):
        parser.add_argument(f"--{stage}-span", type=float, nargs=2, default=(0.0, 1.0), help=SPAN_HELP)
    parser.add_argument("--head-seconds", type=float, default=30)
    parser.add_argument("--adapter-seconds", type=float, default=45, help="for each task")
    parser.add_argument(
        "--tasks", nargs="+", choices=TASKS, default=TASKS, help="whose adapters are trained, in this order"
    )
    parser.add_argument("--workers", type=int, default=14, help="processes that make texts and render pages")
    parser.add_argument("--no-pages", action="store_true", help="head and adapters without pictures of pages")
    parser.add_argument("--compile", action="store_true", help="the layers, which takes a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    peers = Peers.of_torchrun(options.device)
    Run(options, peers).go(options.stages.split(","))
    peers.part()


class Run:
    """What all stages share. The first of several peers writes what comes of them."""

    def __init__(self, options: argparse.Namespace, peers: Peers):
        self.options, self.peers = options, peers
        self.device = f"cuda:{peers.rank}" if options.device == "cuda" else options.device
        self.first, self.seed = peers.rank == 0, peers.own_seed(options.seed)
        torch.manual_seed(self.seed)
        torch.backends.cuda.matmul.allow_tf32 = True
        # cuDNN's attention is planned anew for every shape, and here every batch has its own: 200 ms a step, not 40.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.start = time.monotonic()
        options.work.mkdir(parents=True, exist_ok=True)
        self.state, self.log_file = options.work / "student.safetensors", options.work / "log.json"
        self.log: list[dict] = json.loads(self.log_file.read_text()) if self.log_file.is_file() else []
        self.tokenizer_file = (options.start or options.build) / "tokenizer.json"
        self.tokenizer = Tokenizer.from_file(str(self.tokenizer_file))
        self.student = Student().to(self.device)
        if options.compile:
            torch._dynamo.config.recompile_limit = 64
            for layer in self.student.model.layers:
                layer.compile(dynamic=True)
        self.teacher = load_teacher(options.teacher, self.device)
        self.tokenizers = Tokenizers(self.tokenizer_file, options.teacher)
        start = options.start / "model.safetensors" if options.start and not self.state.is_file() else self.state
        if start.is_file():
            self.student.load_state_dict(load_file(start, device=str(self.device)))
        else:
            start_from_teacher(self.student, self.teacher, self.pieces())
        self.progress = progress_at(options.vision_span[0] if "vision" in options.stages else 1.0)
        self.pages = None

    @cached_property
    def data(self) -> Data:
        data = Data(self.options.build / "train", self.tokenizers, self.device, self.peers)
        self.say("data is on the device")
        return data

    @cached_property
    def targets(self) -> Tensor:
        texts = self.data.teacher
        targets = self.peers.total(teach(self.teacher, texts.flat, texts.starts, self.peers.own(texts.lengths)))
        self.say(f"{len(targets):,} vectors of the teacher")
        return targets

    def say(self, text: str) -> None:
        if self.first:
            print(f"{time.monotonic() - self.start:6.1f} s  {text}", flush=True)

    def pieces(self) -> list[list[int]]:
        """For each of our tokens the teacher's word pieces: whole words, or continuations where no space is before."""
        vocabulary = Tokenizer.from_file(str(self.options.teacher / "tokenizer.json"))
        vocabulary.no_padding()
        vocabulary.no_truncation()
        rows: list[list[int]] = []
        for token in range(self.tokenizer.get_vocab_size()):
            name = self.tokenizer.id_to_token(token) or ""
            text = self.tokenizer.decode([token], skip_special_tokens=True).strip()
            if not text or "\ufffd" in text:
                rows.append([])
                continue
            inside = None if name.startswith(SPACE) else vocabulary.token_to_id("##" + text)
            rows.append([inside] if inside is not None else vocabulary.encode(text, add_special_tokens=False).ids)
        unknown = vocabulary.token_to_id("[UNK]")
        return [[piece for piece in row if piece != unknown] for row in rows]

    def template(self) -> Template:
        ids = self.tokenizer.encode(IMAGE_TEMPLATE, add_special_tokens=False).ids
        at = ids.index(self.tokenizer.token_to_id("<|image_pad|>"))
        before, after = (torch.tensor(part, device=self.device) for part in (ids[:at], ids[at + 1 :]))
        return Template(before, after)

    def page_batches(self) -> object:
        if self.pages is None:
            passages = pq.read_table(self.options.build / "train" / "passages.parquet")["text"].to_pylist()
            fonts = sorted((self.options.build / "fonts").glob("*.ttf"))
            pages = Pages(passages, fonts, self.tokenizer_file, self.seed, progress=self.progress)
            self.pages = loader(pages, self.options.workers)
        return self.pages

    def go(self, stages: list[str]) -> None:
        for stage in stages:
            getattr(self, stage)()
            self.save()

    def save(self) -> None:
        if not self.first:
            return
        state = self.student.state_dict().items()
        tensors = {name: tensor.detach().half().contiguous() for name, tensor in state if "lora" not in name}
        part = self.state.with_suffix(".part")
        save_file(tensors, part)
        part.replace(self.state)
        self.log_file.write_text(json.dumps(self.log))

    @cached_property
    def made(self) -> Iterator[MadeBatch]:
        words = pq.read_table(self.options.build / "train" / "words.parquet")["word"].to_pylist()
        ids = Ragged.of(*end_to_end(self.tokenizers.for_teacher(words)), self.device)
        near = nearest(teach(self.teacher, ids.flat, ids.starts, ids.lengths))
        self.say(f"{len(words):,} words to make texts of")
        texts = MadeTexts(material(self.data, words, near), self.tokenizers, self.seed)
        return loader(texts, self.options.workers)

    def text(self) -> None:
        options = self.options
        train_text(
            self.student,
            self.teacher,
            self.data,
            self.made,
            self.targets,
            options.text_seconds,
            tuple(options.text_span),
            self.seed,
            self.log,
            self.peers,
        )
        self.say(f"text: {self.log[-1] if self.log else ''}")
        self.judge("base")

    def follow_words(self) -> None:
        """Where the tower is still that of the start, but the words have moved, it goes with them."""
        if self.options.start is None:
            return
        before = load_file(self.options.start / "model.safetensors", device=self.device)
        tower = "visual.merger.mlp.2.weight"
        if torch.equal(before[tower].float(), self.student.state_dict()[tower]):
            follow_words(self.student, before["model.embed_tokens.weight"].float())
            self.say("the tower follows the words")

    def vision(self) -> None:
        torch.compiler.set_stance("force_eager")
        self.follow_words()
        icons = load_icons(self.options.build, self.tokenizer, self.device)
        train_vision(
            self.student,
            self.page_batches(),  # type: ignore[arg-type]
            icons,
            self.template(),
            self.progress,
            self.device,
            self.options.vision_seconds,
            tuple(self.options.vision_span),
            self.seed + 1,
            self.log,
            self.peers,
        )
        self.say(f"vision: {self.log[-1] if self.log else ''}")

    def shared(self) -> dict[str, Any]:
        """What head and adapters are trained on."""
        self.progress.value = 1.0
        # A minute each for layers that change with every adapter is more than it gives back.
        torch.compiler.set_stance("force_eager")
        return {
            "data": self.data,
            "targets": self.targets,
            "teacher": self.teacher,
            "made": self.made,
            "pages": None if self.options.no_pages else self.page_batches(),
            "template": self.template(),
            "log": self.log,
            "seed": self.seed + 2,
            "peers": self.peers,
        }

    def head(self) -> None:
        train_head(self.student, task="retrieval", seconds=self.options.head_seconds, **self.shared())
        self.say("head")

    def adapters(self) -> None:
        file = self.options.work / "adapters.safetensors"
        tensors = load_file(file) if file.is_file() else {}
        for task in self.options.tasks:
            tensors |= train_adapter(self.student, task=task, seconds=self.options.adapter_seconds, **self.shared())
            if self.first:
                save_file(tensors, file)
            self.judge(task)
            remove_adapter(self.student)

    def export(self) -> None:
        if not self.first:
            return
        tensors = load_file(self.options.work / "adapters.safetensors")
        export(self.student, tensors, self.tokenizer_file, self.options.work / "checkpoint")
        self.say("exported")

    def judge(self, name: str) -> None:
        """A quick look at the judged sets; the real evaluation goes through the product."""
        if not self.first:
            return
        measured = report(self.student, self.tokenizer, self.options.build, self.device)
        self.log.append({"stage": "evaluation", "of": name, **measured})
        self.say(f"{name}: {measured}")


if __name__ == "__main__":
    main()
