"""Compression tasks as callers see them: create, follow, list, stop, delete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from modelpress.domain.page import Page, PageRequest
from modelpress.domain.policy import Caller
from modelpress.domain.recipe import Recipe
from modelpress.domain.task import OPEN, RETRIABLE, NewTask, Task, TaskEvent, TaskSummary
from modelpress.domain.task_filter import Tag, TaskFilter
from modelpress.errors import BadSource, InvalidRequest, ModelNotSupported, NotFound, TaskStatusConflict, Unsupported
from modelpress.service.calibration import check_calibration
from modelpress.service.clock import Clock
from modelpress.storage.bucket import Buckets
from modelpress.storage.log import LogPage, read_page
from modelpress.store.model_store import ModelStore
from modelpress.store.task_store import TaskStore
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.plan import make_plan

#: Of a log, told at once.
MOST_LINES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """What creating a task says."""

    name: str
    description: str
    source_model_id: str
    model_set_id: str
    recipe: Recipe
    tags: tuple[Tag, ...] = ()
    client_token: str | None = None

    def digest(self) -> str:
        """A text that two requests share if they ask for the same, whatever their tokens and spelling.

        What is empty counts as absent, so that a field added later leaves the digests of old requests as they are.
        """
        asked = asdict(self) | {"recipe": _filled(self.recipe.as_json()), "client_token": None}
        return hashlib.sha256(json.dumps(_filled(asked), sort_keys=True).encode()).hexdigest()


def _filled(facts: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in facts.items() if value not in (None, "", (), {})}


class TaskService:
    """Compression tasks of the caller's account."""

    def __init__(self, tasks: TaskStore, models: ModelStore, buckets: Buckets, *, clock: Clock) -> None:
        self._tasks = tasks
        self._models = models
        self._buckets = buckets
        self._clock = clock

    def create(self, caller: Caller, request: TaskRequest) -> Task:
        """A new task, or the one that was made before with the request's token.

        What can be known from the source's headers is refused here, not later.

        Raises: IdempotentParameterMismatch if the token was used for something else; NoSuchModel, NoSuchModelSet;
        NoSuchBucket, NoSuchObject, InvalidRequest for what it is to be calibrated with; ModelNotSupported if the source
        cannot be compressed as asked.
        """
        digest = None
        if request.client_token is not None:
            digest = request.digest()
            # Before anything else is looked at: the source may have been deleted since.
            made = self._tasks.made_with(request.client_token, digest=digest, account_id=caller.account_id)
            if made is not None:
                return made
        self._check(caller, source_model_id=request.source_model_id, set_id=request.model_set_id, recipe=request.recipe)
        new = NewTask(
            account_id=caller.account_id,
            name=request.name,
            description=request.description,
            recipe=request.recipe,
            source_model_id=request.source_model_id,
            model_set_id=request.model_set_id,
            client_token=request.client_token,
            request_digest=digest,
            tags=request.tags,
        )
        return self._tasks.create(new, now=self._clock())

    def retry(self, caller: Caller, task_id: str) -> Task:
        """A new task that asks for the same as a failed or stopped one, and takes over the shards it finished.

        Raises: NoSuchTask; TaskStatusConflict unless it failed or was stopped; and what ``create`` raises.
        """
        old = self.get(caller, task_id)
        if old.status not in RETRIABLE:
            raise TaskStatusConflict(
                task_id, status=old.status.value, wanted="only failed and stopped tasks are retried"
            )
        self._check(caller, source_model_id=old.source_model_id, set_id=old.model_set_id, recipe=old.recipe)
        new = NewTask(
            account_id=old.account_id,
            name=old.name,
            description=old.description,
            recipe=old.recipe,
            source_model_id=old.source_model_id,
            model_set_id=old.model_set_id,
            tags=old.tags,
            retry_of=old.id,
        )
        return self._tasks.create(new, now=self._clock())

    def _check(self, caller: Caller, *, source_model_id: str, set_id: str, recipe: Recipe) -> None:
        """Return if the headers of the source say that it can be compressed so."""
        source = self._models.readable_version(source_model_id, account_id=caller.account_id)
        self._models.get_set(set_id, account_id=caller.account_id)
        check_calibration(self._buckets, recipe, account_id=caller.account_id)
        if source.unsupported_reason is not None:
            raise ModelNotSupported(f"{source.id!r} cannot be compressed: {source.unsupported_reason}")
        try:
            # A shared version lies where its owner may look.
            directory = self._buckets.find(source.location, account_id=source.account_id)
            make_plan(open_checkpoint(LocalFolder(directory.path, within=directory.root)), recipe)
        except NotFound as exc:
            # Where another account's model lay is not told.
            where = f": {exc.message}" if source.account_id == caller.account_id else ""
            raise ModelNotSupported(f"{source.id!r} cannot be compressed: its files are not there{where}") from exc
        except (BadSource, Unsupported) as exc:
            raise ModelNotSupported(f"{source.id!r} cannot be compressed: {exc.message}", hint=exc.hint) from exc

    def get(self, caller: Caller, task_id: str) -> Task:
        """The task of this id.

        Raises: NoSuchTask.
        """
        return self._tasks.get(task_id, account_id=caller.account_id)

    def history(self, caller: Caller, task_id: str) -> list[TaskEvent]:
        """The task's events, oldest first.

        Raises: NoSuchTask.
        """
        return self._tasks.events(self.get(caller, task_id).id)

    def log(self, caller: Caller, task_id: str, *, offset: int, max_lines: int) -> LogPage:
        """Lines of the task's log, from the byte ``offset`` on; while it is not final only whole ones.

        Raises: NoSuchTask; InvalidRequest for offset or maxLines.
        """
        if offset < 0:
            raise InvalidRequest("offset", f"{offset} is below 0")
        if max_lines < 1:
            raise InvalidRequest("maxLines", f"{max_lines} is below 1")
        growing = self.get(caller, task_id).status in OPEN
        path, at_most = self._buckets.log(task_id), min(max_lines, MOST_LINES)
        return read_page(path, offset=offset, max_lines=at_most, growing=growing)

    def page(self, caller: Caller, request: PageRequest, wanted: TaskFilter) -> Page[TaskSummary]:
        """One page of the account's tasks; it may be short, and still say where the next one begins.

        Raises: InvalidMarker.
        """
        return self._tasks.page(request, account_id=caller.account_id, wanted=wanted)

    def waiting(self) -> dict[str, int]:
        """The places of the tasks that wait for a worker, counted from 1, of all accounts; the first thousand."""
        return self._tasks.waiting()

    def cancel(self, caller: Caller, task_id: str) -> None:
        """Ask for a stop.

        Raises: NoSuchTask, TaskStatusConflict.
        """
        self._tasks.ask_stop(task_id, account_id=caller.account_id, now=self._clock())

    def delete(self, caller: Caller, task_id: str) -> None:
        """Take a final task out of every list; what it produced stays.

        Raises: NoSuchTask, TaskStatusConflict.
        """
        self._tasks.delete(task_id, account_id=caller.account_id, now=self._clock())
