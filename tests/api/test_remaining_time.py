"""etaSeconds is there while a task runs and its worker can tell, and not otherwise."""

from __future__ import annotations

from modelpress.domain.task import Progress
from tests.api.server import Account, RunningServer


def _told(account: Account, task_id: str) -> set[int | None]:
    """What detail and list tell, which must be one thing."""
    detail = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})
    (item,) = account.call("DescribeModelCompTasks")["modelCompTaskList"]
    return {detail.get("etaSeconds"), item.get("etaSeconds")}


def _progress(eta_seconds: int | None) -> Progress:
    return Progress(
        stage="compressing", percent=40, bytes_done=4, bytes_total=10, shards_done=1, eta_seconds=eta_seconds
    )


def test_the_remaining_time_is_told_while_it_is_known_and_the_task_runs(account: Account) -> None:
    work = account.server.services.work
    task_id = account.make_task(*account.make_world())
    assert _told(account, task_id) == {None}
    task = account.server.claim(task_id).task
    assert _told(account, task_id) == {None}
    for seconds in (90, 0, None, 30):
        work.report(task, _progress(seconds), fruitful=True)
        assert _told(account, task_id) == {seconds}
    account.done("CancelModelCompTask", {"modelCompTaskId": task_id})
    assert _told(account, task_id) == {None}
    work.stopped(task)
    assert _told(account, task_id) == {None}


def test_a_task_without_a_worker_knows_no_remaining_time(own_server: RunningServer) -> None:
    account, work = own_server.account(), own_server.services.work
    task_id = account.make_task(*account.make_world())
    task = own_server.claim(task_id).task
    work.report(task, _progress(30), fruitful=True)
    work.release(task, why="killed", forgive=False)
    assert _told(account, task_id) == {None}
    work.report(own_server.claim(task_id).task, _progress(30), fruitful=True)
    own_server.clock.advance(seconds=own_server.settings.lease_seconds + 1)
    own_server.claim(task_id)
    assert _told(account, task_id) == {None}
