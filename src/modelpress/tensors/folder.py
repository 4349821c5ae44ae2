"""A directory of files behind ranged reads, so that a bucket may stand in for a local disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from modelpress.errors import BadSource


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
    since a Hugging Face cache consists of them. Files are opened for each read: there is nothing to close.
    """

    def __init__(self, path: Path, *, within: Path | None = None) -> None:
        self.path = path
        self._within = None if within is None else Path(os.path.realpath(within))

    def names(self) -> list[str]:
        """See :class:`Folder`."""
        try:
            with os.scandir(self.path) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())
        except OSError as exc:
            # Without its path: the message goes to callers, who know a model by its id.
            raise BadSource(f"the model directory cannot be read: {exc.strerror}") from exc

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
        if os.path.basename(name) != name or name in {"", ".", ".."}:
            raise BadSource(f"{name!r} is not the name of a file in the model directory")
        descriptor = -1
        try:
            # O_NONBLOCK: opening a pipe must not wait for a writer; it means nothing to a regular file.
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            self._check(descriptor, name)
            yield descriptor
        except OSError as exc:
            raise BadSource(f"{name} cannot be read: {exc.strerror}") from exc
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _check(self, descriptor: int, name: str) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadSource(f"{name} is not a regular file")
        if self._within is None:
            return
        # Asked of the open file where the system can tell: a link changed since it was opened changes nothing.
        link = f"/proc/self/fd/{descriptor}"
        real = os.readlink(link) if os.path.exists(link) else os.path.realpath(self.path / name)
        if not Path(real).is_relative_to(self._within):
            raise BadSource(
                f"{name} leads out of its bucket",
                hint="copy the model into the bucket with its links resolved (cp -rL)",
            )


def _fill(descriptor: int, name: str, offset: int, buffer: memoryview) -> None:
    done = 0
    while done < len(buffer):
        got = os.preadv(descriptor, [buffer[done:]], offset + done)
        if got == 0:
            raise BadSource(f"{name} ends at byte {offset + done}, {len(buffer) - done} bytes too early")
        done += got


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
