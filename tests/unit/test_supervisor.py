"""What the supervisor does with kinds of work, whatever they are: it takes them in turn, and asks each of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelpress.domain.task import Progress
from modelpress.runners.local import Program
from modelpress.settings import Settings
from modelpress.worker.supervisor import Supervisor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    id: str
    attempt: int = 1
    percent: int = 0
    bytes_done: int = 0
    bytes_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Assignment:
    task: _Task
    label: str = "nothing"
    program: Program
    #: Already there, so that no process is started.
    published: str = "result"


@dataclass(slots=True, kw_only=True)
class _Queue:
    """A kind of work that only has to be published; notes what was asked of it."""

    name: str
    waiting: int
    notes: list[str]
    data: Path
    supervisors: list[Supervisor] = field(default_factory=list)

    def claim(self, holder: str) -> _Assignment | None:
        if not self.waiting:
            self.supervisors[0].leave()
            return None
        self.waiting -= 1
        program = Program(module="none", spec={}, log=self.data / "log")
        return _Assignment(task=_Task(id=f"{self.name}{self.waiting}"), program=program)

    def publish(self, assignment: _Assignment, result: str) -> bool:
        self.notes.append(assignment.task.id)
        return True

    def release_holder(self, holder: str) -> int:
        self.notes.append(f"{self.name} released")
        return 0

    def sweep(self) -> None:
        self.notes.append(f"{self.name} swept")

    def report(self, task: _Task, progress: Progress, *, fruitful: bool) -> bool:
        raise AssertionError("no process was started")

    def result(self, told: Mapping[str, Any]) -> str:
        raise AssertionError("no process was started")

    def fail(self, task: _Task, reason: str) -> None:
        raise AssertionError(reason)

    def stopped(self, task: _Task) -> None:
        raise AssertionError("nothing was asked to stop")

    def release(self, task: _Task, *, why: str, forgive: bool) -> None:
        raise AssertionError(why)


def test_a_long_queue_of_one_work_does_not_keep_another_waiting(tmp_path: Path) -> None:
    notes: list[str] = []
    long = _Queue(name="a", waiting=4, notes=notes, data=tmp_path)
    short = _Queue(name="b", waiting=2, notes=notes, data=tmp_path)
    supervisor = Supervisor([long, short], Settings(data=tmp_path))
    long.supervisors.append(supervisor)
    short.supervisors.append(supervisor)
    supervisor.run()
    assert notes[:2] == ["a released", "b released"]
    assert notes[2:8] == ["a3", "b1", "a2", "b0", "a1", "a0"]
    assert sorted(notes[8:]) == ["a swept", "b swept"]
