"""Exports by real processes: whatever is killed, the directory appears once, whole, with the model's bytes."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from modelpress.domain.export import MANIFEST
from tests.acceptance.checkpoint import file_hashes
from tests.acceptance.conftest import MakeServer, Sample
from tests.acceptance.server import Model, Server, await_outside, end_process

pytestmark = pytest.mark.slow

PROGRAM = "modelpress.worker.export"


def create_export(server: Server, model: Model) -> str:
    return str(server.call("CreateModelExportTask", {"modelId": model.id})["exportId"])


def describe(server: Server, model: Model) -> dict[str, Any]:
    detail: dict[str, Any] = server.call("DescribeModelExportTask", {"modelId": model.id})
    return detail


def await_end(server: Server, model: Model) -> dict[str, Any]:
    def look() -> dict[str, Any]:
        detail = describe(server, model)
        return detail if detail["status"] != "Doing" else {}

    return await_outside(look, what=f"the export of {model.id} ends")


def visible(server: Server) -> list[Path]:
    """All directories of exports that anybody can see."""
    return sorted((server.data / "exports").glob("[!.]*/*/*"))


def staged(server: Server, export_id: str) -> int:
    """Bytes in an export's staging folder."""
    total = 0
    for folder, _, names in os.walk(server.data / "exports" / ".staging" / export_id):
        for name in names:
            with suppress(FileNotFoundError):  # it got its final name meanwhile
                total += os.stat(os.path.join(folder, name)).st_size
    return total


def await_copied(server: Server, export_id: str, wanted_bytes: int) -> None:
    """Wait until so much was copied, or all of it."""
    await_outside(
        lambda: staged(server, export_id) >= wanted_bytes or bool(visible(server)), what=f"{wanted_bytes} bytes"
    )


def assert_exported_once(server: Server, model: Model, detail: dict[str, Any]) -> None:
    story = f"{detail}\n{server.said()}"
    assert detail["status"] == "Done", story
    folder = server.data / detail["bucket"] / detail["objectPath"]
    assert visible(server) == [folder]
    found = file_hashes(folder)
    assert found.pop(MANIFEST) == detail["sha256"]
    assert found == file_hashes(model.directory)
    assert detail["fileSize"] == sum((folder / name).stat().st_size for name in found)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", MANIFEST], cwd=folder, check=True)
    staging = server.data / "exports" / ".staging"
    await_outside(lambda: not any(staging.iterdir()), what="staging is empty", seconds=5)


def kill_attempt(server: Server) -> None:
    for number in server.processes.with_argument(PROGRAM):
        end_process(number)


def kill_supervisor(server: Server) -> None:
    end_process(server.worker_pid())


def kill_server(server: Server) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("seed", [1, 2])
def test_an_export_whose_processes_are_killed_at_random_ends_in_the_models_bytes(
    seed: int, make_server: MakeServer, large: Sample
) -> None:
    server = make_server()
    model = server.register(large.directory, name="large")
    total = sum(path.stat().st_size for path in large.directory.iterdir())
    chance = random.Random(seed)
    export_id = create_export(server, model)
    for part in range(5):
        place = int(total * (part + chance.random()) / 6)
        await_copied(server, export_id, place)
        chance.choice((kill_attempt, kill_supervisor, kill_server))(server)
        for folder in visible(server):
            assert (folder / MANIFEST).is_file(), "half a directory is visible"
    detail = await_end(server, model)
    assert_exported_once(server, model, detail)
    assert max(event["attempt"] for event in detail["events"]) > 1, detail


#: Placed on the path as sitecustomize.py: for each file that is met, the first process that is about to do this dies.
DIES = """
import hashlib, os, signal, sys

def die(event, arguments):
    if event != {event!r}:
        return
    subject = os.fsdecode(arguments[{position}]) if isinstance(arguments[{position}], (str, bytes, os.PathLike)) else ""
    if not ({condition}):
        return
    try:
        os.close(os.open(os.path.join({marks!r}, hashlib.md5(subject.encode()).hexdigest()), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
"""


@pytest.fixture
def dying(make_server: MakeServer, tmp_path: Path) -> Callable[..., tuple[Server, Path]]:
    """A server whose processes die when they are about to do something, once for each thing they do it to."""

    def make(*, event: str, position: int, condition: str) -> tuple[Server, Path]:
        marks = tmp_path / "marks"
        marks.mkdir()
        hook = DIES.format(event=event, position=position, condition=condition, marks=str(marks))
        (tmp_path / "sitecustomize.py").write_text(hook)
        path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
        return make_server(environment={"PYTHONPATH": path}), marks

    return make


def test_an_attempt_that_dies_before_every_single_file_gets_its_name_ends_well(
    dying: Callable[..., tuple[Server, Path]], small: Sample
) -> None:
    server, marks = dying(event="os.rename", position=1, condition="'/files/' in subject")
    model = server.register(small.directory, name="small")
    create_export(server, model)
    detail = await_end(server, model)
    assert_exported_once(server, model, detail)
    deaths = len(list(marks.iterdir()))
    assert deaths == len(list(small.directory.iterdir())) + 1, "each file, and the manifest"
    assert max(event["attempt"] for event in detail["events"]) == deaths + 1


@pytest.mark.parametrize(
    ("event", "position", "condition", "published"),
    [
        # The folder is about to become the exported directory; it has, and that is about to be made durable.
        ("os.rename", 0, "subject.endswith('/files')", False),
        ("open", 0, "'/exports/acc-' in subject and os.path.isdir(subject)", True),
    ],
)
def test_a_supervisor_that_dies_while_it_publishes_an_export_publishes_once(
    event: str,
    position: int,
    condition: str,
    published: bool,
    dying: Callable[..., tuple[Server, Path]],
    small: Sample,
) -> None:
    server, marks = dying(event=event, position=position, condition=condition)
    model = server.register(small.directory, name="small")
    create_export(server, model)
    await_outside(lambda: any(marks.iterdir()), what="the supervisor dies")
    assert bool(visible(server)) is published
    detail = await_end(server, model)
    assert_exported_once(server, model, detail)
    assert "attempt 2 begins" in [event["message"] for event in detail["events"]]


def test_a_source_that_was_harmed_fails_as_bad_source_and_compression_goes_on_beside(
    make_server: MakeServer, small: Sample
) -> None:
    server = make_server(arguments=["--no-worker"])
    model = server.register(small.directory, name="small")
    other = server.register(small.directory, name="other")
    create_export(server, model)
    task_id = server.create_task(other, weight=small.weight)
    (model.directory / "linked").symlink_to("/etc/passwd")
    with server.extra_worker():
        detail = await_end(server, model)
        assert server.await_status(task_id, "succeeded", "failed")["status"] == "succeeded"
    assert detail["status"] == "Fail"
    assert detail["failedReason"].startswith("BadSource: linked leads out of its bucket")
    assert not visible(server)
    assert not list((server.data / "exports" / ".staging").glob("*"))
