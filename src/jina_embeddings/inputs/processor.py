"""`Processor`: makes a `Prepared` of each text or image of a batch, the same for every engine."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..checkpoint import Checkpoint
from ..checkpoint.tokenizer import IMAGE_PAD, VISION_START
from ..errors import (
    EmptyInputError,
    ImageError,
    InputError,
    OptionError,
    TextTooLongError,
)
from ..options import whole_number
from ..types import Prepared, PreparedImage, Span, Task
from .budget import PIXELS
from .patches import ImageConfig, grid, resized_size
from .pdf import PDF_PIXELS
from .prompts import IMAGE_TEMPLATE, PREFIXES
from .resizing import RESIZER
from .sources import ANY_SOURCE, ImageSource, SourcePolicy, load_image
from .tokens import First, Tokens, tokenize, tokenize_first

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image
    from tokenizers import Tokenizer


ImagePrompt: TypeAlias = "tuple[Tokens, Tokens, int, int]"
"""The tokens before and after the image-pad token, that token, and the index of the vision-start token."""

# With resize_later, an image is resized by the engine only if its area is at most this multiple of the resized area:
# sending more pixels to the engine's process takes longer than resizing them here.
_MAX_SENT_AREA_RATIO = 4


class Processor:
    """Tokenizer, prompts and image preprocessing of one checkpoint. Thread-safe.

    Args:
        tokenizer: a `tokenizers.Tokenizer`, or an object with its `encode_batch_fast` and `token_to_id`.
        max_length: the most tokens of a prompt.
        resize_later: the most images of a call whose resizing is left to the engine's device, unless they are far
            larger than needed.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        image_config: ImageConfig,
        max_length: int,
        *,
        resize_later: int = 0,
    ):
        self.tokenizer = tokenizer
        self._policy = ANY_SOURCE
        self._as_stored = False
        self.image_config = image_config
        self.max_length = max_length
        self._resize_later = resize_later

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        max_length: int | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        resize_later: int = 0,
    ) -> Processor:
        """Reads the checkpoint's tokenizer and its settings for images; given bounds replace them.

        Raises:
            OptionError: max_length is above the positions that the model has.
        """
        positions = checkpoint.config.max_positions
        if max_length is not None and max_length > positions:
            raise OptionError(f"max_model_len={max_length} is above the model's {positions} positions")
        config = with_pixels(read_image_config(checkpoint), min_pixels, max_pixels)
        return cls(
            checkpoint.tokenizer(), config, max_length or checkpoint.config.max_length, resize_later=resize_later
        )

    def reading(self, policy: SourcePolicy, *, as_stored: bool = False) -> Processor:
        """A copy of this processor that reads images by this policy and reading; see `load_image`."""
        other = copy(self)
        other._policy, other._as_stored = policy, as_stored
        return other

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text; no special tokens are added."""
        return tokenize(self.tokenizer, texts)

    def text_of(self, token_ids: Sequence[int]) -> str:
        """The text that the tokenizer's own ids stand for. Raises InputError for a number that is no id."""
        size = self.tokenizer.get_vocab_size()
        for token_id in token_ids:
            if not 0 <= token_id < size:
                raise InputError(f"{token_id} is no token id: the tokenizer has those from 0 to {size - 1}")
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=False))

    def tokenize_prompts(self, texts: Iterable[tuple[str, str]]) -> dict[str, First]:
        """The tokens of each prompt, in one tokenizer call. texts: (prompt name, text); bad ones are left out."""
        prompts = list(dict.fromkeys(PREFIXES[name] + text for name, text in texts if _text_error(text) is None))
        return {prompt: First(ids, whole=True) for prompt, ids in zip(prompts, self.tokenize(prompts), strict=True)}

    def texts(
        self,
        texts: Sequence[object],
        task: Task,
        prompt_name: str,
        *,
        max_length: int | None = None,
        truncate: bool = True,
        known: Mapping[str, First] | None = None,
    ) -> list[Prepared | InputError]:
        """The `Prepared` of each text, or the error that it caused.

        Args:
            max_length: the most tokens, prompt included; by default, and at most, the processor's.
            truncate: whether longer texts are truncated at the end; otherwise they are errors.
            known: the tokens of these prompts, and perhaps others, from `tokenize_prompts`.
        """
        limit = self._limit(max_length)
        prefix = PREFIXES[prompt_name]
        results: list[Prepared | InputError | None] = [_text_error(text) for text in texts]
        good = [
            prefix + text for text, error in zip(texts, results, strict=True) if isinstance(text, str) and error is None
        ]
        # Equal texts are one `Prepared`, so that what comes after this knows them without a look at their tokens.
        firsts = tokenize_first(self.tokenizer, good, limit) if known is None else known
        prepared = {text: _text(firsts[text], limit, task, truncate) for text in dict.fromkeys(good)}
        each = iter(good)
        return [prepared[next(each)] if error is None else error for error in results]

    def chunks(
        self, chunks: Sequence[object], task: Task, prompt_name: str, *, max_length: int | None = None
    ) -> Prepared:
        """Late chunking: the consecutive chunks of one document as one input with a span for each chunk.

        The prompt is the tokens of the prefix, then those of each chunk. A span has the tokens of its chunk only, but
        each of them attends to all tokens before it (Günther et al. 2024, Late Chunking).

        Raises:
            EmptyInputError: a chunk is empty.
            TextTooLongError: the chunks together have more than `max_length` tokens.
        """
        limit = self._limit(max_length)
        for index, chunk in enumerate(chunks):
            error = _text_error(chunk)
            if error is not None:
                raise error.at(index, "chunk")
        texts = [PREFIXES[prompt_name], *("" + chunk for chunk in chunks if isinstance(chunk, str))]
        firsts = tokenize_first(self.tokenizer, texts, limit)
        parts = [firsts[text].ids for text in texts]
        stops = np.cumsum([len(part) for part in parts]).tolist()
        if stops[-1] > limit:
            least = "" if all(first.whole for first in firsts.values()) else "at least "
            raise TextTooLongError(
                f"{len(chunks)} chunks have {least}{stops[-1]} tokens together, {limit} fit: late chunking needs them "
                f"in one prompt, so embed the document in several calls"
            )
        spans: tuple[Span, ...] = tuple(itertools.pairwise(stops))
        return Prepared(token_ids=np.concatenate(parts), task=task, spans=spans)

    def images(
        self, sources: Sequence[ImageSource], task: Task, *, max_pixels: int | None = None
    ) -> list[Prepared | InputError]:
        """The `Prepared` of each image, or the error that it caused; max_pixels: the most after resizing."""
        config = with_pixels(self.image_config, None, max_pixels)
        # Taken here, since several threads would each make it.
        prompt = self._image_prompt
        later = len(sources) <= self._resize_later

        def prepare(source: ImageSource) -> Prepared | InputError:
            try:
                return self._image(source, prompt, task, config, later)
            except InputError as error:
                return error

        # Decoding and resizing release the GIL, so threads use all cores.
        if len(sources) < 2:
            return [prepare(source) for source in sources]
        return list(image_threads().map(prepare, sources))

    @cached_property
    def _image_prompt(self) -> ImagePrompt:
        (ids,) = self.tokenize([IMAGE_TEMPLATE])
        pad = int(self.tokenizer.token_to_id(IMAGE_PAD) or 0)
        at = int(np.flatnonzero(ids == pad)[0])
        start = int(np.flatnonzero(ids == self.tokenizer.token_to_id(VISION_START))[0])
        return ids[:at], ids[at + 1 :], pad, start

    def _image(
        self, source: ImageSource, prompt: ImagePrompt, task: Task, config: ImageConfig, later: bool
    ) -> Prepared:
        pixels, shape = self._pixels_of(source, config, later)
        num_tokens = shape[0] * shape[1] * shape[2] // config.merge_size**2
        before, after, pad, start = prompt
        ids = np.concatenate([before, np.full(num_tokens, pad, dtype=np.int32), after])
        if len(ids) > self.max_length:
            room = self.max_length - len(ids) + num_tokens
            advice = f"lower max_pixels to {room * config.factor**2} or " if room > 0 else ""
            plain = f"the image needs {len(ids)} tokens, {self.max_length} fit"
            raise ImageError(f"{plain}: {advice}raise max_model_len", plain=f"{plain}: make it smaller")
        digest = _digest(pixels, shape, config)
        prepared = PreparedImage(pixels, shape, len(before), num_tokens, digest)
        # The vision-end token is the first one after the pads.
        stop = len(before) + num_tokens + 1
        return Prepared(token_ids=ids, task=task, spans=((start, stop),), image=prepared)

    def _pixels_of(
        self, source: ImageSource, config: ImageConfig, later: bool
    ) -> tuple[NDArray[np.uint8], tuple[int, int, int]]:
        # A page rendered at the usual size has more pixels than the model sees, unless max_pixels is larger still.
        pdf_pixels = max(PDF_PIXELS, config.max_pixels)
        with PIXELS.room() as room:
            image = load_image(source, self._policy, room, pdf_pixels=pdf_pixels, as_stored=self._as_stored)
            return self._pixels(image, config, later)

    def _pixels(
        self, image: Image.Image, config: ImageConfig, later: bool
    ) -> tuple[NDArray[np.uint8], tuple[int, int, int]]:
        """The pixels, resized or not, and the grid of patches of the resized image."""
        bounds = {"factor": config.factor, "min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
        height, width = resized_size(image.height, image.width, **bounds)
        if later and image.height * image.width <= _MAX_SENT_AREA_RATIO * height * width:
            return np.asarray(image), (1, height // config.patch_size, width // config.patch_size)
        pixels = RESIZER(image, height, width)
        return pixels, grid(pixels, config)

    def _limit(self, max_length: int | None) -> int:
        if max_length is None:
            return self.max_length
        if not isinstance(max_length, (int, np.integer)) or isinstance(max_length, bool) or max_length < 1:
            raise InputError(f"max_length must be a whole number of tokens above 0, not {max_length!r}")
        return min(int(max_length), self.max_length)


def read_image_config(checkpoint: Checkpoint) -> ImageConfig:
    """The image settings of the checkpoint's preprocessor_config.json."""
    return ImageConfig.from_preprocessor_config(checkpoint.image_settings())


def _digest(pixels: NDArray[np.uint8], shape: tuple[int, int, int], config: ImageConfig) -> str:
    """The content hash of an image: of its pixels and its grid, and of the pixels' shape if they aren't resized yet."""
    resized = pixels.shape[:2] == (shape[1] * config.patch_size, shape[2] * config.patch_size)
    key = repr(shape if resized else (shape, pixels.shape))
    digest = _new_digest()
    digest.update(key.encode())
    digest.update(pixels.data)
    return str(digest.hexdigest())


def _new_digest() -> Any:
    try:
        # Installed with vLLM; four times as fast as SHA-256 with the instructions that processors have for that.
        from blake3 import blake3
    except ImportError:
        return hashlib.sha256()
    return blake3()


def _text_error(text: object) -> InputError | None:
    if not isinstance(text, str):
        return InputError(f"a text must be a str, not {type(text).__name__}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return InputError(f"a text is not valid Unicode at character {error.start}: {error.reason}")
    # White space alone is a text, as in the published code.
    if not text:
        plain = "a text is empty: leave it out"
        return EmptyInputError(f"{plain}, or call with on_error='skip'", plain=plain)
    return None


def _text(first: First, limit: int, task: Task, truncate: bool) -> Prepared | InputError:
    ids = first.ids
    cut = len(ids) > limit
    if cut and not truncate:
        least = "" if first.whole else "at least "
        plain = f"a text has {least}{len(ids)} tokens, {limit} fit: shorten it"
        return TextTooLongError(
            f"{plain}, raise max_length, or allow truncate=True", plain=f"{plain}, or have it truncated"
        )
    if cut:
        ids = ids[:limit]
    return Prepared(token_ids=ids, task=task, spans=((0, len(ids)),), cut=cut)


def with_pixels(config: ImageConfig, min_pixels: int | None, max_pixels: int | None) -> ImageConfig:
    """The configuration with other bounds; `min_pixels` is lowered to `max_pixels` if that is smaller.

    Raises:
        InputError: a bound is not a whole number of pixels, or `max_pixels` is below one token.
    """
    for name, value in (("min_pixels", min_pixels), ("max_pixels", max_pixels)):
        if value is not None and whole_number(value) is None:
            raise InputError(f"{name} must be a whole number of pixels, not {value!r}")
    # Those of numpy overflow.
    min_pixels, max_pixels = whole_number(min_pixels), whole_number(max_pixels)
    changes: dict[str, Any] = {}
    if max_pixels is not None:
        if max_pixels < config.factor**2:
            raise InputError(f"max_pixels={max_pixels} is below one token of {config.factor}x{config.factor} pixels")
        changes = {"max_pixels": max_pixels, "min_pixels": min(config.min_pixels, max_pixels)}
    if min_pixels is not None:
        changes["min_pixels"] = min_pixels
    return replace(config, **changes)


# With more than _MANY_CORES cores, this many are left to the engine: its thread that launches kernels must not wait for
# a core, as the device would wait for it.
_CORES_FOR_ENGINE, _MANY_CORES = 2, 4


@cache
def image_threads() -> ThreadPoolExecutor:
    """The pool that decodes and resizes images; concurrent calls share it, so that threads don't outnumber cores."""
    return ThreadPoolExecutor(num_threads(_num_cores()), "jina-embeddings-images")


def num_threads(num_cores: int) -> int:
    return num_cores - _CORES_FOR_ENGINE if num_cores > _MANY_CORES else num_cores


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if hasattr(os, "register_at_fork"):
    # A forked process inherits the pool without its threads.
    os.register_at_fork(after_in_child=image_threads.cache_clear)
