"""A directory of files behind ranged reads, so that a bucket may stand in for a local disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from modelpress.errors import BadSource

#: Linux shows here what a descriptor leads to, and opens it anew by that name.
_DESCRIPTORS = "/proc/self/fd"
#: Linux's mere handle on a file: a pipe, a device or a file elsewhere is found out before anything is opened.
_HANDLE = getattr(os, "O_PATH", None) if os.path.isdir(_DESCRIPTORS) else None
# O_NONBLOCK: opening a pipe must not wait for a writer; it means nothing to a regular file.
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
#: How far ahead of what is read the disk is told what will be: several reads of several threads. Most systems read
#: 128 kB ahead by themselves, which kept a cold disk a quarter below its rate.
_AHEAD_BYTES = 8 * 1024 * 1024
#: Reads smaller than this are no part of a long run.
_HINTED_BYTES = 256 * 1024
_WILL_NEED: int | None = getattr(os, "POSIX_FADV_WILLNEED", None)


class Folder(Protocol):
    """The files at the top level of one directory."""

    def names(self) -> list[str]:
        """The files' names, sorted; directories below are left out."""

    def size(self, name: str) -> int:
        """The file's size in bytes."""

    def read_into(self, name: str, offset: int, buffer: memoryview) -> None:
        """Fill all of ``buffer`` from ``offset`` on.

        Raises: BadSource if the file ends before, or cannot be read.
        """

    def read_runs(self, name: str, offset: int, buffer: memoryview, *, run_bytes: int, stride_bytes: int) -> None:
        """Fill ``buffer`` with runs of ``run_bytes`` that begin ``stride_bytes`` apart, from ``offset`` on.

        Raises: BadSource if the file ends before, or cannot be read.
        """

    def fingerprint(self, name: str) -> str:
        """A text that changes when the file's content does."""


class LocalFolder:
    """A directory of this machine.

    With ``within``, a file whose real path lies outside it is refused; without, symbolic links are followed,
    since a Hugging Face cache consists of them. With ``only``, it is as if there were no other file than that.
    Files are opened for each read: there is nothing to close.
    """

    def __init__(self, path: Path, *, within: Path | None = None, only: str | None = None) -> None:
        self.path = path
        self._only = only
        self._within = None if within is None else Path(os.path.realpath(within))

    def names(self) -> list[str]:
        """See :class:`Folder`."""
        try:
            with os.scandir(self.path) as entries:
                found = sorted(entry.name for entry in entries if _may_be_file(entry))
        except OSError as exc:
            # Without its path: the message goes to callers, who know a model by its id.
            raise BadSource(f"the model directory cannot be read: {exc.strerror}") from exc
        return found if self._only is None else [name for name in found if name == self._only]

    def size(self, name: str) -> int:
        """See :class:`Folder`."""
        with self._opened(name) as descriptor:
            return os.fstat(descriptor).st_size

    def fingerprint(self, name: str) -> str:
        """Size and time of last change: a copy with new times counts as new content, which costs only work."""
        with self._opened(name) as descriptor:
            status = os.fstat(descriptor)
            return f"{status.st_size}-{status.st_mtime_ns}"

    def read_into(self, name: str, offset: int, buffer: memoryview) -> None:
        """See :class:`Folder`."""
        with self._opened(name) as descriptor:
            _fill(descriptor, name, offset, buffer)

    def read_runs(self, name: str, offset: int, buffer: memoryview, *, run_bytes: int, stride_bytes: int) -> None:
        """See :class:`Folder`."""
        if run_bytes == stride_bytes:
            self.read_into(name, offset, buffer)
            return
        with self._opened(name) as descriptor:
            for number, start in enumerate(range(0, len(buffer), run_bytes)):
                _fill(descriptor, name, offset + number * stride_bytes, buffer[start : start + run_bytes])

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        if not _is_name(name):
            raise BadSource(f"{name!r} is not the name of a file in the model directory")
        descriptor = -1
        try:
            descriptor = self._open(name)
            yield descriptor
        except OSError as exc:
            raise BadSource(f"{name} cannot be read: {exc.strerror}") from exc
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _open(self, name: str) -> int:
        if _HANDLE is None:
            descriptor = os.open(self.path / name, _READING)
        else:
            descriptor = os.open(self.path / name, _HANDLE | os.O_CLOEXEC)
        try:
            self._check(descriptor, name)
            if _HANDLE is None:
                return descriptor
            # The same file as was looked at, whatever bears its name by now.
            reading = os.open(f"{_DESCRIPTORS}/{descriptor}", _READING)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return reading

    def _check(self, descriptor: int, name: str) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadSource(f"{name} is not a regular file")
        if self._within is None:
            return
        # Asked of the descriptor where the system can tell: a link changed since changes nothing.
        real = os.path.realpath(self.path / name) if _HANDLE is None else os.readlink(f"{_DESCRIPTORS}/{descriptor}")
        if not Path(real).is_relative_to(self._within):
            raise BadSource(
                f"{name} leads out of its bucket",
                hint="copy the model into the bucket with its links resolved (cp -rL)",
            )


