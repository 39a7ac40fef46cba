"""Whether the vision tower can learn anything through the frozen text model:  python training/vision_overfit.py

Draws some words, one large word an image, and trains the tower alone, from scratch, on all of them in every step, with
the loss of the vision stage. Every image has to find its own word in the end: recall@1 of 1.0 within --steps. What can't
be learnt by heart can't be learnt; a few minutes on a CPU tell a mistake in patches, positions or gradients from a lack
of training. The course goes into benchmarks/results/vision_overfit.json.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from jina_embeddings.prompts import IMAGE_TEMPLATE
from report import write_result
from student import Student, initialise, text_vectors
from vision_stage import Template, image_loss, image_states, image_vectors

TRAINING = Path(__file__).resolve().parent
POCKET = TRAINING.parent / "src" / "jina_embeddings" / "models" / "pocket"
WORDS = TRAINING / "sources" / "words" / "frequent.csv"
WIDTH, HEIGHT, LETTERS = 112, 56, 24
LEARNING_RATE, WARM_UP = 1e-3, 30
LOOK_EVERY = 10


def words(count: int) -> list[str]:
    """Frequent words of three to seven letters."""
    with WORDS.open(encoding="utf-8") as file:
        found = (row["en"] for row in csv.DictReader(file, delimiter=";"))
        return [word for word in dict.fromkeys(found) if 3 <= len(word) <= 7][:count]


def draw(word: str) -> np.ndarray:
    """uint8 (HEIGHT, WIDTH, 3): the word in black on white."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    ImageDraw.Draw(image).text((4, 12), word, fill="black", font=ImageFont.load_default(LETTERS))
    return np.asarray(image)


def template(tokenizer: Tokenizer) -> Template:
    """The image prompt up to the end of the image: a causal model doesn't see the rest."""
    ids = tokenizer.encode(IMAGE_TEMPLATE, add_special_tokens=False).ids
    at = ids.index(tokenizer.token_to_id("<|image_pad|>"))
    return Template(torch.tensor(ids[:at]), torch.tensor(ids[at + 1 : at + 2]))


def targets(student: Student, tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """Unit vectors of words as queries."""
    rows = [tokenizer.encode(f"Query: {text}", add_special_tokens=False).ids for text in texts]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = torch.tensor(values)
    with torch.no_grad():
        return text_vectors(student, ids, lengths)


def overfit(num_words: int, steps: int) -> list[dict[str, float]]:
    """The course of training: loss, recall@1 and how far apart the images' vectors lie."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.from_file(str(POCKET / "tokenizer.json"))
    student = Student()
    weights = {name: tensor.float() for name, tensor in load_file(POCKET / "model.safetensors").items()}
    student.load_state_dict(weights)
    student.visual.apply(initialise)
    student.requires_grad_(False)
    student.visual.requires_grad_(True)
    chosen = words(num_words)
    pixels = torch.from_numpy(np.stack([draw(word) for word in chosen]))
    wanted, around = targets(student, tokenizer, chosen), template(tokenizer)
    parameters = list(student.visual.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    course: list[dict[str, float]] = []
    started = time.monotonic()
    for step in range(steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARM_UP)
        states, tokens = image_states(student, pixels, around)
        vectors = image_vectors(states, tokens, around)
        loss = image_loss(vectors, wanted)
        if step % LOOK_EVERY == 0:
            course.append(look(step, loss, vectors.detach(), wanted, time.monotonic() - started))
            print(course[-1], flush=True)
            if course[-1]["recall"] == 1:
                break
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    return course


def look(step: int, loss: Tensor, vectors: Tensor, wanted: Tensor, seconds: float) -> dict[str, float]:
    right = (vectors @ wanted.T).argmax(1) == torch.arange(len(vectors))
    return {
        "step": step,
        "loss": round(loss.item(), 3),
        "recall": right.float().mean().item(),
        "cosine": round((vectors * wanted).sum(-1).mean().item(), 3),
        "spread": round((vectors - vectors.mean(0)).norm(dim=-1).mean().item(), 3),
        "seconds": round(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    figures: dict[str, Any] = {"words": options.words, "course": overfit(options.words, options.steps)}
    write_result("vision_overfit", figures)
    if figures["course"][-1]["recall"] < 1:
        raise SystemExit("not learnt by heart")


if __name__ == "__main__":
    main()
