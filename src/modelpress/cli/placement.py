"""Where an imported model lies: copied into the bucket ``local``, or where it is, inside a bucket."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelpress.cli.progress import Bars
from modelpress.domain.model import Location
from modelpress.errors import DiskFull, ModelpressError, SettingsError
from modelpress.settings import Settings

if TYPE_CHECKING:
    from modelpress.storage.bucket import Buckets

#: The ioctl by which one file shares another's blocks until either is changed (linux/fs.h).
_FICLONE = 0x40049409
_PIECE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A model that was brought into the bucket ``local``."""

    location: Location
    path: Path
    size_bytes: int
    #: "reflink", "hard link", "copy", or several of them.
    how: str

    def remove(self) -> None:
        """Take the copy away again."""
        shutil.rmtree(self.path, ignore_errors=True)


def files_of_model(source: Path) -> list[str]:
    """The files of a model directory, or of a model that is one file, that an import needs; all headers are checked.

    Raises: BadSource if it is not a sound model directory.
    """
    from modelpress.tensors.checkpoint import open_checkpoint
    from modelpress.tensors.folder import folder_of

    folder = folder_of(source)
    left_out = open_checkpoint(folder).left_out
    return [name for name in folder.names() if name not in left_out and not name.startswith(".")]


def copy_in(source: Path, names: list[str], *, settings: Settings) -> Copy:
    """Bring the files ``names`` of ``source`` into the bucket ``local``, under a fresh name; links are followed.

    The directory appears by one rename. A file is cloned where the disk can do that, else hard-linked, else copied.

    Raises: DiskFull; ModelpressError if it cannot be read or written.
    """
    directory = source.parent if source.is_file() else source
    from modelpress.storage.bucket import LOCAL
    from modelpress.tensors.writer import sync_directory

    root = _open_buckets(settings).root(LOCAL)
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", model_name(source)).lstrip(".-")
    name = f"{slug or 'model'}-{secrets.token_hex(4)}"
    partial = root / f".{name}.partial"
    total = 0
    try:
        total = sum((directory / file).stat().st_size for file in names)
        partial.mkdir()
        how = _copy_files(directory, partial, names=names, total_bytes=total)
        sync_directory(partial)
        partial.rename(root / name)
        sync_directory(root)
    except BaseException as exc:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(exc, OSError):
            raise _trouble(exc, root=root, total_bytes=total) from exc
        raise
    return Copy(location=Location(bucket=LOCAL, path=name), path=root / name, size_bytes=total, how=how)


def _trouble(exc: OSError, *, root: Path, total_bytes: int) -> ModelpressError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space in {root} for the model's {total_bytes} bytes", hint="--in-place makes no copy")
    return ModelpressError(f"the model cannot be copied to {root}: {exc}")


def _copy_files(source: Path, folder: Path, *, names: list[str], total_bytes: int) -> str:
    ways: dict[str, None] = {}
    done = 0
    with Bars() as bars:
        for name in names:
            original = Path(os.path.realpath(source / name))
            way = _share(original, folder / name)
            if way is None:
                way = "copy"
                with original.open("rb") as reading, (folder / name).open("xb") as writing:
                    while piece := reading.read(_PIECE_BYTES):
                        writing.write(piece)
                        done += len(piece)
                        bars.show("", stage="copying", done=done, total=total_bytes)
                    writing.flush()
                    os.fsync(writing.fileno())
            else:
                done += original.stat().st_size
            ways[way] = None
    return " and ".join(ways)


def _share(original: Path, target: Path) -> str | None:
    """Make ``target`` without copying bytes: the way it was done, None where the disk cannot."""
    if sys.platform == "linux":
        with original.open("rb") as reading, target.open("xb") as writing:
            try:
                fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())
                return "reflink"
            except OSError:
                pass
        target.unlink()
    try:
        os.link(original, target)
        return "hard link"
    except OSError:
        return None


def locate(source: Path, *, settings: Settings) -> Location:
    """The place of a model's directory, or of the one its file is in, inside the innermost bucket that holds it.

    Raises: SettingsError if no bucket does.
    """
    from modelpress.storage.bucket import EXPORTS, LOCAL, OUTPUTS

    buckets = _open_buckets(settings)
    path = (source.parent if source.is_file() else source).resolve()
    roots = {name: buckets.root(name).resolve() for name in (LOCAL, OUTPUTS, EXPORTS, *settings.buckets)}
    holding = [name for name, root in roots.items() if root in path.parents]
    if not holding:
        known = ", ".join(f"{name} is {root}" for name, root in roots.items())
        raise SettingsError(
            f"{path} lies in no bucket: {known}",
            hint="leave out --in-place to copy it, or name a directory above it in --config: [buckets.NAME]",
        )
    bucket = max(holding, key=lambda name: len(roots[name].parts))
    return Location(bucket=bucket, path=path.relative_to(roots[bucket]).as_posix())


def _open_buckets(settings: Settings) -> Buckets:
    from modelpress.storage.bucket import Buckets

    try:
        return Buckets(settings)
    except OSError as exc:
        raise SettingsError(f"the data directory {settings.data} cannot be used: {exc.strerror}") from exc


def model_name(source: Path) -> str:
    """What a model is called: its directory's or file's name, or the repository's in a Hugging Face cache."""
    path = Path(os.path.abspath(source))
    if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
        return path.parent.parent.name.rsplit("--", 1)[-1]  # models--ORGANISATION--NAME/snapshots/COMMIT
    return path.stem if path.is_file() else path.name
