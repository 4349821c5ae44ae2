"""One model, from directory to verified directory: the work of an attempt, and of ``modelpress compress``."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelpress.domain.recipe import Recipe
from modelpress.domain.task import Progress, Statistics
from modelpress.quality.verification import verify
from modelpress.tensors.assembly import Assembly
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import Folder
from modelpress.tensors.kernel import KERNEL
from modelpress.tensors.plan import Plan, make_plan
from modelpress.tensors.staging import MANIFEST
from modelpress.tensors.staging import prepare as make_ready
from modelpress.worker.method import check_method

if TYPE_CHECKING:
    from modelpress.calibrate.preparation import Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A model and what is to become of it: what can be refused early was, and nothing is written yet."""

    plan: Plan
    folder: Folder
    #: What looks at samples first; None for methods that need none.
    calibration: Calibration | None

    @property
    def parts(self) -> int:
        """Shards, and blocks to be calibrated: what a run that ends early leaves to the next one whole."""
        return len(self.plan.shards) + (self.calibration.blocks if self.calibration is not None else 0)

    @property
    def parts_name(self) -> str:
        """What they are, for people."""
        return "shards" if self.calibration is None else "blocks and shards"


def prepare(
    folder: Folder, recipe: Recipe, *, calibration_file: Path | None = None, threads: int | None = None
) -> Prepared:
    """What ``recipe`` means for ``folder``; ``calibration_file`` is its calibration text, where that is an object.

    Raises: AlreadyCompressed, BadCalibration, BadSource, OutOfMemory, Unsupported.
    """
    check_method(recipe, calibration_file=calibration_file)
    checkpoint = open_checkpoint(folder)
    plan = make_plan(checkpoint, recipe)
    if recipe.calibration is None:
        return Prepared(plan=plan, folder=folder, calibration=None)
    # Here, so that a process that calibrates nothing does without torch.
    from modelpress.calibrate.preparation import prepare_calibration

    calibration = prepare_calibration(plan, checkpoint, file=calibration_file, threads=threads)
    return Prepared(plan=calibration.plan, folder=folder, calibration=calibration)


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

    What an earlier, killed call with the same source, recipe and samples finished in ``staging`` is taken over.

    Raises: TaskError.
    """
    prepared = prepare(folder, recipe, calibration_file=calibration_file, threads=threads)
    return carry_out(prepared, staging, report=report, threads=threads, say=say)


def carry_out(
    prepared: Prepared,
    staging: Path,
    *,
    report: Callable[[Progress], None],
    threads: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Plan, Statistics]:
    """:func:`press`, for what was prepared a moment ago; a source changed since is refused.

    The plan that is given back is the one that was carried out, with what calibration has to tell among its notes.
    """
    began = time.monotonic()
    _say_plan(prepared.plan, say)
    assembly = _calibrated(prepared, staging, report=report, say=say)
    plan = assembly.plan
    reused = compress(
        assembly.writing,
        assembly.folder,
        staging,
        report=_saying_shards(_after_blocks(prepared, report), len(plan.shards), say),
        threads=threads,
    )
    report(
        Progress(
            stage="verify",
            percent=99,
            bytes_done=prepared.plan.tensor_bytes,
            bytes_total=prepared.plan.tensor_bytes,
            shards_done=prepared.parts,
        )
    )
    verify(plan, staging)
    statistics = measured(plan, staging, seconds=time.monotonic() - began, shards_reused=reused)
    say("verified: headers, shapes and scales are those of the plan")
    say(
        f"done: {statistics.source_bytes} bytes became {statistics.output_bytes} in {statistics.seconds:.1f} s, "
        f"with at most {statistics.peak_memory_bytes} bytes of memory"
    )
    return plan, statistics


def measured(plan: Plan, directory: Path, *, seconds: float, shards_reused: int) -> Statistics:
    """What is told of a run that wrote ``directory``."""
    return Statistics(
        source_bytes=plan.source_bytes,
        output_bytes=sum(
            entry.stat().st_size for entry in directory.iterdir() if entry.is_file() and entry.name != MANIFEST
        ),
        seconds=round(seconds, 3),
        peak_memory_bytes=peak_memory_bytes(),
        shards_reused=shards_reused,
        group_size=plan.group_size,
        kernel=KERNEL,
    )


#: The share of a calibrated run that is its blocks; the rest is writing the output, which takes seconds.
_BLOCKS_PERCENT = 95


def _calibrated(
    prepared: Prepared, staging: Path, *, report: Callable[[Progress], None], say: Callable[[str], None]
) -> Assembly:
    """What the output is written from: the source, or where samples are looked at, what was made of its blocks."""
    plan, calibration = prepared.plan, prepared.calibration
    if calibration is None:
        return Assembly(plan=plan, writing=plan, folder=prepared.folder)

    def told(share: float, blocks: int) -> None:
        percent = _BLOCKS_PERCENT * share
        report(
            Progress(
                stage=f"calibrating block {min(blocks + 1, calibration.blocks)} of {calibration.blocks}",
                percent=int(percent),
                bytes_done=int(plan.tensor_bytes * percent / 100),
                bytes_total=plan.tensor_bytes,
                shards_done=blocks,
            )
        )

    make_ready(staging, plan.digest)
    return calibration.run(prepared.folder, staging, told=told, say=say)


def _after_blocks(prepared: Prepared, report: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """``report`` for writing the output, as the last part of a calibrated run."""
    if prepared.calibration is None:
        return report
    total, blocks = prepared.plan.tensor_bytes, prepared.calibration.blocks

    def last_part(progress: Progress) -> None:
        percent = _BLOCKS_PERCENT + (99 - _BLOCKS_PERCENT) * progress.bytes_done / max(1, progress.bytes_total)
        report(
            replace(
                progress,
                percent=int(percent),
                bytes_done=int(total * percent / 100),
                bytes_total=total,
                shards_done=blocks + progress.shards_done,
            )
        )

    return last_part


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
