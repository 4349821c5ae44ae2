"""Whole processes on a disk: every scheme against the plain copy of as many bytes, and against peers that are named."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.core import bounds
from benchmarks.core.job import (
    Job,
    compress,
    copy_seconds,
    fetch_memory,
    forget,
    offered,
    output_bytes,
    peer_compress,
    versions,
)
from benchmarks.core.place import ROOT, emptied, fits, tell
from benchmarks.core.process import Run
from benchmarks.core.source import source, weight_bytes
from benchmarks.report import Report

ROUNDS = int(os.environ.get("ROUNDS", "3"))
_OUTPUT = ROOT / "out" / "model"

_LARGEST_SHARE = 1.3
_LARGEST_RSS = 400_000_000
_LEAST_FASTER, _LEAST_CHEAPER = 10, 8
#: Smaller models end before their start-up is made up for.
_LEAST_BYTES = 2_500_000_000
#: Measured cold too, and of a model that memory does not hold with its output, alone.
_FEW = ("W4A16C16", "W8A16C16")
_MANY_BYTES = 6_000_000_000
_PEER = "W4A16C16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One scheme in one round: we, the plain copy with one thread and with two, and llm-compressor if it was named."""

    ours: Run
    output_bytes: int
    copy_seconds: tuple[float, float]
    peer: Run | None

    @property
    def share(self) -> float:
        """Ours over the faster copy."""
        return self.ours.seconds / min(self.copy_seconds)


Rounds = dict[str, list[Round]]


def measure(sizes: Sequence[str]) -> None:
    """Measure, and write the report."""
    report = Report("core-whole", title="modelpress compress against a plain copy", versions=versions())
    report.say(
        "Whole processes from exec to exit, all threads, output on the same disk. *Plain copy* reads every byte of the "
        "source and writes as many bytes as the output has, ending in fsync as we do, in the faster of one thread and "
        "two, without its interpreter's start; the ratio to the copy of one thread stands beside. *Warm*: the source "
        "was read once just before. *Cold*: the system was told to forget it. Before each run 5 GB of memory were "
        "written and given back, since a virtual machine's free memory may have to be fetched first. In brackets the "
        f"least ratio. Medians of {ROUNDS} rounds in which all took turns, and began in "
        "turn; a ratio is the median of the rounds' own ratios."
    )
    jobs = offered()
    rates = {}
    for size in sizes:
        model = source(size)
        if model is None:
            report.say(f"**{size} was left out**: the disk has no room for it.")
            continue
        large = weight_bytes(model) > _MANY_BYTES
        few = [job for job in jobs if job.name in _FEW]
        for name, chosen, before in (("warm", few if large else jobs, None), ("cold", few, forget)):
            if large and name == "warm":
                continue  # memory would not hold it and its output
            rounds = _measure(size, model, chosen, before=before, peers=not large and name == "warm")
            _tell(report, f"{size}, {name}", rounds, source_bytes=weight_bytes(model))
        if not large:
            rates[size] = bounds.measure_rates(model)
    if rates:
        bounds.tell_bounds(report, list(rates.values())[-1])
    report.write()


