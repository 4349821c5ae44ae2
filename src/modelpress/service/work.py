"""What workers do with tasks: claim, report, publish, fail, let go, and clear away what is left over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from modelpress.domain.advanced_conf import AdvancedConf
from modelpress.domain.model import Location, ModelVersion
from modelpress.domain.task import BARREN_ATTEMPTS_ALLOWED, Progress, Statistics, Task, TaskStatus
from modelpress.errors import (
    BadCalibration,
    BadSource,
    DiskFull,
    LeaseLost,
    NotFound,
    QualityGate,
    ServiceError,
    TaskError,
    WorkerLost,
)
from modelpress.runners.local import Program
from modelpress.service.calibration import find_calibration
from modelpress.service.clock import Clock
from modelpress.service.models import MODEL_FORMAT
from modelpress.settings import Settings
from modelpress.storage.bucket import Buckets, Directory
from modelpress.storage.log import append_line
from modelpress.store.model_store import ModelStore, NewVersion
from modelpress.store.task_store import TaskStore
from modelpress.tensors.staging import seal, settle
from modelpress.tensors.writer import sync_directory

#: After these a retry does not want the shards: they take the room that is missing, they are of a source that has to
#: change first, or they are what was wrong.
_SHARDS_ARE_USELESS = frozenset({DiskFull.reason, BadSource.reason, QualityGate.reason})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One attempt: the task as claimed, and where to read and write."""

    task: Task
    source: Directory
    staging: Path
    output: Location
    architecture: str
    application_type: str
    advanced_conf: AdvancedConf
    #: The process that does it.
    program: Program
    #: What an attempt measured that published the output and died before it could say so; only that is left to do.
    published: Statistics | None

    @property
    def label(self) -> str:
        """What is made, for the log."""
        return self.task.recipe.title


