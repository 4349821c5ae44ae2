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
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="FORMAT", help="safetensors, or gguf for llama.cpp.", show_default="what the scheme needs"
    ),
]
GroupSize = Annotated[
    str | None,
    typer.Option("--group-size", metavar="N|channel", help="Columns that share a scale.", show_default="by scheme"),
]
Asymmetric = Annotated[
    bool, typer.Option("--asymmetric", help="Fit the numbers to each group's own least and largest weight.")
]
ScaleSearch = Annotated[
    str | None,
    typer.Option(
        "--scale-search",
        metavar="max|mse",
        help="How scales are found: mse seeks the least squared error.",
        show_default="max",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="PATTERN",
        help="Compress only these modules, such as 'mlp.*'; may be repeated.",
        show_default="all linear layers",
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore", metavar="PATTERN", help="Leave these modules as they are; may be repeated.", show_default="none"
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="PATTERN=SCHEME",
        help="What these modules become instead: 'down_proj=W8A16C16', 'down_proj=W4A16C16,32' with a group size, "
        "'o_proj=none' to keep them. The first that fits holds; may be repeated.",
        show_default="none",
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
