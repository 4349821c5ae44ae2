"""``make bench-api``: measure the API; tables to standard output, progress to standard error.

SIZES=1k,100k ENGINES=sqlite PARTS=scaling python -m benchmarks.api.main
"""

from __future__ import annotations

import os
from collections.abc import Callable

from benchmarks.api import micro, polling, scaling, throughput
from benchmarks.api.seeding import ENGINES


def _words(variable: str, default: str) -> list[str]:
    return [word for word in os.environ.get(variable, default).split(",") if word]


def main() -> None:
    """Run the parts that are asked for."""
    sizes = _words("SIZES", "1k,100k,1M,10M")
    engines = _words("ENGINES", ",".join(ENGINES))
    size = os.environ.get("SIZE", "1M")
    parts: dict[str, Callable[[], None]] = {
        "throughput": lambda: throughput.measure(size),
        "polling": lambda: polling.measure(size, engines),
        "micro": lambda: micro.measure(size),
        "scaling": lambda: scaling.measure(sizes, engines),
    }
    for part in _words("PARTS", ",".join(parts)):
        parts[part]()


if __name__ == "__main__":
    main()