class WorkService:
    """Tasks as one worker sees them; ``holder`` is its name on the leases."""

    def __init__(
        self, tasks: TaskStore, models: ModelStore, buckets: Buckets, *, settings: Settings, clock: Clock
    ) -> None:
        self._tasks = tasks
        self._models = models
        self._buckets = buckets
        self._settings = settings
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._retention = timedelta(hours=settings.retention_hours)
        self._clock = clock

    def claim(self, holder: str) -> Assignment | None:
        """The next task that needs a worker; what only needs an end (stopped, lost, without source) gets it here."""
        while claimed := self._tasks.claim(holder=holder, lease=self._lease, now=self._clock()):
            task, source = claimed
            if task.status is TaskStatus.STOPPING:
                self._say(task, "stopped; its worker was gone")
                self.stopped(task)
                continue
            output = self._output_location(task)
            published = task.statistics if self._buckets.path(output).is_dir() else None
            if task.barren_attempts > BARREN_ATTEMPTS_ALLOWED and published is None:
                count = task.barren_attempts - 1
                self._give_up(task, WorkerLost(f"{count} attempts in a row ended without finishing a shard or a block"))
                continue
            try:
                directory = self._source(source, task)
                program = self._program(task, directory)
            except TaskError as gone:
                self._give_up(task, gone)
                continue
            if task.retry_of is not None and published is None:
                # A retry that ended before it was begun has none of its own: what it was to take over is still there.
                for retried in self._tasks.retried(task):
                    self._buckets.adopt_staging(retried, by=task.id)
            return Assignment(
                task=task,
                source=directory,
                staging=self._buckets.staging(task.id),
                output=output,
                architecture=source.architecture,
                application_type=source.application_type,
                advanced_conf=source.advanced_conf,
                program=program,
                published=published,
            )
        return None

    def _give_up(self, task: Task, why: TaskError) -> None:
        self._say(task, f"failed: {why.failed_reason()}")
        self.fail(task, why.failed_reason())

    def _source(self, source: ModelVersion, task: Task) -> Directory:
        try:
            return self._buckets.find(source.location, account_id=source.account_id)
        except NotFound as exc:
            # Where another account's model lay is not told.
            where = f": {exc.message}" if source.account_id == task.account_id else ""
            raise BadSource(f"the source is not there any more{where}") from exc

    def _calibration(self, task: Task) -> Path | None:
        try:
            return find_calibration(self._buckets, task.recipe, account_id=task.account_id)
        except ServiceError as exc:
            raise BadCalibration(f"its file is not there any more: {exc.message}") from exc

    def _program(self, task: Task, source: Directory) -> Program:
        calibration = self._calibration(task)
        spec = {
            "source": str(source.path),
            "root": str(source.root),
            "staging": str(self._buckets.staging(task.id)),
            "recipe": task.recipe.as_json(),
            "threads": self._settings.threads,
            # What the recipe names lies here.
            "calibration_path": None if calibration is None else str(calibration),
        }
        return Program(module="modelpress.worker.attempt", spec=spec, log=self._buckets.log(task.id))

    def _say(self, task: Task, text: str) -> None:
        append_line(self._buckets.log(task.id), text, now=self._clock())

    def report(self, task: Task, progress: Progress, *, fruitful: bool) -> bool:
        """Write progress and renew the lease; True if a stop was asked for.

        Raises: LeaseLost.
        """
        status = self._tasks.report(task, progress, fruitful=fruitful, lease=self._lease, now=self._clock())
        return status is TaskStatus.STOPPING

    def result(self, told: Mapping[str, Any]) -> Statistics:
        """What an attempt's process measured, as it told it."""
        return Statistics(**told)

    def publish(self, assignment: Assignment, statistics: Statistics) -> bool:
        """Make the verified staging folder the task's output; False if a stop was asked for first.

        Statistics, then the rename, then the guarded UPDATE: after a crash at any point the next attempt goes on from
        there, and nothing is published twice, since the output's id was chosen when the task was created.

        Raises: LeaseLost.
        """
        task = assignment.task
        if self._stop_asked(task, statistics):
            return False
        output = self._buckets.path(assignment.output)
        if not output.exists():
            output.parent.mkdir(parents=True, exist_ok=True)
            assignment.staging.rename(output)
            sync_directory(output.parent)
        seal(output)
        try:
            self._tasks.succeed(task, _output_version(assignment, statistics), now=self._clock())
        except LeaseLost:
            # A stop that was asked for since the look above also ends here; then the task is still ours to stop.
            if not self._stop_asked(task, statistics):
                raise
            return False
        return True

    def _stop_asked(self, task: Task, statistics: Statistics) -> bool:
        status = self._tasks.measured(task, statistics, lease=self._lease, now=self._clock())
        return status is TaskStatus.STOPPING

    def fail(self, task: Task, reason: str) -> None:
        """End the task as failed; finished shards and blocks are kept for a retry, where that may go better.

        Raises: LeaseLost.
        """
        self._tasks.fail(task, reason=reason, now=self._clock())
        if reason.partition(":")[0] in _SHARDS_ARE_USELESS:
            self._buckets.remove_staging(task.id)
        self._tidy(task)

    def stopped(self, task: Task) -> None:
        """End the task as stopped; finished shards and blocks are kept for a retry.

        Raises: LeaseLost.
        """
        self._tasks.stopped(task, now=self._clock())
        self._tidy(task)

    def _tidy(self, task: Task) -> None:
        settle(self._buckets.staging(task.id))
        self._buckets.remove_output(self._output_location(task))

    def _output_location(self, task: Task) -> Location:
        return self._buckets.output_location(account_id=task.account_id, model_id=task.output_model_id)

    def release(self, task: Task, *, why: str, forgive: bool) -> None:
        """Give the task back to be claimed again, its finished shards kept.

        Raises: LeaseLost.
        """
        self._tasks.release(task, why=why, forgive=forgive, now=self._clock())

    def release_holder(self, holder: str) -> int:
        """End all leases of a worker that is known to be dead."""
        return self._tasks.release_holder(holder, now=self._clock())

    def sweep(self) -> None:
        """Remove what is left over: of tasks that are final, and of versions that were deleted long enough ago."""
        staged, before = self._buckets.staged_tasks(), self._clock() - self._retention
        for task_id in self._tasks.useless_staging(staged, before=before) if staged else ():
            self._buckets.remove_staging(task_id)
        self._buckets.remove_rests()
        logged = self._buckets.logged_tasks()
        for task_id in self._tasks.deleted_among(logged, before=before) if logged else ():
            self._buckets.remove_log(task_id)
        for location in map(self._output_location, self._tasks.measured_in_vain()):
            self._buckets.remove_output(location)
        for version in self._models.discarded_outputs(before=before):
            self._buckets.remove_output(version.location)
            if not self._buckets.path(version.location).exists():
                self._models.mark_files_removed(version.id, now=self._clock())


def _output_version(assignment: Assignment, statistics: Statistics) -> NewVersion:
    task = assignment.task
    recipe = task.recipe
    return NewVersion(
        account_id=task.account_id,
        set_id=task.model_set_id,
        description=f"{task.source_model_id} compressed to {recipe.title} by {task.id}",
        location=assignment.output,
        model_format=MODEL_FORMAT,
        application_type=assignment.application_type,
        architecture=assignment.architecture,
        size_bytes=statistics.output_bytes,
        # What was pruned alone is a model like others, and can still be quantized.
        unsupported_reason=f"it was compressed to {recipe.scheme.name} already" if recipe.quantizes else None,
        # What holds for using the source holds for using what came of it.
        advanced_conf=assignment.advanced_conf,
    )
