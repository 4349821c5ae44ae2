"""``make bench-core``: measure the tensor core; tables to standard output, progress to standard error.

SIZES=0.5B,1.5B PARTS=whole SCHEMES=W4A16C16 ROUNDS=5 LLMCOMPRESSOR=PYTHON python -m benchmarks.core.main [clean]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from benchmarks.core import cores, small, whole
from benchmarks.core.place import ROOT


def _words(variable: str, default: str) -> list[str]:
    return [word for word in os.environ.get(variable, default).split(",") if word]


def _measure_kernel() -> None:
    """In a process of its own: numpy would make this one large, see process.py."""
    subprocess.run([sys.executable, "-m", "benchmarks.core.kernel"], check=True)


def main() -> None:
    """Run the parts that are asked for, or remove what was kept."""
    if sys.argv[1:] == ["clean"]:
        shutil.rmtree(ROOT, ignore_errors=True)
        return
    parts: dict[str, Callable[[], None]] = {
        "start": small.measure_start,
        "kernel": _measure_kernel,
        "whole": lambda: whole.measure(_words("SIZES", "0.5B,1.5B,7B")),
        "cores": lambda: cores.measure(os.environ.get("SIZE", "1.5B")),
        "memory": small.measure_memory,
    }
    for part in _words("PARTS", ",".join(parts)):
        parts[part]()


if __name__ == "__main__":
    main()
