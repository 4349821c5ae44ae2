"""What an account has for checks to look at; under ``--write`` it is made where wanted, and removed at the end."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from modelpress.conformance.session import LONGEST_WAIT, Session
from modelpress.conformance.verdict import Mismatch, NotApplicable, ensure

_NO_WRITES = "it would make something, and --write was not given"
_NO_MODEL = "nothing to compress: give --bucket and --path, or --model"
#: How many tasks are created, at most, to find one that still waits.
LONGEST_CROWD = 6
MODEL_FORMAT = "HuggingFace.Transformers"
FINAL = ("succeeded", "failed", "stopped")


def new_name(what: str) -> str:
    """A name that nothing else has."""
    return f"conformance-{what}-{secrets.token_hex(4)}"


class Scene:
    """An account's sets, versions and tasks, looked up once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._options = session.options
        self._made_tasks: list[str] = []
        self._made_models: list[str] = []
        self._made_sets: list[str] = []

    # What is there.

    @cached_property
    def tasks(self) -> list[dict[str, Any]]:
        """The newest tasks, at most a hundred."""
        page = self._session.result("DescribeModelCompTasks", {"maxKeys": 100, "pageReverse": True})
        return list(page["modelCompTaskList"])

    @cached_property
    def sets(self) -> list[dict[str, Any]]:
        """The newest sets, at most a hundred."""
        page = self._session.result("DescribeCustomModelSets", {"maxKeys": 100, "pageReverse": True})
        return list(page["customModelSetList"])

    def task_with(self, *statuses: str) -> str:
        """A task of the account in one of these states.

        Raises: NotApplicable.
        """
        for task in self.tasks:
            if task["status"] in statuses:
                return str(task["id"])
        raise NotApplicable(f"the account has no task that is {' or '.join(statuses)}")

    # What is made.

    def _writing(self) -> None:
        if not self._options.write:
            raise NotApplicable(_NO_WRITES)

    def new_set(self, name: str = "") -> str:
        """A new, empty model set."""
        self._writing()
        body = {"modelSetName": name or new_name("set"), "modelType": "Text2Text"}
        made = str(self._session.result("CreateCustomModelSet", body))
        self._made_sets.append(made)
        return made

    def new_model(self, set_id: str, **more: Any) -> str:
        """The directory of --bucket and --path, registered anew.

        Raises: NotApplicable without one.
        """
        self._writing()
        if not self._options.bucket:
            raise NotApplicable("nothing to import: give --bucket and --path")
        meta = {"bucket": self._options.bucket, "objectPath": self._options.path, "modelFormat": MODEL_FORMAT}
        meta |= more.pop("importMeta", {})
        body = {"modelSetId": set_id, "sourceType": "Import", "importMeta": meta} | more
        made = str(self._session.result("CreateCustomModel", body)["modelId"])
        self._made_models.append(made)
        return made

    @cached_property
    def target_set(self) -> str:
        """A set of our own."""
        return self.new_set()

    @cached_property
    def source(self) -> str:
        """A version that can be compressed, for tasks of our own."""
        self._writing()
        if self._options.model_id:
            return self._options.model_id
        if not self._options.bucket:
            raise NotApplicable(_NO_MODEL)
        return self._ready(self.new_model(self.target_set))

    def _ready(self, model_id: str) -> str:
        for _ in range(LONGEST_WAIT):
            status = self._session.result("DescribeModel", {"modelId": model_id})["status"]
            if status != "Creating":
                break
            self._session.pause()
        ensure(status == "Ready", f"the imported version is {status}")
        return model_id

    def new_task(self, config: dict[str, Any] | None = None, **more: Any) -> str:
        """A new task on ``source``."""
        config = config or {"strategy": "Quantization", "weight": "W8A16C16"}
        body = {"name": "conformance", "sourceModelId": self.source, "modelSetId": self.target_set, "config": config}
        made = str(self._session.result("CreateModelCompTask", body | more))
        self._made_tasks.append(made)
        return made

    def retried(self, task_id: str) -> str:
        """The task that tries this one again."""
        made = str(self._session.result("RetryModelCompTask", {"modelCompTaskId": task_id}))
        self._made_tasks.append(made)
        return made

    def waiting_task(self) -> str:
        """A task that has not been begun: so many are created that the last must wait.

        Raises: NotApplicable where they are begun as fast as they are created.
        """
        for _ in range(LONGEST_CROWD):
            task_id = self.new_task()
            if self._detail(task_id)["status"] == "creating":
                return task_id
        raise NotApplicable("every task was begun at once")

    def end(self, task_id: str) -> dict[str, Any]:
        """Stop a task of ours, unless it has ended; its detail then."""
        if self._detail(task_id)["status"] not in FINAL:
            self._session.call("CancelModelCompTask", {"modelCompTaskId": task_id})
        return self._session.end(task_id, FINAL)

    def _detail(self, task_id: str) -> dict[str, Any]:
        detail: dict[str, Any] = self._session.result("DescribeModelCompTask", {"modelCompTaskId": task_id})
        return detail

    @cached_property
    def succeeded(self) -> dict[str, Any]:
        """The detail of a task that succeeded."""
        if not self._options.write:
            return self._detail(self.task_with("succeeded"))
        task_id = self.new_task({"strategy": "Quantization", "weight": "W4A16C16"}, description="made by a check")
        return self._session.end(task_id, ("succeeded",))

    @cached_property
    def stopped(self) -> dict[str, Any]:
        """The detail of a task that was stopped."""
        if not self._options.write:
            return self._detail(self.task_with("stopped"))
        return self.end(self.waiting_task())

    @cached_property
    def failed(self) -> dict[str, Any]:
        """The detail of a task that failed; none is made to fail."""
        return self._detail(self.task_with("failed"))

    @cached_property
    def set_id(self) -> str:
        """A set, our own under --write."""
        if self._options.write:
            return self.target_set
        if not self.sets:
            raise NotApplicable("the account has no model set")
        return str(self.sets[0]["modelSetId"])

    @cached_property
    def model_id(self) -> str:
        """A version of the account's; one to compress under --write."""
        if self._options.write:
            return self.source
        if self._options.model_id:
            return self._options.model_id
        versions: Sequence[str] = [one for item in self.sets for one in item["modelIds"]]
        if not versions:
            raise NotApplicable("the account has no model version")
        return versions[0]

    @cached_property
    def system_sets(self) -> list[dict[str, Any]]:
        """Sets that are shared with all accounts, at most a hundred.

        Raises: NotApplicable if there is none.
        """
        page = self._session.result("DescribeSystemModelSets", {"maxKeys": 100})
        sets = list(page["systemModelSetList"])
        if not sets:
            raise NotApplicable("no model is shared with all accounts")
        return sets

    @cached_property
    def system_model_id(self) -> str:
        """A version in one of them.

        Raises: NotApplicable.
        """
        for item in self.system_sets:
            if item["modelIds"]:
                return str(item["modelIds"][0])
        raise NotApplicable("the shared model sets have no version")

    def clean_up(self) -> list[str]:
        """Remove all that was made; what was left because the server refused."""
        left = []
        for task_id in self._made_tasks:
            left += self._remove_task(task_id)
        for action, field, ids in (
            ("DeleteModel", "modelId", self._made_models),
            ("DeleteModelSet", "modelSetId", self._made_sets),
        ):
            left += [one for one in ids if self._session.call(action, {field: one}).status not in (200, 404)]
        return left

    def _remove_task(self, task_id: str) -> list[str]:
        body = {"modelCompTaskId": task_id}
        if self._session.call("DescribeModelCompTask", body).status == 404:
            return []
        try:
            detail = self.end(task_id)
        except (Mismatch, LookupError):
            return [task_id]
        if detail.get("modelId"):
            self._session.call("DeleteModel", {"modelId": detail["modelId"]})
        return [] if self._session.call("DeleteModelCompTask", body).status == 200 else [task_id]
