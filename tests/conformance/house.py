"""A house of services over one database and a data directory, with a tiny checkpoint to import."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from modelpress.domain.model import Location, ModelSet, ModelVersion
from modelpress.domain.policy import Caller, Policy
from modelpress.domain.recipe import Recipe
from modelpress.domain.task import Task, TaskStatus
from modelpress.service.models import ImportRequest
from modelpress.service.services import Services
from modelpress.service.tasks import TaskRequest
from modelpress.service.work import Assignment
from modelpress.settings import Settings
from modelpress.tensors.staging import MANIFEST
from tests.conformance.clock import SettableClock
from tests.conformance.scene import RECIPE
from tests.golden.synthetic import write_safetensors

SHARD = b"what an attempt wrote"


def write_checkpoint(directory: Path, *, architecture: str = "LlamaForCausalLM") -> Path:
    """A model of one linear layer, written by hand."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"architectures": [architecture], "model_type": "llama"}))
    weight = ("F16", (8, 32), bytes(range(256)) * 2)
    write_safetensors(directory / "model.safetensors", {"model.layers.0.mlp.up_proj.weight": weight})
    return directory


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The services, and one account with an imported model."""

    services: Services
    settings: Settings
    clock: SettableClock
    caller: Caller
    model_set: ModelSet
    source: ModelVersion

    @property
    def outputs(self) -> Path:
        """The bucket of what we make."""
        return self.settings.data / "outputs"

    def task(self, recipe: Recipe = RECIPE) -> Task:
        """A new task."""
        request = TaskRequest(
            name="task",
            description="",
            source_model_id=self.source.id,
            model_set_id=self.model_set.id,
            recipe=recipe,
        )
        return self.services.tasks.create(self.caller, request)

    def import_from(self, location: Location) -> ModelVersion:
        """A new version of what lies there."""
        request = ImportRequest(set_id=self.model_set.id, location=location)
        return self.services.models.import_version(self.caller, request)

    def claim(self) -> Assignment:
        """What a worker gets, which must be something."""
        assignment = self.services.work.claim("worker")
        assert assignment is not None
        return assignment

    def finished(self) -> Assignment:
        """An attempt whose shards are all written and verified, but not published."""
        assignment = self.claim()
        stage(assignment)
        return assignment

    def status(self, task: Task) -> TaskStatus:
        """The task's status now."""
        return self.services.tasks.get(self.caller, task.id).status

    def lose_the_worker(self) -> None:
        """Let every lease end."""
        self.clock.advance(seconds=self.settings.lease_seconds + 1)

    def versions(self) -> list[str]:
        """The ids of the set's versions."""
        found = self.services.models.get_set(self.caller, set_id=self.model_set.id, name=None)
        return [version.id for version in found.versions]

    def output_folders(self) -> list[str]:
        """What lies in the bucket of what we make, by name; other than staging."""
        folder = self.outputs / self.caller.account_id
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def staging_folders(self) -> list[str]:
        """The tasks that have a staging folder."""
        folder = self.outputs / ".staging"
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def stage(assignment: Assignment) -> None:
    """Write what an attempt writes; it may be there already."""
    assignment.staging.mkdir(parents=True, exist_ok=True)
    (assignment.staging / MANIFEST).write_text("{}")
    (assignment.staging / "model.safetensors").write_bytes(SHARD)


def make_house(services: Services, settings: Settings, clock: SettableClock, *, account: str = "ours") -> House:
    """A house in the account of this name; several may share the services."""
    pair = services.access.create_key(account=account, policies=[Policy.FULL_CONTROL])
    caller, _ = services.access.caller(pair.access_key)
    model_set = services.models.create_set(caller, name="models", model_type="text2text", labels=[])
    tiny = settings.data / "local" / "tiny"
    if not tiny.exists():
        write_checkpoint(tiny)
    request = ImportRequest(set_id=model_set.id, location=Location(bucket="local", path="tiny"))
    return House(
        services=services,
        settings=settings,
        clock=clock,
        caller=caller,
        model_set=model_set,
        source=services.models.import_version(caller, request),
    )
