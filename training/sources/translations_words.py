"""General vocabulary: 636 of the most frequent English words in 12 languages, alone and woven into English sentences.

`words/frequent.csv` follows the order of WordNet's counts of tagged words, `words/function.csv` has what holds sentences
together; both were written for this project. `words/mined.csv` holds translations that `translations_mined.py` found, `words/forms.csv` the words' inflected forms.
A woven sentence has most of its words replaced in place, in some inflected form: not a translation, but it says which
words stand for the meaning of the English sentence.
"""

from __future__ import annotations

import csv
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import simplemma

import english_wordnet
import translations_bible

WORDS = Path(__file__).parent / "words"
PACKAGES = {
    english_wordnet.PACKAGE: english_wordnet.LICENCE,
    translations_bible.ENGLISH: translations_bible.LICENCE,
    "pip:simplemma==2.0.0": "MIT",
}
UNSPACED = re.compile("(?<=[\u3040-\u30ff\u4e00-\u9fff、。]) (?=[\u3040-\u30ff\u4e00-\u9fff、。])")
TOKEN = re.compile(r"[A-Za-z]+|[^A-Za-z]+")
SENTENCES = 15_000
LEAST_KNOWN = 0.5

Lexicon = dict[str, dict[str, list[str]]]


def lexicon(name: str) -> Lexicon:
    """Words of a file by language and English word; several translations are divided by `/`."""
    found: Lexicon = defaultdict(dict)
    path = WORDS / f"{name}.csv"
    if path.is_file():
        for row in csv.DictReader(path.open(encoding="utf-8"), delimiter=";"):
            for language, cell in row.items():
                if language != "en":
                    found[language].setdefault(row["en"], [form for form in (cell or "").split("/") if form])
    return found


def inflections() -> dict[str, dict[str, list[str]]]:
    """Other forms of a word by language."""
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    path = WORDS / "forms.csv"
    if path.is_file():
        for row in csv.DictReader(path.open(encoding="utf-8"), delimiter=";"):
            found[row["language"]][row["word"]] = row["forms"].split("/")
    return found


def vocabulary(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Word or inflected form, English word, language and file."""
    forms = inflections()
    for name in ("frequent", "mined"):
        for language, entries in lexicon(name).items():
            for english, words in entries.items():
                for word in words:
                    yield from (
                        (form, english, language, f"words/{name}") for form in (word, *forms[language].get(word, []))
                    )


def woven(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Woven sentence, English sentence, language and where the sentence is from: those with most words known."""
    sentences = sorted(set(_sentences(cache)))
    function, frequent, mined, forms = lexicon("function"), lexicon("frequent"), lexicon("mined"), inflections()
    tokens = [[(token, _lemma(token.lower())) for token in TOKEN.findall(english)] for english, _ in sentences]
    for language in frequent:
        rng = random.Random(language)
        content = mined.get(language, {}) | frequent[language]
        share = [_known(parts, content, function[language]) for parts in tokens]
        best = sorted((n for n, known in enumerate(share) if known >= LEAST_KNOWN), key=lambda n: -share[n])
        for number in rng.sample(best[: 2 * SENTENCES], min(SENTENCES, len(best))):
            english, group = sentences[number]
            yield _weave(tokens[number], content, function[language], forms[language], rng), english, language, group


def _sentences(cache: Path) -> Iterator[tuple[str, str]]:
    for synset in english_wordnet.synsets(cache).values():
        for text in (synset.gloss, *synset.examples):
            if text.count(" ") >= 4:
                yield text, "woven/wordnet"
    for (book, _, _), verse in translations_bible.verses(translations_bible.ENGLISH, cache).items():
        yield verse, f"woven/bible/{book}"


@cache
def _lemma(word: str) -> str:
    return simplemma.lemmatize(word, lang="en").lower() if word.isalpha() else ""


def _known(tokens: list[tuple[str, str]], content: dict[str, list[str]], function: dict[str, list[str]]) -> float:
    """Share of a sentence's words, those that hold it together left out, that have a translation; 0 with fewer than three."""
    words = [lemma for token, lemma in tokens if lemma and token.lower() not in function]
    known = sum(bool(content.get(lemma)) for lemma in words)
    return known / len(words) if known >= 3 else 0.0


def _weave(
    tokens: list[tuple[str, str]],
    content: dict[str, list[str]],
    function: dict[str, list[str]],
    forms: dict[str, list[str]],
    rng: random.Random,
) -> str:
    """The sentence with every known word replaced."""
    parts = []
    for token, lemma in tokens:
        low = token.lower()
        if lemma and low in function:
            parts.append(rng.choice(function[low]) if function[low] else "")
        elif lemma and content.get(lemma):
            word = rng.choice(content[lemma])
            parts.append(rng.choice([word, word, *forms.get(word, [])]))
        else:
            parts.append(token)
    return UNSPACED.sub("", " ".join("".join(parts).split()))
