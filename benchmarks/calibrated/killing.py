"""Runs of each method that are killed at random moments: ``python -m benchmarks.calibrated.killing MODEL DIRECTORY``.

Each is ``modelpress compress`` in a process forked from this one, which has imported torch and computed nothing
with it: so there are no threads that a child would miss, and moments fall into the work rather than into the imports.
Prints an object a line, see :class:`Outcome`. Needs torch and transformers; OPENBLAS_NUM_THREADS must be 1.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# For children to find imported what they import.
import modelpress.calibrate.preparation  # noqa: F401
import modelpress.worker.press as pressing
from benchmarks.calibrated.job import METHODS
from benchmarks.calibrated.texts import calibration_pieces
from modelpress.cli.main import app
from modelpress.domain.task import Progress

SAMPLES = int(os.environ.get("KILL_SAMPLES", "4"))
LENGTH = int(os.environ.get("KILL_LENGTH", "128"))
KILLS = int(os.environ.get("KILLS", "10"))
THREADS = ("--threads", os.environ["THREADS"]) if "THREADS" in os.environ else ()
#: Of the time that an undisturbed run works, what a run is given at most before it is killed: ten kills come so in
#: little more time than a run takes, spread over all of it, since each run goes on where the one before was killed.
_LONGEST = 0.25

#: What our command is told, by method.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    **{method.name: method.options for method in METHODS},
    "learned": (*next(method.options for method in METHODS if method.name == "learned"), "--iterations", "10"),
    "sparse and 4 bits": ("--sparsity", "0.5", "--method", "sparsegpt", "--weight", "W4A16C16", "--group-size", "64"),
    "structured": ("--sparsity", "0.6", "--method", "structured"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One method."""

    method: str
    #: Of the undisturbed run, from the fork to the end.
    seconds: float
    #: That it goes through; those that are measured first count too.
    blocks: int
    #: Of each kill, in seconds after its process began.
    moments: list[float]
    #: For each kill, how many blocks the next process began that had been begun before.
    redone: list[int]
    #: Runs that came to an end, which took all kills together.
    rounds: int
    #: Of the undisturbed output, and whether all others were the same.
    sha256: str
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One process: the blocks that it began, and how long it took to the first of them and in all."""

    begun: list[int]
    beginning_seconds: float
    seconds: float
    killed: bool


def noting(carry_out: Callable[..., Any], log: int) -> Callable[..., Any]:
    """``carry_out``, which writes the number of every block that it begins to the descriptor ``log``."""

    def carried_out(*arguments: Any, report: Callable[[Progress], None], **named: Any) -> Any:
        last = -1

        def noted(progress: Progress) -> None:
            nonlocal last
            if progress.stage.startswith("calibrating") and progress.shards_done != last:
                last = progress.shards_done
                os.write(log, f"{last} {time.monotonic()}\n".encode())
            report(progress)

        return carry_out(*arguments, report=noted, **named)

    return carried_out


def attempt(options: tuple[str, ...], source: Path, out: Path, *, moment: float | None = None) -> Attempt:
    """Compress in a child, and kill it after ``moment`` seconds if it is still at work."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise SystemExit(f"this process has {threads} threads, of which a child would have one")
    log = out.with_suffix(".begun")
    log.unlink(missing_ok=True)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _compress(options, source, out, log)
    ended, _, _ = select.select([os.pidfd_open(child)], [], [], moment)
    if not ended:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise SystemExit(f"{out.name} ended with {status}: {out.with_suffix('.said').read_text()[-3000:]}")
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return Attempt(
        begun=[int(number) for number, _ in lines],
        beginning_seconds=float(lines[0][1]) - began if lines else 0.0,
        seconds=time.monotonic() - began,
        killed=status != 0,
    )


def _compress(options: tuple[str, ...], source: Path, out: Path, log: Path) -> None:
    """``modelpress compress``, as the end of this process."""
    status = 1
    try:
        said = os.open(out.with_suffix(".said"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(said, 1)
        os.dup2(said, 2)
        begun = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        vars(pressing)["carry_out"] = noting(pressing.carry_out, begun)
        text = ["--calibration", str(out.parent / "calibration.jsonl"), "--samples", str(SAMPLES)]
        app(
            ["compress", str(source), str(out), *options, *text, "--length", str(LENGTH), *THREADS],
            standalone_mode=False,
        )
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def sha256_of(directory: Path) -> str:
    """Of all files, by name."""
    told = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        told.update(f"{path.relative_to(directory)} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            told.update(hashlib.file_digest(file, "sha256").digest())
    return told.hexdigest()


def killed_round(
    options: tuple[str, ...], source: Path, out: Path, *, moments: Iterator[float], most: int
) -> list[Attempt]:
    """A run that is killed ``most`` times at most, and started again each time; the last attempt is left alone."""
    _clear(out)
    attempts: list[Attempt] = []
    while not attempts or attempts[-1].killed:
        attempts.append(attempt(options, source, out, moment=next(moments) if len(attempts) < most else None))
    return attempts


def begun_again(attempts: Sequence[Attempt]) -> Iterator[int]:
    """For each kill, how many blocks the next attempt began that had been begun before."""
    seen: set[int] = set()
    for before, after in pairwise(attempts):
        seen.update(before.begun)
        yield len(seen.intersection(after.begun))


def outcome(method: str, source: Path, directory: Path) -> Outcome:
    """One method: an undisturbed run, then as many rounds as it takes for all kills."""
    options, out = OPTIONS[method], directory / method.replace(" ", "-")
    _clear(out)
    whole = attempt(options, source, out)
    expected = sha256_of(out)
    drawn = random.Random(method)
    longest = _LONGEST * (whole.seconds - whole.beginning_seconds)
    moments = iter(lambda: whole.beginning_seconds + drawn.uniform(0, longest), None)
    rounds: list[list[Attempt]] = []
    sums: set[str] = set()
    while (left := KILLS - sum(len(attempts) - 1 for attempts in rounds)) > 0:
        rounds.append(killed_round(options, source, out, moments=moments, most=left))
        sums.add(sha256_of(out))
    _clear(out)
    return Outcome(
        method=method,
        seconds=round(whole.seconds, 1),
        blocks=len(whole.begun),
        moments=[round(one.seconds, 2) for attempts in rounds for one in attempts if one.killed],
        redone=[count for attempts in rounds for count in begun_again(attempts)],
        rounds=len(rounds),
        sha256=expected,
        same=sums == {expected},
    )


def _clear(out: Path) -> None:
    for directory in (out, out.with_name(f".{out.name}.partial")):
        shutil.rmtree(directory, ignore_errors=True)


def main(source: Path, directory: Path) -> None:
    """Every method, or those that METHODS names."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"text": piece}, ensure_ascii=False) + "\n" for piece in calibration_pieces(SAMPLES))
    (directory / "calibration.jsonl").write_text("".join(lines), encoding="utf-8")
    wanted = os.environ.get("METHODS")
    for method in OPTIONS:
        if wanted is None or method in wanted.split(","):
            print(json.dumps(asdict(outcome(method, source, directory))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
