"""What the service must say of its tasks, kept in plain lists: what lists and details are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelpress.domain.task import FINAL, TaskStatus

_S = TaskStatus
_TOLD = (
    *("id", "name", "description", "status", "sourceModelId", "config"),
    *("createTime", "modelId", "finishTime", "tags"),
)


@dataclass(slots=True, kw_only=True)
class ExpectedTask:
    """One task as it must be told."""

    id: str
    owner: str
    name: str
    description: str
    source: str
    set_id: str
    scheme: str
    quant_conf: str
    created_at: datetime
    tags: dict[str, str] = field(default_factory=dict)
    status: TaskStatus = _S.CREATING
    finished_at: datetime | None = None
    reason: str = ""
    #: Not known before the service says it; the same ever after.
    output: str = ""
    deleted: bool = False
    history: list[TaskStatus] = field(default_factory=lambda: [_S.CREATING])

    def move(self, to: TaskStatus, *, now: datetime, reason: str = "") -> None:
        """A change of state."""
        self.status = to
        self.history.append(to)
        if to in FINAL:
            self.finished_at, self.reason = now, reason

    def item(self) -> dict[str, Any]:
        """What must be in a list and in the detail, whatever else is there."""
        config = {"strategy": "Quantization", "weight": self.scheme, "quantConf": self.quant_conf, "method": "rtn"}
        told: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "status": self.status.value,
            "sourceModelId": self.source,
            "config": config,
            "createTime": self.created_at,
            "modelId": None,
            "finishTime": self.finished_at,
            "tags": [{"tagKey": key, "tagValue": value} for key, value in sorted(self.tags.items())] or None,
        }
        if self.status in FINAL:
            told["modelId"] = self.output if self.status is _S.SUCCEEDED else ""
        return told


def as_told(item: dict[str, Any]) -> dict[str, Any]:
    """The same of what the service said; None for what is absent."""
    told: dict[str, Any] = {name: item.get(name) for name in _TOLD}
    for name in ("createTime", "finishTime"):
        told[name] = told[name] and datetime.fromisoformat(told[name])
    return told


Where = Callable[[ExpectedTask], bool]


class ExpectedTasks:
    """All tasks that ever were, of all accounts, in order of creation."""

    def __init__(self) -> None:
        self.all: list[ExpectedTask] = []

    def of(self, owner: str) -> list[ExpectedTask]:
        """An account's own, deleted ones too."""
        return [task for task in self.all if task.owner == owner]

    def listed(self, owner: str, where: Where) -> set[str]:
        """Ids of those that an endless page would show."""
        return {task.id for task in self.of(owner) if not task.deleted and where(task)}

    def next_waiting(self) -> ExpectedTask | None:
        """The one that a worker gets."""
        return next((task for task in self.all if task.status is _S.CREATING), None)

    def place_in_queue(self, task: ExpectedTask) -> int | None:
        """How many wait up to this one, of all accounts; None if it does not wait."""
        waiting = [other.id for other in self.all if other.status is _S.CREATING]
        return waiting.index(task.id) + 1 if task.id in waiting else None

    def from_marker(self, owner: str, *, marker: str, reverse: bool) -> list[ExpectedTask] | None:
        """An account's tasks from the marker on, deleted ones too; None where the marker never was the account's."""
        ordered = self.of(owner)[::-1] if reverse else self.of(owner)
        if not marker:
            return ordered
        places = [place for place, task in enumerate(ordered) if task.id == marker]
        return ordered[places[0] :] if places else None
