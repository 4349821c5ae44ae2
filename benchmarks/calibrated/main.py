"""``make bench-calibrated``: measure calibrated compression; tables to standard output, progress to standard error.

METHODS=gptq,sparsegpt ROUNDS=3 PARTS=peers PEERS=kept python -m benchmarks.calibrated.main [clean]
"""

from __future__ import annotations

import os
import shutil
import sys

from benchmarks.calibrated import builtin, kills, peers
from benchmarks.calibrated.place import ROOT


def main() -> None:
    """Run the parts that are asked for, or remove what was kept."""
    if sys.argv[1:] == ["clean"]:
        shutil.rmtree(ROOT, ignore_errors=True)
        return
    parts = {"peers": peers.measure, "builtin": builtin.measure, "kills": kills.measure}
    for part in os.environ.get("PARTS", ",".join(parts)).split(","):
        parts[part]()


if __name__ == "__main__":
    main()
