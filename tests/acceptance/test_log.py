"""What a task's log tells of attempts that are over, and that it can be followed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.acceptance.conftest import SLOW, MakeServer, Sample
from tests.acceptance.server import end_process

pytestmark = pytest.mark.slow

_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 ")


def test_the_log_of_a_killed_and_resumed_task_tells_the_whole_story_to_who_follows_it(
    make_server: MakeServer, large: Sample
) -> None:
    server = make_server(environment=SLOW)
    task_id = server.create_task(server.register(large.directory, name="large"), weight=large.weight)
    command = [sys.executable, "-m", "modelpress.cli.main", "task", "logs", task_id, "--follow", "--data"]
    with subprocess.Popen([*command, str(server.data)], stdout=subprocess.PIPE, text=True) as follower:
        server.await_staged_bytes(task_id, large.output_bytes // 2)
        end_process(server.attempt_pid())
        assert server.await_status(task_id, "succeeded", "failed")["status"] == "succeeded"
        assert follower.stdout is not None
        lines = follower.stdout.read().splitlines()
    assert follower.returncode == 0
    assert all(_TIME.match(line) for line in lines), lines
    told = [_TIME.sub("", line) for line in lines]
    assert told[0] == "attempt 1 begins: W4A16C16"
    assert told[1].startswith("plan: ")
    died = told.index("attempt 1 ended by signal 9, as the system does when memory runs out")
    assert told[died + 1] == "attempt 2 begins: W4A16C16"
    reused = int(re.findall(r"^(\d+) of 16 shards were finished before$", "\n".join(told), re.MULTILINE)[0])
    shards = [int(number) for number in re.findall(r"^shard (\d+) of 16", "\n".join(told), re.MULTILINE)]
    assert reused >= 4
    assert shards[-(16 - reused) :] == list(range(reused + 1, 17))
    assert [line.split(":")[0] for line in told[-3:]] == ["verified", "done", "publishing"]
    everything = server.call("DescribeModelCompTaskLogs", {"modelCompTaskId": task_id, "maxLines": 1000})
    assert everything["lines"] == lines
    assert str(server.data) not in "".join(lines)


def test_a_stop_and_a_failure_are_told_at_the_end_of_the_log(make_server: MakeServer, large: Sample) -> None:
    server = make_server(environment=SLOW)
    model = server.register(large.directory, name="large")
    stopped = server.create_task(model, weight=large.weight)
    server.await_staged_bytes(stopped, 1)
    server.call("CancelModelCompTask", {"modelCompTaskId": stopped})
    server.await_status(stopped, "stopped")
    failed = server.create_task(model, weight=large.weight)
    server.await_staged_bytes(failed, 1)
    (model.directory / "model-00016-of-00016.safetensors").unlink()
    reason = server.await_status(failed, "failed")["failedReason"]

    def ends(task_id: str) -> list[str]:
        lines = server.call("DescribeModelCompTaskLogs", {"modelCompTaskId": task_id})["lines"]
        return [_TIME.sub("", line) for line in lines]

    assert ends(stopped)[-2:] == ["a stop was asked for", "stopped"]
    assert ends(failed)[-1] == f"failed: {reason}"
