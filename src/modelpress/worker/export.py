"""The process of one attempt at an export: copies a model's directory, and lists its files in a manifest.

It works in the export's staging folder: ``files`` is what becomes the exported directory, ``journal`` tells which files
are finished and how far the one that is being copied is known to be good, ``partial-…`` is that one. Nothing of an
earlier attempt is believed unread: what is finished is held against the digest of its record, and the beginning of a
broken-off file against that of its last mark.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelpress.domain.export import MANIFEST, Exported
from modelpress.domain.task import Progress
from modelpress.errors import BadSource
from modelpress.worker.process import Reporter, run, say

_JOURNAL = "journal"
_PARTIAL = "partial-"
_PIECE_BYTES = 8 * 1024 * 1024
#: After so many bytes of a file they are made durable and marked: what a kill can cost at most.
_MARK_BYTES = 256 * 1024 * 1024
#: Of what a journal's records mean; another one starts over.
_FORM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of the model: its path below the directory, with what tells whether it is still the same."""

    path: str
    size_bytes: int
    fingerprint: str


def list_files(source: Path, *, within: Path) -> list[SourceFile]:
    """All files of a model's directory and those below it, in the order of their names' bytes.

    Names that begin with a dot are left out (``.git`` may be as large as the model), and a manifest. Links to files
    are followed inside the bucket.

    Raises: BadSource for a link to a directory, for what is no file, and for a file that leads out of the bucket.
    """
    found = [file for folder in _folders(source) for file in _files_in(folder, source, within)]
    return sorted(found, key=lambda file: os.fsencode(file.path))


