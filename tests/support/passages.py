"""Four passages, and a question for each of them that it answers."""

from __future__ import annotations

PASSAGES = [
    "Bread is baked from flour and water.",
    "The stock market fell sharply.",
    "Install the package with pip.",
    "Rain is expected in the mountains tomorrow.",
]
QUERIES = ["how is bread made", "shares lost value", "installing the library", "weather forecast"]
