"""``modelpress compress``: a model directory made smaller, with no server.

The work is done in a hidden directory beside the destination, which one rename publishes. It outlives an interrupt or a
kill, and the same command goes on from the shards that are whole in it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelpress.cli import option
from modelpress.cli.output import print_facts, print_json, say, size_text
from modelpress.cli.progress import Bars
from modelpress.cli.recipe import method_facts, recipe_form
from modelpress.cli.wish import BUILT_IN, read_wish, wished_recipe
from modelpress.cli.words import Words, worded
from modelpress.domain.calibration import CalibrationWish
from modelpress.domain.recipe import Recipe
from modelpress.domain.task import Progress, Statistics
from modelpress.errors import BadSource, QualityGate, SettingsError, Unsupported

if TYPE_CHECKING:
    from modelpress.tensors.plan import Plan
    from modelpress.worker.press import Prepared

#: After these the same command would end the same way, and a mended source is another source: nothing is worth keeping.
_HOPELESS = (BadSource, Unsupported, QualityGate)


@worded
def compress(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Hugging Face model directory, or a GGUF file.", show_default=False)
    ],
    destination: Annotated[
        Path | None,
        typer.Argument(
            metavar="DST",
            help="Directory to make; it must not exist, or be empty. Not needed with --plan.",
            show_default=False,
        ),
    ] = None,
    *,
    words: Words,
    dry: Annotated[bool, typer.Option("--plan", help="Show what would be done; nothing is read or written.")] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads to work with.", show_default="one for each core")
    ] = None,
    as_json: option.AsJson = False,
) -> None:
    """Compress a model directory, with no server. Interrupted, the same command goes on where it was."""
    recipe = wished_recipe(read_wish(words, _file))
    if dry:
        from modelpress.cli.plan import print_plan

        print_plan(source, recipe, as_json=as_json)
    elif destination is None:
        raise typer.BadParameter("required unless --plan is given", param_hint="'DST'")
    else:
        job = _Job(recipe=recipe, calibration_file=_calibration_file(words), threads=threads)
        _compress(source, destination, job=job, as_json=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What is to be done, and with what."""

    recipe: Recipe
    calibration_file: Path | None
    threads: int | None


def _calibration_file(words: Words) -> Path | None:
    """The file that --calibration names, if it names one."""
    return None if words.calibration is None or words.calibration in BUILT_IN else Path(words.calibration)


def _file(text: str) -> CalibrationWish:
    """A recipe has the name alone: where a file lies makes no other output."""
    if not Path(text).is_file():
        raise typer.BadParameter(
            f"{text!r} is neither a file nor one of {', '.join(BUILT_IN)}", param_hint="'--calibration'"
        )
    return CalibrationWish(file=Path(text).name)


def _compress(source: Path, destination: Path, *, job: _Job, as_json: bool) -> None:
    target = Path(os.path.realpath(destination))
    if not _is_unsealed(target):
        _refuse_taken(target)
    from modelpress.tensors.folder import folder_of
    from modelpress.worker.press import prepare

    # Before the staging directory is made: a refusal comes before anything is written.
    prepared = prepare(folder_of(source), job.recipe, calibration_file=job.calibration_file, threads=job.threads)
    for note in prepared.plan.notes:
        say(note)
    staging = _staging(target, prepared.plan)
    with _held(staging):
        carry_out = _carry_out if staging != target else _carried_out
        plan, measured = carry_out(prepared, staging=staging, threads=job.threads)
        _publish(staging, target)
    for note in plan.notes[len(prepared.plan.notes) :]:
        say(note)
    _print_result(plan, measured, destination=destination, as_json=as_json)


def _is_unsealed(target: Path) -> bool:
    """Whether a run was killed between its last two steps, after its output got its name."""
    from modelpress.tensors.staging import MANIFEST

    return (target / MANIFEST).is_file()


def _staging(target: Path, plan: Plan) -> Path:
    """Where to work: beside ``target``, or in it, if a run of the same plan has only its very last step left."""
    from modelpress.tensors.staging import holds

    if _is_unsealed(target):
        if holds(target, plan.digest):
            return target
        _refuse_taken(target)
    return target.with_name(f".{target.name}.partial")


def _refuse_taken(target: Path) -> None:
    """Nothing, if the output may become ``target``; asked before any work is done."""
    if os.path.ismount(target):
        raise SettingsError(f"{target} is a mount point, which cannot be replaced", hint="give a directory within it")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise SettingsError(f"{target} exists already", hint="give a new directory, or remove this one first")


