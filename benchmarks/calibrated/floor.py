"""What no calibration can be faster than on this machine, and how near ours comes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.calibrated.place import HERE, torch_interpreter
from benchmarks.core.place import tell
from benchmarks.core.process import measured
from benchmarks.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One kind of work: its multiply-adds, and the seconds they take alone."""

    multiply_adds: int
    seconds: float


def floor(source: Path, device: str) -> dict[str, Work]:
    """By kind; measured in a process that has torch."""
    tell(f"matrix rates, {device}")
    told = measured([torch_interpreter(), "-m", "benchmarks.calibrated.rates", str(source), device], at=HERE).printed
    line = next(line for line in told.splitlines() if line.startswith("{"))
    return {name: Work(**work) for name, work in json.loads(line)["work"].items()}


def tell_floor(report: Report, work: Mapping[str, Work], *, ours: Mapping[str, float]) -> None:
    """A table, and ours, seconds by method, beside its sum."""
    report.heading("Where the time goes")
    rows = [
        (name, f"{one.multiply_adds / 1e12:.3f}", f"{one.multiply_adds / one.seconds / 1e9:,.0f}", f"{one.seconds:.1f}")
        for name, one in work.items()
    ]
    report.table(("work of one pass over all samples", "10¹² multiply-adds", "10⁹ a second here", "seconds"), rows)
    total = sum(one.seconds for one in work.values())
    report.say(
        f"Together {total:.1f} s: what remains if everything else took no time, in the shapes in which this model has "
        "it, both cores at work. Factors are counted as columns cubed. "
        + " ".join(f"{name} took {seconds:.1f} s, {seconds / total:.1f} times that." for name, seconds in ours.items())
    )
    for name, one in work.items():
        report.raw(work=name, multiply_adds=one.multiply_adds, seconds=one.seconds)
