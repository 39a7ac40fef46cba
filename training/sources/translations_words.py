"""General vocabulary: 636 of the most frequent English words in 12 languages, alone and woven into English sentences.

`words/frequent.csv` follows the order of WordNet's counts of tagged words, `words/function.csv` has what holds sentences
together; both were written for this project. `words/mined.csv` holds translations that `translations_mined.py` found.
A woven sentence has most of its words replaced in place, in some inflected form: not a translation, but it says which
words stand for the meaning of the English sentence.
"""

from __future__ import annotations

import csv
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import simplemma
from simplemma.strategies.dictionaries.dictionary_factory import DefaultDictionaryFactory

import english_wordnet
import translations_bible

WORDS = Path(__file__).parent / "words"
PACKAGES = {
    english_wordnet.PACKAGE: english_wordnet.LICENCE,
    translations_bible.ENGLISH: translations_bible.LICENCE,
    "pip:simplemma==2.0.0": "MIT",
}
INFLECTED = ("de", "fr", "es", "it", "pt", "nl", "ru", "pl", "sv", "tr", "ar")
UNSPACED = re.compile("(?<=[\u3040-\u30ff\u4e00-\u9fff、。]) (?=[\u3040-\u30ff\u4e00-\u9fff、。])")
TOKEN = re.compile(r"[A-Za-z]+|[^A-Za-z]+")
SENTENCES = 15_000
MOST_FORMS = 8
KEPT_AS_IS = 0.1

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


def inflections(language: str, words: Iterable[str]) -> dict[str, list[str]]:
    """Other forms of these words, the shortest first."""
    wanted, found = set(words), defaultdict(list)
    if language in INFLECTED:
        for form, lemma in DefaultDictionaryFactory().get_dictionary(language).items():
            form, lemma = (part.decode() if isinstance(part, bytes) else part for part in (form, lemma))
            if lemma in wanted and form != lemma and form.isalpha() and form[:2].lower() == lemma[:2].lower():
                found[lemma].append(form)
    return {lemma: sorted(forms, key=len)[:MOST_FORMS] for lemma, forms in found.items()}


def vocabulary(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Word or inflected form, English word, language and file."""
    for name in ("frequent", "mined"):
        for language, entries in lexicon(name).items():
            forms = inflections(language, (word for words in entries.values() for word in words))
            for english, words in entries.items():
                for word in words:
                    yield from ((form, english, language, f"words/{name}") for form in (word, *forms.get(word, [])))


def woven(cache: Path) -> Iterator[tuple[str, str, str, str]]:
    """Woven sentence, English sentence, language and where the sentence is from."""
    sentences = sorted(set(_sentences(cache)))
    function, frequent, mined = lexicon("function"), lexicon("frequent"), lexicon("mined")
    lemmas = {
        word: _lemma(word) for word in {w.lower() for text, _ in sentences for w in re.findall("[A-Za-z]+", text)}
    }
    for language, entries in frequent.items():
        rng = random.Random(language)
        content = mined.get(language, {}) | entries
        forms = inflections(language, (word for words in content.values() for word in words))
        rng.shuffle(sentences)
        count = 0
        for english, group in sentences:
            if count < SENTENCES and (text := _weave(english, content, function[language], forms, lemmas, rng)):
                yield text, english, language, group
                count += 1


def _sentences(cache: Path) -> Iterator[tuple[str, str]]:
    for synset in english_wordnet.synsets(cache).values():
        for text in (synset.gloss, *synset.examples):
            if text.count(" ") >= 4:
                yield text, "woven/wordnet"
    for (book, _, _), verse in translations_bible.verses(translations_bible.ENGLISH, cache).items():
        yield verse, f"woven/bible/{book}"


def _lemma(word: str) -> str:
    return simplemma.lemmatize(word, lang="en").lower()


def _weave(
    english: str,
    content: dict[str, list[str]],
    function: dict[str, list[str]],
    forms: dict[str, list[str]],
    lemmas: dict[str, str],
    rng: random.Random,
) -> str:
    """The sentence with its known words replaced; empty where fewer than three or half of its other words are known."""
    parts, known, unknown = [], 0, 0
    for token in TOKEN.findall(english):
        low = token.lower()
        lemma = low if low in content or low in function else lemmas.get(low, low)
        if not token.isalpha() or (lemma not in content and lemma not in function):
            unknown += token.isalpha() and len(token) > 3
            parts.append(token)
        elif lemma in function:
            parts.append(rng.choice(function[lemma]) if function[lemma] else "")
        elif rng.random() < KEPT_AS_IS or not content[lemma]:
            parts.append(token)
        else:
            word = rng.choice(content[lemma])
            known += 1
            parts.append(rng.choice([word, word, *forms.get(word, [])]))
    return UNSPACED.sub("", " ".join("".join(parts).split())) if known >= 3 and known >= unknown else ""
