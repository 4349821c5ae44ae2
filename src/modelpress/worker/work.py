"""What the supervisor asks of a kind of work; compression and export are two of them.

Tasks, assignments and results are the work's own: the supervisor only hands them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from modelpress.domain.task import Held, Progress
from modelpress.runners.local import Program


class Assignment(Protocol):
    """One attempt, as it was claimed."""

    @property
    def task(self) -> Held:
        """What is held."""

    @property
    def label(self) -> str:
        """What is to be done, for the log."""

    @property
    def program(self) -> Program:
        """The process that does it. It tells of ``progress``, and at its end what it has ``done`` or why it failed."""

    @property
    def published(self) -> Any:
        """The result of an attempt that published it and died before it could say so; only that is left to do."""


class Work(Protocol):
    """Rows of one table of work, as one worker sees them. All that takes a task raises LeaseLost."""

    def claim(self, holder: str) -> Assignment | None:
        """The next that needs a worker."""

    def report(self, task: Any, progress: Progress, *, fruitful: bool) -> bool:
        """Write progress and renew the lease; True if a stop was asked for."""

    def result(self, told: Mapping[str, Any]) -> Any:
        """What a process told at its end."""

    def publish(self, assignment: Any, result: Any) -> bool:
        """Make the result everybody's, which may be repeated; False if a stop was asked for first.

        Raises: TaskError, OSError if that cannot be done.
        """

    def fail(self, task: Any, reason: str) -> None:
        """End it as failed."""

    def stopped(self, task: Any) -> None:
        """End it as stopped."""

    def release(self, task: Any, *, why: str, forgive: bool) -> None:
        """Give it back to be claimed again."""

    def release_holder(self, holder: str) -> int:
        """End all leases of a worker that is known to be dead; how many there were."""

    def sweep(self) -> None:
        """Remove what is left over."""
