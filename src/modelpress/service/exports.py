"""Exports: a model version copied into a bucket, asked for by callers and carried out by workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from modelpress.domain.export import Exported, ExportTask, NewExport
from modelpress.domain.identifier import EXPORT, new_id
from modelpress.domain.model import ModelVersion
from modelpress.domain.policy import Caller
from modelpress.domain.task import BARREN_ATTEMPTS_ALLOWED, Progress, TaskEvent
from modelpress.errors import BadSource, ExportUnderway, ModelNotSupported, NotFound, Unsupported, WorkerLost
from modelpress.runners.local import Program
from modelpress.service.clock import Clock
from modelpress.settings import Settings
from modelpress.storage.bucket import Buckets, Directory
from modelpress.storage.export_place import ExportPlaces
from modelpress.store.export_store import ExportStore
from modelpress.store.model_store import ModelStore
from modelpress.tensors.writer import sync_directory

#: In an export's staging folder: what becomes the exported directory by one rename.
FILES = "files"


class ExportService:
    """Exports of the caller's account."""

    def __init__(
        self, exports: ExportStore, models: ModelStore, buckets: Buckets, places: ExportPlaces, *, clock: Clock
    ) -> None:
        self._exports = exports
        self._models = models
        self._buckets = buckets
        self._places = places
        self._clock = clock

    def create(self, caller: Caller, model_id: str, *, bucket: str | None, path: str | None) -> ExportTask:
        """A new export of a version, or the one that is not final yet; where no place is named, a new one is made.

        Raises: NoSuchModel; NoSuchBucket, InvalidRequest, ExportTargetExists for the place; ModelNotSupported if the
        version's files are not there; ExportUnderway if the one that is not final goes to another place.
        """
        version = self._models.readable_version(model_id, account_id=caller.account_id)
        export_id = new_id(EXPORT)
        otherwise = f"{caller.account_id}/{model_id}/{export_id}"
        place = self._places.find(bucket, path, account_id=caller.account_id, otherwise=otherwise)
        there = self._exports.newest(model_id, account_id=caller.account_id)
        if there is None or not there.is_open:
            self._places.check(place, account_id=caller.account_id, source=self._source(caller, version))
            new = NewExport(id=export_id, account_id=caller.account_id, model_id=model_id, location=place)
            there = self._exports.create(new, now=self._clock())
        if (bucket and there.location.bucket != place.bucket) or (path and there.location.path != place.path):
            raise ExportUnderway(model_id, export_id=there.id, place=str(there.location))
        return there

    def _source(self, caller: Caller, version: ModelVersion) -> Directory:
        try:
            return self._buckets.find(version.location, account_id=version.account_id)
        except NotFound as exc:
            where = _where(exc, version, account_id=caller.account_id)
            raise ModelNotSupported(f"{version.id!r} cannot be exported: its files are not there{where}") from exc

    def newest(self, caller: Caller, model_id: str) -> ExportTask | None:
        """The last export that the account asked for of this version, whatever became of it.

        Raises: NoSuchModel.
        """
        self._models.readable_version(model_id, account_id=caller.account_id)
        return self._exports.newest(model_id, account_id=caller.account_id)

    def history(self, export_id: str) -> list[TaskEvent]:
        """The events of an export that the caller was given."""
        return self._exports.events(export_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportAssignment:
    """One attempt at an export, as it was claimed."""

    task: ExportTask
    staging: Path
    #: The process that does it.
    program: Program
    #: What an attempt copied whose directory is in its place, and which died before it could say so.
    published: Exported | None

    @property
    def label(self) -> str:
        """For the log."""
        return "export"


class ExportWork:
    """Exports as one worker sees them; ``holder`` is its name on the leases."""

    def __init__(
        self, exports: ExportStore, buckets: Buckets, places: ExportPlaces, *, settings: Settings, clock: Clock
    ) -> None:
        self._exports = exports
        self._buckets = buckets
        self._places = places
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._clock = clock

    def claim(self, holder: str) -> ExportAssignment | None:
        """The next export that needs a worker; what only needs an end (lost, without source) gets it here."""
        while claimed := self._exports.claim(holder=holder, lease=self._lease, now=self._clock()):
            export, source = claimed
            if not self._places.is_written(export.location.bucket):
                gone = Unsupported(f"nothing is exported into {export.location.bucket!r} any more")
                self.fail(export, gone.failed_reason())
                continue
            published = export.exported if self._is_published(export) else None
            if export.barren_attempts > BARREN_ATTEMPTS_ALLOWED and published is None:
                count = export.barren_attempts - 1
                self.fail(export, WorkerLost(f"{count} attempts in a row ended without progress").failed_reason())
                continue
            try:
                directory = self._buckets.find(source.location, account_id=source.account_id)
            except NotFound as exc:
                where = _where(exc, source, account_id=export.account_id)
                self.fail(export, BadSource(f"the source is not there any more{where}").failed_reason())
                continue
            staging = self._places.staging(export.location, export.id)
            return ExportAssignment(
                task=export,
                staging=staging,
                program=self._program(export, directory, staging),
                published=published,
            )
        return None

    def _is_published(self, export: ExportTask) -> bool:
        exported = export.exported
        return exported is not None and self._places.holds(export.location, manifest_sha256=exported.manifest_sha256)

    def _program(self, export: ExportTask, source: Directory, staging: Path) -> Program:
        spec = {"source": str(source.path), "root": str(source.root), "staging": str(staging), "folder": FILES}
        return Program(module="modelpress.worker.export", spec=spec, log=self._buckets.log(export.id))

    def report(self, task: ExportTask, progress: Progress, *, fruitful: bool) -> bool:
        """Write progress and renew the lease; False, since nothing stops an export.

        Raises: LeaseLost.
        """
        self._exports.report(task, progress, fruitful=fruitful, lease=self._lease, now=self._clock())
        return False

    def result(self, told: Mapping[str, Any]) -> Exported:
        """What an attempt's process copied, as it told it."""
        return Exported(**told)

    def publish(self, assignment: ExportAssignment, result: Exported) -> bool:
        """Give the copied directory its place.

        The manifest's digest, then the rename, then the guarded UPDATE: after a crash at any point the next attempt
        goes on from there, since by the digest it knows its own directory.

        Raises: LeaseLost; TargetTaken, OSError.
        """
        export = assignment.task
        self._exports.exported(export, result, lease=self._lease, now=self._clock())
        files = assignment.staging / FILES
        for folder in self._places.put(files, export.location, manifest_sha256=result.manifest_sha256):
            sync_directory(folder)
        self._exports.succeed(export, now=self._clock())
        self._places.remove_staging(export.location.bucket, export.id)
        self._buckets.remove_log(export.id)
        return True

    def fail(self, task: ExportTask, reason: str) -> None:
        """End the export as failed and remove what it wrote.

        Raises: LeaseLost.
        """
        self._exports.fail(task, reason=reason, now=self._clock())
        self._places.remove_staging(task.location.bucket, task.id)

    def stopped(self, task: ExportTask) -> None:
        """Never: nothing asks an export to stop."""
        raise AssertionError(f"export {task.id} was asked to stop")

    def release(self, task: ExportTask, *, why: str, forgive: bool) -> None:
        """Give the export back to be claimed again, its copied files kept.

        Raises: LeaseLost.
        """
        self._exports.release(task, why=why, forgive=forgive, now=self._clock())

    def release_holder(self, holder: str) -> int:
        """End all leases of a worker that is known to be dead."""
        return self._exports.release_holder(holder, now=self._clock())

    def sweep(self) -> None:
        """Remove what final exports left in staging."""
        for bucket, staged in self._places.staged().items():
            for export_id in self._exports.final_among(staged) if staged else ():
                self._places.remove_staging(bucket, export_id)


def _where(exc: NotFound, version: ModelVersion, *, account_id: str) -> str:
    """Where a version lay; not told to another account than its own."""
    return f": {exc.message}" if version.account_id == account_id else ""
