"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="MODELPRESS_DATA", help="Data directory.", show_default="~/.local/share/modelpress"),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database", envvar="MODELPRESS_DATABASE", help="Database URL.", show_default="modelpress.db in the data directory"
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", envvar="MODELPRESS_CONFIG", help="Settings file (TOML).", show_default="none")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
