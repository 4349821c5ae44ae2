"""Files that appear whole or not at all: written beside their place, made durable, then renamed."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from modelpress.errors import DiskFull, InternalFailure

PARTIAL = ".partial"

_LONGEST_STEM_BYTES = 200
#: Of linux/fs.h.
_SYNC_FILE_RANGE_WRITE = 2

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def _find_writeback() -> Callable[[int], None]:
    """Linux's sync_file_range, which Python does not offer; elsewhere nothing, which only costs time."""
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError, TypeError):
        return lambda descriptor: None
    call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

    def begin(descriptor: int) -> None:
        # A hint: errors of the disk itself are told by the fsync that follows.
        call(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)

    return begin


#: Begins to write out a file's pages, without waiting and without making anything durable.
start_writeback = _find_writeback()


class NewFile:
    """A file of ``size_bytes`` on its way to ``path``, filled in any order; several threads may write at once.

    As a context manager it is gone unless ``commit`` was called. Raises: DiskFull naming the path and the bytes.
    """

    def __init__(self, path: Path, *, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        # Its own name each time: a worker that lost its lease may still be writing this file.
        self._partial = path.with_name(f"{_shortened(path.name)}.{secrets.token_hex(4)}{PARTIAL}")
        with disk_errors(self._path, size_bytes=self._size_bytes):
            self._descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                # Freed by the kernel when the writer is gone: by it, a file left behind is told from one being written.
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            except BaseException:
                self.close()
                raise

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Put all of ``data`` at ``offset``."""
        rest = memoryview(data)
        with disk_errors(self._path, size_bytes=self._size_bytes):
            while len(rest):
                done = os.pwrite(self._descriptor, rest, offset)
                if done == 0:  # of no use, and without end
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                rest, offset = rest[done:], offset + done

    def flush(self) -> None:
        """Have the system begin to write out what it holds of the file, so that ``commit`` finds little left to do."""
        start_writeback(self._descriptor)

    def commit(self) -> None:
        """Make the content durable, then give the file its name: a file of that name is whole."""
        with disk_errors(self._path, size_bytes=self._size_bytes):
            os.fsync(self._descriptor)
            self._partial.replace(self._path)

    def __enter__(self) -> NewFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End writing; what was not committed is removed."""
        # What the disk says now is of no interest: either all is written and has its name, or an error is on its way.
        with suppress(OSError):
            os.close(self._descriptor)
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)


def _shortened(name: str) -> str:
    """The beginning of a name, that leaves room for an ending within the 255 bytes that a name may have."""
    return os.fsencode(name)[:_LONGEST_STEM_BYTES].decode(errors="ignore")


@contextmanager
def disk_errors(path: Path, *, size_bytes: int) -> Iterator[None]:
    """Turns the system's refusals to write ``path``, of ``size_bytes``, into ours."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise DiskFull(f"no space for {path}, which needs {size_bytes} bytes") from exc
        size = f", of {size_bytes} bytes," if size_bytes else ""
        raise InternalFailure(f"{path}{size} cannot be written: {exc.strerror}") from exc


def remove_partials(directory: Path) -> None:
    """Remove the files that writers left behind in ``directory``; one that is being written stays."""
    for partial in directory.glob(f"*{PARTIAL}"):
        with suppress(OSError), partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """A small file with this content, whole or not at all."""
    with NewFile(path, size_bytes=len(content)) as new:
        new.write_at(0, content)
        new.commit()


def sync_directory(path: Path) -> None:
    """Make renames in a directory durable."""
    with disk_errors(path, size_bytes=0):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
