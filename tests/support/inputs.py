"""Texts and images that every engine is tested with."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

COSINE = 0.99999
"""Lowest cosine between vLLM, Transformers and the reference, in float32 on the CPU."""

COSINE_ALONE = 0.999999
"""Lowest cosine between an input alone and the same input among others."""

SCRIPTS = {
    "latin": "The quick brown fox jumps over the lazy dog, naïvely.",
    "greek": "Η γρήγορη καφέ αλεπού πηδάει πάνω από το σκυλί.",
    "cyrillic": "Съешь же ещё этих мягких французских булок.",
    "arabic": "نص حكيم له سر قاطع وذو شأن عظيم",
    "hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה",
    "devanagari": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "han": "我能吞下玻璃而不伤身体。",
    "kana": "いろはにほへと ちりぬるを",
    "hangul": "키스의 고유조건은 입술끼리 만나야 하고",
    "georgian": "მინას ვჭამ და არა მტკივა",
    "emoji": "🦊🐶 jumps 👩‍👩‍👧‍👦 over 🏳️‍🌈",
}

SPECIAL = {
    "one letter": "a",
    "special tokens in the text": "what does <|image_pad|> or <|vision_start|>x<|vision_end|> do?",
    "line breaks": "\n\n  def f():\n\treturn 1\n\n",
}


def long_text(num_words: int) -> str:
    """Distinct words, so that a wrong order or a missing chunk is noticed."""
    return " ".join(f"w{(i * 7919) % 1009}" for i in range(num_words))


TEXTS: dict[str, str] = {**SCRIPTS, **SPECIAL, "2,000 tokens": long_text(700), "middling": long_text(60)}


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth image with noise, different for each seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    noise = rng.integers(-20, 21, (height, width, 3), dtype=np.int16)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


@cache
def pictures() -> dict[str, Image.Image]:
    return {
        "square": picture(400, 400, 1),
        "1:8": picture(120, 960, 2),
        "smallest": picture(28, 28, 3),
        "4000x3000": picture(4000, 3000, 4),
    }


def few_of_each_kind() -> list[str | Image.Image]:
    """Short and long texts and pictures, for tests that are about something else than what an input is."""
    texts = ("latin", "han", "special tokens in the text", "middling", "2,000 tokens")
    return [*(TEXTS[name] for name in texts), picture(28, 28, 3), picture(60, 240, 2)]
