"""Webhooks of a real server: a task's whole life is told to a receiver, and one that hangs delays nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from modelpress.service.clock import system_clock
from modelpress.service.services import open_services
from modelpress.service.webhooks import LEASE
from modelpress.settings import Settings
from modelpress.worker.courier import Courier
from tests.acceptance.conftest import Sample
from tests.acceptance.server import Server, await_outside, end_process
from tests.receiver import Receiver, running_receiver

pytestmark = pytest.mark.slow

#: Far less than the ten seconds that a receiver has to answer.
STOP_SECONDS = 8


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver."""
    with running_receiver() as running:
        yield running


def webhook(server: Server, command: str, *arguments: str) -> str:
    """What ``modelpress webhook`` prints."""
    program = [sys.executable, "-m", "modelpress.cli.main", "webhook", command, "--data", str(server.data)]
    ended = subprocess.run(
        [*program, *arguments], env=server.processes.full_environment({}), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_receiver_is_told_of_a_tasks_life_signed_with_the_secret_that_was_shown(
    server: Server, small: Sample, receiver: Receiver
) -> None:
    secret = webhook(server, "set", receiver.url).strip()
    task_id = server.create_task(server.register(small.directory, name="small"), weight=small.weight)
    detail = server.await_status(task_id, "succeeded", "failed")
    await_outside(lambda: len(receiver.received) == 3, what="all was told")
    bodies: list[dict[str, Any]] = [Webhook(secret).verify(got.body, got.headers) for got in receiver.received]
    assert [body["data"]["status"] for body in bodies] == ["creating", "running", "succeeded"]
    assert {body["data"]["id"] for body in bodies} == {task_id}
    assert bodies[-1]["data"]["modelId"] == detail["modelId"]

    def listed() -> list[str]:
        return [row["state"] for row in json.loads(webhook(server, "deliveries", "--json"))]

    await_outside(lambda: listed() == ["delivered"] * 3, what="all is noted as delivered")


def test_what_a_killed_worker_was_sending_is_sent_again_under_the_same_id(server: Server, receiver: Receiver) -> None:
    receiver.may_answer.clear()
    secret = webhook(server, "set", receiver.url).strip()
    queued = webhook(server, "test").strip()
    assert receiver.came.wait(60)
    end_process(server.worker_pid())
    receiver.may_answer.set()
    # Another worker, after the lease: its clock goes before, so that nobody has to wait.
    later = open_services(Settings(data=server.data), clock=lambda: system_clock() + LEASE)
    with later as services:
        parcel = services.webhooks.claim()
        assert parcel is not None
        Courier(services.webhooks).deliver(parcel)
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == queued
    assert first.body == second.body
    assert Webhook(secret).verify(second.body, second.headers)["type"] == "ping"
    (listed,) = json.loads(webhook(server, "deliveries", "--json"))
    assert (listed["id"], listed["state"], listed["tries"]) == (queued, "delivered", 2)


def test_a_receiver_that_hangs_delays_neither_tasks_nor_the_servers_end(
    server: Server, small: Sample, receiver: Receiver
) -> None:
    receiver.may_answer.clear()
    webhook(server, "set", receiver.url)
    task_id = server.create_task(server.register(small.directory, name="small"), weight=small.weight)
    assert receiver.came.wait(60)
    assert server.await_status(task_id, "succeeded", "failed")["status"] == "succeeded"
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < STOP_SECONDS
