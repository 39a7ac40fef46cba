"""Makes the small tokenizer of the untrained checkpoints.

Byte-level BPE with Qwen2's normalizer, split and special tokens, trained on the sentences below: every text
round-trips, and common words of many scripts are short. The ids are its own, so that code with one of the
real ids written into it fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from make_config import write_json

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ADDED_TOKENS = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
"""Tokens that Qwen2.5 adds without making them special, so decoding doesn't skip them."""

# transformers uses this pre-tokenizer for every Qwen2 tokenizer that it loads, whatever tokenizer.json says.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

NUM_TRAINED_TOKENS = 1500

SENTENCES = (
    "Query: how do I find the passage that answers a question? Passage: an embedding is a list of numbers.",
    "Query: what is the fastest way to sort a list? Passage: the image shows a red boat near the harbour.",
    "Describe the image. The user asks, the assistant answers, the system waits for the next document.",
    "Search engines compare the vector of the query with those of all documents and return the nearest.",
    "Ein Satz auf Deutsch über Züge, Straßen und Bäume; die Suche findet ähnliche Texte in vielen Sprachen.",
    "La búsqueda encuentra frases parecidas en español, français, português, polski, türkçe và tiếng Việt.",
    "Les images et les textes sont placés dans le même espace, où la distance mesure le sens.",
    "Быстрый поиск находит похожие документы на русском языке, а вектор описывает смысл текста.",
    "Η αναζήτηση βρίσκει παρόμοια κείμενα στα ελληνικά και μετρά την απόσταση των νοημάτων.",
    "البحث السريع يجد النصوص المتشابهة في اللغة العربية ويقيس المسافة بين المعاني.",
    "החיפוש המהיר מוצא מסמכים דומים בעברית ומודד את המרחק בין המשמעויות.",
    "तेज़ खोज हिन्दी में मिलते-जुलते दस्तावेज़ ढूँढती है और अर्थों की दूरी मापती है।",
    "দ্রুত অনুসন্ধান বাংলা ভাষায় একই রকম লেখা খুঁজে পায়।",
    "விரைவான தேடல் தமிழில் ஒத்த ஆவணங்களைக் கண்டுபிடிக்கிறது.",
    "การค้นหาที่รวดเร็วพบเอกสารภาษาไทยที่คล้ายกัน",
    "快速搜索可以找到意思相近的中文文档，并计算它们之间的距离。图像和文本在同一个空间里。",
    "速い検索は似ている日本語の文書を見つけ、カタカナの言葉もベクトルで意味を比べます。",
    "빠른 검색은 한국어로 된 비슷한 문서를 찾고 의미의 거리를 잽니다.",
    "სწრაფი ძიება პოულობს მსგავს დოკუმენტებს ქართულ ენაზე.",
    "Արագ որոնումը գտնում է նման փաստաթղթեր հայերեն լեզվով։",
    "def search(query: str, limit: int = 10) -> list[str]:\n    return sorted(index, key=score)[:limit]\n",
    "for (let i = 0; i < items.length; i++) { if (items[i] !== null) { total += items[i].price; } }\n",
    "SELECT name, COUNT(*) FROM documents WHERE language = 'en' GROUP BY name ORDER BY 2 DESC;",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item): pass\n",
)

CHAT_TEMPLATE = """\
{% if messages[0].role != 'system' %}
<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}
{% for message in messages %}
<|im_start|>{{ message.role }}
{% if message.content is string %}
{{ message.content -}}
{% else %}
{% for part in message.content %}
{% if part.type == 'image' or 'image' in part or 'image_url' in part %}
{{ '<|vision_start|><|image_pad|><|vision_end|>' -}}
{% elif part.type == 'video' or 'video' in part %}
{{ '<|vision_start|><|video_pad|><|vision_end|>' -}}
{% elif 'text' in part %}
{{ part.text -}}
{% endif %}
{% endfor %}
{% endif %}
<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
"""
"""Qwen2.5-VL's chat template, for a Jinja environment with trim_blocks, as transformers and vLLM have."""


def train_tokenizer(
    texts: Iterable[str] = SENTENCES, num_tokens: int = NUM_TRAINED_TOKENS, min_frequency: int = 1
) -> Tokenizer:
    """The tokenizer: `num_tokens` ids trained on the texts, then the special and the added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=num_tokens,
        min_frequency=min_frequency,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED_TOKENS])
    return tokenizer


def write_tokenizer(folder: Path, tokenizer: Tokenizer | None = None) -> dict[str, int]:
    """Writes a tokenizer's files into `folder`; returns the id of every special and added token."""
    tokenizer = tokenizer or train_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab()
    ids = {token: vocabulary[token] for token in SPECIAL_TOKENS + ADDED_TOKENS}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    names: dict[str, Any] = {
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
    }
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "processor_class": "Qwen2_5_VLProcessor",
        "added_tokens_decoder": {
            str(index): {"content": token, **flags, "special": token in SPECIAL_TOKENS} for token, index in ids.items()
        },
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": 131072,
        "split_special_tokens": False,
        **names,
    }
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "special_tokens_map.json", names)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    return ids
