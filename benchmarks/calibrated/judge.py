"""What outputs lost, asked of another process, which has torch: this one must stay small."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.calibrated.place import HERE, ROOT, torch_interpreter
from benchmarks.core.place import tell
from benchmarks.core.process import measured
from benchmarks.report import Report

#: By output, then by domain: the fields of a ``Divergence``.
Figures = dict[str, dict[str, dict[str, dict[str, float]]]]


def judge(source: Path, outputs: Mapping[str, Path]) -> Figures:
    """By the outputs' names; each directory is read in every domain, beside the source.

    Raises: Failed.
    """
    if not outputs:
        return {}
    tell(f"perplexity and divergence of {', '.join(outputs)}")
    file = ROOT / "figures.json"
    command = [torch_interpreter(), "-m", "benchmarks.calibrated.evaluate", "--source", str(source)]
    measured([*command, "--json", str(file), *map(str, outputs.values())], at=HERE)
    by_directory = json.loads(file.read_text(encoding="utf-8"))
    return {name: by_directory[str(output)] for name, output in outputs.items()}


def tell_quality(report: Report, figures: Figures) -> None:
    """A table: the source and each output, by domain."""
    first = next(iter(figures.values()))
    columns = ["", *(f"{domain}: {what}" for domain in first for what in ("perplexity", "KL, nats", "same top 1"))]
    rows = [["source"]]
    for one in first.values():
        rows[0] += [_mean(one["source_perplexity"], digits=2), "", ""]
    for name, by_domain in figures.items():
        rows.append([name])
        for one in by_domain.values():
            rows[-1] += [
                f"{one['perplexity']['value']:.3f}",
                _mean(one["divergence"], digits=4),
                f"{one['agreement']['value']:.1%}",
            ]
    report.table(columns, rows)
    tokens = ", ".join(f"{domain} {one['tokens']} tokens" for domain, one in first.items())
    report.say(f"In brackets 95 % intervals over windows; read of {tokens}.")
    for name, by_domain in figures.items():
        report.raw(output=name, quality=by_domain)


def _mean(estimate: Mapping[str, float], *, digits: int) -> str:
    value, low, high = (f"{estimate[part]:.{digits}f}" for part in ("value", "low", "high"))
    return f"{value} ({low}–{high})"
