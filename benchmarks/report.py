"""Results become files: a page of tables, and a file of raw figures beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from benchmarks import machine

RESULTS = Path(os.environ.get("BENCH_RESULTS", "benchmarks/results"))


class Report:
    """One part's results: shown on standard output, and written beside the raw figures when it is done."""

    def __init__(self, name: str, *, title: str, versions: Mapping[str, str]) -> None:
        self._name = name
        self._told = machine.describe(versions)
        self._raw: list[dict[str, object]] = [{"part": name, "machine": self._told}]
        self._text = [f"# {title}", "", ", ".join(f"{key} {value}" for key, value in self._told.items()), ""]

    def say(self, text: str) -> None:
        """A paragraph."""
        self._text += [text, ""]

    def heading(self, text: str) -> None:
        """A heading of the second order."""
        self._text += [f"## {text}", ""]

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table."""
        lines = [columns, ["---"] * len(columns), *rows]
        self._text += [*(f"| {' | '.join(line)} |" for line in lines), ""]

    def raw(self, **figures: object) -> None:
        """One line of raw figures."""
        self._raw.append({"part": self._name, **figures})

    def target(self, text: str, *, met: bool) -> None:
        """Say whether a target was met."""
        self._text += [f"- **{'met' if met else 'MISSED'}**: {text}"]
        self.raw(target=text, met=met)

    def write(self) -> Path:
        """Show it, and write ``results/DATE-NAME.md`` and ``.jsonl``."""
        text = "\n".join(self._text).rstrip() + "\n"
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{datetime.now():%Y-%m-%d}-{self._name}.md"
        path.write_text(text, encoding="utf-8")
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in self._raw)
        path.with_suffix(".jsonl").write_text(lines, encoding="utf-8")
        print(text, flush=True)
        return path
