"""Makes plain sentences of catalogue entries, and tells a pair that can't be a translation."""

from __future__ import annotations

import html
import re

TAG = re.compile(r"</?[A-Za-z][^<>]{0,400}>|<!--.*?-->", re.DOTALL)
ACCELERATOR_BEHIND = re.compile(r"\s*\([&_~]?[A-Z]\)")
PLACEHOLDER = re.compile(
    r"\$\{[^{}]*\}|\{\{[^{}]*\}\}|\{[^{}]*\}|%\([\w.]+\)[a-z]|%(?:\d+\$)?[-+#0]?\d*(?:\.\d+)?(?:hh|ll|[lzhj])?[sdiufgxXcrpS@](?![A-Za-z])"
    r"|%[A-Z][A-Z_]{2,}%?|%\d|\$\d|\[\[[^\]]*\]\]|:[a-z]+:`"
)
EMPTY = re.compile(r"\(\s*\)|\[\s*\]|“\s*”|„\s*[“”]|«\s*»|\"\s*\"|‘\s*’|「\s*」|『\s*』|'\s*'(?!\w)|`\s*`")
SPACE_BEFORE = re.compile(r"\s+([.,;:!?)。,、])")
INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2028\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
SCRIPTS = {
    "ru": "[а-яё]", "uk": "[а-яіїє]", "bg": "[а-я]", "sr": "[а-яЀ-џa-z]", "el": "[α-ωά-ώ]", "ar": "[ء-ي]", "fa": "[ء-ی]",
    "he": "[א-ת]", "hi": "[\u0900-\u097f]", "th": "[\u0e00-\u0e7f]", "zh": "[\u4e00-\u9fff]", "ko": "[\uac00-\ud7af]",
    "ja": "[\u3040-\u30ff\u4e00-\u9fff]",
}  # fmt: skip
DENSE = {"zh": 3.4, "ja": 2.6, "ko": 2.1}
LONGEST = 1600


def plain(content: str, accelerator: str = "") -> str:
    """Without tags, accelerator marks (`&`, `_` or `~` before a letter), placeholders and what they leave behind."""
    content = html.unescape(TAG.sub(" ", content.replace("\\n", " ")))
    if accelerator:
        content = re.sub(rf"{accelerator}(?=\w)", "", ACCELERATOR_BEHIND.sub("", content))
    content = EMPTY.sub("", PLACEHOLDER.sub("", INVISIBLE.sub("", TAG.sub(" ", content))))
    return SPACE_BEFORE.sub(r"\1", " ".join(content.split())).strip(" -–—:·|•")


def is_pair(query: str, passage: str, language: str) -> bool:
    """Whether a text in that language can be the translation of that English one, going by scripts, words and lengths."""
    shortest = 2 if language in DENSE else 3
    if len(query) < shortest or len(passage) < 3 or max(len(query), len(passage)) > LONGEST:
        return False
    low, english = query.lower(), passage.lower()
    if low == english or not re.search("[a-z]{2}", english) or sum(ord(c) > 0x24F for c in english) > len(english) / 4:
        return False
    script = SCRIPTS.get(language)
    if script and len(re.findall(script, low)) < max(1, len(low) / 5):
        return False
    if language == "zh" and re.search("[\u3040-\u30ff]", low):
        return False
    if not script and not re.search(r"[^\W\d_]{2}", low):
        return False
    return _lengths(query, passage, language) and not _shared(low, english)


def _lengths(query: str, passage: str, language: str) -> bool:
    if len(passage) < 25:
        return len(query) < 80
    return 0.4 < len(query) * DENSE.get(language, 1) / len(passage) < 2.6


def _shared(query: str, passage: str) -> bool:
    """Whether the text still has most of the English words: it isn't translated, or is a list of names."""
    words, english = set(re.findall(r"[^\W\d_]{2,}", query)), set(re.findall(r"[^\W\d_]{2,}", passage))
    return len(words & english) > 0.6 * len(english)
