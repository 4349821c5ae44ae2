"""Whatever is killed, and however often: the task succeeds, with the bytes of an undisturbed run, exactly once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.checkpoint import file_hashes
from tests.acceptance.conftest import SLOW, MakeServer, Sample
from tests.acceptance.server import LEASE_SECONDS, Model, Server, await_outside, end_process

pytestmark = pytest.mark.slow

KILLS = 4

Kill = Callable[[Server], None]


def kill_attempt(server: Server) -> None:
    end_process(server.attempt_pid())


def kill_supervisor(server: Server) -> None:
    end_process(server.worker_pid())


def kill_server(server: Server) -> None:
    server.kill()
    server.start()


def moments(seed: int, *, output_bytes: int) -> list[int]:
    """How much is to be written before each kill: one place at random in each of as many equal parts."""
    chance = random.Random(seed)
    part = output_bytes / (KILLS + 1)
    return [int(part * (number + chance.random())) for number in range(KILLS)]


def messages(detail: dict[str, Any]) -> list[str]:
    return [event["message"] for event in detail["events"]]


def assert_done_once(server: Server, model: Model, detail: dict[str, Any], sample: Sample, *, story: str = "") -> None:
    """The output is an undisturbed run's, there is one, and nothing else was left."""
    assert detail["status"] == "succeeded", story or detail
    assert file_hashes(server.output(detail)) == sample.hashes, story
    assert server.produced() == [server.output(detail)]
    model_set = server.call("DescribeModelSet", {"modelSetId": model.set_id})
    assert model_set["modelIds"] == [model.id, detail["modelId"]]
    assert not server.staging(detail["id"]).exists()
    assert messages(detail)[-1] == f"model {detail['modelId']} is ready"


@pytest.mark.parametrize(
    ("kill", "trace", "seed"),
    [
        (kill_attempt, "ended by signal 9", 1),
        (kill_supervisor, "its worker died", 2),
        # Its worker dies after it, or leaves in order, by which of the two is faster.
        (kill_server, "its worker ", 3),
    ],
)
def test_a_task_whose_processes_are_killed_again_and_again_ends_in_the_same_bytes(
    kill: Kill, trace: str, seed: int, make_server: MakeServer, large: Sample
) -> None:
    server = make_server(environment=SLOW)
    model = server.register(large.directory, name="large")
    task_id = server.create_task(model, weight=large.weight)
    began = time.monotonic()
    places = moments(seed, output_bytes=large.output_bytes)
    for place in places:
        server.await_staged_bytes(task_id, place)
        kill(server)
    detail = server.await_status(task_id, "succeeded", "failed", "stopped")
    story = f"seed {seed}, killed at {places} bytes of {large.output_bytes}: {detail}\n{server.said()}"
    assert_done_once(server, model, detail, large, story=story)
    assert {event["attempt"] for event in detail["events"]} == set(range(KILLS + 2)), story
    interrupted = {event["attempt"] for event in detail["events"] if trace in event["message"]}
    assert interrupted == set(range(1, KILLS + 1)), story
    # Had one of them waited for its lease to end, all would have taken longer.
    assert time.monotonic() - began < LEASE_SECONDS, story


def test_a_mixture_of_kills_ends_in_the_same_bytes(make_server: MakeServer, large: Sample) -> None:
    seed = 4
    chance = random.Random(seed)
    kills = [chance.choice((kill_attempt, kill_supervisor, kill_server)) for _ in range(KILLS)]
    server = make_server(environment=SLOW)
    model = server.register(large.directory, name="large")
    task_id = server.create_task(model, weight=large.weight)
    for place, kill in zip(moments(seed, output_bytes=large.output_bytes), kills, strict=True):
        server.await_staged_bytes(task_id, place)
        kill(server)
    detail = server.await_status(task_id, "succeeded", "failed", "stopped")
    assert_done_once(server, model, detail, large, story=f"seed {seed}, {kills}: {detail}\n{server.said()}")


def test_a_killed_supervisor_is_started_again_and_goes_on_at_once(make_server: MakeServer, large: Sample) -> None:
    server = make_server(environment=SLOW)
    task_id = server.create_task(server.register(large.directory, name="large"), weight=large.weight)
    server.await_staged_bytes(task_id, large.output_bytes // 2)
    killed = server.worker_pid()
    orphan = server.attempt_pid()
    # Stopped, it cannot notice by itself that nobody listens any more.
    os.kill(orphan, signal.SIGSTOP)
    end_process(killed)
    server.processes.await_gone(orphan)
    began = time.monotonic()
    detail = server.await_status(task_id, "succeeded", "failed")
    assert time.monotonic() - began < LEASE_SECONDS / 2
    assert detail["status"] == "succeeded"
    assert server.worker_pid() != killed
    assert [event for event in messages(detail) if "worker died" in event]


#: Placed on the path as sitecustomize.py: the first process that is about to do this dies instead.
DIES_ONCE = """
import os, signal, sys

def die(event, arguments):
    if event != {event!r} or not {condition}:
        return
    try:
        os.close(os.open({mark!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
"""


@pytest.mark.parametrize(
    ("event", "condition", "published"),
    [
        # The staging folder is about to become the output; its manifest is about to be removed, there.
        ("os.rename", "os.path.basename(os.path.dirname(str(arguments[0]))) == '.staging'", False),
        ("os.remove", "str(arguments[0]).endswith('-manifest.json')", True),
    ],
)
def test_a_supervisor_that_dies_while_it_publishes_publishes_once(
    event: str, condition: str, published: bool, make_server: MakeServer, small: Sample, tmp_path: Path
) -> None:
    mark = tmp_path / "died"
    hook = DIES_ONCE.format(event=event, condition=condition, mark=str(mark))
    (tmp_path / "sitecustomize.py").write_text(hook)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    server = make_server(environment={"PYTHONPATH": path})
    model = server.register(small.directory, name="small")
    task_id = server.create_task(model, weight=small.weight)
    await_outside(mark.exists, what="the supervisor dies")
    assert bool(server.produced()) is published
    detail = server.await_status(task_id, "succeeded", "failed")
    assert_done_once(server, model, detail, small, story=server.said())
    assert "attempt 2 begins" in messages(detail)


def test_sigterm_ends_the_server_at_once_and_the_task_goes_on_at_the_next_start(
    make_server: MakeServer, large: Sample
) -> None:
    server = make_server(environment=SLOW)
    model = server.register(large.directory, name="large")
    task_id = server.create_task(model, weight=large.weight)
    # More often than barren attempts are allowed, and each time before a shard was finished.
    for _ in range(5):
        server.attempt_pid()
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
        assert not server.processes.alive()
        assert not (server.data / "server.json").exists()
        server.start()
    detail = server.await_status(task_id, "succeeded", "failed")
    assert_done_once(server, model, detail, large)
    assert len([event for event in messages(detail) if "asked to leave" in event]) == 5
