"""``modelpress demo``: the whole product on a real model, in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from modelpress.cli import option
from modelpress.cli.output import print_json, print_table, size_text
from modelpress.settings import load_settings


def demo(
    cache: Annotated[Path, typer.Option("--cache", help="Where the sample model and the Qianfan SDK are kept.")] = Path(
        ".cache"
    ),
    data: Annotated[Path, typer.Option("--data", help="Data directory of the demonstration's server.")] = Path(
        "demo-data"
    ),
    port: Annotated[int, typer.Option("--port", help="Port of its server; a free one if it is taken.")] = 8080,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running.")] = False,
    as_json: option.AsJson = False,
) -> None:
    """Compress a real model through a real server by the official SDK."""
    from modelpress.demo.demo import run_demo
    from modelpress.demo.preparation import prepare

    def say(text: str) -> None:
        typer.echo(text, err=True)

    settings = load_settings(flags={"data": data, "port": port, "host": "127.0.0.1"}, environ={})
    say("preparing the sample model and the Qianfan SDK (fetched at the first run)")
    prepared = prepare(cache)
    shown = run_demo(settings, prepared, keep=keep, say=say)
    if as_json:
        print_json(shown.details)
    else:
        columns = ["SCHEME", "SECONDS", "BEFORE", "AFTER", "RATIO", "PEAK MEMORY", "OUTPUT"]
        print_table(columns, [_row(detail, settings.data) for detail in shown.details])
    say(f"database, models, logs and keys lie in {settings.data}")
    if keep:
        say(f"the server goes on at {shown.url}; see its tasks with: {sys.argv[0]} task list --data {data}")
        say(f"stop it with: kill {shown.pid}")


def _row(detail: dict[str, Any], data: Path) -> list[str]:
    measured = detail["statistics"]
    output = data / measured["bucket"] / measured["objectPath"]
    return [
        detail["config"]["weight"],
        f"{measured['seconds']:.2f}",
        size_text(measured["sourceBytes"]),
        size_text(measured["outputBytes"]),
        f"{measured['ratio']:.1%}",
        size_text(measured["peakMemoryBytes"]),
        str(output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output),
    ]