def _fill(descriptor: int, name: str, offset: int, buffer: memoryview) -> None:
    if len(buffer) >= _HINTED_BYTES and _WILL_NEED is not None:
        os.posix_fadvise(descriptor, offset + _AHEAD_BYTES, len(buffer), _WILL_NEED)
    done = 0
    while done < len(buffer):
        got = os.preadv(descriptor, [buffer[done:]], offset + done)
        if got == 0:
            raise BadSource(f"{name} ends at byte {offset + done}, {len(buffer) - done} bytes too early")
        done += got


class PlannedFolder:
    """``folder``, as it was when ``fingerprints`` were taken: it remembers what was read.

    Several threads may read and check at once.
    """

    def __init__(self, folder: Folder, fingerprints: Mapping[str, str]) -> None:
        self._folder = folder
        self._fingerprints = fingerprints
        self._read: set[str] = set()

    def names(self) -> list[str]:
        """See :class:`Folder`."""
        return self._folder.names()

    def size(self, name: str) -> int:
        """See :class:`Folder`."""
        return self._folder.size(name)

    def fingerprint(self, name: str) -> str:
        """See :class:`Folder`."""
        return self._folder.fingerprint(name)

    def read_into(self, name: str, offset: int, buffer: memoryview) -> None:
        """See :class:`Folder`."""
        self._read.add(name)
        self._folder.read_into(name, offset, buffer)

    def read_runs(self, name: str, offset: int, buffer: memoryview, *, run_bytes: int, stride_bytes: int) -> None:
        """See :class:`Folder`."""
        self._read.add(name)
        self._folder.read_runs(name, offset, buffer, run_bytes=run_bytes, stride_bytes=stride_bytes)

    def check(self) -> None:
        """Nothing, if what was read until now is still what was planned with; asked after reading.

        Raises: BadSource naming a file that changed.
        """
        for name in sorted(self._read):
            if self._folder.fingerprint(name) != self._fingerprints.get(name):
                raise BadSource(f"{name} was changed while it was read", hint="start again when nothing writes to it")


def _is_name(name: str) -> bool:
    """Whether a file in a directory can be called so."""
    try:
        return os.path.basename(name) == name and name not in {"", ".", ".."} and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """Whether opening it is worth a try: of a link that leads in a circle, the error that names it should come."""
    try:
        return entry.is_file()
    except OSError:
        return True


def folder_of(model: Path) -> LocalFolder:
    """The folder of a model that is a directory, or one file."""
    return LocalFolder(model.parent, only=model.name) if model.is_file() else LocalFolder(model)


def read_all(folder: Folder, name: str, *, limit_bytes: int) -> bytes:
    """The whole file.

    Raises: BadSource if it is larger than ``limit_bytes``, or cannot be read.
    """
    size = folder.size(name)
    if size > limit_bytes:
        raise BadSource(f"{name} has {size} bytes; more than {limit_bytes} are not accepted")
    content = bytearray(size)
    folder.read_into(name, 0, memoryview(content))
    return bytes(content)
