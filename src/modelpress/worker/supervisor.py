"""The supervisor: claims tasks, runs each attempt as a process, keeps its lease, stops it when asked.

It lives between four deaths. Its attempt's process dies: the task is given back and claimed again. It dies itself: its
processes die with it, and the next supervisor of the same name ends its leases at the start, since that name is held by
a lock on the data directory. The server dies: the supervisor dies with it. The database goes away for longer than the
lease: the process is ended, for another worker may have the task by then.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from modelpress.domain.task import Held, Progress
from modelpress.errors import DiskFull, InternalFailure, LeaseLost, StoreUnavailable, TaskError
from modelpress.runners.local import LocalProcess
from modelpress.service.clock import system_clock
from modelpress.settings import Settings
from modelpress.storage.log import append_line
from modelpress.worker.pace import Pace
from modelpress.worker.work import Assignment, Work

_log = structlog.get_logger("modelpress.worker")

_LOOK_SECONDS = 0.1
_CLAIM_SECONDS = 0.5
_REPORT_SECONDS = 1.0
_SWEEP_SECONDS = 600.0


class _Attempt:
    """One running process and what it last told."""

    def __init__(self, work: Work, assignment: Assignment, process: LocalProcess) -> None:
        self.work = work
        self.assignment = assignment
        self.process = process
        self.progress = _starting(assignment.task)
        self.pace = Pace()
        self.reported_at = self.renewed_at = time.monotonic()
        self.shards_at_start: int | None = None
        self.fruit_reported = False
        self.done: Any = None
        self.failed: str | None = None
        self.stop_asked_at: float | None = None

    @property
    def fruitful(self) -> bool:
        return self.shards_at_start is not None and self.progress.shards_done > self.shards_at_start

    def listen(self) -> None:
        """Take in what the process told."""
        for message in self.process.messages():
            if "progress" in message:
                self.progress = Progress(**message["progress"])
                if self.shards_at_start is None:
                    self.pace.begin(self.progress, now=time.monotonic())
                    self.shards_at_start = self.progress.shards_done
            elif "done" in message:
                self.done = self.work.result(message["done"])
            else:
                self.failed = message["failed"]


class Supervisor:
    """Runs up to ``settings.slots`` attempts at a time, of all ``works`` in turn."""

    def __init__(self, works: Sequence[Work], settings: Settings) -> None:
        self._works = list(works)
        self._settings = settings
        self._attempts: list[_Attempt] = []
        # A plain flag: an Event could deadlock, being set by a signal handler in the thread that waits on it.
        self._leaving = False
        self._claimed_at = self._swept_at = float("-inf")

    def leave(self) -> None:
        """Ask ``run`` to end: processes are ended, tasks given back."""
        self._leaving = True

    def run(self) -> None:
        """Work until ``leave`` is called."""
        self._holder, lock = _take_name(self._settings.data)
        if lock is not None and (ended := sum(work.release_holder(self._holder) for work in self._works)):
            _log.info("leases of a dead worker ended", holder=self._holder, tasks=ended)
        _log.info("worker ready", holder=self._holder, slots=self._settings.slots)
        while not self._leaving:
            try:
                self._turn()
            except StoreUnavailable as exc:
                _log.warning("database unavailable", error=exc.message)
                time.sleep(_REPORT_SECONDS)
            except Exception:  # the worker's outermost loop: one odd task must not end the others
                _log.exception("a turn of the worker failed")
                time.sleep(_REPORT_SECONDS)
            time.sleep(_LOOK_SECONDS)
        for attempt in self._attempts:
            self._give_back(attempt)
        if lock is not None:
            os.close(lock)

    def _turn(self) -> None:
        now = time.monotonic()
        if len(self._attempts) < self._settings.slots and now - self._claimed_at >= _CLAIM_SECONDS:
            self._claimed_at = now
            self._claim()
        for attempt in list(self._attempts):
            try:
                self._look_after(attempt)
            except LeaseLost as exc:
                # Normal after a long pause: another attempt has the task, and nothing of this one counts.
                _say(attempt.assignment, "lost its lease, and ends")
                _log.warning("lease lost", task=attempt.assignment.task.id, detail=exc.message)
                self._drop(attempt)
        if not self._attempts and now - self._swept_at >= _SWEEP_SECONDS:
            self._swept_at = now
            for work in self._works:
                work.sweep()

    def _claim(self) -> None:
        while len(self._attempts) < self._settings.slots:
            claimed = self._claim_one()
            if claimed is None:
                return
            work, assignment = claimed
            task = assignment.task
            _log.info("attempt begins", task=task.id, attempt=task.attempt, what=assignment.label)
            _say(assignment, f"attempt {task.attempt} begins: {assignment.label}")
            try:
                self._begin(work, assignment)
            except LeaseLost as exc:
                _log.warning("lease lost", task=task.id, detail=exc.message)

    def _claim_one(self) -> tuple[Work, Assignment] | None:
        for work in list(self._works):
            # In turn, so that a long queue of one work does not keep another waiting.
            self._works.append(self._works.pop(0))
            assignment = work.claim(self._holder)
            if assignment is not None:
                return work, assignment
        return None

    def _begin(self, work: Work, assignment: Assignment) -> None:
        if assignment.published is not None:
            self._publish(work, assignment, assignment.published)
            return
        try:
            process = LocalProcess(assignment.program)
        except OSError as exc:
            _fail(work, assignment, _failure(exc, "the attempt could not be started"))
            return
        self._attempts.append(_Attempt(work, assignment, process))

    def _look_after(self, attempt: _Attempt) -> None:
        attempt.listen()
        status = attempt.process.poll()
        if status is not None:
            attempt.listen()  # what it told between the first listening and its end
            self._finish(attempt, status)
            return
        now = time.monotonic()
        if attempt.stop_asked_at is not None and now - attempt.stop_asked_at >= self._settings.stop_grace_seconds:
            attempt.process.signal_group(signal.SIGKILL)
        # The first shard or block is told of at once: a supervisor killed then must not leave its attempt barren.
        first_fruit = attempt.fruitful and not attempt.fruit_reported
        if first_fruit or now - attempt.reported_at >= _REPORT_SECONDS:
            attempt.reported_at = now
            self._report(attempt, now)

    def _report(self, attempt: _Attempt, now: float) -> None:
        try:
            seconds_left = attempt.pace.seconds_left(attempt.progress, now=now)
            progress = replace(attempt.progress, eta_seconds=seconds_left)
            asked = attempt.work.report(attempt.assignment.task, progress, fruitful=attempt.fruitful)
        except StoreUnavailable:
            if now - attempt.renewed_at >= self._settings.lease_seconds:
                _log.warning("lease could not be renewed", task=attempt.assignment.task.id)
                self._drop(attempt)
            raise
        attempt.renewed_at = now
        attempt.fruit_reported = attempt.fruitful
        if asked and attempt.stop_asked_at is None:
            attempt.stop_asked_at = now
            _say(attempt.assignment, "a stop was asked for")
            attempt.process.signal_group(signal.SIGTERM)

    def _finish(self, attempt: _Attempt, status: int) -> None:
        """The process has ended: publish, fail, stop or give back, whichever is true."""
        work, task = attempt.work, attempt.assignment.task
        if work.report(task, attempt.progress, fruitful=attempt.fruitful):
            _say(attempt.assignment, "stopped")
            work.stopped(task)
            _log.info("stopped", task=task.id)
        elif attempt.done is not None:
            self._publish(work, attempt.assignment, attempt.done)
        elif attempt.failed is not None:
            work.fail(task, attempt.failed)
            _log.info("failed", task=task.id, reason=attempt.failed)
        else:
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            if status == -signal.SIGKILL:
                how += ", as the system does when memory runs out"
            _say(attempt.assignment, f"attempt {task.attempt} ended {how}")
            work.release(task, why=f"attempt {task.attempt} ended {how}", forgive=False)
            _log.warning("attempt died", task=task.id, attempt=task.attempt, how=how)
        self._forget(attempt)

    def _publish(self, work: Work, assignment: Assignment, result: Any) -> None:
        task = assignment.task
        _say(assignment, "publishing")
        try:
            if work.publish(assignment, result):
                _log.info("succeeded", task=task.id)
            else:
                _say(assignment, "stopped")
                work.stopped(task)
        except OSError as exc:
            _fail(work, assignment, _failure(exc, "the output could not be published"))
        except TaskError as exc:
            _fail(work, assignment, exc)

    def _give_back(self, attempt: _Attempt) -> None:
        attempt.process.kill()
        _say(attempt.assignment, "its worker was asked to leave")
        try:
            attempt.work.release(attempt.assignment.task, why="its worker was asked to leave", forgive=True)
        except (LeaseLost, StoreUnavailable) as exc:
            _log.warning("could not give the task back", task=attempt.assignment.task.id, detail=exc.message)

    def _drop(self, attempt: _Attempt) -> None:
        attempt.process.kill()
        self._forget(attempt)

    def _forget(self, attempt: _Attempt) -> None:
        attempt.process.close()
        self._attempts.remove(attempt)


def _starting(task: Held) -> Progress:
    """As far as the attempts before it were, until the attempt tells: what they finished is not to be done again."""
    return Progress(
        stage="starting",
        percent=task.percent,
        bytes_done=task.bytes_done,
        bytes_total=task.bytes_total,
        shards_done=0,
    )


def _say(assignment: Assignment, text: str) -> None:
    """One line of the task's log; said before the state changes, so that who sees the end has read it all."""
    append_line(assignment.program.log, text, now=system_clock())


def _fail(work: Work, assignment: Assignment, exc: TaskError) -> None:
    _say(assignment, f"failed: {exc.failed_reason()}")
    work.fail(assignment.task, exc.failed_reason())


def _failure(exc: OSError, what: str) -> TaskError:
    kind = DiskFull if exc.errno in (errno.ENOSPC, errno.EDQUOT) else InternalFailure
    return kind(f"{what}: {exc.strerror}")


def _take_name(data: Path) -> tuple[str, int | None]:
    """This worker's name on leases, and the lock that proves nobody else has it.

    The first worker of a data directory bears the name that is written in the lock file, every time it is started, so
    it may end the leases its predecessor left. Any further one has a random name and no such right.
    """
    random_name = f"{socket.gethostname()}:{secrets.token_hex(8)}"
    descriptor = os.open(data / "worker.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return random_name, None
    # Not made of host and path: two machines of one database may well have both in common.
    name = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
    if not name:
        name = random_name
        os.pwrite(descriptor, f"{name}\n".encode(), 0)
        os.fsync(descriptor)
    return name, descriptor