def _folders(source: Path) -> Iterator[Path]:
    yield source
    for entry in _entries(source):
        if entry.is_dir(follow_symlinks=False):
            yield from _folders(Path(entry.path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as exc:
        raise BadSource(f"a directory of the model cannot be read: {exc.strerror}") from exc


def _files_in(folder: Path, source: Path, within: Path) -> Iterator[SourceFile]:
    from modelpress.tensors.folder import LocalFolder

    reader = LocalFolder(folder, within=within)
    for entry in _entries(folder):
        path = Path(entry.path).relative_to(source).as_posix()
        if path == MANIFEST or entry.is_dir(follow_symlinks=False):
            continue
        if entry.is_dir():
            raise BadSource(
                f"{path} is a link to a directory",
                hint="put the directory in its place: links are followed to files only",
            )
        yield SourceFile(path=path, size_bytes=reader.size(entry.name), fingerprint=reader.fingerprint(entry.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """A file that is finished, or how much of one is known to be good; with the digest of so many bytes."""

    path: str
    size_bytes: int
    sha256: str
    finished: bool


class _Journal:
    """What is known to be done, one JSON object a line; the first names the listing that all of it is of."""

    def __init__(self, path: Path, *, listing: str) -> None:
        self._path = path
        self._listing = {"form": _FORM, "listing": listing}
        self.records: dict[str, _Record] = {}
        #: How many records there are: a number that a kill does not take away.
        self.count = 0
        self.is_ours = False
        self._read()

    def _read(self) -> None:
        good_bytes = 0
        try:
            lines = self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return
        for number, line in enumerate(lines):
            try:
                value = json.loads(line if line.endswith(b"\n") else b"")
                if number == 0:
                    self.is_ours = value == self._listing
                    if not self.is_ours:
                        return
                else:
                    record = _Record(**value)
                    self.records[record.path] = record
                    self.count += 1
            except (ValueError, TypeError):  # torn by a kill: what follows was never written
                break
            good_bytes += len(line)
        os.truncate(self._path, good_bytes)

    def begin(self) -> None:
        """Start over."""
        self.records, self.count, self.is_ours = {}, 0, True
        self._path.write_bytes(json.dumps(self._listing).encode() + b"\n")

    def add(self, record: _Record) -> None:
        """One more record, made durable."""
        with self._path.open("ab", buffering=0) as file:
            file.write(json.dumps(asdict(record)).encode() + b"\n")
            os.fsync(file.fileno())
        self.records[record.path] = record
        self.count += 1


class _Copy:
    """One run of an export."""

    def __init__(
        self, source: Path, staging: Path, *, within: Path, folder: str, report: Callable[[Progress], None]
    ) -> None:
        self._source = source
        self._within = within
        self._staging = staging
        self._folder = staging / folder
        self._report = report
        self._files = list_files(source, within=within)
        self._total_bytes = sum(file.size_bytes for file in self._files)
        self._done_bytes = 0

    def run(self) -> Exported:
        """Copy what is missing, and write the manifest."""
        from modelpress.tensors.staging import check_space
        from modelpress.tensors.writer import disk_errors

        with disk_errors(self._staging, size_bytes=self._total_bytes), _alone_in(self._staging):
            self._prepare()
            self._tell("check")
            check_space(self._staging, self._total_bytes - _size_below(self._staging))
            digests = {file.path: self._file(file) for file in self._files}
            manifest = b"".join(manifest_line(path, digest) for path, digest in digests.items())
            self._write_manifest(manifest)
            self._sync()
        return Exported(
            size_bytes=self._total_bytes,
            manifest_sha256=hashlib.sha256(manifest).hexdigest(),
            manifest_md5=hashlib.md5(manifest, usedforsecurity=False).hexdigest(),
        )

    def _prepare(self) -> None:
        listing = hashlib.sha256(json.dumps([asdict(file) for file in self._files]).encode()).hexdigest()
        self._journal = _Journal(self._staging / _JOURNAL, listing=listing)
        if not self._journal.is_ours:
            for entry in self._staging.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            self._journal.begin()
        self._folder.mkdir(exist_ok=True)

    def _tell(self, stage: str) -> None:
        total = self._total_bytes
        self._report(
            Progress(
                stage=stage,
                percent=min(99, self._done_bytes * 100 // total) if total else 0,
                bytes_done=self._done_bytes,
                bytes_total=total,
                shards_done=self._journal.count,
            )
        )

    def _file(self, file: SourceFile) -> str:
        """The digest of a file that lies finished in the folder when this returns."""
        target, known = self._folder / file.path, self._journal.records.get(file.path)
        if known is not None and known.finished and target.is_file():
            if target.stat().st_size == file.size_bytes and self._digest(target, file.size_bytes) == known.sha256:
                return known.sha256
            say(f"{file.path} is not what was copied; it is copied again")
        return self._copy(file, target, None if known is None or known.finished else known)

    def _digest(self, path: Path, size_bytes: int) -> str:
        """Of the beginning of a file of ours; each piece counts as done."""
        with path.open("rb", buffering=0) as copied:
            return str(self._feed(copied.fileno(), size_bytes).hexdigest())

    def _feed(self, descriptor: int, size_bytes: int) -> Any:
        digest, offset = hashlib.sha256(), 0
        began = self._done_bytes
        while offset < size_bytes and (piece := os.pread(descriptor, min(_PIECE_BYTES, size_bytes - offset), offset)):
            digest.update(piece)
            offset += len(piece)
            self._done_bytes = began + offset
            self._tell("check")
        self._done_bytes = began + size_bytes if offset == size_bytes else began
        return digest

    def _copy(self, file: SourceFile, target: Path, known: _Record | None) -> str:
        """Copy ``file``, from where it was broken off if that is sound."""
        name = hashlib.sha256(os.fsencode(f"{file.path}\n{file.fingerprint}")).hexdigest()[:16]
        partial = self._staging / f"{_PARTIAL}{name}"
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            digest, offset = self._resume(descriptor, known)
            self._fill(descriptor, file, digest, offset)
            os.ftruncate(descriptor, file.size_bytes)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)
        whole = _Record(path=file.path, size_bytes=file.size_bytes, sha256=digest.hexdigest(), finished=True)
        self._journal.add(whole)
        return whole.sha256

    def _resume(self, descriptor: int, known: _Record | None) -> tuple[Any, int]:
        """The digest of what is there already, and how many bytes that is."""
        if known is not None:
            began = self._done_bytes
            digest = self._feed(descriptor, known.size_bytes)
            if digest.hexdigest() == known.sha256:
                return digest, known.size_bytes
            self._done_bytes = began
        return hashlib.sha256(), 0

    def _fill(self, descriptor: int, file: SourceFile, digest: Any, offset: int) -> None:
        from modelpress.tensors.folder import LocalFolder

        path = self._source / file.path
        reader = LocalFolder(path.parent, within=self._within)
        buffer, marked = memoryview(bytearray(_PIECE_BYTES)), offset
        while offset < file.size_bytes:
            piece = buffer[: min(_PIECE_BYTES, file.size_bytes - offset)]
            reader.read_into(path.name, offset, piece)
            _write_at(descriptor, piece, offset)
            digest.update(piece)
            offset += len(piece)
            self._done_bytes += len(piece)
            if offset - marked >= _MARK_BYTES:
                os.fdatasync(descriptor)
                mark = _Record(path=file.path, size_bytes=offset, sha256=digest.hexdigest(), finished=False)
                self._journal.add(mark)
                marked = offset
            self._tell("copy")
        if reader.fingerprint(path.name) != file.fingerprint:
            raise BadSource(f"{file.path} was changed while it was exported")

    def _write_manifest(self, content: bytes) -> None:
        partial = self._staging / f"{_PARTIAL}{MANIFEST}"
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._folder / MANIFEST)

    def _sync(self) -> None:
        from modelpress.tensors.writer import sync_directory

        for folder, _, _ in os.walk(self._folder, topdown=False):
            sync_directory(Path(folder))


@contextmanager
def _alone_in(staging: Path) -> Iterator[None]:
    """Make the staging folder, and hold it alone.

    An attempt that lost its lease may still be at work here, until its supervisor notices; the kernel frees the lock
    when its process is gone. Two at once could each take the other's files for left-overs.
    """
    # Not its parents: a bucket whose root is gone is a disk that is not mounted.
    staging.parent.mkdir(exist_ok=True)
    staging.mkdir(exist_ok=True)
    descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for an attempt that lost its lease and is still there")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    while len(data):
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done


def _size_below(folder: Path) -> int:
    """Bytes that files below ``folder`` have on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def manifest_line(path: str, sha256: str) -> bytes:
    """One line of the manifest, as ``sha256sum`` writes and reads it: odd names are escaped, and the line says so."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return ("\\" if escaped != path else "").encode() + f"{sha256}  ".encode() + os.fsencode(escaped) + b"\n"


def export(source: Path, staging: Path, *, within: Path, folder: str, report: Callable[[Progress], None]) -> Exported:
    """Copy the model directory ``source`` of the bucket ``within`` into ``folder`` of ``staging``, with a manifest.

    What an earlier, killed call did with the same source is taken over, after it was read again.

    Raises: TaskError.
    """
    return _Copy(source, staging, within=within, folder=folder, report=report).run()


def _work(spec: dict[str, Any], reporter: Reporter) -> None:
    exported = export(
        Path(spec["source"]),
        Path(spec["staging"]),
        within=Path(spec["root"]),
        folder=spec["folder"],
        report=reporter.progress,
    )
    reporter.tell("done", asdict(exported))


if __name__ == "__main__":
    sys.exit(run(_work))
