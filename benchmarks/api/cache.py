"""What benchmarks keep between runs: seeded databases, PostgreSQL's cluster, the other server's environment."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import modelpress.store
from benchmarks.api.world import FORM

#: On a disk, and for PostgreSQL in a place that user ``nobody`` reaches when root runs the benchmarks.
ROOT = Path(os.environ.get("BENCH_CACHE", ".cache/bench")).resolve()

_SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "1M": 1_000_000, "10M": 10_000_000}


def size_of(name: str) -> int:
    """The number of tasks that ``name`` ("100k") stands for.

    Raises: SystemExit for any other name.
    """
    if name not in _SIZES:
        raise SystemExit(f"size {name!r} is none of {', '.join(_SIZES)}")
    return _SIZES[name]


def directory() -> Path:
    """Where seeded databases of the schema's present revision lie; those of other revisions are removed."""
    versions = Path(next(iter(modelpress.store.__path__))) / "migrations" / "versions"
    revision = max(path.stem.partition("_")[0] for path in versions.glob("[0-9]*.py"))
    chosen = ROOT / "seeded" / f"{revision}-{FORM}"
    for other in chosen.parent.glob("*"):
        if other != chosen:
            tell(f"removing databases of another schema: {other}")
            shutil.rmtree(other)
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def tell(message: str) -> None:
    """One line of progress."""
    print(message, file=sys.stderr, flush=True)
