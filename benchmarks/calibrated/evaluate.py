"""What outputs lost: ``python -m benchmarks.calibrated.evaluate [--source MODEL] DIRECTORY…``, with torch.

Prints a table of perplexity, divergence and agreement for each domain; ``--json FILE`` writes the figures too.
``--windows 8 --length 512`` say how much of each text is read, ``--domains Chinese,licences`` which texts. All
directories are in memory at once.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch

from benchmarks.calibrated.samples import windows_of
from benchmarks.calibrated.texts import domains
from modelpress.quality.divergence import Divergence, compare, load

LENGTH, WINDOWS = 512, 16

#: By directory, then by domain.
Table = dict[str, dict[str, Divergence]]


def evaluate(
    source: Path, outputs: Sequence[Path], *, texts: Mapping[str, str], windows: int = WINDOWS, length: int = LENGTH
) -> Table:
    """Every output in every domain."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    true = load(source, device=device)
    predictors = [load(output, device=device) for output in outputs]
    table: Table = {str(output): {} for output in outputs}
    for domain, text in texts.items():
        tokens = windows_of(text, model=source, length=length, most=windows)
        for output, divergence in zip(outputs, compare(true, predictors, tokens), strict=True):
            table[str(output)][domain] = divergence
    return table


def lines_of(table: Table) -> list[str]:
    """A Markdown table: an output a line, the source first."""
    first = next(iter(table.values()))
    columns = [f"{domain}: {what}" for domain in first for what in ("PPL", "x source", "KL", "same top 1")]
    lines = [f"| output | {' | '.join(columns)} |", "|" + " --- |" * (len(columns) + 1)]
    lines.append("| source | " + " | ".join(f"{one.source_perplexity.value:.3f} | | |" for one in first.values()))
    for output, by_domain in table.items():
        lines.append(f"| {Path(output).name} | " + " | ".join(_cells(one) for one in by_domain.values()) + " |")
    return lines


def _cells(one: Divergence) -> str:
    kl = one.divergence
    return (
        f"{one.perplexity.value:.3f} | {one.rise.value:.4f} ({one.rise.low:.4f}–{one.rise.high:.4f}) | "
        f"{kl.value:.4f} ({kl.low:.4f}–{kl.high:.4f}) | {one.agreement.value:.1%}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outputs", nargs="+", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=WINDOWS)
    parser.add_argument("--length", type=int, default=LENGTH)
    parser.add_argument("--domains")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    texts = {name: text for name, text in domains().items() if not asked.domains or name in asked.domains.split(",")}
    table = evaluate(asked.source, asked.outputs, texts=texts, windows=asked.windows, length=asked.length)
    if asked.json:
        figures = {name: {domain: asdict(one) for domain, one in row.items()} for name, row in table.items()}
        asked.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print("\n".join(lines_of(table)))


if __name__ == "__main__":
    main()
