"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from modelpress.errors import DiskFull, InternalFailure
from modelpress.tensors.writer import PARTIAL, NewFile, remove_partials, write_file


def failing(number: int) -> Callable[..., NoReturn]:
    """A call of the system that is refused with this error."""

    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_file_that_is_being_written_is_not_taken_for_one_left_behind(tmp_path: Path) -> None:
    left_behind = tmp_path / f"old.abc{PARTIAL}"
    left_behind.write_bytes(b"half")
    with NewFile(tmp_path / "new", size_bytes=4) as new:
        new.write_at(0, b"all!")
        remove_partials(tmp_path)
        assert not left_behind.exists()
        new.commit()
    assert (tmp_path / "new").read_bytes() == b"all!"


def test_a_name_as_long_as_names_may_be_leaves_room_for_the_ending_of_an_unfinished_file(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127):
        write_file(tmp_path / name, b"content")
        assert (tmp_path / name).read_bytes() == b"content"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_cannot_be_locked_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = len(os.listdir("/dev/fd"))
    monkeypatch.setattr("fcntl.flock", failing(errno.ENOLCK))
    with pytest.raises(InternalFailure, match="of 4 bytes, cannot be written: No locks available"):
        NewFile(tmp_path / "new", size_bytes=4)
    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/dev/fd")) == descriptors


@pytest.mark.parametrize("call", ["os.close", "pathlib.Path.unlink"])
def test_an_error_while_clearing_up_does_not_hide_what_went_wrong(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", failing(errno.ENOSPC))
        patched.setattr(call, failing(errno.EIO))
        with pytest.raises(DiskFull, match=r"no space for .*new, which needs 4 bytes"):
            write_file(tmp_path / "new", b"all!")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("call", "word"), [("fsync", "Input/output error"), ("pwrite", "Input/output error")])
def test_a_disk_that_fails_is_told_with_path_and_bytes_and_leaves_nothing(
    call: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"os.{call}", failing(errno.EIO))
    with pytest.raises(InternalFailure, match=f"new, of 4 bytes, cannot be written: {word}"):
        write_file(tmp_path / "new", b"all!")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_nothing_ends_in_an_error_and_not_in_a_circle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.pwrite", lambda descriptor, data, offset: 0)
    with pytest.raises(InternalFailure, match="Input/output error"):
        write_file(tmp_path / "new", b"all!")


def test_a_disk_that_takes_a_byte_at_a_time_gets_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda descriptor, data, offset: write(descriptor, data[:1], offset))
    write_file(tmp_path / "new", b"all!")
    assert (tmp_path / "new").read_bytes() == b"all!"


def test_flushing_a_file_that_grows_changes_nothing_of_what_it_becomes(tmp_path: Path) -> None:
    with NewFile(tmp_path / "new", size_bytes=2_000_000) as new:
        for start in range(0, 2_000_000, 500_000):
            new.write_at(start, bytes([start % 251]) * 500_000)
            new.flush()
        new.commit()
    content = (tmp_path / "new").read_bytes()
    assert content == b"".join(bytes([start % 251]) * 500_000 for start in range(0, 2_000_000, 500_000))
