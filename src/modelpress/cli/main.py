"""``modelpress``: puts the commands together, and shows errors as people want to see them."""

from __future__ import annotations

import sys

import typer

from modelpress import __version__
from modelpress.cli.command import Commands
from modelpress.cli.output import say
from modelpress.errors import ModelpressError

app = typer.Typer(
    name="modelpress",
    cls=Commands,
    help="Self-hosted model compression that speaks Baidu Qianfan's model-compression API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modelpress {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    """Self-hosted model compression that speaks Baidu Qianfan's model-compression API."""


def main() -> None:
    """Run the command; an error becomes one or two lines and exit status 1, an interrupt 130."""
    try:
        app()
    except ModelpressError as exc:
        say(f"error: {exc}")
        if exc.hint:
            say(f"hint: {exc.hint}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
