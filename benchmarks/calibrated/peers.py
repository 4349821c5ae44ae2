"""Side by side with llm-compressor and AutoRound: the same model, samples and judges, whole processes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.calibrated.floor import floor, tell_floor
from benchmarks.calibrated.job import (
    PEERS,
    Measured,
    Method,
    calibrated_by,
    chosen,
    compress,
    compress_by_peer,
)
from benchmarks.calibrated.judge import Figures, judge, tell_quality
from benchmarks.calibrated.place import OUTPUTS, devices, interpreter, model, samples
from benchmarks.calibrated.texts import LENGTH, SAMPLES
from benchmarks.core.place import tell
from benchmarks.core.process import Failed, measured
from benchmarks.report import Report

ROUNDS = int(os.environ.get("ROUNDS", "3"))

_OURS = "modelpress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One round of one method; None is who is not there, or failed."""

    ours: Measured | None
    peer: Measured | None


Pairs = dict[str, list[Pair]]


def measure() -> None:
    """Measure, and write a report for each device."""
    source = model()
    tokens = samples(source)
    for device in devices():
        _measure_on(device, source, tokens)


def _measure_on(device: str, source: Path, tokens: Path) -> None:
    name = "calibrated-peers" if device == "cpu" else f"calibrated-peers-{device}"
    report = Report(name, title=f"Calibrated compression side by side, {device}", versions=_versions())
    report.say(
        f"{source.name}, {SAMPLES} samples of {LENGTH} tokens, for everyone the same, of the documentation that ships "
        "with Python; judged by another part of it, by licences and by Chinese. Whole processes from exec to exit: "
        "start, loading, calibrating, writing. Peers have their default settings but for groups of 64 columns. In "
        "rounds both took turns, and began in turn. Peak memory is that of the largest process, without an "
        "accelerator's. What is not measured in several rounds takes long, and nothing is claimed of its time."
    )
    failures: list[str] = []
    pairs: Pairs = defaultdict(list)
    for method in chosen():
        for number in range(ROUNDS if method.timed else 1):
            tell(f"{device}, round {number + 1}: {method.title}")
            pairs[method.name].append(_in_turn(method, source, tokens, device=device, first=number, failures=failures))
    _tell_cost(report, pairs)
    tell_floor(report, floor(source, device), ours=_seconds_of_ours(pairs))
    for failure in dict.fromkeys(failures):
        report.say(f"**Failed**: {failure}")
    outputs = _outputs(pairs)
    if outputs:
        report.heading("What was lost")
        figures = judge(source, outputs)
        tell_quality(report, figures)
        _tell_targets(report, pairs, figures)
    report.write()


def _in_turn(method: Method, source: Path, tokens: Path, *, device: str, first: int, failures: list[str]) -> Pair:
    """Both, and who begins changes from round to round."""

    def ours() -> Measured | None:
        options = (*method.options, *calibrated_by(tokens))
        return compress(options, source, OUTPUTS / device / method.name, device=device)

    def peer() -> Measured | None:
        return compress_by_peer(method, source, tokens, device=device)

    found: dict[str, Measured | None] = {}
    turns: list[tuple[str, Callable[[], Measured | None]]] = [(_OURS, ours), (PEERS[method.peer], peer)]
    for who, run in turns if first % 2 == 0 else turns[::-1]:
        try:
            found[who] = run()
        except Failed as failure:
            found[who] = None
            failures.append(f"{who}, {method.title}: {str(failure).splitlines()[-1]}")
            tell(failures[-1])
    return Pair(ours=found[_OURS], peer=found[PEERS[method.peer]])


def _seconds_of_ours(pairs: Pairs) -> dict[str, float]:
    found = {}
    for method in chosen():
        seconds = [pair.ours.run.seconds for pair in pairs[method.name] if pair.ours is not None]
        if seconds:
            found[method.title] = median(seconds)
    return found


