"""Renders a hit as HTML for notebooks: its source, score and text, and its image if that is a file here."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

from ...errors import JinaEmbeddingsError
from ...inputs.sources import SourcePolicy, load_image

if TYPE_CHECKING:
    from .passage import Hit

_SIDE = 420
_MAX_CHARACTERS = 2000

# Displaying a result must not fetch URLs.
_HERE = SourcePolicy(urls=False)


def as_html(hit: Hit) -> str:
    passage = hit.passage
    parts = [f"<b>{html.escape(passage.source)}</b> {hit.score:.3f}"]
    if passage.title:
        parts.append(html.escape(passage.title))
    if passage.text:
        text = passage.text[:_MAX_CHARACTERS] + ("…" if len(passage.text) > _MAX_CHARACTERS else "")
        parts.append(f'<span style="white-space: pre-wrap">{html.escape(text)}</span>')
    if passage.image:
        parts.append(_picture(passage.input["image"]))
    return "<br>".join(parts)


def _picture(source: object) -> str:
    try:
        picture = load_image(source, _HERE)  # type: ignore[arg-type]
    except JinaEmbeddingsError as error:
        return html.escape(str(error)[:_MAX_CHARACTERS])
    thumbnail = picture.copy()
    thumbnail.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    thumbnail.save(buffer, "JPEG")
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
