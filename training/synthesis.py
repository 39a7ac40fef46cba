"""Texts made up while training, so that the student meets lengths, words and subjects that the corpus lacks.

The teacher reads whatever it is given, so these need no label. Worker processes make them, three ways:

- joined: texts that follow each other in the corpus, as long as passages are; translations on both sides alike;
- swapped: the same with some words exchanged for others, about one subject or about none;
- listed: words about a subject or two, with or without the little words between them.

Each comes with a query: a few words in a row of it, a question about words of it as people type it into a search box, or
its translation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from batches import PROMPTS, Data, Tokenizers

T = TypeVar("T")
WORD = re.compile(r"[A-Za-z]{4,}")
LITTLE_WORDS = json.loads(Path(__file__).with_name("little_words.json").read_text(encoding="utf-8"))
"""Those between others, those that open a question, and those that link its parts."""

QUESTION_SHARE = 0.5
"""Of queries to English passages; the others are cropped."""
TRANSLATED_SHARE = 0.3
"""Of batches; the others are English, and mix these ways."""
WAYS = {"joined": 0.4, "swapped": 0.45, "listed": 0.15}
CHARACTERS = (100, 1700)
"""Of a passage, between the logarithms of which its length is drawn."""
NEAR = 48
"""Words of a subject."""
QUERY_WORDS = (3, 15)
TOKENS_A_BATCH = 65_536
LARGEST = 1024
CHARACTERS_A_TOKEN = 3.5
ON_SUBJECT = 0.8
"""How many of the words that are exchanged belong to the subject."""


@dataclass
class MadeBatch:
    """Padded token ids (n, longest) and lengths (n,) of both sides, for both models; all translations, or all English.

    tokens: of both sides for the student.
    """

    translated: bool
    tokens: int
    query: Tensor
    query_lengths: Tensor
    passage: Tensor
    passage_lengths: Tensor
    teacher_query: Tensor
    teacher_query_lengths: Tensor
    teacher_passage: Tensor
    teacher_passage_lengths: Tensor

    def tensors(self) -> Iterator[Tensor]:
        yield from (getattr(self, field.name) for field in fields(self)[2:])

    def pin_memory(self) -> MadeBatch:
        return MadeBatch(self.translated, self.tokens, *(tensor.pin_memory() for tensor in self.tensors()))

    def to(self, device: str) -> MadeBatch:
        return MadeBatch(
            self.translated, self.tokens, *(tensor.to(device, non_blocking=True) for tensor in self.tensors())
        )


@dataclass
class Material:
    """English texts and translations in the order of the corpus, words, and for each of them the nearest ones."""

    texts: list[str]
    translations: list[list[tuple[str, str]]]
    words: list[str]
    near: np.ndarray


def material(data: Data, words: list[str], near: np.ndarray) -> Material:
    """What `prepare.py` wrote, as far as texts are made of it."""
    english = [text for text, readable in zip(data.texts, data.english, strict=True) if readable]
    translations = [
        [
            (data.texts[q], data.texts[p])
            for p, q in sorted(zip(source.passage.tolist(), source.query.tolist(), strict=True))
        ]
        for source in data.sources
        if source.kind == "translation"
    ]
    return Material(english, translations, words, near)


def nearest(vectors: Tensor, count: int = NEAR) -> np.ndarray:
    """For each of the unit vectors the numbers of the nearest ones, itself among them."""
    rows = [(part @ vectors.T).topk(min(count, len(vectors))).indices for part in vectors.split(4096)]
    return torch.cat(rows).cpu().numpy()


class MadeTexts(IterableDataset):  # type: ignore[type-arg]
    """Endless batches of passages of about one length; every worker has its own random stream."""

    def __init__(self, material: Material, tokenizers: Tokenizers, seed: int, tokens: int = TOKENS_A_BATCH):
        self.material, self.tokenizers, self.seed, self.tokens = material, tokenizers, seed, tokens
        sizes = np.array([len(pairs) for pairs in material.translations], dtype=np.float64) ** 0.5
        self.shares = sizes / max(sizes.sum(), 1)

    def __iter__(self) -> Iterator[MadeBatch]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            yield self.batch(rng)

    def batch(self, rng: np.random.Generator) -> MadeBatch:
        low, high = np.log(CHARACTERS)
        characters = int(np.exp(rng.uniform(low, high)))
        count = int(np.clip(self.tokens * CHARACTERS_A_TOKEN / (1.5 * characters), 64, LARGEST))
        translated = bool(self.material.translations) and rng.random() < TRANSLATED_SHARE
        ways = ["translated"] * count if translated else rng.choice(list(WAYS), size=count, p=list(WAYS.values()))
        rows = [self.pair(rng, way, int(characters * rng.uniform(0.7, 1.2))) for way in ways]
        queries, passages = ([row[side] for row in rows] for side in (0, 1))
        tokenizers, longest = self.tokenizers, max(16, characters // 2)
        prompt = PROMPTS[translated]
        query, query_lengths = padded(tokenizers.for_student([PROMPTS[True] + text for text in queries]), longest)
        passage, passage_lengths = padded(tokenizers.for_student([prompt + text for text in passages]), longest)
        return MadeBatch(
            translated,
            int(query_lengths.sum() + passage_lengths.sum()),
            query,
            query_lengths,
            passage,
            passage_lengths,
            # A translation's target is the vector of its English side.
            *padded(tokenizers.for_teacher(passages if translated else queries), longest),
            *padded(tokenizers.for_teacher(passages), longest),
        )

    def pair(self, rng: np.random.Generator, way: str, characters: int) -> tuple[str, str]:
        """A query and its passage of about so many characters."""
        if way == "translated":
            pairs = self.material.translations[rng.choice(len(self.shares), p=self.shares)]
            return joined_pairs(rng, pairs, characters)
        if way == "listed":
            passage = self.listed(rng, characters)
        else:
            passage = joined(rng, self.material.texts, characters)
            if way == "swapped":
                passage = self.swapped(rng, passage)
        asked = question if rng.random() < QUESTION_SHARE else cropped
        return asked(rng, passage), passage

    def subject(self, rng: np.random.Generator) -> list[str]:
        """Words that are near to a random one."""
        words, near = self.material.words, self.material.near
        return [words[i] for i in near[int(rng.integers(len(words)))]]

    def swapped(self, rng: np.random.Generator, text: str) -> str:
        subject, words = self.subject(rng), self.material.words
        share, instead = rng.uniform(0.1, 0.9), dict[str, str]()

        def other(match: re.Match[str]) -> str:
            word = match[0]
            if word not in instead:
                new = word
                if rng.random() < share:
                    among = subject if rng.random() < ON_SUBJECT else words
                    new = one_of(rng, among)
                instead[word] = new.capitalize() if word[0].isupper() else new
            return instead[word]

        return WORD.sub(other, text)

    def listed(self, rng: np.random.Generator, characters: int) -> str:
        subjects, share = [self.subject(rng) for _ in range(rng.integers(1, 4))], rng.uniform(0, 0.5)
        chosen: list[str] = []
        for _ in range(max(1, characters // 7)):
            subject = one_of(rng, subjects)
            among = LITTLE_WORDS["between"] if rng.random() < share else subject
            chosen.append(one_of(rng, among))
        return " ".join(chosen)


def one_of(rng: np.random.Generator, items: list[T]) -> T:
    return items[int(rng.integers(len(items)))]


def joined(rng: np.random.Generator, texts: list[str], characters: int) -> str:
    """Texts from a random one on, cut at so many characters."""
    at, parts, length = int(rng.integers(len(texts))), [], 0
    while length < characters and at < len(texts):
        parts.append(texts[at])
        length += len(texts[at]) + 1
        at += 1
    return " ".join(parts)[:characters].strip() or texts[0]


def joined_pairs(rng: np.random.Generator, pairs: list[tuple[str, str]], characters: int) -> tuple[str, str]:
    """Neighbouring translations, foreign and English side, as many as the English takes."""
    at, foreign, english, length = int(rng.integers(len(pairs))), [], [], 0
    while length < characters and at < len(pairs):
        foreign.append(pairs[at][0])
        english.append(pairs[at][1])
        length += len(pairs[at][1]) + 1
        at += 1
    return " ".join(foreign), " ".join(english)


def cropped(rng: np.random.Generator, passage: str) -> str:
    """A few words in a row, from anywhere."""
    words = passage.split()
    count = int(rng.integers(*QUERY_WORDS))
    start = int(rng.integers(max(1, len(words) - count)))
    return " ".join(words[start : start + count])


def question(rng: np.random.Generator, passage: str) -> str:
    """One or two places of the passage as a question, without capitals and punctuation."""
    words = re.sub(r"[^\w\s'-]", " ", passage.lower()).split() or [passage]
    parts = [one_of(rng, LITTLE_WORDS["openers"])]
    for number in range(int(rng.integers(1, 3))):
        count = int(rng.integers(1, 6))
        start = int(rng.integers(max(1, len(words) - count)))
        parts += [one_of(rng, LITTLE_WORDS["links"])] * bool(number) + words[start : start + count]
    return " ".join(filter(None, parts))


def padded(rows: Iterable[np.ndarray], longest: int) -> tuple[Tensor, Tensor]:
    """Ids (n, tokens) as int32, cut at the longest that is wanted, and lengths (n,)."""
    kept = [row[:longest] for row in rows]
    lengths = torch.tensor([len(row) for row in kept])
    ids = np.zeros((len(kept), int(lengths.max())), dtype=np.int32)
    for target, row in zip(ids, kept, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(ids), lengths
