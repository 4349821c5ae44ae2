"""What bounds a compression: each resource's own rate, and the seconds it alone would take for larger models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.core.job import JOBS, compress, copy_seconds, forget, output_bytes
from benchmarks.core.place import MEMORY, ROOT, emptied, tell
from benchmarks.core.source import source, weight_bytes
from benchmarks.report import Report

_ROUNDS = 3
_JOB = JOBS[0]
_MODELS = (("15 GB", 15e9), ("100 GB", 100e9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Bytes a second. ``rounding``, ``warm`` and ``cold`` are of the source, ``share`` is output over source."""

    reading_cold: float
    reading_warm: float
    writing: float
    rounding: float
    warm: float
    cold: float
    start_seconds: float
    share: float


def measure_rates(model: Path) -> Rates:
    """Each rate alone, and that of the whole process, in rounds in which all took turns; medians."""
    tiny = source("tiny")
    assert tiny is not None
    disk, memory = ROOT / "out" / "bound", (MEMORY if MEMORY.is_dir() else ROOT / "out") / "modelpress-bench"
    size = weight_bytes(model)
    found: list[Rates] = []
    for number in range(_ROUNDS):
        tell(f"rates, round {number + 1} of {_ROUNDS}")
        start = compress(_JOB, tiny, emptied(disk)).seconds
        forget(model)
        reading_cold = copy_seconds(model, None, output_bytes=0, threads=2)
        reading_warm = copy_seconds(model, None, output_bytes=0, threads=2)
        warm = compress(_JOB, model, emptied(disk)).seconds
        written = output_bytes(disk)
        writing = copy_seconds(None, emptied(disk), output_bytes=written, threads=2)
        rounding = compress(_JOB, model, emptied(memory)).seconds
        emptied(memory)
        forget(model)
        cold = compress(_JOB, model, emptied(disk)).seconds
        emptied(disk)
        found.append(
            Rates(
                reading_cold=size / reading_cold,
                reading_warm=size / reading_warm,
                writing=written / writing,
                rounding=size / (rounding - start),
                warm=size / (warm - start),
                cold=size / (cold - start),
                start_seconds=start,
                share=written / size,
            )
        )
    return Rates(**{name: median(getattr(one, name) for one in found) for name in Rates.__slots__})


def tell_bounds(report: Report, rates: Rates) -> None:
    """The table: what each resource alone would need, and what the whole process is then expected to take."""
    report.heading("What bounds it")
    report.say(
        f"{_JOB.name}, rates measured with the largest model above that memory holds; the seconds of other models are "
        "computed from them. *Rounding* is the whole process with its output in memory, less its start: it "
        "reads from memory, rounds, and writes to memory, on all cores. What takes longest alone bounds the whole."
    )
    out = rates.share
    rows: Sequence[tuple[str, float, float]] = (
        ("read, from the disk", rates.reading_cold, 1),
        ("read, from memory", rates.reading_warm, 1),
        ("read from memory, round, write to memory", rates.rounding, 1),
        (f"write {out:.0%} of the bytes, end in fsync", rates.writing, out),
        ("**modelpress compress**, source in memory", rates.warm, 1),
        ("**modelpress compress**, source on the disk", rates.cold, 1),
    )
    report.table(
        ("alone", "GB/s", *(f"seconds for {name}" for name, _ in _MODELS)),
        [
            (
                name,
                f"{rate / 1e9:.2f}",
                *(f"{size * of / rate + (rates.start_seconds if '**' in name else 0):.1f}" for _, size in _MODELS),
            )
            for name, rate, of in rows
        ],
    )
    parts = {
        "reading from the disk": 1 / rates.reading_cold,
        "reading, rounding and writing in memory": 1 / rates.rounding,
        "writing to the disk": out / rates.writing,
    }
    warm = {name: value for name, value in parts.items() if name != "reading from the disk"}
    report.say(
        f"The bound is {max(parts, key=parts.__getitem__)}; with the source in memory, "
        f"{max(warm, key=warm.__getitem__)}. Memory does not grow with the model: see the peaks above."
    )
    report.raw(what="rates", **asdict(rates))
