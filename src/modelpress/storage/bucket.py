"""Local buckets: a name, a root directory, and the accounts that may use it.

Three exist without being named in the settings, all under the data directory: ``local``, for models people bring,
``outputs``, for those we make, and ``exports``, for copies that people take away. In the last two every account sees
its own directory alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from modelpress.domain.model import Location
from modelpress.errors import InvalidRequest, NoSuchBucket, NoSuchObject, SettingsError
from modelpress.settings import BucketSettings, Settings

LOCAL = "local"
OUTPUTS = "outputs"
EXPORTS = "exports"
_STAGING = ".staging"
_REMOVED = ".removed-"
_LOGS = ".logs"
_LOG_SUFFIX = ".log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A model's directory and the root that nothing in it may lead out of."""

    path: Path
    root: Path


class Buckets:
    """The buckets of these settings."""

    def __init__(self, settings: Settings) -> None:
        defaults = {name: BucketSettings(url=(settings.data / name).as_uri()) for name in (LOCAL, OUTPUTS, EXPORTS)}
        named = defaults | settings.buckets
        self._roots = {name: _root(name, bucket.url) for name, bucket in named.items()}
        self._accounts = {name: frozenset(bucket.accounts) for name, bucket in named.items()}
        if named[OUTPUTS].writable:
            raise SettingsError(
                f"bucket {OUTPUTS!r} cannot be writable",
                hint="only tasks put models there, and files of deleted ones are removed",
            )
        #: The buckets that exports may go to.
        self.writable = frozenset({EXPORTS} | {name for name, bucket in named.items() if bucket.writable})
        for name in (LOCAL, OUTPUTS, EXPORTS):
            self._roots[name].mkdir(parents=True, exist_ok=True, mode=0o700)

    def find(self, location: Location, *, account_id: str) -> Directory:
        """The directory that ``location`` names for this account.

        Raises: NoSuchBucket, also for one the account may not use; NoSuchObject where no directory is, and for another
        account's output; InvalidRequest for a path that leaves the bucket.
        """
        missing = NoSuchObject(bucket=location.bucket, path=location.path)
        found = self._look(location, account_id=account_id, field="importMeta.objectPath", missing=missing)
        if not _is(found.path, Path.is_dir):
            raise missing
        return found

    def find_file(self, location: Location, *, account_id: str, field: str) -> Path:
        """The file that ``location`` names for this account.

        Raises: NoSuchBucket, also for one the account may not use; NoSuchObject where no file is, and in another
        account's outputs; InvalidRequest, naming ``field``, for a path that leaves the bucket.
        """
        missing = NoSuchObject(bucket=location.bucket, path=location.path, wanted="file")
        found = self._look(location, account_id=account_id, field=field, missing=missing).path
        if not _is(found, Path.is_file):
            raise missing
        return found

    def _look(self, location: Location, *, account_id: str, field: str, missing: NoSuchObject) -> Directory:
        """What ``location`` names, links resolved, if it lies in its bucket and is open to the account."""
        root = self.root_for(location.bucket, account_id=account_id)
        relative = below_root(location.path, field=field)
        if location.bucket in (OUTPUTS, EXPORTS) and relative.parts[:1] != (account_id,):
            raise missing
        try:
            path = Path(os.path.realpath(root / relative))  # Path.resolve answers a loop of links by RuntimeError
            inside = path.is_relative_to(os.path.realpath(root))
        except (OSError, ValueError) as exc:  # too long for a name, not allowed to look, not a text
            raise missing from exc
        if not inside:
            raise missing
        return Directory(path=path, root=root)

    def root_for(self, bucket: str, *, account_id: str) -> Path:
        """A bucket's root directory.

        Raises: NoSuchBucket, also for one the account may not use.
        """
        allowed = self._accounts.get(bucket, frozenset())
        if allowed and account_id not in allowed:
            raise NoSuchBucket(bucket)
        return self.root(bucket)

    def root(self, bucket: str) -> Path:
        """A bucket's root directory.

        Raises: NoSuchBucket.
        """
        if bucket not in self._roots:
            raise NoSuchBucket(bucket)
        return self._roots[bucket]

    def output_location(self, *, account_id: str, model_id: str) -> Location:
        """Where a produced version lies."""
        return Location(bucket=OUTPUTS, path=f"{account_id}/{model_id}")

    def path(self, location: Location) -> Path:
        """The path of a location, whether there is something or not."""
        return self._roots[location.bucket] / below_root(location.path, field="objectPath")

    def staging(self, task_id: str) -> Path:
        """A task's folder of finished but unpublished shards; beside the outputs, so that one rename publishes it."""
        return self._roots[OUTPUTS] / _STAGING / task_id

    def staged_tasks(self) -> list[str]:
        """The tasks that have a staging folder."""
        return [name for name in self._staging_names() if not name.startswith(_REMOVED)]

    def _staging_names(self) -> list[str]:
        folder = self._roots[OUTPUTS] / _STAGING
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def adopt_staging(self, task_id: str, *, by: str) -> None:
        """Give one task's staging folder to another that has none, if it is still there: of several, the first gets it.

        A folder of another plan does no harm, since its manifest says so.
        """
        if not self.staging(by).exists():
            with suppress(FileNotFoundError):
                self.staging(task_id).rename(self.staging(by))

    def remove_staging(self, task_id: str) -> None:
        """Remove a task's staging folder, if there is one."""
        # Renamed first: what is adopted in the same moment is either whole or not there.
        removed = self.staging(f"{_REMOVED}{task_id}")
        with suppress(OSError):
            self.staging(task_id).rename(removed)
        shutil.rmtree(removed, ignore_errors=True)

    def remove_rests(self) -> None:
        """Remove what a removal of staging left that was cut short."""
        for name in self._staging_names():
            if name.startswith(_REMOVED):
                shutil.rmtree(self.staging(name), ignore_errors=True)

    def log(self, task_id: str) -> Path:
        """A task's log; beside the outputs, so that a server on another machine can tell what a worker wrote."""
        return self._roots[OUTPUTS] / _LOGS / f"{task_id}{_LOG_SUFFIX}"

    def logged_tasks(self) -> list[str]:
        """The tasks that have a log."""
        return [path.stem for path in (self._roots[OUTPUTS] / _LOGS).glob(f"*{_LOG_SUFFIX}")]

    def remove_log(self, task_id: str) -> None:
        """Remove a task's log, if there is one."""
        self.log(task_id).unlink(missing_ok=True)

    def remove_output(self, location: Location) -> None:
        """Remove a produced version's files, if they are there."""
        assert location.bucket == OUTPUTS, "imported sources are never touched"
        shutil.rmtree(self.path(location), ignore_errors=True)


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    """Whether something of this kind is there; not what nobody may look at."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def _root(name: str, url: str) -> Path:
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        raise SettingsError(f"bucket {name!r}: url {url!r} is not supported", hint="use file:///absolute/path")
    return Path(unquote(parts.path))


def below_root(path: str, *, field: str) -> PurePosixPath:
    """``path`` below a bucket's root; a slash in front or behind is allowed, since documented samples have it.

    Raises: InvalidRequest naming ``field``.
    """
    relative = PurePosixPath(path.strip("/"))
    if not relative.parts or ".." in relative.parts or "\0" in path:
        raise InvalidRequest(field, f"{path!r} is not a path below the bucket's root")
    if relative.parts[0].startswith("."):
        raise InvalidRequest(field, f"{path!r} begins with a dot")
    return relative
