"""Any sequence of calls of several accounts and of a worker, against plain lists that foretell each answer.

While others create, finish and delete tasks, pages in either direction must still show, once, each task that was there
the whole time.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from modelpress.domain.page import DEFAULT_PAGE, LARGEST_PAGE
from modelpress.domain.task import FINAL, OPEN, RETRIABLE, Statistics, TaskStatus
from modelpress.service.work import Assignment
from modelpress.settings import Settings
from modelpress.store import task_pages
from tests.api.drawn_filters import NAMES, QUANT_CONF, SCHEMES, TAGS, Choice, draw_filters, pick, tags_as_sent
from tests.api.expected_tasks import ExpectedTask, ExpectedTasks, Where, as_told
from tests.api.model_directory import write_all
from tests.api.server import Account, RunningServer, running_server
from tests.conformance.clock import SettableClock

_S = TaskStatus
STEPS = st.sampled_from([0, 1, 59, 700, 100_000, -1, -250])
LIKELY = st.integers(0, 3).map(bool)
PAGE_SIZES = st.none() | st.integers(1, 5) | st.sampled_from([100, 101])
#: How far the clocks of two servers may be apart without a filter by time missing a task.
CLOCKS_APART = timedelta(minutes=5)
_MEASURED = Statistics(
    source_bytes=2, output_bytes=1, seconds=1, peak_memory_bytes=1, shards_reused=0, group_size=None, kernel="none"
)


@dataclass(slots=True, kw_only=True)
class Walk:
    """Somebody on the way through a list."""

    account: Account
    options: dict[str, Any]
    where: Where
    there_all_the_time: set[str]
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
    #: Whether a page may end before it is full, since enough tasks were looked at.
    short_looks = False

    def __init__(self) -> None:
        super().__init__()
        self.latest = self.server.clock()
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
        own = self.expected.of(owner.account.name)
        choice = Choice(sources=owner.sources, set_ids=owner.set_ids, tasks=own)
        return draw_filters(data, choice, least=int(self.short_looks))

    # --- callers ---

    @initialize()
    def begin(self) -> None:
        """Both have some tasks, one of which is final."""
        for owner in self.owners:
            self._create(owner, name="first", source=owner.sources[0], set_id=owner.set_ids[0], weight="W8A16C16")
        for seconds, owner in itertools.product((400, -250, 1, 0, -250, 700), self.owners):
            self.wait(seconds)
            source, set_id = owner.sources[seconds % 2], owner.set_ids[seconds > 0]
            self._create(owner, name="task", source=source, set_id=set_id, weight="wint4", tags={"a": "x"})
        for owner in self.owners:
            self._cancel(next(task for task in self.expected.all[2:] if task.owner == owner.account.name))

    @rule(data=st.data(), name=st.sampled_from(NAMES), weight=st.sampled_from(list(SCHEMES)))
    def create(self, data: st.DataObject, name: str, weight: str) -> None:
        """A task is created."""
        owner = self._owner(data)
        source, set_id = pick(data, owner.sources, what="source"), pick(data, owner.set_ids, what="set")
        self._create(owner, name=name, source=source, set_id=set_id, weight=weight, tags=pick(data, TAGS, what="tags"))

    def _create(
        self, owner: Owner, *, name: str, source: str, set_id: str, weight: str, tags: dict[str, str] | None = None
    ) -> None:
        tags, scheme = tags or {}, SCHEMES[weight]
        description = f"number {len(self.expected.all)}"
        more = {"config": {"strategy": "Quantization", "weight": weight}, "tags": tags_as_sent(tags)}
        task = ExpectedTask(
            id=owner.account.make_task(set_id, source, name=name, description=description, **more),
            owner=owner.account.name,
            name=name,
            description=description,
            source=source,
            set_id=set_id,
            scheme=scheme,
            quant_conf=QUANT_CONF[scheme],
            created_at=self.server.clock(),
            tags=tags,
        )
        self._add(task)

    def _add(self, task: ExpectedTask) -> None:
        assert task.id not in {other.id for other in self.expected.all}
        self.expected.all.append(task)

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """A failed or stopped task is asked for again."""
        task = self._task(data, likely=lambda task: task.status in RETRIABLE and not task.deleted)
        account, named = self._account_of(task), {"modelCompTaskId": task.id}
        if task.deleted:
            account.refused("RetryModelCompTask", named, code="NoSuchModelCompTask")
        elif task.status not in RETRIABLE:
            account.refused("RetryModelCompTask", named, code="TaskStatusConflict")
        else:
            made = account.call("RetryModelCompTask", named)
            task.history.append(task.status)  # that it was retried is noted in its history
            self._add(
                replace(
                    task,
                    id=made,
                    created_at=self.server.clock(),
                    status=_S.CREATING,
                    finished_at=None,
                    reason="",
                    history=[_S.CREATING],
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
        assignment.staging.mkdir(parents=True, exist_ok=True)
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

    @rule(seconds=STEPS)
    def wait(self, seconds: int) -> None:
        """Time passes; or another server is asked, whose clock is behind."""
        if seconds > 0 or self.server.clock() + timedelta(seconds=seconds) > self.latest - CLOCKS_APART:
            self.latest = max(self.latest, self.server.clock.advance(seconds=seconds))

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
        options = {"pageReverse": reverse, "sourceModelId": None, "name": "", **filters}
        self._page(owner.account, options, where, marker=marker, max_keys=max_keys)

    @rule(data=st.data(), reverse=st.booleans())
    def set_out(self, data: st.DataObject, reverse: bool) -> None:
        """Somebody begins to go through a list."""
        owner = self._owner(data)
        filters, where = self._filters(data, owner)
        there = self.expected.listed(owner.account.name, where)
        options = {"pageReverse": reverse, **filters}
        self.walks.append(Walk(account=owner.account, options=options, where=where, there_all_the_time=there))

    @precondition(lambda self: self.walks)
    @rule(data=st.data(), max_keys=st.integers(1, 5))
    def walk_on(self, data: st.DataObject, max_keys: int) -> None:
        """They turn to the next page."""
        self._walk_on(pick(data, self.walks, what="walk"), max_keys=max_keys)

    def _walk_on(self, walk: Walk, *, max_keys: int) -> None:
        walk.there_all_the_time &= self.expected.listed(walk.account.name, walk.where)
        page = self._page(walk.account, walk.options, walk.where, marker=walk.marker, max_keys=max_keys)
        assert page is not None
        shown, next_marker = page
        walk.seen += shown
        if next_marker is not None:
            walk.marker = next_marker
            return
        self.walks.remove(walk)
        assert len(walk.seen) == len(set(walk.seen))
        assert walk.there_all_the_time <= set(walk.seen)

    def _page(
        self, account: Account, options: dict[str, Any], where: Where, *, marker: str | None, max_keys: int | None
    ) -> tuple[list[str], str | None] | None:
        """Ids and next marker of a page that is as it must be; None where its marker is refused."""
        body = {**options, "marker": marker, "maxKeys": max_keys}
        ordered = self.expected.from_marker(account.name, marker=marker or "", reverse=bool(options["pageReverse"]))
        if ordered is None:
            account.refused("DescribeModelCompTasks", body, code="InvalidMarker")
            return None
        result = account.call("DescribeModelCompTasks", body)
        items, info = result["modelCompTaskList"], result["pageInfo"]
        meant, next_marker = min(max_keys or DEFAULT_PAGE, LARGEST_PAGE), info.get("nextMarker")
        assert len(items) <= meant
        assert info == {"marker": marker or "", "maxKeys": meant, "isTruncated": next_marker is not None} | (
            {} if next_marker is None else {"nextMarker": next_marker}
        )
        end = len(ordered) if next_marker is None else [task.id for task in ordered].index(next_marker)
        assert end > 0 or not ordered  # each page comes further
        self._compare(items, [task for task in ordered[:end] if not task.deleted and where(task)])
        if not self.short_looks and next_marker is not None:
            assert len(items) == meant
            assert not ordered[end].deleted
            assert where(ordered[end])
        return [item["id"] for item in items], next_marker

    def _compare(self, told: list[dict[str, Any]], wanted: list[ExpectedTask]) -> None:
        assert [as_told(item) for item in told] == [task.item() for task in wanted]
        places = [self.expected.place_in_queue(task) for task in wanted]
        assert [item.get("queuePosition") for item in told] == places

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
    class OnThisServer(TaskMachine):
        server = either

    run(OnThisServer, examples=40 if backend == "sqlite" else 10)


@pytest.mark.timeout(900)
def test_pages_that_end_early_since_enough_was_looked_at_still_show_every_task_once(
    either: RunningServer, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnThisServer(TaskMachine):
        server = either
        short_looks = True

    monkeypatch.setattr(task_pages, "LOOKED_AT", 2)
    run(OnThisServer, examples=20 if backend == "sqlite" else 8)


def run(machine: type[TaskMachine], *, examples: int) -> None:
    run_state_machine_as_test(machine, settings=hypothesis_settings(max_examples=examples, stateful_step_count=40))
