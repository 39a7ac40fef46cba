"""Code search, four ways: by words, by other code, by documentation, and across languages.

python vllm_examples/code_search_example.py
python vllm_examples/code_search_example.py --model jinaai/jina-embeddings-v4 --engine vllm
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jina_embeddings import JinaEmbeddings
from jina_embeddings.apps.code import CodeSearch, Repository
from jina_embeddings.apps.index import Hit

FILES = {
    "text.py": '''
def count_words(text):
    """How often each word stands in a text."""
    counts = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts


def read_lines(path):
    with open(path) as file:
        return [line.rstrip() for line in file]
''',
    "numbers.py": '''
def average(numbers):
    """The mean of a list of numbers."""
    return sum(numbers) / len(numbers)


def is_prime(number):
    return number > 1 and all(number % divisor for divisor in range(2, number))
''',
    "mail.js": """
// Send a message by e-mail.
function sendMail(address, message) {
  const connection = smtp.connect();
  connection.send(address, message);
}
""",
    "statistics.go": """
package statistics

// Mean is the average of the numbers.
func Mean(numbers []float64) float64 {
	sum := 0.0
	for _, number := range numbers {
		sum += number
	}
	return sum / float64(len(numbers))
}
""",
    "guide.md": """
# Sending mail

A message is sent by e-mail to an address over a connection.
""",
}


def search_by_words(code: CodeSearch, root: Path) -> None:
    """Finds a function by a question in plain words."""
    hits = code.search("count how often each word occurs in a text", limit=3)
    show(hits)
    assert hits[0].passage.title == "count_words"


def search_by_code(code: CodeSearch, root: Path) -> None:
    """Finds functions similar to the one at a line of a file, which need not be in the index."""
    draft = root.parent / "draft.py"
    draft.write_text("def word_frequencies(words):\n    return {word: words.count(word) for word in words}\n")
    hits = code.similar(draft, line=1, limit=3)
    show(hits)
    assert hits[0].passage.title == "count_words"


def search_by_documentation(code: CodeSearch, root: Path) -> None:
    """Finds the code that a section of the documentation describes."""
    hits = code.similar(root / "guide.md", line=3, name="guide.md", limit=3)
    show(hits)
    assert hits[0].passage.title == "sendMail"


def search_across_languages(code: CodeSearch, root: Path) -> None:
    """Finds the Go function that does the same as a Python function."""
    hits = code.similar(root / "numbers.py", line=1, name="numbers.py", language="go", limit=3)
    show(hits)
    assert hits[0].passage.title == "Mean"


def show(hits: Sequence[Hit]) -> None:
    for hit in hits:
        passage = hit.passage
        print(f"{hit.score:.2f}  {passage.path}:{passage.line}  {passage.title}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket", help="a folder, a hub id or a bundled model's name")
    parser.add_argument("--engine", default="auto", help="auto, vllm or transformers")
    arguments = parser.parse_args()
    with JinaEmbeddings(arguments.model, engine=arguments.engine) as model, tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        root.mkdir()
        for name, text in FILES.items():
            (root / name).write_text(text.lstrip())
        code = CodeSearch.open(Path(folder) / "index", model, create=True)
        code.update(Repository(root))
        for feature in (search_by_words, search_by_code, search_by_documentation, search_across_languages):
            print(f"\n{feature.__name__.replace('_', ' ')}")
            feature(code, root)


if __name__ == "__main__":
    main()
