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
from modelpress.worker.method import check_method


def press(
    folder: Folder,
    recipe: Recipe,
    staging: Path,
    *,
    report: Callable[[Progress], None],
    threads: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    calibration_file: Path | None = None,
) -> tuple[Plan, Statistics]:
    """Compress ``folder`` by ``recipe`` into ``staging`` and verify what was written; ``say`` gets lines for a log.

    What an earlier, killed call with the same source and recipe finished in ``staging`` is taken over. Where the recipe
    is calibrated with an object, ``calibration_file`` is its text.

    Raises: TaskError.
    """
    plan = make_plan(open_checkpoint(folder), recipe)
    return plan, carry_out(
        plan, folder, staging, report=report, threads=threads, say=say, calibration_file=calibration_file
    )


def carry_out(
    plan: Plan,
    folder: Folder,
    staging: Path,
    *,
    report: Callable[[Progress], None],
    threads: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    calibration_file: Path | None = None,
) -> Statistics:
    """:func:`press`, for a plan that was made of ``folder`` a moment ago; a source changed since is refused."""
    check_method(plan.recipe, calibration_file=calibration_file)
    began = time.monotonic()
    _say_plan(plan, say)
    reused = compress(plan, folder, staging, report=_saying_shards(report, len(plan.shards), say), threads=threads)
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
    statistics = Statistics(
        source_bytes=plan.source_bytes,
        output_bytes=sum(entry.stat().st_size for entry in staging.iterdir() if entry.name != MANIFEST),
        seconds=round(time.monotonic() - began, 3),
        peak_memory_bytes=peak_memory_bytes(),
        shards_reused=reused,
        group_size=plan.group_size,
        kernel=KERNEL,
    )
    say("verified: headers, shapes and scales are those of the plan")
    say(
        f"done: {statistics.source_bytes} bytes became {statistics.output_bytes} in {statistics.seconds:.1f} s, "
        f"with at most {statistics.peak_memory_bytes} bytes of memory"
    )
    return statistics


def _say_plan(plan: Plan, say: Callable[[str], None]) -> None:
    steps = [step for shard in plan.shards for step in shard.steps]
    treated = len(plan.decision.assignment.treatments)
    say(
        f"plan: {treated} of {len(steps)} tensors become {_becoming(plan)}; "
        f"{plan.source_bytes} bytes become about {plan.output_bytes} in {len(plan.shards)} shards; kernel {KERNEL}"
    )
    for note in plan.notes:
        say(f"note: {note}")


def _becoming(plan: Plan) -> str:
    if plan.is_dense:
        return plan.recipe.title
    grouping = "one scale an output row" if plan.group_size is None else f"one scale a group of {plan.group_size}"
    return f"{plan.recipe.title} with {grouping}"


def _saying_shards(
    report: Callable[[Progress], None], count: int, say: Callable[[str], None]
) -> Callable[[Progress], None]:
    """``report``, with a line for every shard that was finished since the call before."""
    done: int | None = None

    def tell(progress: Progress) -> None:
        nonlocal done
        if done is None and progress.shards_done:
            say(f"{progress.shards_done} of {count} shards were finished before")
        elif done is not None and progress.shards_done > done:
            read = f"{progress.bytes_done} of {progress.bytes_total} bytes read"
            say(f"shard {progress.shards_done} of {count} is finished: {read}")
        done = progress.shards_done
        report(progress)

    return tell


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
