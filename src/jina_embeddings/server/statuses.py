"""The HTTP status of each error, and its body in the dialect of the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..errors import (
    CheckpointError,
    EngineError,
    IndexUnreachableError,
    InputError,
    JinaEmbeddingsError,
    MultivectorUnavailableError,
    NonFiniteError,
    OptionError,
    OutOfMemoryError,
    TaskUnavailableError,
)

Dialect = Literal["jina", "openai", "cohere", "either"]
"""`either`: the request is valid in Jina's and OpenAI's dialects, so an error has the fields of both."""

# The first class that fits counts. Errors that a request causes are 4xx, all others 5xx.
STATUSES: tuple[tuple[type[JinaEmbeddingsError], int], ...] = (
    (InputError, 422),
    (OptionError, 422),
    (TaskUnavailableError, 422),
    (MultivectorUnavailableError, 422),
    (OutOfMemoryError, 503),
    (NonFiniteError, 500),
    (EngineError, 503),
    (IndexUnreachableError, 503),
    (CheckpointError, 500),
    (JinaEmbeddingsError, 500),
)


_MAX_CHARACTERS = 1000


class RequestError(Exception):
    """Raised to refuse a request. headers: additional headers of the answer. field: what in the body is wrong."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None, field: str | None = None
    ):
        if len(message) > _MAX_CHARACTERS:
            # What the client has sent is in it.
            message = f"{message[: _MAX_CHARACTERS // 2]} ... {message[-_MAX_CHARACTERS // 2 :]}"
        super().__init__(f"{field}: {message}" if field else message)
        self.status, self.code, self.headers, self.field = status, code, headers or {}, field


def refusal(error: JinaEmbeddingsError, fields: Mapping[str, str]) -> RequestError:
    """The refusal for an error of this package; the message of an internal error is only logged.

    fields: the client's name of each argument of `JinaEmbeddings.encode` that it gave, and of the `inputs`.
    """
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    if status < 500:
        return RequestError(status, error.code, error.plain, field=_field(error, fields))
    if status == 503:
        what = "the index can't be read" if isinstance(error, IndexUnreachableError) else "the engine can't answer"
        return RequestError(status, error.code, f"{what} now", {"Retry-After": "1"})
    return RequestError(status, error.code, "internal error")


def _field(error: JinaEmbeddingsError, fields: Mapping[str, str]) -> str | None:
    if error.argument is not None:
        return fields.get(error.argument)
    inputs = fields.get("inputs")
    return f"{inputs}[{error.index}]" if inputs and error.index is not None else inputs


def error_body(error: RequestError, dialect: Dialect, request_id: str) -> dict[str, Any]:
    """The JSON body of an error, with the fields of the dialect."""
    message = str(error)
    if dialect == "cohere":
        return {"id": request_id, "message": message}
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    openai: dict[str, Any] = {"error": {"message": message, "type": kind, "param": error.field, "code": error.code}}
    jina: dict[str, Any] = {"detail": message, "code": error.code.upper(), "request_id": request_id}
    return jina if dialect == "jina" else openai if dialect == "openai" else openai | jina