def _outputs(pairs: Pairs) -> dict[str, Path]:
    """The last round's, by the names that tables have for them."""
    found: dict[str, Path] = {}
    for method in chosen():
        last = pairs[method.name][-1]
        for who, one in ((_OURS, last.ours), (PEERS[method.peer], last.peer)):
            if one is not None:
                found[f"{method.title}, {who}"] = one.output
    return found


def _tell_cost(report: Report, pairs: Pairs) -> None:
    rows = []
    for method in chosen():
        for who, runs in _sides(method, pairs[method.name]):
            rows.append(_row(method, who, runs))
            for number, one in enumerate(runs):
                figures = {**asdict(one), "output": one.output.name}
                del figures["run"]["printed"]  # it names paths of the machine
                report.raw(method=method.name, who=who, round=number, **figures)
    columns = ("method", "", "seconds (least)", "processor, s", "peak RSS, MB", "output, MB", "rounds", "measured")
    report.table(columns, rows)


def _sides(method: Method, of_method: Sequence[Pair]) -> list[tuple[str, list[Measured]]]:
    ours = [pair.ours for pair in of_method if pair.ours is not None]
    peers = [pair.peer for pair in of_method if pair.peer is not None]
    return [(who, runs) for who, runs in ((_OURS, ours), (PEERS[method.peer], peers)) if runs]


def _row(method: Method, who: str, runs: Sequence[Measured]) -> tuple[str, ...]:
    return (
        method.title,
        who,
        f"{median(one.run.seconds for one in runs):.1f} ({min(one.run.seconds for one in runs):.1f})",
        f"{median(one.run.processor_seconds for one in runs):.1f}",
        f"{max(one.run.largest_bytes for one in runs) / 1e6:,.0f}",
        f"{runs[-1].output_bytes / 1e6:.1f}",
        f"{len(runs)}",
        runs[-1].date,
    )


def _tell_targets(report: Report, pairs: Pairs, figures: Figures) -> None:
    for method in chosen():
        who = PEERS[method.peer]
        ours, peer = (figures.get(f"{method.title}, {side}") for side in (_OURS, who))
        if ours is not None and peer is not None:
            ratios = {domain: _perplexity(ours[domain]) / _perplexity(peer[domain]) for domain in ours}
            told = ", ".join(f"{domain} {ratio:.4f}" for domain, ratio in ratios.items())
            report.target(
                f"{method.title}: perplexity at most {method.most_perplexity:.2f} of {who}'s: {told}",
                met=max(ratios.values()) <= method.most_perplexity,
            )
        _tell_bound(report, method, pairs[method.name], what="seconds", most=method.most_seconds)
        _tell_bound(report, method, pairs[method.name], what="peak memory", most=method.most_memory)


def _tell_bound(report: Report, method: Method, of_method: Sequence[Pair], *, what: str, most: float | None) -> None:
    """Ours over the peer's, round by round, since what disturbs one round disturbs both."""
    both = [(pair.ours.run, pair.peer.run) for pair in of_method if pair.ours is not None and pair.peer is not None]
    if most is None or not both:
        return
    if what == "seconds":
        share = median(ours.seconds / peer.seconds for ours, peer in both)
    else:
        share = max(ours.largest_bytes for ours, _ in both) / max(peer.largest_bytes for _, peer in both)
    report.target(f"{method.title}: {what} at most {most:g} of {PEERS[method.peer]}'s: {share:.2f}", met=share <= most)


def _perplexity(by_domain: dict[str, dict[str, float]]) -> float:
    return by_domain["perplexity"]["value"]


def _versions() -> dict[str, str]:
    """Of who is measured, each asked in its own environment."""
    found: dict[str, str] = {}
    for environment, packages in (
        ("calibrate", ("torch", "transformers")),
        ("llmcompressor", ("llmcompressor",)),
        ("autoround", ("auto-round",)),
    ):
        python = interpreter(environment)
        if python is not None:
            code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
            told = measured([python, "-c", code, *packages]).printed.split()
            found |= dict(zip(packages, told, strict=True))
    return found
