"""How much two cores give over one, where no disk is in the way: output in memory."""

from __future__ import annotations

import os
from collections import defaultdict
from statistics import median

from benchmarks.core.job import compress, copy_seconds, fetch_memory, offered, output_bytes, versions
from benchmarks.core.place import MEMORY, emptied, tell
from benchmarks.core.source import source, weight_bytes
from benchmarks.report import Report

_ROUNDS = int(os.environ.get("ROUNDS", "3"))
_LEAST_RATIO = 1.7
_OUTPUT = MEMORY / "modelpress-bench"

#: Seconds and the processor's seconds, on one core and on all; of the copy, seconds on one core and on two.
Pair = tuple[tuple[float, float], tuple[float, float]]


def measure(size: str) -> None:
    """Measure, and write the report."""
    model = source(size)
    if model is None or not MEMORY.is_dir():
        tell("left out: there is no model, or no directory in memory")
        return
    cores = os.cpu_count() or 1
    tiny = source("tiny")
    assert tiny is not None
    ours: dict[str, list[Pair]] = defaultdict(list)
    copies: dict[str, list[tuple[float, float]]] = defaultdict(list)
    starts = []
    jobs = offered()
    copy_seconds(model, None, output_bytes=0, threads=1)
    for number in range(_ROUNDS):
        for job in jobs:
            tell(f"cores, round {number + 1} of {_ROUNDS}: {job.name}")
            starts.append(compress(job, tiny, emptied(_OUTPUT)).seconds)
            runs = []
            for one_core in (True, False):
                emptied(_OUTPUT)
                fetch_memory()
                runs.append(compress(job, model, _OUTPUT, one_core=one_core))
            one, every = runs
            written = output_bytes(_OUTPUT)
            seconds = []
            for threads in (1, 2):
                emptied(_OUTPUT)
                fetch_memory()
                copied = copy_seconds(model, _OUTPUT, output_bytes=written, threads=threads, one_core=threads == 1)
                seconds.append(copied)
            first, second = seconds
            emptied(_OUTPUT)
            ours[job.name].append(((one.seconds, one.processor_seconds), (every.seconds, every.processor_seconds)))
            copies[job.name].append((first, second))
    _tell(size, cores, ours, copies, start=median(starts), source_bytes=weight_bytes(model))


def _tell(
    size: str,
    cores: int,
    ours: dict[str, list[Pair]],
    copies: dict[str, list[tuple[float, float]]],
    *,
    start: float,
    source_bytes: int,
) -> None:
    report = Report("core-cores", title=f"One core and {cores}, {size}, in memory", versions=versions())
    report.say(
        f"Whole processes; source and output ({MEMORY}) are both in memory. The ratio is that of throughput, the start "
        f"of {start:.2f} s, which nothing makes parallel, taken off both. Medians of {_ROUNDS} rounds in which all "
        "took turns, each after 5 GB of memory were written and given back. The plain copy's own ratio shows what this "
        "machine's memory gives two cores."
    )
    ratios = {name: median((a[0] - start) / (b[0] - start) for a, b in pairs) for name, pairs in ours.items()}
    report.table(
        ("scheme", f"{cores} cores : 1", "1 core, s", f"{cores}, s", "processor, s", "GB/s", "plain copy's ratio"),
        [
            (
                name,
                f"{ratios[name]:.2f}",
                f"{median(a[0] for a, _ in pairs):.2f}",
                f"{median(b[0] for _, b in pairs):.2f}",
                f"{median(b[1] for _, b in pairs):.2f}",
                f"{source_bytes / (median(b[0] for _, b in pairs) - start) / 1e9:.2f}",
                f"{median(first / second for first, second in copies[name]):.2f}",
            )
            for name, pairs in ours.items()
        ],
    )
    worst = min(ratios, key=ratios.__getitem__)
    report.target(
        f"{cores} cores give at least {_LEAST_RATIO} times one; the least: {worst}, {ratios[worst]:.2f}",
        met=ratios[worst] >= _LEAST_RATIO,
    )
    for name, pairs in ours.items():
        report.raw(scheme=name, one_and_all=pairs, copies=copies[name])
    report.write()
