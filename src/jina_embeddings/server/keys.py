"""API keys: kept as digests, compared in constant time, read again when asked."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from ..errors import OptionError
from .statuses import RequestError

VARIABLE = "JINA_EMBEDDINGS_API_KEYS"


class Keys:
    """The keys of a file, one a line, and of the environment variable, separated by commas.

    Without any, every request is let in. file: None if there are only those of the environment.
    """

    def __init__(self, file: Path | None = None):
        self._file = file
        self._digests: tuple[bytes, ...] = ()
        self.read()

    def read(self) -> None:
        """Reads the keys anew; raises OptionError where the file has none."""
        keys = os.environ.get(VARIABLE, "").split(",")
        if self._file is not None:
            keys += [line for line in _lines(self._file) if not line.startswith("#")]
        found = tuple(sorted({_digest(key.strip()) for key in keys if key.strip()}))
        if self._file is not None and not found:
            raise OptionError("the key file holds no key: write one a line")
        self._digests = found

    @property
    def needed(self) -> bool:
        return bool(self._digests)

    def require(self, authorization: list[str]) -> str:
        """The digest of the request's key, as a name for it; empty if no key is needed.

        Raises RequestError 401 unless there is one Authorization header and its key is known.
        """
        if not self.needed:
            return ""
        scheme, _, key = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
        digest = _digest(key.strip())
        # All keys are compared, so that the time doesn't tell which one was close.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if scheme.lower() != "bearer" or not any(matches):
            raise RequestError(
                401,
                "auth_invalid",
                "a valid API key is needed: Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )
        return digest.hex()


def _lines(file: Path) -> list[str]:
    """The lines of the file. Raises OptionError without its path, since the message goes to a log."""
    try:
        return file.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise OptionError(f"the key file can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise OptionError("the key file is not UTF-8") from None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
