"""The errors that this package raises on purpose, as one tree.

    JinaEmbeddingsError                 jina_embeddings_error
    ├── InputError (ValueError)         input_error
    │   ├── EmptyInputError             empty_input
    │   ├── TextTooLongError            text_too_long
    │   ├── ImageError                  image_unreadable
    │   ├── UnknownTaskError            unknown_task
    │   ├── UnknownPromptError          unknown_prompt
    │   └── DimensionError              unsupported_dimension
    ├── OptionError (TypeError)         unknown_option
    ├── CheckpointError                 checkpoint_error
    │   ├── CheckpointNotFoundError     checkpoint_not_found
    │   ├── CheckpointInvalidError      checkpoint_invalid
    │   ├── TaskUnavailableError        task_unavailable
    │   └── MultivectorUnavailableError multivector_unavailable
    ├── EngineError (RuntimeError)      engine_error
    │   ├── EngineUnavailableError      engine_unavailable
    │   ├── OutOfMemoryError            out_of_memory
    │   ├── EngineDeadError             engine_dead
    │   ├── EngineClosedError           engine_closed
    │   └── NonFiniteError              non_finite_result
    ├── VectorIndexError                index_error
    │   ├── IndexNotFoundError          index_not_found
    │   ├── IndexMismatchError          index_mismatch
    │   ├── IndexBusyError              index_busy
    │   └── IndexUnreachableError       index_unreachable
    ├── RunError                        run_error
    │   ├── RunMismatchError            run_mismatch
    │   ├── RunBusyError                run_busy
    │   └── TooManyRejectedError        too_many_rejected
    └── DependencyError (ImportError)   missing_dependency

`code` is stable across releases; messages are for people and may change.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any, Self

# No name is nearly as long, and comparing a megabyte with one takes a while.
_LONGEST_WORD = 200


class JinaEmbeddingsError(Exception):
    """Base of all errors. `code` identifies the case for programs; the message says what to change.

    argument: the name of the argument that is wrong; None if it is an input, or nothing that was given.
    index: which of several inputs is wrong, from 0.
    plain: the message without names of arguments, for those who give them by other names, as clients of the server do.
    """

    code = "jina_embeddings_error"

    def __init__(self, *args: object, argument: str | None = None, plain: str | None = None):
        super().__init__(*args)
        self.argument, self.plain = argument, str(self) if plain is None else plain
        self.index: int | None = None

    def at(self, index: int, what: str = "input") -> Self:
        """The same error of one of several inputs, which the message then names."""
        error = copy(self)
        error.args, error.index = (f"{what} {index}: {self}",), index
        return error


class InputError(JinaEmbeddingsError, ValueError):
    """One input, or one argument of a call, can't be used. `on_error="skip"` passes over such inputs."""

    code = "input_error"


class EmptyInputError(InputError):
    """No inputs at all, or a text without a character to embed."""

    code = "empty_input"


class TextTooLongError(InputError):
    """A text has more tokens than `max_length` and `truncate=False`."""

    code = "text_too_long"


class ImageError(InputError):
    """An image can't be found, fetched, decoded or resized."""

    code = "image_unreadable"


class UnknownTaskError(InputError):
    """A task that the model family does not have."""

    code = "unknown_task"


class UnknownPromptError(InputError):
    """A `prompt_name` that is not one of the prompts."""

    code = "unknown_prompt"


class DimensionError(InputError):
    """A `truncate_dim` that the model was not trained for."""

    code = "unsupported_dimension"


class OptionError(JinaEmbeddingsError, TypeError):
    """An option that does not exist, or a value that it can't take."""

    code = "unknown_option"


class CheckpointError(JinaEmbeddingsError):
    """The weights or their description can't be used."""

    code = "checkpoint_error"


class CheckpointNotFoundError(CheckpointError):
    """No such folder, or no such model on the hub or in its cache."""

    code = "checkpoint_not_found"


class CheckpointInvalidError(CheckpointError):
    """A file is missing or damaged, or a tensor is missing or has another shape."""

    code = "checkpoint_invalid"


class TaskUnavailableError(CheckpointError):
    """The checkpoint has no adapter for the task, or was merged for another one."""

    code = "task_unavailable"


class MultivectorUnavailableError(CheckpointError):
    """The checkpoint has no `multi_vector_projector`."""

    code = "multivector_unavailable"


class EngineError(JinaEmbeddingsError, RuntimeError):
    """The engine can't start or can't answer."""

    code = "engine_error"


class EngineUnavailableError(EngineError):
    """The engine asked for can't run here: the message names what is missing."""

    code = "engine_unavailable"


class OutOfMemoryError(EngineError):
    """The weights or a batch don't fit: the message has the numbers and what to lower."""

    code = "out_of_memory"


class EngineDeadError(EngineError):
    """The engine's process has ended; make a new `JinaEmbeddings`.

    not_done: indices of the inputs that were not embedded.
    done: the embeddings of the others, as a `Partial`; None if there are none.
    """

    code = "engine_dead"

    def __init__(self, reason: str, not_done: Sequence[int] = (), done: Any = None):
        first = ", ".join(map(str, not_done[:5])) + (", ..." if len(not_done) > 5 else "")
        super().__init__(f"{reason} (inputs not done: {len(not_done)}, namely {first})" if not_done else reason)
        self.reason = reason
        self.not_done = list(not_done)
        self.done = done


class EngineClosedError(EngineError):
    """`close()` was called before."""

    code = "engine_closed"


class NonFiniteError(EngineError):
    """The model produced NaN or infinity: never returned as a vector."""

    code = "non_finite_result"


class VectorIndexError(JinaEmbeddingsError):
    """An index of passages can't be used."""

    code = "index_error"


class IndexNotFoundError(VectorIndexError):
    """There is no index at the address."""

    code = "index_not_found"


class IndexMismatchError(VectorIndexError):
    """The index was made with another model, task or dimension, or in another format."""

    code = "index_mismatch"


class IndexBusyError(VectorIndexError):
    """Another process is writing to the index."""

    code = "index_busy"


class IndexUnreachableError(VectorIndexError):
    """The folder or object store that an index is in can't be reached or written."""

    code = "index_unreachable"


class RunError(JinaEmbeddingsError):
    """A bulk run into a folder can't begin or go on."""

    code = "run_error"


class RunMismatchError(RunError):
    """The folder holds a run of other inputs, another model or another form."""

    code = "run_mismatch"


class RunBusyError(RunError):
    """Another process works on the run, or on the same share of it."""

    code = "run_busy"


class TooManyRejectedError(RunError):
    """More rows were rejected than the run allows."""

    code = "too_many_rejected"


class DependencyError(JinaEmbeddingsError, ImportError):
    """An optional package is needed: the message has the `pip install` line."""

    code = "missing_dependency"


class CautionWarning(UserWarning):
    """A kind of input that the checkpoint is weak at, by its own `ModelInfo.cautions`; or texts that were truncated."""


class TextCutWarning(CautionWarning):
    """Texts have more tokens than the model reads: their vectors know nothing of what comes after."""


def unreadable(error: OSError) -> InputError:
    """For a file that the system doesn't give."""
    return InputError(f"can't be read: {error.strerror or error}")


def not_utf8(error: UnicodeDecodeError) -> InputError:
    """For text in another encoding."""
    return InputError(f"not UTF-8 at byte {error.start}: convert it")


def suggest(word: object, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: `; did you mean ...?`, or a list of the known names."""
    names = list(known)
    return did_you_mean(word, names) or f": choose one of {', '.join(map(repr, names))}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The same where something known is near, else nothing."""
    if len(str(word)) > _LONGEST_WORD:
        return ""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
