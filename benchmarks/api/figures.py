"""Times become medians and percentiles, and results become files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from benchmarks.api import machine

RESULTS = Path(os.environ.get("BENCH_RESULTS", "benchmarks/results"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Microseconds of one thing, by round: rounds of everything take turns, so that a noisy minute hits all alike."""

    rounds: tuple[tuple[float, ...], ...]

    @property
    def median(self) -> float:
        """The median of the rounds' medians."""
        return median(median(one) for one in self.rounds)

    @property
    def p99(self) -> float:
        """The median of the rounds' 99th percentiles."""
        return median(percentile(one, 99) for one in self.rounds)

    @property
    def largest(self) -> float:
        """The slowest of all."""
        return max(max(one) for one in self.rounds)

    @property
    def count(self) -> int:
        """How many were measured."""
        return sum(map(len, self.rounds))

    def as_json(self) -> dict[str, object]:
        """Raw enough to compute anew what is shown."""
        return {
            "median_us": round(self.median, 1),
            "p99_us": round(self.p99, 1),
            "max_us": round(self.largest, 1),
            "count": self.count,
            "round_medians_us": [round(median(one), 1) for one in self.rounds],
            "round_p99_us": [round(percentile(one, 99), 1) for one in self.rounds],
        }


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of all are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def milliseconds(microseconds: float) -> str:
    """For a table."""
    return f"{microseconds / 1000:.2f}"


class Report:
    """One part's results: shown on standard output, and written beside the raw figures when it is done."""

    def __init__(self, name: str, *, title: str) -> None:
        self._name = name
        self._told = machine.describe()
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
