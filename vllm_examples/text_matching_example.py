"""Text matching, four ways: scores of pairs, translations, duplicates, and paraphrases.

python vllm_examples/text_matching_example.py
python vllm_examples/text_matching_example.py --model jinaai/jina-embeddings-v4 --engine vllm
"""

from __future__ import annotations

import argparse

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.matching import Matcher

QUESTIONS = [
    "How do I reset my password?",
    "Where can I see my invoices?",
    "How can I reset my password?",
    "Do you ship to Canada?",
    "Where do I see my invoices?",
    "How do I close my account?",
]

ENGLISH = ["The museum is closed on Monday.", "The train arrives at seven.", "My brother lives in Paris."]
SPANISH = ["Mi hermano vive en París.", "El museo está cerrado el lunes.", "El tren llega a las siete."]


def compare_pairs(matcher: Matcher) -> None:
    """Computes the similarity of two texts, and of all texts with each other."""
    sentence = "A man is playing a guitar."
    near, far = matcher.scores(
        [sentence, sentence], ["Someone plays the guitar.", "The bank raised its interest rates."]
    )
    print(f"playing and plays: {near:.2f}, a guitar and a bank: {far:.2f}")
    assert near > far

    matrix = matcher.matrix(QUESTIONS)
    print(f"all with all: {matrix.shape}")
    # The nearest to the first question is the second one about passwords.
    assert matrix[0, 1:].argmax() + 1 == 2


def match_translations(matcher: Matcher) -> None:
    """Finds the translations among sentences of two languages in any order."""
    pairs = matcher.bitext(ENGLISH, SPANISH, neighbours=2)
    for pair in pairs:
        print(f"{pair.score:.2f}  {ENGLISH[pair.left]}  {SPANISH[pair.right]}")
    assert {(pair.left, pair.right) for pair in pairs} == {(0, 1), (1, 2), (2, 0)}


def remove_duplicates(matcher: Matcher) -> None:
    """Groups texts that say the same, and keeps one of each group."""
    found = matcher.duplicates(QUESTIONS, threshold=0.85)
    for group in found.groups():
        print(" = ".join(QUESTIONS[row] for row in group.rows))
    assert [group.rows for group in found.groups()] == [(0, 2), (1, 4)]
    assert found.kept.tolist() == [0, 1, 3, 5]

    # Instead of a threshold, give the share of texts to remove.
    third = matcher.duplicates(QUESTIONS, rate=1 / 3)
    print(f"a third is removed at a cosine of {third.threshold:.2f}")
    assert third.kept.tolist() == found.kept.tolist()


def find_paraphrases(matcher: Matcher) -> None:
    """Finds the most similar pairs, best first."""
    pairs = matcher.paraphrases(QUESTIONS, limit=2)
    for pair in pairs:
        print(f"{pair.score:.2f}  {QUESTIONS[pair.left]}  {QUESTIONS[pair.right]}")
    assert {(pair.left, pair.right) for pair in pairs} == {(0, 2), (1, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket", help="a folder, a hub id or a bundled model's name")
    parser.add_argument("--engine", default="auto", help="auto, vllm or transformers")
    arguments = parser.parse_args()
    with JinaEmbeddings(arguments.model, engine=arguments.engine) as model:
        matcher = Matcher(model)
        for feature in (compare_pairs, match_translations, remove_duplicates, find_paraphrases):
            print(f"\n{feature.__name__.replace('_', ' ')}")
            feature(matcher)


if __name__ == "__main__":
    main()
