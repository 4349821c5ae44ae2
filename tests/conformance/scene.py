"""What a test of the store begins with: an account, a model version, tasks in the statuses it needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from modelpress.domain.model import Location, ModelSet, ModelVersion
from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import W8A16C16
from modelpress.domain.task import NewTask, Progress, Statistics, Task, TaskStatus, TaskSummary
from modelpress.domain.task_filter import Tag
from modelpress.store.database import Database
from modelpress.store.model_store import NewVersion
from modelpress.store.store import Store
from modelpress.store.table import metadata
from tests.conformance.clock import SettableClock

LEASE = timedelta(seconds=30)
RECIPE = Recipe(scheme=W8A16C16)
STATISTICS = Statistics(
    source_bytes=2000,
    output_bytes=1000,
    seconds=1.5,
    peak_memory_bytes=4096,
    shards_reused=0,
    group_size=None,
    kernel="twin",
)


def progress(*, percent: int = 10, shards_done: int = 0) -> Progress:
    """A progress that says so much."""
    return Progress(stage="compress", percent=percent, bytes_done=10, bytes_total=100, shards_done=shards_done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One account of a store, with a set, and a version in it."""

    store: Store
    database: Database
    clock: SettableClock
    account_id: str
    model_set: ModelSet
    source: ModelVersion

    def task(
        self,
        *,
        name: str = "task",
        source: ModelVersion | None = None,
        fill: ModelSet | None = None,
        recipe: Recipe = RECIPE,
        tags: tuple[Tag, ...] = (),
    ) -> Task:
        """A new task."""
        new = NewTask(
            account_id=self.account_id,
            name=name,
            description="",
            recipe=recipe,
            tags=tags,
            source_model_id=(source or self.source).id,
            model_set_id=(fill or self.model_set).id,
        )
        return self.store.tasks.create(new, now=self.clock())

    def set_named(self, name: str) -> ModelSet:
        """A new set."""
        return self.store.models.create_set(
            account_id=self.account_id, name=name, model_type="Text2Text", labels=(), now=self.clock()
        )

    def version_in(self, model_set: ModelSet) -> ModelVersion:
        """A new version."""
        return self.store.models.create_version(new_version(model_set), now=self.clock())

    def claim(self, *, holder: str = "worker") -> Task | None:
        """What a worker gets when it asks for a task."""
        claimed = self.store.tasks.claim(holder=holder, lease=LEASE, now=self.clock())
        return None if claimed is None else claimed[0]

    def running(self) -> Task:
        """A new task that a worker holds; no other may be claimable."""
        made = self.task()
        claimed = self.claim()
        assert claimed is not None
        assert claimed.id == made.id
        return claimed

    def task_in(self, status: TaskStatus) -> Task:
        """A new task of this status, as the worker that has (or had) it knows it."""
        if status is TaskStatus.CREATING:
            return self.task()
        task = self.running()
        if status is TaskStatus.SUCCEEDED:
            self.succeed(task)
        elif status is TaskStatus.FAILED:
            self.store.tasks.fail(task, reason="BadSource: no", now=self.clock())
        elif status is not TaskStatus.RUNNING:
            self.ask_stop(task)
            if status is TaskStatus.STOPPED:
                self.store.tasks.stopped(task, now=self.clock())
        assert self.status(task) is status
        return task

    def succeed(self, task: Task) -> None:
        """The task's worker is done."""
        self.store.tasks.succeed(task, new_version(self.model_set), now=self.clock())

    def ask_stop(self, task: Task) -> TaskStatus:
        """The account asks for a stop."""
        return self.store.tasks.ask_stop(task.id, account_id=self.account_id, now=self.clock())

    def delete(self, task: Task | TaskSummary) -> None:
        """The account deletes the task."""
        self.store.tasks.delete(task.id, account_id=self.account_id, now=self.clock())

    def get(self, task: Task) -> Task:
        """The task as it is now."""
        return self.store.tasks.get(task.id, account_id=self.account_id)

    def status(self, task: Task) -> TaskStatus:
        """The task's status now."""
        return self.get(task).status

    def everything(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row of the database: what must be equal where nothing may have changed."""
        with self.database.read() as connection:
            return {
                table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
                for table in metadata.sorted_tables
            }


def make_scene(store: Store, database: Database, clock: SettableClock, *, account: str = "ours") -> Scene:
    """A scene in the account of this name."""
    now = clock()
    account_id = store.keys.account_named(account, now=now)
    model_set = store.models.create_set(
        account_id=account_id, name="models", model_type="Text2Text", labels=("a", "b"), now=now
    )
    return Scene(
        store=store,
        database=database,
        clock=clock,
        account_id=account_id,
        model_set=model_set,
        source=store.models.create_version(new_version(model_set), now=now),
    )


def new_version(model_set: ModelSet) -> NewVersion:
    """What registering a version of this set needs."""
    return NewVersion(
        account_id=model_set.account_id,
        set_id=model_set.id,
        description="",
        location=Location(bucket="local", path="tiny"),
        model_format="HuggingFace.Transformers",
        application_type="chat",
        architecture="LlamaForCausalLM",
        size_bytes=2000,
        unsupported_reason=None,
    )
