"""Waiting for tasks while the server comes and goes; its replies are written down beforehand."""

from __future__ import annotations

from typing import Any

from tests.unit.cli.conftest import Cli, Script

TASK = "amva-000000000000"
BUSY = (503, {"requestId": "r", "code": "ServiceUnavailable", "message": "busy"})


def answer(status: str, percent: int, **more: str) -> tuple[int, dict[str, Any]]:
    counted = {"progress": percent, "bytesDone": percent * 10, "bytesTotal": 1000 if percent else 0}
    return 200, {"requestId": "r", "result": {"id": TASK, "status": status, **counted, **more}}


def test_a_line_is_told_for_each_change_of_state_stage_and_tenth(cli: Cli, script: Script) -> None:
    script.replies = [
        answer("creating", 0),
        answer("running", 11, stage="compressing"),
        answer("running", 19, stage="compressing"),
        answer("running", 20, stage="compressing"),
        answer("succeeded", 100, stage="verify", modelId="amv-000000000000"),
    ]
    outcome = cli("task", "wait", TASK)
    assert outcome.code == 0
    assert outcome.err == (
        f"{TASK}: creating\n{TASK}: running, compressing 10 %\n{TASK}: running, compressing 20 %\n{TASK}: succeeded\n"
    )


def test_a_server_that_is_busy_for_a_while_is_asked_again(cli: Cli, script: Script) -> None:
    script.replies = [answer("creating", 0), BUSY, BUSY, answer("succeeded", 100)]
    outcome = cli("task", "wait", TASK)
    assert outcome.code == 0
    assert outcome.err == (
        f"{TASK}: creating\nthe server does not answer; it is asked again for 60 s\n{TASK}: succeeded\n"
    )


def test_a_server_that_is_busy_from_the_beginning_is_not_waited_for(cli: Cli, script: Script) -> None:
    script.replies = [BUSY]
    outcome = cli("task", "wait", TASK)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: busy (ServiceUnavailable, HTTP 503, request r)\n"


def test_a_task_that_is_deleted_meanwhile_is_an_error(cli: Cli, script: Script) -> None:
    gone = (404, {"requestId": "r", "code": "NoSuchModelCompTask", "message": "no such task"})
    script.replies = [answer("creating", 0), gone]
    outcome = cli("task", "wait", TASK)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[-1] == "error: no such task (NoSuchModelCompTask, HTTP 404, request r)"
