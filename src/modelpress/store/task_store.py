"""Compression tasks: what callers ask for, and what workers do with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from modelpress.domain.identifier import MODEL, TASK, new_id
from modelpress.domain.model import ModelVersion, SourceType
from modelpress.domain.page import Page, PageRequest
from modelpress.domain.task import FINAL, NewTask, Progress, Statistics, Task, TaskEvent, TaskStatus, TaskSummary
from modelpress.domain.task_filter import TaskFilter
from modelpress.errors import (
    IdempotentParameterMismatch,
    NoSuchModel,
    NoSuchModelSet,
    NoSuchTask,
    TaskStatusConflict,
)
from modelpress.store import model_statement
from modelpress.store import task_statement as statement
from modelpress.store.database import Database
from modelpress.store.lease import Leases
from modelpress.store.model_store import NewVersion, add_version
from modelpress.store.row import to_event, to_task, to_version
from modelpress.store.task_pages import TaskPages
from modelpress.store.webhook_store import announce

_S = TaskStatus
#: Ids that one statement is asked about.
_PORTION = 1000
_LEASES = Leases(
    noun="task",
    claim_by_dialect=statement.CLAIM,
    finish_by_status=statement.FINISH,
    release_one=statement.RELEASE,
    release_all=statement.RELEASE_HOLDER,
    insert_event=statement.INSERT_EVENT,
    announce=announce,
)
_EVERYTHING = TaskFilter()


class TaskStore:
    """Tasks of all accounts. Callers' methods name the account, workers' methods the attempt that holds the task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pages = TaskPages(database)
        self._task = database.compiled(statement.TASK)
        self._events = database.compiled(statement.EVENTS)

    # --- callers ---------------------------------------------------------------------------------------------

    def create(self, new: NewTask, *, now: datetime) -> Task:
        """A new task, ``creating``; or the one that another call made with the same token at the same moment.

        Raises: NoSuchModel, NoSuchModelSet, NoSuchTask if the source, the set to fill or the task to retry is not the
        account's (any more); IdempotentParameterMismatch if the token was used for something else.
        """
        try:
            return self._insert(new, now=now)
        except IntegrityError:
            if new.client_token is None or new.request_digest is None:
                raise
            made = self.made_with(new.client_token, digest=new.request_digest, account_id=new.account_id)
            if made is None:  # it was not the token
                raise
            return made

    def made_with(self, client_token: str, *, digest: str, account_id: str) -> Task | None:
        """The task that the account made with this token, deleted or not; None if it made none.

        Raises: IdempotentParameterMismatch if that was for a request of another digest.
        """
        with self._database.read() as connection:
            parameters = {"token": client_token, "account_id": account_id}
            row = connection.execute(statement.TASK_OF_TOKEN, parameters).first()
        if row is not None and row.request_digest != digest:
            raise IdempotentParameterMismatch(client_token)
        return None if row is None else to_task(row)

    def _insert(self, new: NewTask, *, now: datetime) -> Task:
        columns = {
            "id": new_id(TASK),
            "account_id": new.account_id,
            "name": new.name,
            "description": new.description,
            "status": _S.CREATING.value,
            "recipe": new.recipe.as_json(),
            "strategy": new.recipe.strategy.value,
            "scheme": new.recipe.scheme.name,
            "source_model_id": new.source_model_id,
            "model_set_id": new.model_set_id,
            "tags": [list(tag) for tag in new.tags] or None,
            "output_model_id": new_id(MODEL),
            "client_token": new.client_token,
            "request_digest": new.request_digest,
            "retry_of": new.retry_of,
            "created_at": now,
        }
        owner = {"account_id": new.account_id}
        with self._database.write() as connection:
            if connection.execute(model_statement.LOCK_SET, {"set_id": new.model_set_id, **owner}).first() is None:
                raise NoSuchModelSet(new.model_set_id)
            if (
                connection.execute(
                    model_statement.LOCK_READABLE_VERSION, {"model_id": new.source_model_id, **owner}
                ).first()
                is None
            ):
                raise NoSuchModel(new.source_model_id)
            row = connection.execute(statement.INSERT_TASK, columns).one()
            for key, value in new.tags:
                tag = {"task_seq": row.seq, "account_id": new.account_id, "tag_key": key, "tag_value": value}
                connection.execute(statement.INSERT_TAG, tag)
            task = to_task(row)
            message = "accepted" if new.retry_of is None else f"accepted as a retry of {new.retry_of}"
            _LEASES.note(connection, task.id, status=_S.CREATING, attempt=0, message=message, now=now)
            if new.retry_of is not None:
                self._note_retry(connection, new.retry_of, retry=task, now=now)
        return task

    def _note_retry(self, connection: Connection, task_id: str, *, retry: Task, now: datetime) -> None:
        """One line in the history of the task that is tried again."""
        row = connection.execute(statement.TASK, {"task_id": task_id, "account_id": retry.account_id}).first()
        if row is None:
            raise NoSuchTask(task_id)
        message = f"retried as {retry.id}"
        _LEASES.note(connection, task_id, status=_S(row.status), attempt=row.attempt, message=message, now=now)

    def get(self, task_id: str, *, account_id: str) -> Task:
        """The task of this id.

        Raises: NoSuchTask, also for a deleted one and for another account's.
        """
        row = self._task.first(task_id=task_id, account_id=account_id)
        if row is None:
            raise NoSuchTask(task_id)
        return to_task(row)

    def events(self, task_id: str) -> list[TaskEvent]:
        """The task's history, oldest first."""
        return list(map(to_event, self._events(task_id=task_id)))

    def page(self, request: PageRequest, *, account_id: str, wanted: TaskFilter = _EVERYTHING) -> Page[TaskSummary]:
        """One page of the account's tasks, in order of creation or its reverse.

        It may be short, even empty, and still say where the next one begins: see ``task_pages``.

        Raises: InvalidMarker if the account never had a task of the marker's id.
        """
        return self._pages.read(request, wanted, account_id=account_id)

    def waiting(self) -> dict[str, int]:
        """The places of the tasks that wait for a worker, counted from 1, of all accounts; the first thousand."""
        return self._pages.waiting()

    def ask_stop(self, task_id: str, *, account_id: str, now: datetime) -> TaskStatus:
        """Stop a waiting task at once; ask the worker of a running one. Asking again changes nothing.

        Raises: NoSuchTask; TaskStatusConflict if it is final.
        """
        with self._database.write() as connection:
            self._must_exist(connection, task_id, account_id)
            asked = {"task_id": task_id, "now": now}
            if connection.execute(statement.STOP_WAITING, asked).rowcount:
                status = _S.STOPPED
            elif connection.execute(statement.STOP_RUNNING, {"task_id": task_id}).rowcount:
                status = _S.STOPPING
            else:
                status = _status(connection, task_id)
                if status in FINAL:
                    raise TaskStatusConflict(task_id, status=status.value, wanted="it cannot be stopped any more")
                return status
            _LEASES.note(connection, task_id, status=status, attempt=0, message="a stop was asked for", now=now)
        return status

    def delete(self, task_id: str, *, account_id: str, now: datetime) -> None:
        """Take a final task out of every list; its row stays, so that its id still marks a place.

        Raises: NoSuchTask; TaskStatusConflict unless it is final.
        """
        with self._database.write() as connection:
            self._must_exist(connection, task_id, account_id)
            if not connection.execute(statement.DELETE_TASK, {"task_id": task_id, "now": now}).rowcount:
                status = _status(connection, task_id)
                if status in FINAL:  # another call deleted it since the look above
                    raise NoSuchTask(task_id)
                raise TaskStatusConflict(task_id, status=status.value, wanted="stop it before deleting it")

    def _must_exist(self, connection: Connection, task_id: str, account_id: str) -> None:
        if connection.execute(statement.TASK, {"task_id": task_id, "account_id": account_id}).first() is None:
            raise NoSuchTask(task_id)

    # --- workers ---------------------------------------------------------------------------------------------

    def claim(self, *, holder: str, lease: timedelta, now: datetime) -> tuple[Task, ModelVersion] | None:
        """The oldest task that waits or whose lease ended, now held by ``holder``, and the version it reads.

        The attempt is counted as barren until ``report`` says otherwise.
        """
        with self._database.write() as connection:
            row = _LEASES.claim(connection, dialect=self._database.dialect, holder=holder, lease=lease, now=now)
            if row is None:
                return None
            task = to_task(row)
            source = connection.execute(model_statement.ANY_VERSION, {"model_id": task.source_model_id}).one()
        return task, to_version(source)

    def report(self, task: Task, progress: Progress, *, fruitful: bool, lease: timedelta, now: datetime) -> TaskStatus:
        """Write progress and renew the lease; the status that comes back is ``stopping`` where a stop was asked for.

        Raises: LeaseLost.
        """
        values = {
            "new_stage": progress.stage,
            "new_percent": progress.percent,
            "new_bytes_done": progress.bytes_done,
            "new_bytes_total": progress.bytes_total,
            "new_eta_seconds": progress.eta_seconds,
            "fruitful": fruitful,
            "until": now + lease,
        }
        # Lost with the power, it takes its worker along: what an attempt finished is in its staging folder.
        with self._database.write(durable=False) as connection:
            return _LEASES.keep(connection, statement.REPORT, task, values)

    def measured(self, task: Task, statistics: Statistics, *, lease: timedelta, now: datetime) -> TaskStatus:
        """Write what an attempt measured, before its output is published.

        Raises: LeaseLost.
        """
        values = {"measured": asdict(statistics), "until": now + lease}
        with self._database.write() as connection:
            return _LEASES.keep(connection, statement.MEASURED, task, values)

    def succeed(self, task: Task, output: NewVersion, *, now: datetime) -> None:
        """The task is done and its output a model version, both in one transaction.

        Raises: LeaseLost, also when a stop was asked for before this.
        """
        with self._database.write() as connection:
            _LEASES.finish(connection, task, to=_S.SUCCEEDED, message=f"model {task.output_model_id} is ready", now=now)
            parameters = {"set_id": task.model_set_id, "account_id": task.account_id}
            owner = connection.execute(model_statement.LOCK_SET, parameters).one()
            add_version(
                connection,
                output,
                set_name=owner.name,
                model_id=task.output_model_id,
                source=SourceType.ACCELERATION,
                task=task.id,
                now=now,
            )

    def fail(self, task: Task, *, reason: str, now: datetime) -> None:
        """The task failed for ``reason``, a class and a sentence.

        Raises: LeaseLost.
        """
        with self._database.write() as connection:
            _LEASES.finish(connection, task, to=_S.FAILED, message=reason, now=now)

    def stopped(self, task: Task, *, now: datetime) -> None:
        """The worker let go of a task it was asked to stop.

        Raises: LeaseLost.
        """
        with self._database.write() as connection:
            _LEASES.finish(connection, task, to=_S.STOPPED, message="stopped", now=now)

    def release(self, task: Task, *, why: str, forgive: bool, now: datetime) -> None:
        """Give the task back to be claimed again; ``forgive`` where the attempt is not to blame for having no result.

        Raises: LeaseLost.
        """
        with self._database.write() as connection:
            _LEASES.release(connection, task, why=why, forgive=forgive, now=now)

    def release_holder(self, holder: str, *, now: datetime) -> int:
        """End all leases of a holder that is known to be dead; how many there were."""
        with self._database.write() as connection:
            return _LEASES.release_holder(connection, holder, now=now)

    def useless_staging(self, staged: Sequence[str], *, before: datetime) -> set[str]:
        """Of the tasks that have a staging folder, those whose folder serves nothing any more.

        They succeeded, or ended before ``before`` or were deleted, and no open retry is going to take it over.
        """
        found: set[str] = set()
        with self._database.read() as connection:
            for some in _portions(staged):
                rows = connection.execute(statement.STAGED_IN_VAIN, {"task_ids": some, "before": before})
                found.update(rows.scalars())
            awaited = connection.execute(statement.OPEN_RETRIES).scalars().all()
            return found.difference(_with_retried(connection, awaited))

    def retried(self, task: Task) -> list[str]:
        """Whose staging a retry may take over: that of what it retries, of what that one retried, and so on."""
        with self._database.read() as connection:
            return _with_retried(connection, [task.retry_of] if task.retry_of is not None else [])

    def deleted_among(self, task_ids: Sequence[str], *, before: datetime) -> set[str]:
        """Which of these tasks were deleted before ``before``."""
        found: set[str] = set()
        with self._database.read() as connection:
            for some in _portions(task_ids):
                found.update(
                    connection.execute(statement.DELETED_TASKS, {"task_ids": some, "before": before}).scalars()
                )
        return found

    def measured_in_vain(self) -> list[Task]:
        """Tasks that got as far as publishing and still ended without success: their output may lie there."""
        with self._database.read() as connection:
            return [to_task(row) for row in connection.execute(statement.MEASURED_IN_VAIN)]


def _with_retried(connection: Connection, task_ids: Sequence[str]) -> list[str]:
    """These tasks, those that they retried, those that those retried, and so on."""
    found: dict[str, None] = {}
    step = list(task_ids)
    while step:
        found |= dict.fromkeys(step)
        olds = {
            old
            for some in _portions(step)
            for old in connection.execute(statement.RETRIED, {"task_ids": some}).scalars()
        }
        step = [old for old in olds if old not in found]
    return list(found)


def _portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    # A statement takes 32,766 parameters on SQLite and 65,535 on PostgreSQL.
    return (ids[start : start + _PORTION] for start in range(0, len(ids), _PORTION))


def _status(connection: Connection, task_id: str) -> TaskStatus:
    return _S(connection.execute(statement.TASK_STATUS, {"task_id": task_id}).scalar_one())
