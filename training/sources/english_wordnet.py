"""WordNet 3.0: terms and glosses, fuller passages about nouns, and questions that a hypernym answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packages import fetch, members

PACKAGE = "deb:wordnet-base=1:3.0-37"
LICENCE = "WordNet licence (permissive)"
KINDS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
RELATIONS = {"@": "is a kind of", "%p": "has the parts", "#m": "belongs to", "#p": "is part of", "~": "kinds of it are"}
PERSONAL = "@i"


@dataclass(frozen=True)
class Synset:
    words: tuple[str, ...]
    gloss: str
    examples: tuple[str, ...]
    pointers: tuple[tuple[str, str], ...]  # (relation, key)
    part: str


def synsets(cache: Path) -> dict[str, Synset]:
    """Key (part of speech and offset) to synset."""
    found = {}
    for name, content in members(fetch(PACKAGE, cache), r"wordnet/data\.(noun|verb|adj|adv)$"):
        part = KINDS[name.rsplit(".", 1)[1]]
        for line in content.decode("utf-8").splitlines():
            if not line.startswith("  "):
                found[part + line[:8]] = _parse(line, part)
    return found


def _parse(line: str, part: str) -> Synset:
    data, _, gloss = line.partition(" | ")
    fields = data.split()
    count = int(fields[3], 16)
    words = tuple(fields[4 + 2 * i].split("(")[0].replace("_", " ") for i in range(count))
    rest = fields[4 + 2 * count :]
    pointers = tuple(
        (rest[1 + 4 * i], ("a" if rest[3 + 4 * i] == "s" else rest[3 + 4 * i]) + rest[2 + 4 * i])
        for i in range(int(rest[0]))
    )
    meaning, *quoted = gloss.strip().split('; "')
    examples = tuple(piece.split('"')[0].strip() for piece in quoted)
    return Synset(words, meaning.strip(), examples, pointers, part)


def pairs(found: dict[str, Synset], rng: random.Random) -> Iterator[tuple[str, str, str, str]]:
    """Query, passage, form and group."""
    for key, synset in found.items():
        if len(synset.gloss) < 12:
            continue
        yield ", ".join(synset.words[: rng.choice((1, 1, 2))]), synset.gloss, "gloss", key
        if synset.part == "n":
            passage = describe(synset, found, rng)
            if passage.count(" ") > 25:
                yield from ((question, passage, "question", key) for question in questions(synset, found, rng))


def questions(synset: Synset, found: dict[str, Synset], rng: random.Random) -> Iterator[str]:
    """One question that the passage answers, phrased as people ask."""
    word = rng.choice(synset.words)
    above = [found[key] for relation, key in synset.pointers if relation in {"@", PERSONAL}]
    forms = [f"what is {word}", f"what does {word} mean", f"is {word} the same as {rng.choice(synset.words)}", word]
    if above:
        kind = rng.choice(above).words[0]
        named = word[0].isupper()
        forms += [f"is {word} {_article(kind)}" if named else f"is {_article(word)} {_article(kind)}"] * 2
        forms.append(f"which {kind} is {synset.gloss.split(';')[0]}")
    parts = [found[key].words[0] for relation, key in synset.pointers if relation == "%p"]
    if parts:
        forms += [f"does {_article(word)} have {_article(rng.choice(parts))}"] * 2
    wholes = [found[key].words[0] for relation, key in synset.pointers if relation == "#p"]
    if wholes:
        forms += [f"is {word} part of {rng.choice(wholes)}", f"is {word} in {rng.choice(wholes)}"]
    yield rng.choice(forms)


def describe(synset: Synset, found: dict[str, Synset], rng: random.Random) -> str:
    """A passage of what WordNet says about a synset."""
    name, *others = synset.words
    text = [f"{name[0].upper() + name[1:]}: {synset.gloss}."]
    if others:
        text.append(f"Also called {' or '.join(others[:4])}.")
    for relation, words in RELATIONS.items():
        linked = [found[key] for other, key in synset.pointers if other.startswith(relation)]
        if not linked:
            continue
        if relation == "@":
            text.append(f"{name[0].upper() + name[1:]} {words} {linked[0].words[0]}: {linked[0].gloss}.")
        else:
            names = [other.words[0] for other in rng.sample(linked, min(6, len(linked)))]
            text.append(
                f"{words[0].upper() + words[1:]} {', '.join(names)}."
                if relation == "~"
                else f"It {words} {', '.join(names)}."
            )
    text.extend(example[0].upper() + example[1:] + "." for example in synset.examples if example)
    return " ".join(text)[:1600]


def texts(found: dict[str, Synset]) -> Iterator[tuple[str, str]]:
    """Example sentences, and the gloss of a word as a sentence."""
    for key, synset in found.items():
        yield from ((example, key) for example in synset.examples if example.count(" ") >= 2)
        yield f"{synset.words[0]}: {synset.gloss}", key


def _article(word: str) -> str:
    return f"{'an' if word[0].lower() in 'aeiou' else 'a'} {word}"
