"""Keeping the cached databases within a small disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchmarks.api import cache

_LIMIT_GIB = float(os.environ.get("BENCH_DISK_GIB", "10"))
#: Measured, and a tenth more.
_BYTES_A_TASK = {"sqlite": 620, "postgresql": 920}


def make_room(engine: str, size: int) -> None:
    """Remove the other engine's databases if both would not fit; they are seeded anew when they are asked for.

    Raises: SystemExit if the disk has no room even then.
    """
    root = cache.directory()
    needed = _BYTES_A_TASK[engine] * size
    if _used(root) + needed > _LIMIT_GIB * 2**30:
        # PostgreSQL's databases lie in one cluster and go together.
        others = ["postgresql-*", "cluster"] if engine == "sqlite" else [f"sqlite-{name}" for name in ("10M", "1M")]
        for path in [path for pattern in others for path in root.glob(pattern)]:
            cache.tell(f"removing {path.name}: all databases are to take at most {_LIMIT_GIB:g} GiB (BENCH_DISK_GIB)")
            shutil.rmtree(path)
    free = shutil.disk_usage(root).free
    if free < needed:
        raise SystemExit(
            f"seeding {size:,} tasks on {engine} needs {needed / 2**30:.1f} GiB, and {root} has {free / 2**30:.1f}\n"
            "hint: choose smaller SIZES, or another place with BENCH_CACHE"
        )


def _used(root: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in root.rglob("*") if not path.is_dir())
