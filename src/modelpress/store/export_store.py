"""Exports of model versions: what callers ask for, and what workers do with them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError

from modelpress.domain.export import Exported, ExportTask, NewExport
from modelpress.domain.model import ModelVersion
from modelpress.domain.task import Progress, TaskEvent, TaskStatus
from modelpress.errors import ExportTargetExists, NoSuchModel
from modelpress.store import export_statement as statement
from modelpress.store import model_statement
from modelpress.store.database import Database
from modelpress.store.lease import Leases
from modelpress.store.row import to_event, to_export, to_version

_S = TaskStatus
_LEASES = Leases(
    noun="export",
    claim_by_dialect=statement.CLAIM,
    finish_by_status=statement.FINISH,
    release_one=statement.RELEASE,
    release_all=statement.RELEASE_HOLDER,
    insert_event=statement.INSERT_EVENT,
)


class ExportStore:
    """Exports of all accounts. Callers' methods name the account, workers' methods the attempt that holds one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- callers ---------------------------------------------------------------------------------------------

    def create(self, new: NewExport, *, now: datetime) -> ExportTask:
        """A new export, ``creating``; or the one that the account has of this version already and is not final.

        Raises: NoSuchModel if the version is not the account's to read (any more); ExportTargetExists if another
        export that is not final is to appear at the same place.
        """
        columns = {
            "id": new.id,
            "account_id": new.account_id,
            "model_id": new.model_id,
            "bucket": new.location.bucket,
            "path": new.location.path,
            "status": _S.CREATING.value,
            "created_at": now,
        }
        of_model = {"model_id": new.model_id, "account_id": new.account_id}
        try:
            with self._database.write() as connection:
                if connection.execute(model_statement.LOCK_READABLE_VERSION, of_model).first() is None:
                    raise NoSuchModel(new.model_id)
                there = connection.execute(statement.OPEN_EXPORT, of_model).first()
                if there is not None:
                    return to_export(there)
                export = to_export(connection.execute(statement.INSERT_EXPORT, columns).one())
                _LEASES.note(connection, export.id, status=_S.CREATING, attempt=0, message="accepted", now=now)
        except IntegrityError as exc:
            raise ExportTargetExists(bucket=new.location.bucket, path=new.location.path) from exc
        return export

    def newest(self, model_id: str, *, account_id: str) -> ExportTask | None:
        """The account's last export of this version, whatever became of it."""
        with self._database.read() as connection:
            row = connection.execute(statement.NEWEST_EXPORT, {"model_id": model_id, "account_id": account_id}).first()
        return None if row is None else to_export(row)

    def events(self, export_id: str) -> list[TaskEvent]:
        """The export's history, oldest first."""
        with self._database.read() as connection:
            return [to_event(row) for row in connection.execute(statement.EVENTS, {"task_id": export_id})]

    # --- workers ---------------------------------------------------------------------------------------------

    def claim(self, *, holder: str, lease: timedelta, now: datetime) -> tuple[ExportTask, ModelVersion] | None:
        """The oldest export that waits or whose lease ended, now held by ``holder``, and the version it copies."""
        with self._database.write() as connection:
            row = _LEASES.claim(connection, dialect=self._database.dialect, holder=holder, lease=lease, now=now)
            if row is None:
                return None
            source = connection.execute(model_statement.ANY_VERSION, {"model_id": row.model_id}).one()
        return to_export(row), to_version(source)

    def report(
        self, export: ExportTask, progress: Progress, *, fruitful: bool, lease: timedelta, now: datetime
    ) -> TaskStatus:
        """Write progress and renew the lease.

        Raises: LeaseLost.
        """
        values = {
            "new_bytes_done": progress.bytes_done,
            "new_bytes_total": progress.bytes_total,
            "fruitful": fruitful,
            "until": now + lease,
        }
        with self._database.write(durable=False) as connection:
            return _LEASES.keep(connection, statement.REPORT, export, values)

    def exported(self, export: ExportTask, exported: Exported, *, lease: timedelta, now: datetime) -> None:
        """Write what an attempt copied, before the directory appears: by the manifest's digest it is known for ours.

        Raises: LeaseLost.
        """
        values = {
            "size_bytes": exported.size_bytes,
            "sha256": exported.manifest_sha256,
            "md5": exported.manifest_md5,
            "until": now + lease,
        }
        with self._database.write() as connection:
            _LEASES.keep(connection, statement.EXPORTED, export, values)

    def succeed(self, export: ExportTask, *, now: datetime) -> None:
        """The directory is there.

        Raises: LeaseLost.
        """
        message = f"{export.location} is there"
        with self._database.write() as connection:
            _LEASES.finish(connection, export, to=_S.SUCCEEDED, message=message, now=now)

    def fail(self, export: ExportTask, *, reason: str, now: datetime) -> None:
        """The export failed for ``reason``, a class and a sentence.

        Raises: LeaseLost.
        """
        with self._database.write() as connection:
            _LEASES.finish(connection, export, to=_S.FAILED, message=reason, now=now)

    def release(self, export: ExportTask, *, why: str, forgive: bool, now: datetime) -> None:
        """Give the export back to be claimed again.

        Raises: LeaseLost.
        """
        with self._database.write() as connection:
            _LEASES.release(connection, export, why=why, forgive=forgive, now=now)

    def release_holder(self, holder: str, *, now: datetime) -> int:
        """End all leases of a holder that is known to be dead; how many there were."""
        with self._database.write() as connection:
            return _LEASES.release_holder(connection, holder, now=now)

    def final_among(self, export_ids: Iterable[str]) -> set[str]:
        """Which of these exports are final."""
        with self._database.read() as connection:
            return set(connection.execute(statement.FINAL_EXPORTS, {"export_ids": list(export_ids)}).scalars())
