"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelpress.domain.scheme import SCHEMES, find_scheme

#: Characters of a name, as the API has it.
LONGEST_NAME = 64

_SCHEME_NAMES = ", ".join(scheme.name for scheme in SCHEMES)


def _scheme_name(text: str) -> str:
    """The scheme's own name for any of its names; an unknown one is wrong usage."""
    scheme = find_scheme(text)
    if scheme is None:
        raise typer.BadParameter(f"{text!r} is none of {_SCHEME_NAMES}")
    return scheme.name


Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="MODELPRESS_DATA", help="Data directory.", show_default="~/.local/share/modelpress"),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="MODELPRESS_DATABASE",
        help="Database URL.",
        show_default="modelpress.db in the data directory",
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", envvar="MODELPRESS_CONFIG", help="Settings file (TOML).", show_default="none")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Weight = Annotated[
    str,
    typer.Option(
        "--weight", callback=_scheme_name, metavar="SCHEME", help=f"What the weights become: {_SCHEME_NAMES}."
    ),
]
Reverse = Annotated[bool, typer.Option("--reverse", help="Newest first.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Show at most this many.", show_default="all")]

# Which server, and as whom. Their variables are read in cli/connection.py: a key's source decides what it may go with.
Url = Annotated[str | None, typer.Option("--url", help="Server (MODELPRESS_URL).", show_default="the local server's")]
AccessKey = Annotated[
    str | None,
    typer.Option("--access-key", help="Access key (MODELPRESS_ACCESS_KEY).", show_default="the data directory's"),
]
SecretKey = Annotated[
    str | None,
    typer.Option(
        "--secret-key",
        help="Its secret key (MODELPRESS_SECRET_KEY keeps it off the screen).",
        show_default="the data directory's",
    ),
]
