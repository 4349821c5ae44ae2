"""Printing: JSON or a table on stdout, remarks on stderr, sizes and times as people read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import typer

#: Columns between two columns, and what a column that folds keeps at least.
_GAP = 2
_LEAST_FOLDED = 12


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    # A name of a file may be no text: what JSON cannot say is written as JSON's own escape.
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2).encode(errors="backslashreplace").decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Collection[str] = ()) -> None:
    """A plain table on stdout: full width when it is not a terminal, so that nothing is cut off in a pipe.

    On a narrow terminal the columns ``whole`` keep their width, since half an id is none; the others fold.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    least = -_GAP
    for name, *cells in zip(columns, *rows, strict=True):
        longest = max(len(line) for cell in (name, *cells) for line in cell.split("\n"))
        fixed = name in whole
        table.add_column(name, overflow="fold", no_wrap=fixed)
        least += _GAP + (longest if fixed else min(longest, _LEAST_FOLDED))
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    # A terminal that is too narrow for what must be whole breaks lines itself: no end of an id gets lost.
    console.width = max(console.width, least) if sys.stdout.isatty() else 240
    console.print(table)


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values on stdout, a line each; empty values are left out. Nothing is folded: paths stay whole."""
    width = max(map(len, facts))
    for name, value in facts.items():
        if value:
            typer.echo(f"{name:<{width}}  {value}")


def say(text: str) -> None:
    """A remark on stderr. Names of a stranger's may be in it: what a terminal would obey is written out."""
    plain = "".join(char if char.isprintable() or char == "\n" else f"\\u{ord(char):04x}" for char in text)
    typer.echo(plain, err=True)


def size_text(size_bytes: float) -> str:
    """Bytes in decimal units, at most three figures: ``257 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size_bytes) < 999.5:
            return f"{size_bytes:.0f} {unit}" if unit == "B" or size_bytes >= 100 else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"


def time_text(wire_time: str) -> str:
    """A time of the wire on this machine's clock: ``2026-01-31 23:59``; nothing for no time."""
    return datetime.fromisoformat(wire_time).astimezone().strftime("%Y-%m-%d %H:%M") if wire_time else ""
