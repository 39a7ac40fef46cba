"""SimLex-999 and WordSim-353 from the test data of gensim's wheel."""

from __future__ import annotations

from pathlib import Path

from .packages import GENSIM
from .sets import Words

FILES = {"simlex": "simlex999.txt", "wordsim": "wordsim353.tsv"}


def word_pairs(cache: Path) -> list[Words]:
    sets = []
    for name, file in FILES.items():
        text = GENSIM.read(cache, f"gensim/test/test_data/{file}").decode()
        rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
        first, second, scores = zip(*rows, strict=True)
        sets.append(Words(name, first, second, tuple(map(float, scores))))
    return sets
