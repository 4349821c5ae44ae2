"""A disk that is full, or fails: a sentence with path and bytes, nothing half-written, and the same bytes later."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from modelpress.domain.task import Progress
from modelpress.errors import DiskFull, InternalFailure
from modelpress.tensors import piece
from modelpress.tensors import shard as shards
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.plan import Plan
from modelpress.tensors.staging import MANIFEST, seal
from tests.unit.tensors.models import contents, layers, plan_of, weight, write_model

#: A side file is the largest single file of the output here, and comes after all shards.
SMALL = {"tokenizer.json": b"x" * 2000}


def ignore(progress: Progress) -> None:
    """A report nobody reads."""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of several output shards, in pieces far smaller than its tensors."""
    monkeypatch.setattr(shards, "LARGEST_SHARD_BYTES", 9000)
    monkeypatch.setattr(piece, "PIECE_BYTES", 2000)
    return write_model(tmp_path / "source", layers(2), files=SMALL)


def expected_of(source: Path, directory: Path) -> dict[str, bytes]:
    """What an undisturbed run writes."""
    compress(plan_of(source), LocalFolder(source), directory, report=ignore)
    seal(directory)
    return contents(directory)


def assert_resumed(plan: Plan, source: Path, out: Path, *, expected: dict[str, bytes]) -> None:
    """Nothing half-written is there, what is there is whole, and another run ends as an undisturbed one."""
    if out.exists():
        kept = contents(out)
        kept.pop(MANIFEST, None)
        assert kept.items() <= expected.items()
    compress(plan, LocalFolder(source), out, report=ignore)
    seal(out)
    assert contents(out) == expected


#: Calls that a disk may refuse. Of "open" only those that make a file, and of "pwrite" also one that takes half.
CALLS = ("open", "pwrite", "half a pwrite", "fsync", "replace")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", CALLS)
def test_whichever_call_the_disk_refuses_the_error_names_it_and_the_next_run_ends_well(
    call: str, error: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(source)
    expected = expected_of(source, tmp_path / "whole")
    name = call.rpartition(" ")[2]
    real: Callable[..., Any] = getattr(os, name)
    for number in count():
        numbers = count()

        def refusing(*arguments: Any, numbers: Iterator[int] = numbers, number: int = number, **options: Any) -> Any:
            counts = name != "open" or arguments[1] & os.O_CREAT
            if not counts or next(numbers) < number:
                return real(*arguments, **options)
            if call.startswith("half") and len(arguments[1]) > 1:
                descriptor, data, offset = arguments
                return real(descriptor, data[: len(data) // 2], offset)
            raise OSError(error, os.strerror(error))

        out = tmp_path / f"out-{number}"
        with monkeypatch.context() as patched:
            patched.setattr(os, name, refusing)
            try:
                compress(plan, LocalFolder(source), out, report=ignore, threads=2)
            except (DiskFull, InternalFailure) as exc:
                refusal = exc
            else:
                break
        assert isinstance(refusal, DiskFull) == (error == errno.ENOSPC)
        assert str(out) in refusal.message
        assert "bytes" in refusal.message or "cannot be written" in refusal.message
        assert_resumed(plan, source, out, expected=expected)
    assert number >= len(plan.shards) + 3  # the manifest, a side file and documents too
    seal(out)
    assert contents(out) == expected


def run(source: Path, target: Path, *, limit_kilobytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """``modelpress compress``, where no file may grow beyond the limit: so a full disk looks on any machine."""
    limit = ["sh", "-c", f'ulimit -f {limit_kilobytes}; exec "$@"', "sh"] if limit_kilobytes else []
    command = [
        sys.executable,
        "-m",
        "modelpress.cli.main",
        "compress",
        str(source),
        str(target),
        "--weight",
        "W8A16C16",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    return subprocess.run([*limit, *command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_command_that_meets_a_full_disk_keeps_its_whole_shards_and_the_same_command_goes_on(tmp_path: Path) -> None:
    small, large = {"a.up_proj.weight": weight(64, 256)}, {"b.up_proj.weight": weight(2048, 1024, seed=1)}
    source = write_model(tmp_path / "source", small, large)
    assert run(source, tmp_path / "whole").returncode == 0
    expected = contents(tmp_path / "whole")
    first, second = sorted(name for name in expected if name.endswith(".safetensors"))
    place = tmp_path / "place"
    refused = run(source, place / "out", limit_kilobytes=1000)
    assert refused.returncode == 1
    size = len(expected[second])
    assert f"error: no space for {place}/.out.partial/{second}, which needs {size} bytes" in refused.stderr
    assert "1 of 2 shards are finished and kept" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in place.iterdir()] == [".out.partial"]
    assert {path.name for path in (place / ".out.partial").iterdir()} == {first, MANIFEST}
    again = run(source, place / "out")
    assert again.returncode == 0
    assert "resuming: 1 of 2 shards are there" in again.stderr
    assert contents(place / "out") == expected


@pytest.mark.slow
def test_a_command_that_can_write_nothing_leaves_nothing(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", {"b.up_proj.weight": weight(2048, 1024)})
    place = tmp_path / "place"
    place.mkdir()
    refused = run(source, place / "out", limit_kilobytes=1000)
    assert refused.returncode == 1
    assert "error: no space for" in refused.stderr
    assert not list(place.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB in memory. The tests above are of the same refusals, on any machine."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk, and not everywhere")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_filled_by_others_on_the_way_is_gone_on_with_when_there_is_space(
    small_disk: Path, source: Path, tmp_path: Path
) -> None:
    plan, out = plan_of(source), small_disk / "out"
    expected = expected_of(source, tmp_path / "whole")

    def fill(progress: Progress) -> None:
        if progress.shards_done == 1 and not (small_disk / "ballast").exists():
            with suppress(OSError):  # what is free is less by the time it is written
                (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))

    with pytest.raises(DiskFull, match=f"no space for {out}/.*, which needs"):
        compress(plan, LocalFolder(source), out, report=fill, threads=1)
    assert not list(out.glob("*.partial"))
    (small_disk / "ballast").unlink()
    assert_resumed(plan, source, out, expected=expected)


def test_a_disk_that_is_full_from_the_start_is_left_as_it_was(small_disk: Path, tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", {"b.up_proj.weight": weight(512, 1024)})
    refused = run(source, small_disk / "out")
    assert refused.returncode == 1
    assert "bytes more, and" in refused.stderr
    assert not list(small_disk.iterdir())
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    refused = run(source, small_disk / "out")
    assert refused.returncode == 1
    assert "no space for" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]
