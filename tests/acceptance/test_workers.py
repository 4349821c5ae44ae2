"""Workers apart from the server, several of them, and on PostgreSQL: no task is done twice, none is forgotten."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.acceptance.checkpoint import file_hashes
from tests.acceptance.conftest import SLOW, MakeServer, Sample
from tests.acceptance.server import Server, await_outside, end_process
from tests.conformance.postgres import running_server

pytestmark = pytest.mark.slow


def assert_each_done_once(server: Server, task_ids: list[str], sample: Sample) -> None:
    details = [server.await_status(task_id, "succeeded", "failed") for task_id in task_ids]
    assert [detail["status"] for detail in details] == ["succeeded"] * len(task_ids)
    assert [detail["events"][-1]["attempt"] for detail in details] == [1] * len(task_ids)
    outputs = [server.output(detail) for detail in details]
    assert server.produced() == sorted(outputs)
    assert [file_hashes(output) for output in outputs] == [sample.hashes] * len(task_ids)


def assert_has_an_attempt(server: Server, worker: int) -> None:
    await_outside(
        lambda: server.processes.with_argument("modelpress.worker.attempt", parent=worker),
        what=f"an attempt of worker {worker}",
    )


def test_two_workers_on_one_data_directory_share_the_tasks_and_do_none_twice(server: Server, large: Sample) -> None:
    with server.extra_worker() as extra:
        model = server.register(large.directory, name="large")
        task_ids = [server.create_task(model, weight=large.weight) for _ in range(6)]
        assert_has_an_attempt(server, server.worker_pid())
        assert_has_an_attempt(server, extra.pid)
        assert_each_done_once(server, task_ids, large)


def test_a_worker_that_was_frozen_beyond_its_lease_changes_nothing_when_it_wakes(
    make_server: MakeServer, large: Sample
) -> None:
    server = make_server(environment=SLOW | {"MODELPRESS_LEASE_SECONDS": "1"})
    model = server.register(large.directory, name="large")
    task_id = server.create_task(model, weight=large.weight)
    server.await_staged_bytes(task_id, 1)
    frozen, old_attempt = server.worker_pid(), server.attempt_pid()
    for process in (frozen, old_attempt):
        os.kill(process, signal.SIGSTOP)
    with server.extra_worker() as extra:
        assert_has_an_attempt(server, extra.pid)
        for process in (old_attempt, frozen):
            os.kill(process, signal.SIGCONT)
        detail = server.await_status(task_id, "succeeded", "failed")
        server.processes.await_gone(old_attempt)
        await_outside(lambda: "lease lost" in server.said(), what="the worker has noticed")
    assert detail["status"] == "succeeded", detail
    assert server.task(task_id) == detail
    assert file_hashes(server.output(detail)) == large.hashes
    assert server.produced() == [server.output(detail)]
    assert not server.staging(task_id).exists()


def test_a_server_without_a_worker_leaves_tasks_waiting_until_one_comes(make_server: MakeServer, small: Sample) -> None:
    server = make_server(arguments=["--no-worker"])
    task_id = server.create_task(server.register(small.directory, name="small"), weight=small.weight)
    assert not server.processes.with_argument("worker")
    assert server.task(task_id)["status"] == "creating"
    with server.extra_worker():
        assert_each_done_once(server, [task_id], small)


@pytest.mark.postgres
def test_on_postgresql_a_killed_supervisor_and_a_second_worker_change_nothing(
    make_server: MakeServer, large: Sample, tmp_path: Path
) -> None:
    with running_server() as postgres:
        environment = SLOW | {"MODELPRESS_DATABASE": postgres.url(postgres.create_database())}
        server = make_server(environment=environment)
        model = server.register(large.directory, name="large")
        first, second = [server.create_task(model, weight=large.weight) for _ in range(2)]
        server.await_staged_bytes(first, large.output_bytes // 3)
        with server.extra_worker():
            end_process(server.worker_pid())
            details = [server.await_status(task_id, "succeeded", "failed") for task_id in (first, second)]
        assert [file_hashes(server.output(detail)) for detail in details] == [large.hashes] * 2
        assert server.produced() == sorted(server.output(detail) for detail in details)
        assert not (server.data / "modelpress.db").exists()
        assert server.stop() == 0
