"""A compression task: its states, the moves between them, and the values that tell of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from modelpress.domain.recipe import Recipe


class TaskStatus(StrEnum):
    """The wire's own words."""

    CREATING = "creating"  #: accepted, not started
    RUNNING = "running"  #: one worker holds the lease
    STOPPING = "stopping"  #: a stop was asked for; the worker has not let go yet
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


_S = TaskStatus
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

#: Every move there is. Baidu's SDK takes ``stopping`` for a failure, so success never passes through it.
NEXT: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    _S.CREATING: frozenset({_S.RUNNING, _S.FAILED, _S.STOPPED}),
    _S.RUNNING: frozenset({_S.SUCCEEDED, _S.FAILED, _S.STOPPING}),
    _S.STOPPING: frozenset({_S.STOPPED, _S.FAILED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.STOPPED: frozenset(),
}

FINAL = frozenset(status for status in TaskStatus if not NEXT[status])
OPEN = frozenset(TaskStatus) - FINAL

#: Ended without a result: the same may be asked for once more.
RETRIABLE = frozenset({_S.FAILED, _S.STOPPED})

#: After this many attempts in a row that finished no shard and no block, the task fails as WorkerLost.
BARREN_ATTEMPTS_ALLOWED = 3


def sources(to: TaskStatus) -> frozenset[TaskStatus]:
    """The statuses a task may leave for ``to``: the WHERE clause of every change."""
    return frozenset(status for status in TaskStatus if to in NEXT[status])


class Held(Protocol):
    """What an attempt holds by a lease, and the attempt's number, which its every write names."""

    @property
    def id(self) -> str:
        """Of a task or an export."""

    @property
    def attempt(self) -> int:
        """The fencing number."""

    @property
    def percent(self) -> int:
        """How far it was when it was claimed."""

    @property
    def bytes_done(self) -> int:
        """Of ``bytes_total``, when it was claimed."""

    @property
    def bytes_total(self) -> int:
        """0 until an attempt has told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an attempt is. ``shards_done`` counts whole shards and calibrated blocks: what no kill takes away."""

    stage: str
    percent: int
    bytes_done: int
    bytes_total: int
    shards_done: int
    #: Measured by the supervisor; None until it can tell.
    eta_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a finished attempt measured; sizes in bytes of all files, times in seconds, over the last attempt alone."""

    source_bytes: int
    output_bytes: int
    seconds: float
    peak_memory_bytes: int
    shards_reused: int
    group_size: int | None
    kernel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """One line of a task's history, written in the transaction that made it true."""

    at: datetime
    status: TaskStatus
    attempt: int
    message: str


class TaskSummary(NamedTuple):
    """What lists show of a task: a row of the store as it comes, since a list makes twenty of them in no time."""

    id: str
    name: str
    description: str
    status: str
    #: As JSON.
    recipe: str
    source_model_id: str
    output_model_id: str
    percent: int
    stage: str
    eta_seconds: int | None
    #: Pairs of key and value, as JSON; None where there are none.
    tags: str | None
    #: Microseconds since 1970 in UTC.
    created_us: int
    finished_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One compression task as the store has it."""

    id: str
    account_id: str
    name: str
    description: str
    status: TaskStatus
    recipe: Recipe
    source_model_id: str
    model_set_id: str
    #: Chosen at creation so that publishing can be repeated after a crash; shown to callers only on success.
    output_model_id: str
    reason: str
    attempt: int
    barren_attempts: int
    stage: str
    percent: int
    #: Of the source's tensors; 0 of 0 until an attempt has told.
    bytes_done: int
    bytes_total: int
    eta_seconds: int | None
    statistics: Statistics | None
    #: The task that this one is a retry of; its finished shards are taken over.
    retry_of: str | None
    tags: tuple[tuple[str, str], ...]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def summary(self) -> TaskSummary:
        """What lists show of it."""
        return TaskSummary(
            id=self.id,
            name=self.name,
            description=self.description,
            status=self.status.value,
            recipe=json.dumps(self.recipe.as_json()),
            source_model_id=self.source_model_id,
            output_model_id=self.output_model_id,
            percent=self.percent,
            stage=self.stage,
            eta_seconds=self.eta_seconds,
            tags=json.dumps(self.tags) if self.tags else None,
            created_us=_microseconds(self.created_at),
            finished_us=None if self.finished_at is None else _microseconds(self.finished_at),
        )


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """What creating a task needs."""

    account_id: str
    name: str
    description: str
    recipe: Recipe
    source_model_id: str
    model_set_id: str
    #: What makes creating repeatable: the caller's token, and a digest of what was asked with it.
    client_token: str | None = None
    request_digest: str | None = None
    retry_of: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
