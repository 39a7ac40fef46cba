"""SimLex-999 and WordSim-353 from the test data of gensim's wheel."""

from __future__ import annotations

from .archives import read
from .sets import Words

GENSIM = "pip:gensim==4.4.0"
FILES = {"simlex": "simlex999.txt", "wordsim": "wordsim353.tsv"}


def word_pairs() -> list[Words]:
    """Both sets."""
    sets = []
    for name, file in FILES.items():
        text = read(GENSIM, f"gensim/test/test_data/{file}").decode()
        rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
        first, second, scores = zip(*rows, strict=True)
        sets.append(Words(name, first, second, tuple(map(float, scores))))
    return sets