def _measure(
    size: str, model: Path, jobs: Sequence[Job], *, before: Callable[[Path], None] | None, peers: bool
) -> Rounds:
    python = os.environ.get("LLMCOMPRESSOR") if peers else None
    found: Rounds = defaultdict(list)
    prepare = before or _remember
    for number in range(ROUNDS):
        for job in jobs:
            if not fits(weight_bytes(model) * 2 // 3):
                raise SystemExit(f"the disk of {ROOT} is full")
            tell(f"{size} {'warm' if before is None else 'cold'}, round {number + 1} of {ROUNDS}: {job.name}")
            written = found[job.name][0].output_bytes if number else _written(job, model)
            ours, copies = _in_turn(job, model, written, prepare=prepare, first=number)
            peer = None
            if python and job.name == _PEER:
                peer = peer_compress(python, model, emptied(_OUTPUT))
            emptied(_OUTPUT)
            found[job.name].append(Round(ours=ours, output_bytes=written, copy_seconds=copies, peer=peer))
    return found


def _in_turn(
    job: Job, model: Path, written: int, *, prepare: Callable[[Path], None], first: int
) -> tuple[Run, tuple[float, float]]:
    """We, and the copies with one thread and with two; who comes first finds the machine otherwise than who comes last,
    so another does each time.
    """
    ours: list[Run] = []
    copies: dict[int, float] = {}
    for turn in range(3):
        threads = (turn + first) % 3
        output = emptied(_OUTPUT)
        prepare(model)
        fetch_memory()
        if threads == 0:
            ours.append(compress(job, model, output))
        else:
            copies[threads] = copy_seconds(model, output, output_bytes=written, threads=threads)
    return ours[0], (copies[1], copies[2])


def _written(job: Job, model: Path) -> int:
    """Bytes of the output, from a run that is not counted."""
    compress(job, model, emptied(_OUTPUT))
    return output_bytes(_OUTPUT)


def _remember(model: Path) -> None:
    """Have the model in memory: some systems put away what was not used for seconds."""
    copy_seconds(model, None, output_bytes=0, threads=2)


def _tell(report: Report, title: str, rounds: Rounds, *, source_bytes: int) -> None:
    report.heading(f"{title}, {source_bytes / 1e6:,.0f} MB")
    report.table(
        (
            *("scheme", "ours : copy (least)", "to 1 thread's", "ours, s", "copy, s (1 thread, 2)", "processor, s"),
            *("peak RSS, MB", "output, MB", "source GB/s"),
        ),
        [_row(name, of_job, source_bytes) for name, of_job in rounds.items()],
    )
    _tell_peers(report, rounds)
    if source_bytes >= _LEAST_BYTES:
        worst = max(rounds, key=lambda name: median(one.share for one in rounds[name]))
        share = median(one.share for one in rounds[worst])
        report.target(
            f"at most {_LARGEST_SHARE:g} times the plain copy; the most: {worst}, {share:.2f}",
            met=share <= _LARGEST_SHARE,
        )
    largest = max(one.ours.largest_bytes for of_job in rounds.values() for one in of_job)
    report.target(f"peak RSS at most {_LARGEST_RSS / 1e6:.0f} MB: {largest / 1e6:.0f} MB", met=largest <= _LARGEST_RSS)
    report.say("")
    for name, of_job in rounds.items():
        for number, one in enumerate(of_job):
            report.raw(size=title, scheme=name, round=number, **_raw(one))


def _row(name: str, rounds: Sequence[Round], source_bytes: int) -> tuple[str, ...]:
    seconds = median(one.ours.seconds for one in rounds)
    first, second = (median(one.copy_seconds[threads] for one in rounds) for threads in (0, 1))
    shares = [one.share for one in rounds]
    return (
        name,
        f"{median(shares):.2f} ({min(shares):.2f})",
        f"{median(one.ours.seconds / one.copy_seconds[0] for one in rounds):.2f}",
        f"{seconds:.2f}",
        f"{min(first, second):.2f} ({first:.2f}, {second:.2f})",
        f"{median(one.ours.processor_seconds for one in rounds):.2f}",
        f"{max(one.ours.largest_bytes for one in rounds) / 1e6:.0f}",
        f"{rounds[0].output_bytes / 1e6:,.0f}",
        f"{source_bytes / seconds / 1e9:.2f}",
    )


def _tell_peers(report: Report, rounds: Rounds) -> None:
    pairs = [(one.ours, one.peer) for one in rounds.get(_PEER, ()) if one.peer is not None]
    if not pairs:
        return
    faster = median(peer.seconds / ours.seconds for ours, peer in pairs)
    cheaper = median(peer.processor_seconds / ours.processor_seconds for ours, peer in pairs)
    report.table(
        ("W4A16, groups of 128", "seconds", "processor, s", "peak RSS, MB"),
        [
            (
                name,
                f"{median(run.seconds for run in runs):.2f}",
                f"{median(run.processor_seconds for run in runs):.2f}",
                f"{max(run.largest_bytes for run in runs) / 1e6:.0f}",
            )
            for name, runs in (
                ("modelpress compress", [ours for ours, _ in pairs]),
                ("llm-compressor, model_free_ptq", [peer for _, peer in pairs]),
            )
        ],
    )
    report.target(f"at least {_LEAST_FASTER} times faster: {faster:.1f} times", met=faster >= _LEAST_FASTER)
    report.target(f"at most 1/{_LEAST_CHEAPER} of the processor's time: 1/{cheaper:.1f}", met=cheaper >= _LEAST_CHEAPER)


def _raw(one: Round) -> dict[str, object]:
    ours, peer = (None if run is None else {**asdict(run), "printed": ""} for run in (one.ours, one.peer))
    return {"ours": ours, "copy_seconds": one.copy_seconds, "output_bytes": one.output_bytes, "peer": peer}