@contextmanager
def _held(staging: Path) -> Iterator[None]:
    """The staging directory, made if need be, for this process alone."""
    try:
        staging.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise SettingsError(f"{staging} cannot be made: {exc.strerror}") from exc
    try:
        _lock(descriptor, staging)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, staging: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingsError(
            f"another process is working in {staging}", hint="wait for it, or give another directory"
        ) from None
    except OSError:
        pass  # some network file systems lock no directories; there, two at once are the user's own care


def _carry_out(prepared: Prepared, *, staging: Path, threads: int | None) -> tuple[Plan, Statistics]:
    """The work, with its progress shown. What is finished stays in ``staging`` if it ends early, unless it is no use.

    Raises: TaskError, KeyboardInterrupt.
    """
    from modelpress.worker.press import carry_out

    bars = Bars()
    shards_done: int | None = None

    def report(progress: Progress) -> None:
        nonlocal shards_done
        if shards_done is None and progress.shards_done:
            say(f"resuming: {progress.shards_done} of {prepared.parts} {prepared.parts_name} are there")
        shards_done = progress.shards_done
        bars.show("", stage=progress.stage, done=progress.bytes_done, total=progress.bytes_total)

    try:
        with bars:
            return carry_out(prepared, staging, report=report, threads=threads)
    except BaseException as exc:
        # Before the first report nothing is known of the directory, and it may not even be ours.
        if shards_done is not None:
            _leave(prepared, staging, shards_done=0 if isinstance(exc, _HOPELESS) else shards_done)
        elif _is_bare(staging):
            shutil.rmtree(staging, ignore_errors=True)
        raise


def _carried_out(prepared: Prepared, *, staging: Path, threads: int | None) -> tuple[Plan, Statistics]:
    """What :func:`_carry_out` gives, for a run that was killed when its output was verified and had its name.

    Then what it was made of is no more needed, and of calibrated blocks some may be gone already.
    """
    from modelpress.worker.press import measured

    say(f"{staging} was finished before, but for its last step")
    plan = prepared.plan
    return plan, measured(plan, staging, seconds=0, shards_reused=len(plan.shards))


def _is_bare(staging: Path) -> bool:
    """Whether there is nothing but a manifest."""
    from modelpress.tensors.staging import MANIFEST

    return all(name.startswith(MANIFEST) for name in os.listdir(staging))


def _leave(prepared: Prepared, staging: Path, *, shards_done: int) -> None:
    """Keep the whole shards and say so, or clear up where there are none."""
    if shards_done == 0:
        shutil.rmtree(staging, ignore_errors=True)
        return
    say(f"{shards_done} of {prepared.parts} {prepared.parts_name} are finished and kept in {staging}")
    say("the same command goes on from there")


def _publish(staging: Path, target: Path) -> None:
    from modelpress.tensors.staging import seal
    from modelpress.tensors.writer import sync_directory

    try:
        if staging != target:
            staging.rename(target)
    except OSError as exc:
        raise SettingsError(f"{staging} is finished, but cannot be renamed to {target}: {exc.strerror}") from exc
    seal(target)
    sync_directory(target)
    sync_directory(target.parent)


def _grouping_text(group_size: int | None) -> str:
    return "one scale an output row" if group_size is None else str(group_size)


def _print_result(plan: Plan, measured: Statistics, *, destination: Path, as_json: bool) -> None:
    ratio = measured.output_bytes / measured.source_bytes
    if as_json:
        print_json(
            {
                **recipe_form(plan.recipe),
                **({} if measured.group_size is None else {"groupSize": measured.group_size}),
                "seconds": measured.seconds,
                "sourceBytes": measured.source_bytes,
                "outputBytes": measured.output_bytes,
                "ratio": round(ratio, 4),
                "peakMemoryBytes": measured.peak_memory_bytes,
                "shardsReused": measured.shards_reused,
                "kernel": measured.kernel,
                "path": str(destination),
                "notes": list(plan.notes),
            }
        )
        return
    print_facts(
        {
            "scheme": plan.recipe.scheme.name if plan.recipe.quantizes else "",
            **method_facts(plan.recipe),
            **({} if plan.is_dense else {"group size": _grouping_text(measured.group_size)}),
            "time": f"{measured.seconds:.1f} s",
            "before": size_text(measured.source_bytes),
            "after": size_text(measured.output_bytes),
            "ratio": f"{ratio:.1%}",
            "peak memory": size_text(measured.peak_memory_bytes),
            "kernel": measured.kernel,
            "path": str(destination),
        }
    )
