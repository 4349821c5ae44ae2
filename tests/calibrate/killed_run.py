"""A program that runs a calibrated ``modelpress compress`` in processes that die at one disk call after another.

    python -m tests.calibrate.killed_run DIRECTORY [STEP]

Each run is resumed, and must end in the bytes of an undisturbed one with one block at most that was begun twice. Every
STEPth call is tried. Apart from pytest, since it forks, and what is forked must have no other threads. Exits with 1 and
a sentence at the first run that ends otherwise.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import modelpress.calibrate.preparation  # noqa: F401  a child's own import of it would be most of its time
from modelpress.calibrate.engine import Engine
from modelpress.cli.main import app
from modelpress.tensors.staging import MANIFEST
from tests.calibrate.whole_run import LENGTH, SAMPLES, write_source, write_text
from tests.unit.tensors.killed_run import FAILED, KILLED, How, die_at, whole
from tests.unit.tensors.models import contents

BLOCKS = 2


def in_child(work: Any) -> int:
    """Do ``work`` in a process of its own; its exit status."""
    # torch's threads would not be there in a child: none of it may have been started.
    assert len(os.listdir("/proc/self/task")) == 1
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = FAILED
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def compress(source: Path, target: Path, *, begun: Path, kill: tuple[int, How] | None = None) -> int:
    """``modelpress compress`` in a child, which notes in ``begun`` each block that it begins."""

    def work() -> None:
        os.dup2(os.open(source.parent / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        os.dup2(2, 1)
        note_blocks(begun)
        options = ["--weight", "W4A16C16", "--group-size", "32", "--method", "gptq", "--target", "*.v_proj"]
        calibration = ["--calibration", str(source.with_suffix(".txt")), "--samples", str(SAMPLES)]
        if kill is not None:
            die_at(*kill)
        app(
            ["compress", str(source), str(target), *options, *calibration, "--length", str(LENGTH), "--threads", "1"],
            standalone_mode=False,
        )

    return in_child(work)


def note_blocks(begun: Path) -> None:
    """Have the engine of this process note the number of every block that it begins."""
    block = Engine._block

    def noted(engine: Engine, number: int, *arguments: Any) -> None:
        with begun.open("a") as file:
            file.write(f"{number}\n")
        block(engine, number, *arguments)

    Engine._block = noted  # type: ignore[method-assign,assignment]


def trial(place: Path, kill: tuple[int, How], *, source: Path, expected: dict[str, bytes]) -> tuple[bool, str | None]:
    """Kill and resume in the empty ``place``: whether the run was killed at all, and what is wrong."""
    target, begun = place / "out", place.with_suffix(".begun")
    status = compress(source, target, begun=begun, kill=kill)
    if status not in (0, KILLED):
        return True, f"it ended with {status}: {(source.parent / 'said').read_text()}"
    for directory in place.iterdir():
        wrong = whole(directory, expected)
        if wrong is not None:
            return True, wrong
    unfinished = not target.exists() or (target / MANIFEST).exists()
    if status == KILLED and unfinished and compress(source, target, begun=begun) != 0:
        return True, f"it could not be resumed: {(source.parent / 'said').read_text()}"
    if [path.name for path in place.iterdir()] != ["out"]:
        return True, f"it left {sorted(path.name for path in place.iterdir())}"
    if any(path.is_dir() for path in target.iterdir()):
        return True, "calibrated blocks are left"
    if contents(target) != expected:
        return True, "the bytes are others"
    times = Counter(begun.read_text().split())
    if sum(times.values()) > BLOCKS + 1 or len(times) != BLOCKS:
        return True, f"blocks were begun {dict(times)} times"
    return status == KILLED, None


def main(directory: Path, step: int) -> None:
    """Every call in steps, in both ways."""
    source, place = directory / "source", directory / "place"
    if in_child(lambda: write_text(write_source(source, num_hidden_layers=BLOCKS).with_suffix(".txt"))) != 0:
        sys.exit("no source")
    place.mkdir()
    if compress(source, place / "out", begun=directory / "place.begun") != 0:
        sys.exit((directory / "said").read_text())
    expected = contents(place / "out")
    kills = 0
    for how in ("before", "half"):
        for number in count(step=step):
            place = directory / f"{how}-{number}"
            place.mkdir()
            killed, wrong = trial(place, (number, how), source=source, expected=expected)
            if wrong is not None:
                sys.exit(f"killed {how} call {number}: {wrong}")
            if not killed:
                break
            kills += 1
    print(f"{kills} kills")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
