"""Where exports go: buckets that may be written to, and directories that appear there whole or not at all.

An export is put together in the bucket's own ``.staging``, which no path can name, so that one rename puts it in its
place. Nothing that lies in a place is ever replaced, and nothing that was exported is ever removed by us.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path, PurePosixPath

from modelpress.domain.export import MANIFEST
from modelpress.domain.model import Location
from modelpress.errors import ExportTargetExists, InvalidRequest, NoSuchBucket, SettingsError, TargetTaken
from modelpress.storage.bucket import EXPORTS, Buckets, Directory, below_root

_STAGING = ".staging"
_LONGEST_NAME_BYTES = 255
_LARGEST_MANIFEST_BYTES = 100_000_000


class ExportPlaces:
    """The places of these buckets that exports may go to; ``default_bucket`` is taken where no other is named."""

    def __init__(self, buckets: Buckets, *, default_bucket: str) -> None:
        if default_bucket not in buckets.writable:
            raise SettingsError(
                f"setting export_bucket names {default_bucket!r}, which is no bucket that may be written to",
                hint=f"[buckets.{default_bucket}] needs a url and writable = true",
            )
        self._buckets = buckets
        self._default = default_bucket

    def find(self, bucket: str | None, path: str | None, *, account_id: str, otherwise: str) -> Location:
        """The place these two name, written in one way; ``otherwise`` is the path where none is named.

        Raises: NoSuchBucket; InvalidRequest for one that is not written to, and for a path that may not be used.
        """
        bucket = bucket or self._default
        self._root(bucket, account_id=account_id)
        if bucket not in self._buckets.writable:
            raise InvalidRequest("exportMeta.bucket", f"nothing is exported into {bucket!r}, which is only read")
        relative = below_root(path or otherwise, field="exportMeta.objectPath")
        if any(len(part.encode(errors="replace")) > _LONGEST_NAME_BYTES for part in relative.parts):
            raise InvalidRequest("exportMeta.objectPath", f"a name in it has more than {_LONGEST_NAME_BYTES} bytes")
        if bucket == EXPORTS and (relative.parts[0] != account_id or len(relative.parts) < 2):
            raise InvalidRequest("exportMeta.objectPath", f"in {EXPORTS!r} a path begins with '{account_id}/'")
        return Location(bucket=bucket, path=str(relative))

    def check(self, location: Location, *, account_id: str, source: Directory) -> None:
        """Nothing, if a directory may appear at ``location`` now.

        Raises: NoSuchBucket; InvalidRequest for a path that leaves the bucket, or leads into the source;
        ExportTargetExists.
        """
        self._root(location.bucket, account_id=account_id)
        target = self._real(location)
        if target is None:
            raise InvalidRequest("exportMeta.objectPath", f"{location.path!r} leads out of the bucket, or below a file")
        if target.is_relative_to(source.path):
            raise InvalidRequest("exportMeta.objectPath", f"{location.path!r} lies in the model that is exported")
        if os.path.lexists(target):
            raise ExportTargetExists(bucket=location.bucket, path=location.path)

    def _root(self, bucket: str, *, account_id: str) -> Path:
        root = self._buckets.root_for(bucket, account_id=account_id)
        if not root.is_dir():  # a disk that is not mounted: nothing is to be written below its mount point
            raise NoSuchBucket(bucket)
        return root

    def _real(self, location: Location) -> Path | None:
        """The place without links on the way to it; None if it is not inside the bucket."""
        root, relative = self._buckets.root(location.bucket), PurePosixPath(location.path)
        try:
            folder = Path(os.path.realpath(root / relative.parent))
        except (OSError, ValueError):  # too long, not allowed to look, not a text
            return None
        nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        inside = folder.is_relative_to(os.path.realpath(root)) and nearest.is_dir()
        return folder / relative.name if inside else None

    def is_written(self, bucket: str) -> bool:
        """Whether exports may go there; the settings may have changed since one was asked for."""
        return bucket in self._buckets.writable

    def staging(self, location: Location, export_id: str) -> Path:
        """Where an export is put together; in the bucket it goes to, so that one rename publishes it."""
        return self._buckets.root(location.bucket) / _STAGING / export_id

    def holds(self, location: Location, *, manifest_sha256: str) -> bool:
        """Whether the directory whose manifest has this digest lies there."""
        try:
            with (self._buckets.path(location) / MANIFEST).open("rb") as file:
                content = file.read(_LARGEST_MANIFEST_BYTES)
        except OSError:
            return False
        return hashlib.sha256(content).hexdigest() == manifest_sha256

    def put(self, folder: Path, location: Location, *, manifest_sha256: str) -> list[Path]:
        """Give a whole ``folder`` its place, and return the folders that this may have changed; may be repeated.

        Raises: TargetTaken if something else lies there by now; OSError.
        """
        target = self._real(location)
        if target is None:
            raise TargetTaken(f"{location} leads out of the bucket, or below a file")
        if not self.holds(location, manifest_sha256=manifest_sha256):
            if os.path.lexists(target):
                raise TargetTaken(f"{location} exists by now, and is not this export")
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(target)
        root = Path(os.path.realpath(self._buckets.root(location.bucket)))
        return [parent for parent in target.parents if parent.is_relative_to(root)]

    def staged(self) -> dict[str, list[str]]:
        """By bucket, the exports that have a staging folder."""
        folders = {bucket: self._buckets.root(bucket) / _STAGING for bucket in self._buckets.writable}
        return {
            bucket: sorted(entry.name for entry in folder.iterdir())
            for bucket, folder in folders.items()
            if folder.is_dir()
        }

    def remove_staging(self, bucket: str, export_id: str) -> None:
        """Remove an export's staging folder, if there is one."""
        if bucket in self._buckets.writable:  # else the settings were changed since, and it is the operator's
            shutil.rmtree(self._buckets.root(bucket) / _STAGING / export_id, ignore_errors=True)
