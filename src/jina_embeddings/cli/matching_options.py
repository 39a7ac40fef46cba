"""Options that the commands of text matching share."""

from __future__ import annotations

from typing import Annotated

import typer

TextField = Annotated[str, typer.Option(help="JSON field or CSV column of a text.")]
ImageField = Annotated[str, typer.Option(help="JSON field or CSV column of an image's path or URL.")]
Task = Annotated[str, typer.Option(help="Whose vectors are compared.")]
TruncateDim = Annotated[int | None, typer.Option(min=1, help="Shorter vectors, of this many numbers.")]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Texts are cut to this many tokens.")]
