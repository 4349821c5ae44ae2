"""Any sequence of calls of several accounts and of a worker, against plain lists that foretell each answer.

While others create, finish and delete tasks, pages in either direction must still show, once, each task that was there
the whole time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from modelpress.domain.page import DEFAULT_PAGE, LARGEST_PAGE
from modelpress.domain.task import FINAL, OPEN, Statistics, TaskStatus
from modelpress.service.work import Assignment
from modelpress.settings import Settings
from tests.api.expected_tasks import ExpectedTask, ExpectedTasks, Where, as_told
from tests.api.model_directory import write_all
from tests.api.server import Account, RunningServer, running_server
from tests.conformance.clock import SettableClock

T = TypeVar("T")

_S = TaskStatus
SCHEMES = {"W8A16C16": "wint8", "W4A16C16": "wint4", "INT8-PTQ": "int8-ptq"}
NAMES = st.sampled_from(["task", "Task", "a%b_c", "模型", "ask", "'; --"])
LIKELY = st.integers(0, 3).map(bool)
PAGE_SIZES = st.none() | st.integers(1, 5) | st.sampled_from([100, 101])
_MEASURED = Statistics(
    source_bytes=2, output_bytes=1, seconds=1, peak_memory_bytes=1, shards_reused=0, group_size=None, kernel="none"
)


def pick(data: st.DataObject, options: Sequence[T], *, what: str) -> T:
    """One of these. By its place: ids differ each time, and an example must be the same when it is run again."""
    return options[data.draw(st.integers(0, len(options) - 1), label=what)]


@dataclass(slots=True, kw_only=True)
class Walk:
    """Somebody on the way through a list."""

    account: Account
    options: dict[str, Any]
    where: Where
    there_at_first: set[str]
    marker: str = ""
    seen: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """An account with what its tasks read and fill."""

    account: Account
    set_ids: list[str]
    sources: list[str]


class TaskMachine(RuleBasedStateMachine):
    """Rules are calls; each answer is foretold."""

    server: RunningServer

    def __init__(self) -> None:
        super().__init__()
        self.expected = ExpectedTasks()
        self.held: dict[str, Assignment] = {}
        self.walks: list[Walk] = []
        self.owners = [self._new_owner() for _ in range(2)]

    def _new_owner(self) -> Owner:
        account = self.server.account()
        set_ids = [account.make_set(name) for name in ("first", "second")]
        return Owner(account=account, set_ids=set_ids, sources=[account.import_model(set_id) for set_id in set_ids])

    # --- what is drawn ---

    def _owner(self, data: st.DataObject) -> Owner:
        return pick(data, self.owners, what="owner")

    def _task(self, data: st.DataObject, *, likely: Where | None = None) -> ExpectedTask:
        """Any task, but one of the likely ones in most cases: what is rare else is never reached."""
        some = [task for task in self.expected.all if likely and likely(task)]
        likely_one = data.draw(LIKELY) and bool(some)
        return pick(data, some if likely_one else self.expected.all, what="task")

    def _account_of(self, task: ExpectedTask) -> Account:
        return next(owner.account for owner in self.owners if owner.account.name == task.owner)

    def _filters(self, data: st.DataObject, owner: Owner) -> tuple[dict[str, Any], Where]:
        source = pick(data, [None, None, "", "amv-none", *owner.sources], what="sourceModelId")
        if source is None:
            return {}, lambda task: True
        return {"sourceModelId": source}, lambda task: not source or task.source == source

    # --- callers ---

    @initialize()
    def begin(self) -> None:
        """Both have some tasks, one of which is final."""
        for owner in self.owners:
            self._create(owner, name="first", source=owner.sources[0], set_id=owner.set_ids[0], scheme="W8A16C16")
        for owner in self.owners:
            for source in (*owner.sources, *owner.sources):
                self._create(owner, name="task", source=source, set_id=owner.set_ids[0], scheme="W4A16C16")
            self._cancel(next(task for task in self.expected.all[2:] if task.owner == owner.account.name))

    @rule(data=st.data(), name=NAMES, scheme=st.sampled_from(sorted(SCHEMES)))
    def create(self, data: st.DataObject, name: str, scheme: str) -> None:
        """A task is created."""
        owner = self._owner(data)
        source, set_id = pick(data, owner.sources, what="source"), pick(data, owner.set_ids, what="set")
        self._create(owner, name=name, source=source, set_id=set_id, scheme=scheme)

    def _create(self, owner: Owner, *, name: str, source: str, set_id: str, scheme: str) -> None:
        config = {"strategy": "Quantization", "weight": scheme}
        description = f"number {len(self.expected.all)}"
        made = owner.account.make_task(set_id, source, name=name, description=description, config=config)
        assert made not in {task.id for task in self.expected.all}
        self.expected.all.append(
            ExpectedTask(
                id=made,
                owner=owner.account.name,
                name=name,
                description=description,
                source=source,
                set_id=set_id,
                scheme=scheme,
                quant_conf=SCHEMES[scheme],
                created_at=self.server.clock(),
            )
        )

    @precondition(lambda self: self.expected.all)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A stop is asked for, in whatever state the task is."""
        self._cancel(self._task(data, likely=lambda task: task.status in OPEN))

    def _cancel(self, task: ExpectedTask) -> None:
        account, named = self._account_of(task), {"modelCompTaskId": task.id}
        if task.deleted:
            account.refused("CancelModelCompTask", named, code="NoSuchModelCompTask")
        elif task.status in FINAL:
            assert task.status.value in account.refused("CancelModelCompTask", named, code="TaskStatusConflict")
        else:
            account.done("CancelModelCompTask", named)
            if task.status is _S.CREATING:
                task.move(_S.STOPPED, now=self.server.clock())
            elif task.status is _S.RUNNING:
                task.move(_S.STOPPING, now=self.server.clock())

    @precondition(lambda self: self.expected.all)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """A task is deleted, if its state allows it."""
        task = self._task(data, likely=lambda task: task.status in FINAL and not task.deleted)
        account, named = self._account_of(task), {"modelCompTaskId": task.id}
        if task.deleted:
            account.refused("DeleteModelCompTask", named, code="NoSuchModelCompTask")
        elif task.status in OPEN:
            assert task.status.value in account.refused("DeleteModelCompTask", named, code="TaskStatusConflict")
        else:
            account.done("DeleteModelCompTask", named)
            task.deleted = True

    @precondition(lambda self: self.expected.all)
    @rule(
        data=st.data(), action=st.sampled_from(["CancelModelCompTask", "DeleteModelCompTask", "DescribeModelCompTask"])
    )
    def meddle(self, data: st.DataObject, action: str) -> None:
        """Another account names the task: for it there is none."""
        task = self._task(data)
        other = next(owner.account for owner in self.owners if owner.account.name != task.owner)
        other.refused(action, {"modelCompTaskId": task.id}, code="NoSuchModelCompTask")

    @precondition(lambda self: self.expected.all)
    @rule(data=st.data())
    def describe(self, data: st.DataObject) -> None:
        """One task is looked at."""
        task = self._task(data)
        account, named = self._account_of(task), {"modelCompTaskId": task.id}
        if task.deleted:
            account.refused("DescribeModelCompTask", named, code="NoSuchModelCompTask")
            return
        detail = account.call("DescribeModelCompTask", named)
        self._compare([detail], [task])
        assert detail["modelSetId"] == task.set_id
        assert detail.get("failedReason", "") == task.reason
        statuses = [event["status"] for event in detail["events"]]
        assert statuses == [status.value for status in task.history]

    # --- the worker and the time ---

    @rule()
    def claim(self) -> None:
        """The worker takes what waits longest, whoever's it is."""
        task, assignment = self.expected.next_waiting(), self.server.services.work.claim("worker-of-the-test")
        assert (task and task.id) == (assignment and assignment.task.id)
        if task is not None and assignment is not None:
            task.move(_S.RUNNING, now=self.server.clock())
            self.held[task.id] = assignment

    @precondition(lambda self: self.held)
    @rule(data=st.data(), succeeds=st.booleans())
    def end(self, data: st.DataObject, succeeds: bool) -> None:
        """An attempt ends: with success, for a reason, or because a stop was asked for."""
        task_id = pick(data, list(self.held), what="attempt")
        task = next(task for task in self.expected.all if task.id == task_id)
        work, assignment, now = self.server.services.work, self.held.pop(task_id), self.server.clock()
        assignment.staging.mkdir(parents=True)
        if not succeeds:
            work.fail(assignment.task, "BadSource: so it was")
            task.move(_S.FAILED, now=now, reason="BadSource: so it was")
        elif task.status is _S.STOPPING:
            assert not work.publish(assignment, _MEASURED)
            work.stopped(assignment.task)
            task.move(_S.STOPPED, now=now)
        else:
            assert work.publish(assignment, _MEASURED)
            task.move(_S.SUCCEEDED, now=now)
            task.output = assignment.task.output_model_id

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.server.clock.advance(seconds=seconds)

    # --- lists ---

    @rule(data=st.data(), max_keys=PAGE_SIZES, reverse=st.sampled_from([None, False, True]))
    def page(self, data: st.DataObject, max_keys: int | None, reverse: bool | None) -> None:
        """Any page, from any marker."""
        owner = self._owner(data)
        filters, where = self._filters(data, owner)
        marker = pick(data, [None, "", "amva-000000000000"], what="marker")
        if data.draw(LIKELY):
            own = owner.account.name
            marker = self._task(data, likely=lambda task: task.deleted and task.owner == own).id
        options = {"pageReverse": reverse, "sourceModelId": None, **filters}
        self._page(owner.account, options, where, marker=marker, max_keys=max_keys)

    @rule(data=st.data(), reverse=st.booleans())
    def set_out(self, data: st.DataObject, reverse: bool) -> None:
        """Somebody begins to go through a list."""
        owner = self._owner(data)
        filters, where = self._filters(data, owner)
        there = self.expected.listed(owner.account.name, where)
        options = {"pageReverse": reverse, **filters}
        self.walks.append(Walk(account=owner.account, options=options, where=where, there_at_first=there))

    @precondition(lambda self: self.walks)
    @rule(data=st.data(), max_keys=st.integers(1, 3))
    def walk_on(self, data: st.DataObject, max_keys: int) -> None:
        """They turn to the next page."""
        self._walk_on(pick(data, self.walks, what="walk"), max_keys=max_keys)

    def _walk_on(self, walk: Walk, *, max_keys: int) -> None:
        page = self._page(walk.account, walk.options, walk.where, marker=walk.marker, max_keys=max_keys)
        assert page is not None
        shown, next_marker = page
        walk.seen += shown
        if next_marker is not None:
            walk.marker = next_marker
            return
        self.walks.remove(walk)
        assert len(walk.seen) == len(set(walk.seen))
        there_all_the_time = walk.there_at_first & self.expected.listed(walk.account.name, walk.where)
        assert there_all_the_time <= set(walk.seen)

    def _page(
        self, account: Account, options: dict[str, Any], where: Where, *, marker: str | None, max_keys: int | None
    ) -> tuple[list[str], str | None] | None:
        body = {**options, "marker": marker, "maxKeys": max_keys}
        meant = min(max_keys or DEFAULT_PAGE, LARGEST_PAGE)
        reverse = bool(options["pageReverse"])
        page = self.expected.page(account.name, where, marker=marker or "", max_keys=meant, reverse=reverse)
        if page is None:
            account.refused("DescribeModelCompTasks", body, code="InvalidMarker")
            return None
        wanted, next_marker = page
        result = account.call("DescribeModelCompTasks", body)
        self._compare(result["modelCompTaskList"], wanted)
        info = {"marker": marker or "", "maxKeys": meant, "isTruncated": next_marker is not None}
        assert result["pageInfo"] == info | ({} if next_marker is None else {"nextMarker": next_marker})
        return [task.id for task in wanted], next_marker

    def _compare(self, told: list[dict[str, Any]], wanted: list[ExpectedTask]) -> None:
        assert [as_told(item) for item in told] == [task.item() for task in wanted]

    def teardown(self) -> None:
        """All walks come to their end; what waits is taken out of the next example's way."""
        try:
            while self.walks:
                self._walk_on(self.walks[0], max_keys=2)
        finally:
            for task in self.expected.all:
                self._account_of(task).post("CancelModelCompTask", {"modelCompTaskId": task.id})


@pytest.fixture
def either(settings: Settings, clock: SettableClock, log: io.StringIO) -> Iterator[RunningServer]:
    """A server on the database under test, whose worker's leases do not end."""
    lasting = Settings(data=settings.data, database=settings.database, lease_seconds=1_000_000_000)
    with running_server(lasting, clock) as running:
        write_all(settings.data / "local")
        yield running


# Hypothesis may take minutes to find the shortest sequence that fails.
@pytest.mark.timeout(900)
def test_whatever_is_called_in_whatever_order_every_answer_is_as_foretold(either: RunningServer, backend: str) -> None:
    examples = 50 if backend == "sqlite" else 15

    class OnThisServer(TaskMachine):
        server = either

    run_state_machine_as_test(OnThisServer, settings=hypothesis_settings(max_examples=examples, stateful_step_count=40))
