"""Where benchmarks of the tensor core keep their models and put their outputs, and how much room there is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

#: On a disk: what is measured is a disk's.
ROOT = Path(os.environ.get("BENCH_CACHE", ".cache/bench")).resolve() / "core"
#: A directory in memory, where the disk is not to matter; none on systems without.
MEMORY = Path("/dev/shm")

#: Left free for whatever else the disk is for.
_SPARED_BYTES = 6_000_000_000


def tell(message: str) -> None:
    """One line of progress."""
    print(message, file=sys.stderr, flush=True)


def fits(size_bytes: int, *, where: Path = ROOT) -> bool:
    """Whether there is room for this much more, and some to spare."""
    while not where.exists():
        where = where.parent
    return shutil.disk_usage(where).free > size_bytes + _SPARED_BYTES


def emptied(directory: Path) -> Path:
    """``directory``'s parent, made if need be, with nothing of that name in it, and nothing left to write to a disk."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    for left in (directory, directory.with_name(f".{directory.name}.partial")):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)
    os.sync()
    return directory
