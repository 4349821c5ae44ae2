"""A program that runs ``modelpress compress`` in processes that die at one call after another, and resumes each.

    python -m tests.unit.tensors.killed_run DIRECTORY

Apart from pytest, since it forks, and what is forked must have no other threads. Exits with 1 and a sentence at the
first run that ends otherwise than an undisturbed one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Literal

import modelpress.worker.press  # noqa: F401  a child's own import of it would be most of its time
from modelpress.cli.main import app
from modelpress.errors import ModelpressError
from modelpress.tensors import piece
from modelpress.tensors import shard as shards
from modelpress.tensors.staging import MANIFEST
from tests.unit.tensors.models import contents, layers, write_model

How = Literal["before", "half"]

#: What changes a disk. A run dies before one of these, or in the middle of a write.
CALLS = ("open", "pwrite", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir")
KILLED, FAILED = 9, 1


def die_at(number: int, how: How) -> None:
    """Have this process die at its call of this number."""
    numbers = count()  # its next() is one step, so that threads need no lock

    def dying(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if (name == "open" and not arguments[1] & os.O_CREAT) or (how == "half" and name != "pwrite"):
                return call(*arguments, **options)
            if next(numbers) == number:
                if how == "half":
                    descriptor, data, offset = arguments
                    call(descriptor, data[: len(data) // 2], offset)
                os._exit(KILLED)
            return call(*arguments, **options)

        return counted

    for name in CALLS:
        setattr(os, name, dying(name, getattr(os, name)))


def run(source: Path, target: Path, *, kill: tuple[int, How] | None = None) -> int:
    """Compress in a process of its own; its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = FAILED
    try:
        os.dup2(os.open(target.parent.parent / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        os.dup2(2, 1)
        if kill is not None:
            die_at(*kill)
        app(["compress", str(source), str(target), "--weight", "W4A16C16", "--threads", "2"], standalone_mode=False)
        status = 0
    finally:
        os._exit(status)


def whole(directory: Path, expected: dict[str, bytes]) -> str | None:
    """What is wrong with the files that bear a final name; None if nothing is."""
    for name, content in contents(directory).items():
        if not name.endswith(".partial") and name != MANIFEST and content != expected.get(name):
            return f"{directory / name} is not what an undisturbed run writes"
    return None


def trial(place: Path, kill: tuple[int, How], *, source: Path, expected: dict[str, bytes]) -> tuple[bool, str | None]:
    """Kill and resume in the empty ``place``: whether the run was killed at all, and what is wrong."""
    target = place / "out"
    status = run(source, target, kill=kill)
    if status not in (0, KILLED):
        return True, f"it ended with {status}"
    for directory in place.iterdir():
        wrong = whole(directory, expected)
        if wrong is not None:
            return True, wrong
    if status == KILLED and (not target.exists() or (target / MANIFEST).exists()) and run(source, target) != 0:
        return True, f"it could not be resumed: {(place.parent / 'said').read_text()}"
    if [path.name for path in place.iterdir()] != ["out"]:
        return True, f"it left {sorted(path.name for path in place.iterdir())}"
    if contents(target) != expected:
        return True, "the bytes are others"
    return status == KILLED, None


def main(directory: Path) -> None:
    """Every call, in both ways."""
    shards.LARGEST_SHARD_BYTES = 5000
    piece.PIECE_BYTES = 1500
    source = write_model(directory / "source", layers(1), files={"tokenizer.json": b"{}" * 1000})
    place = directory / "place"
    place.mkdir()
    with suppress(ModelpressError):  # for the children to find imported what they import
        app(["compress", str(directory / "none"), str(place / "out"), "--weight", "W4A16C16"], standalone_mode=False)
    assert threading.active_count() == 1
    if run(source, place / "out") != 0:
        sys.exit((directory / "said").read_text())
    expected = contents(place / "out")
    kills = 0
    for how in ("before", "half"):
        for number in count():
            place = directory / f"{how}-{number}"
            place.mkdir()
            killed, wrong = trial(place, (number, how), source=source, expected=expected)
            if wrong is not None:
                sys.exit(f"killed {how} call {number}: {wrong}")
            if not killed:
                break
            kills += 1
    print(f"{kills} kills, {len([name for name in expected if name.endswith('.safetensors')])} shards")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
