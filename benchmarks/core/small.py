"""What does not depend on the model: how long a start takes; and what must not: memory, with tensors of 4 GiB."""

from __future__ import annotations

import os
import sys
from statistics import median

from benchmarks.core.job import JOBS, compress, offered, output_bytes, versions
from benchmarks.core.place import ROOT, emptied, fits, tell
from benchmarks.core.process import Failed, measured
from benchmarks.core.source import MODELS, source
from benchmarks.report import Report

_ROUNDS = int(os.environ.get("ROUNDS", "3")) * 3
_LARGEST_START_SECONDS = 0.25
_LARGEST_RSS = 400_000_000
_IMPORTS = "import modelpress.cli.main, modelpress.cli.compress, modelpress.worker.press"
_OUTPUT = ROOT / "out" / "small"


def measure_start() -> None:
    """Measure, and write the report."""
    tiny = source("tiny")
    assert tiny is not None
    commands = {
        "the interpreter alone": [sys.executable, "-c", "pass"],
        "import numpy": [sys.executable, "-c", "import numpy"],
        "import typer": [sys.executable, "-c", "import typer"],
        "everything compress imports": [sys.executable, "-c", _IMPORTS],
    }
    seconds: dict[str, list[float]] = {}
    tell(f"start-up, {_ROUNDS} rounds")
    for _ in range(_ROUNDS):
        for name, command in commands.items():
            seconds.setdefault(name, []).append(measured(command).seconds)
        output = emptied(_OUTPUT)
        seconds.setdefault("modelpress compress, a model of 3 MB", []).append(compress(JOBS[0], tiny, output).seconds)
    emptied(_OUTPUT)
    report = Report("core-start", title="Start-up", versions=versions())
    report.say(f"Whole processes, medians of {_ROUNDS} rounds in which all took turns.")
    report.table(
        ("what", "seconds", "least"),
        [(name, f"{median(times):.3f}", f"{min(times):.3f}") for name, times in seconds.items()],
    )
    imports = median(seconds["everything compress imports"])
    report.target(
        f"interpreter and imports below {_LARGEST_START_SECONDS} s: {imports:.3f} s",
        met=imports < _LARGEST_START_SECONDS,
    )
    report.raw(seconds=seconds)
    report.write()


def measure_memory() -> None:
    """Measure, and write the report. The source's weights are holes; an output takes 6 GB of the disk."""
    model = source("huge")
    assert model is not None
    size_bytes = MODELS["huge"].size_bytes
    report = Report("core-memory", title="Memory, with tensors of 4 GiB", versions=versions())
    report.say(
        f"A model of {size_bytes / 1e9:.1f} GB: a linear weight and an embedding of 4 GiB each, all zeros in a file of "
        "holes, so seconds mean nothing here. Peak RSS is the system's own figure for the whole process."
    )
    rows, largest = [], 0
    for job in offered():
        if not fits(size_bytes):
            tell(f"no room for {job.name}: left out")
            continue
        tell(f"memory: {job.name}")
        try:
            run = compress(job, model, emptied(_OUTPUT))
        except Failed as failure:  # a GGUF file is made of whole models alone
            tell(f"{job.name} is left out: {str(failure).splitlines()[-1]}")
            continue
        rows.append((job.name, f"{run.largest_bytes / 1e6:.0f}", f"{output_bytes(_OUTPUT) / 1e6:,.0f}"))
        largest = max(largest, run.largest_bytes)
        report.raw(scheme=job.name, largest_bytes=run.largest_bytes, seconds=run.seconds)
    emptied(_OUTPUT)
    report.table(("scheme", "peak RSS, MB", "output, MB"), rows)
    report.target(f"peak RSS at most {_LARGEST_RSS / 1e6:.0f} MB: {largest / 1e6:.0f} MB", met=largest <= _LARGEST_RSS)
    report.write()
