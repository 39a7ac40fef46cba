"""Reads a mail message (.eml): its text, its main headers and the names of its attachments."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...errors import InputError
from .html import html_sections
from .sections import Section, paragraphs

_HEADERS = ("from", "to", "cc", "date", "subject")


@dataclass(frozen=True, slots=True)
class Message:
    """headers: those to filter a search by. attachments: their file names; they are not read."""

    sections: list[Section]
    headers: dict[str, str]
    attachments: list[str] = field(default_factory=list)


def read_message(data: bytes) -> Message:
    """Reads the plain text of a message, or its HTML if it has no plain text; the subject becomes the title.

    Raises InputError for anything but a message.
    """
    try:
        message = email.message_from_bytes(data, policy=email.policy.default)
        headers = {name: " ".join(str(message[name]).split()) for name in _HEADERS if message[name]}
        body = message.get_body(("plain", "html"))
        text = "" if body is None else str(body.get_content())
        attachments = [part.get_filename() or part.get_content_type() for part in message.iter_attachments()]
    except Exception as error:  # headers and bodies are parsed here, and broken ones raise almost any exception
        raise InputError(f"not a message that can be read: {error}") from error
    if not headers:
        raise InputError("not a message: it has neither a sender nor a subject")
    is_html = body is not None and body.get_content_subtype() == "html"
    return Message(list(_sections(text, headers.get("subject", ""), is_html=is_html)), headers, attachments)


def _sections(text: str, subject: str, *, is_html: bool) -> Iterator[Section]:
    if not is_html:
        yield Section(subject, tuple(paragraphs(text.replace("\r\n", "\n"))))
        return
    for section in html_sections(text):
        yield Section(" > ".join(filter(None, (subject, section.title))), section.blocks)
