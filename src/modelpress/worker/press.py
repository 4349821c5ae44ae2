"""One model, from directory to verified directory: the work of an attempt, and of ``modelpress compress``."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from modelpress.domain.recipe import Recipe
from modelpress.domain.task import Progress, Statistics
from modelpress.quality.verification import verify
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import Folder
from modelpress.tensors.kernel import KERNEL
from modelpress.tensors.plan import Plan, make_plan
from modelpress.tensors.staging import MANIFEST


def press(
    folder: Folder, recipe: Recipe, staging: Path, *, report: Callable[[Progress], None], threads: int | None = None
) -> tuple[Plan, Statistics]:
    """Compress ``folder`` by ``recipe`` into ``staging`` and verify what was written.

    What an earlier, killed call with the same source and recipe finished in ``staging`` is taken over.

    Raises: TaskError.
    """
    began = time.monotonic()
    plan = make_plan(open_checkpoint(folder), recipe)
    reused = compress(plan, folder, staging, report=report, threads=threads)
    report(
        Progress(
            stage="verify",
            percent=99,
            bytes_done=plan.tensor_bytes,
            bytes_total=plan.tensor_bytes,
            shards_done=len(plan.shards),
        )
    )
    verify(plan, staging)
    return plan, Statistics(
        source_bytes=plan.source_bytes,
        output_bytes=sum(entry.stat().st_size for entry in staging.iterdir() if entry.name != MANIFEST),
        seconds=round(time.monotonic() - began, 3),
        peak_memory_bytes=peak_memory_bytes(),
        shards_reused=reused,
        group_size=plan.group_size,
        kernel=KERNEL,
    )


def peak_memory_bytes() -> int:
    """The largest resident size this process had.

    Linux's own figure is preferred: ru_maxrss begins with the size of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
