"""A task that was stopped half-way is retried: finished shards are taken over, and the bytes are the same."""

from __future__ import annotations

import pytest

from tests.acceptance.checkpoint import file_hashes
from tests.acceptance.conftest import SLOW, MakeServer, Sample
from tests.acceptance.server import await_outside

pytestmark = pytest.mark.slow


def test_a_retry_goes_on_from_the_finished_shards_to_the_bytes_of_an_undisturbed_run(
    make_server: MakeServer, large: Sample
) -> None:
    server = make_server(environment=SLOW)
    model = server.register(large.directory, name="large")
    old = server.create_task(model, weight=large.weight)
    await_outside(lambda: server.task(old).get("etaSeconds"), what="the remaining time was measured")
    server.await_staged_bytes(old, large.output_bytes // 2)
    server.call("CancelModelCompTask", {"modelCompTaskId": old})
    assert server.await_status(old, "stopped", "succeeded")["status"] == "stopped"
    assert server.staging(old).is_dir()

    new = str(server.call("RetryModelCompTask", {"modelCompTaskId": old}))
    detail = server.await_status(new, "succeeded", "failed")

    assert detail["status"] == "succeeded", detail
    assert 4 <= detail["statistics"]["shardsReused"] < 16
    assert file_hashes(server.output(detail)) == large.hashes
    assert server.produced() == [server.output(detail)]
    assert detail["retryOf"] == old
    assert server.task(old)["events"][-1]["message"] == f"retried as {new}"
    assert not server.staging(old).exists()
    assert not server.staging(new).exists()
