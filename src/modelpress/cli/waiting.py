"""Following compression tasks until they are final."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from modelpress.cli.connection import Session
from modelpress.cli.output import say
from modelpress.cli.progress import Bars
from modelpress.domain.task import FINAL, TaskStatus
from modelpress.errors import ModelpressError

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
_PAUSE_GROWTH = 1.3
_LOG_PAUSE_SECONDS = 0.5
_DETAIL = "DescribeModelCompTask"
#: A server that is restarted, or too busy, is asked again for so long; one that never answered is not waited for.
_PATIENCE_SECONDS = 60.0
#: HTTP status of a server that did nothing, and may do it later.
_BUSY = (429, 503)


#: What is known of one task, as DescribeModelCompTask tells it.
Describe = Callable[[str], dict[str, Any]]


class WaitEnded(ModelpressError):
    """The time was up before all tasks were final, or one of them did not succeed."""


class _Watch:
    """What is known of some tasks, and who is told of changes."""

    def __init__(self, describe: Describe, task_ids: Iterable[str], bars: Bars) -> None:
        self.details: dict[str, dict[str, Any]] = {task_id: {} for task_id in task_ids}
        self._describe = describe
        self._bars = bars
        self._told: dict[str, str] = {}
        self._answered_at = float("-inf")
        self._waiting_for_server = False

    @property
    def open_tasks(self) -> list[str]:
        return [task_id for task_id, detail in self.details.items() if detail.get("status") not in FINAL]

    def look(self) -> None:
        """Ask for every task that is not final."""
        from modelpress.client.client import RequestFailed, ServerUnreachable

        for task_id in self.open_tasks:
            try:
                detail = self._describe(task_id)
            except (RequestFailed, ServerUnreachable) as exc:
                if isinstance(exc, RequestFailed) and exc.status not in _BUSY:
                    raise
                self._be_patient(exc)
                return
            self._answered_at, self._waiting_for_server = time.monotonic(), False
            self.details[task_id] = detail
            self._tell(task_id, detail)

    def _be_patient(self, exc: ModelpressError) -> None:
        if time.monotonic() - self._answered_at > _PATIENCE_SECONDS:
            raise exc
        if not self._waiting_for_server:
            self._waiting_for_server = True
            say(f"the server does not answer; it is asked again for {_PATIENCE_SECONDS:.0f} s")

    def _tell(self, task_id: str, detail: dict[str, Any]) -> None:
        status, percent = detail["status"], detail["progress"]
        stage = detail.get("stage", "") if status == TaskStatus.RUNNING else ""
        self._bars.show(task_id, stage=stage or status, done=detail["bytesDone"], total=detail["bytesTotal"])
        # In tenths: a line for each percent would be too many in a log.
        change = f"{task_id}: {status}" + (f", {stage} {percent // 10 * 10} %" if stage else "")
        if not self._bars.drawn and self._told.get(task_id) != change:
            self._told[task_id] = change
            say(change)


def follow(
    session: Session, task_ids: Iterable[str], *, timeout_seconds: float | None, describe: Describe | None = None
) -> list[dict[str, Any]]:
    """The tasks' details when all are final; their progress is shown until then.

    Other work than tasks is followed by a ``describe`` that tells of it in a task's words.

    Raises: WaitEnded when the time is up; RequestFailed, ServerUnreachable.
    """
    deadline = float("inf") if timeout_seconds is None else time.monotonic() + timeout_seconds
    bars = Bars(named=True)
    describe = describe or (lambda task_id: session.call(_DETAIL, {"modelCompTaskId": task_id}))
    watch = _Watch(describe, task_ids, bars)
    try:
        with bars:
            _look_until(watch, deadline)
    except KeyboardInterrupt:
        say(f"not watched any more, and going on: {', '.join(watch.open_tasks)}")
        raise
    if watch.open_tasks:
        raise _time_is_up(watch, timeout_seconds)
    return list(watch.details.values())


def log_lines(session: Session, task_id: str, *, following: bool) -> Iterator[str]:
    """The lines of a task's log; if it is to be followed, until the task is final."""
    offset = 0
    while True:
        # Asked before the log: all that is in it by then was written before the end.
        ends = not following or session.call(_DETAIL, {"modelCompTaskId": task_id})["status"] in FINAL
        more = True
        while more:
            page = session.call("DescribeModelCompTaskLogs", {"modelCompTaskId": task_id, "offset": offset})
            yield from page["lines"]
            offset, more = page["nextOffset"], page["isTruncated"]
        if ends:
            return
        time.sleep(_LOG_PAUSE_SECONDS)


def _look_until(watch: _Watch, deadline: float) -> None:
    """Look again and again until all tasks are final, or the deadline is reached."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        watch.look()
        left = deadline - time.monotonic()
        if not watch.open_tasks or left <= 0:
            return
        time.sleep(min(pause, left))
        pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE_SECONDS)


def _time_is_up(watch: _Watch, timeout_seconds: float | None) -> WaitEnded:
    states = ", ".join(
        f"{task_id} is {watch.details[task_id].get('status', 'unknown')}" for task_id in watch.open_tasks
    )
    return WaitEnded(f"after {timeout_seconds:g} s {states}", hint="wait again, or stop it: modelpress task cancel ID")


def refuse_failed(details: Iterable[dict[str, Any]]) -> None:
    """Nothing, if all of these final tasks succeeded.

    Raises: WaitEnded naming those that did not, and why.
    """
    failed = [detail for detail in details if detail["status"] != TaskStatus.SUCCEEDED]
    if failed:
        raise WaitEnded("; ".join(f"{d['id']} {d['status']}" + _reason(d) for d in failed))


def _reason(detail: dict[str, Any]) -> str:
    reason = detail.get("failedReason")
    return f": {reason}" if reason else ""
