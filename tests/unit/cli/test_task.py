"""``modelpress task`` against a real server, with a real worker where a task is to end well."""

from __future__ import annotations

import json
import shlex
import socket

import pytest

from tests.unit.cli.conftest import Cli, RunningServer, plain


@pytest.fixture
def task(cli: Cli, imported: str) -> str:
    """The id of a task that no worker takes."""
    return cli("task", "create", "--model", imported, "--weight", "W4A16").out.strip()


@pytest.fixture
def unused_url() -> str:
    """An address where nothing listens: the port was ours a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as closing:
        return f"http://127.0.0.1:{closing.getsockname()[1]}"


def test_create_prints_the_id_and_names_the_task_after_model_and_scheme(
    cli: Cli, server: RunningServer, imported: str
) -> None:
    made = cli("task", "create", "--model", imported, "--weight", "wint4")
    assert (made.code, made.plain, made.err) == (0, "amva-xxxxxxxxxxxx\n", "")
    as_json = cli("task", "create", "--model", imported, "--weight", "INT8-PTQ", "--name", "mine", "--json")
    assert list(json.loads(as_json.out)) == ["id"]
    assert cli("task", "list").plain == (
        "TASK               NAME              STATUS    WEIGHT    DONE  CREATED\n"
        "amva-xxxxxxxxxxxx  tiny-V1-W4A16C16  creating  W4A16C16  0 %   YYYY-MM-DD hh:mm\n"
        "amva-xxxxxxxxxxxx  mine              creating  INT8-PTQ  0 %   YYYY-MM-DD hh:mm\n"
    )


def test_the_result_goes_into_the_sources_set_unless_another_is_named(
    cli: Cli, server: RunningServer, imported: str, task: str
) -> None:
    own = json.loads(cli("model", "show", imported, "--json").out)["modelSetId"]
    assert json.loads(cli("task", "show", task, "--json").out)["modelSetId"] == own
    other = cli("model", "create", "other").out.strip()
    made = cli("task", "create", "--model", imported, "--weight", "W8A16", "--set", other).out.strip()
    assert json.loads(cli("task", "show", made, "--json").out)["modelSetId"] == other


def test_an_unknown_scheme_is_wrong_usage_and_an_unknown_model_is_an_error(cli: Cli, server: RunningServer) -> None:
    usage = cli("task", "create", "--model", "amv-000000000000", "--weight", "W3")
    assert usage.code == 2
    assert usage.err.splitlines()[-1].startswith(
        "Error: Invalid value for '--weight': 'W3' is none of INT8-PTQ, W8A16C16, W4A16C16"
    )
    unknown = cli("task", "create", "--model", "amv-000000000000", "--weight", "W8A16")
    assert (unknown.code, unknown.out) == (1, "")
    assert plain(unknown.err) == ("error: no model version 'amv-xxxxxxxxxxxx' (NoSuchModel, HTTP 404, request (id))\n")


def test_wait_follows_tasks_to_their_success_and_tells_each_change(
    cli: Cli, server: RunningServer, worker: None, imported: str
) -> None:
    ids = [cli("task", "create", "--model", imported, "--weight", weight).out.strip() for weight in ("W4A16", "W8A8")]
    outcome = cli("task", "wait", *ids, "--timeout", "60")
    assert outcome.code == 0, outcome.err
    assert outcome.plain == (
        "TASK               STATUS     MODEL             BEFORE   AFTER    TIME\n"
        "amva-xxxxxxxxxxxx  succeeded  amv-xxxxxxxxxxxx  2.01 MB  553 kB   (time)\n"
        "amva-xxxxxxxxxxxx  succeeded  amv-xxxxxxxxxxxx  2.01 MB  1.03 MB  (time)\n"
    )
    changes = outcome.err.splitlines()
    assert [change for change in changes if change.endswith("succeeded")] == [f"{i}: succeeded" for i in ids]
    assert len(changes) == len(set(changes))


def test_create_and_wait_is_one_document_on_stdout(
    cli: Cli, server: RunningServer, worker: None, imported: str
) -> None:
    outcome = cli("task", "create", "--model", imported, "--weight", "W4A16", "--wait", "--json")
    detail = json.loads(outcome.out)
    assert (outcome.code, detail["status"]) == (0, "succeeded")
    assert outcome.err.startswith(f"created {detail['id']}\n")


def test_show_tells_history_measurements_and_where_the_output_lies(
    cli: Cli, server: RunningServer, worker: None, imported: str
) -> None:
    made = cli("task", "create", "--model", imported, "--weight", "W4A16", "--wait", "--json")
    detail = json.loads(made.out)
    outcome = cli("task", "show", detail["id"])
    path = server.settings.data / "outputs" / detail["statistics"]["objectPath"]
    assert (path / "config.json").is_file()
    assert outcome.plain.replace(plain(str(path)).strip(), "(path)") == (
        "task         amva-xxxxxxxxxxxx\n"
        "name         tiny-V1-W4A16C16\n"
        "status       succeeded\n"
        "weight       W4A16C16\n"
        "done         100 %\n"
        "source       amv-xxxxxxxxxxxx\n"
        "model set    am-xxxxxxxxxxxx\n"
        "model        amv-xxxxxxxxxxxx\n"
        "created      YYYY-MM-DD hh:mm\n"
        "finished     YYYY-MM-DD hh:mm\n"
        "group size   128\n"
        "time         (time)\n"
        "before       2.01 MB\n"
        "after        553 kB\n"
        "ratio        27.6%\n"
        "peak memory  (size)\n"
        "kernel       (kernel)\n"
        "path         (path)\n"
        "\n"
        "TIME              STATUS     ATTEMPT  EVENT\n"
        "YYYY-MM-DD hh:mm  creating   0        accepted\n"
        "YYYY-MM-DD hh:mm  running    1        attempt 1 begins\n"
        "YYYY-MM-DD hh:mm  succeeded  1        model amv-xxxxxxxxxxxx is ready\n"
    )


def test_wait_fails_with_the_reason_when_a_task_fails(
    cli: Cli, server: RunningServer, imported: str, task: str, request: pytest.FixtureRequest
) -> None:
    path = json.loads(cli("model", "show", imported, "--json").out)["sourceInfo"]["objectPath"]
    source = server.settings.data / "local" / path
    source.rename(source.with_name("gone"))
    request.getfixturevalue("worker")
    outcome = cli("task", "wait", task, "--json")
    [detail] = json.loads(outcome.out)
    assert (outcome.code, detail["status"]) == (1, "failed")
    why = f"BadSource: the source is not there any more: bucket 'local' has no model directory '{path}'"
    assert outcome.err.splitlines()[-1] == f"error: {task} failed: {why}"


def test_wait_fails_when_a_task_was_stopped(cli: Cli, server: RunningServer, task: str) -> None:
    stopped = cli("task", "cancel", task, "--json")
    assert json.loads(stopped.out) == [{"id": task, "status": "stopped"}]
    assert stopped.err == f"{task} is stopped\n"
    outcome = cli("task", "wait", task)
    assert outcome.code == 1
    assert outcome.plain == ("TASK               STATUS   MODEL  BEFORE  AFTER  TIME\namva-xxxxxxxxxxxx  stopped\n")
    assert outcome.err == f"{task}: stopped\nerror: {task} stopped\n"


def test_wait_gives_up_when_its_time_is_up(cli: Cli, server: RunningServer, task: str) -> None:
    outcome = cli("task", "wait", task, "--timeout", "0.3")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        f"{task}: creating\n"
        f"error: after 0.3 s {task} is creating\n"
        "hint: wait again, or stop it: modelpress task cancel ID\n"
    )


def test_list_pages_by_limit_and_marker_and_says_how_to_go_on(cli: Cli, server: RunningServer, imported: str) -> None:
    ids = [cli("task", "create", "--model", imported, "--weight", "W4A16").out.strip() for _ in range(3)]
    first = cli("task", "list", "--limit", "2", "--json")
    assert [item["id"] for item in json.loads(first.out)] == ids[:2]
    assert first.err == f"there are more: --marker {ids[2]}\n"
    rest = cli("task", "list", "--marker", ids[2], "--json")
    assert ([item["id"] for item in json.loads(rest.out)], rest.err) == (ids[2:], "")
    newest = cli("task", "list", "--reverse", "--limit", "1", "--model", imported, "--json")
    assert [item["id"] for item in json.loads(newest.out)] == ids[2:]
    assert cli("task", "list", "--model", "amv-000000000000", "--json").out == "[]\n"


def test_delete_takes_final_tasks_and_refuses_others(cli: Cli, server: RunningServer, task: str) -> None:
    refused = cli("task", "delete", task)
    assert refused.code == 1
    assert "(TaskStatusConflict, HTTP 409" in refused.err
    cli("task", "cancel", task)
    deleted = cli("task", "delete", task, "--json")
    assert json.loads(deleted.out) == [{"id": task, "state": "deleted"}]
    assert deleted.err == f"{task} is deleted\n"
    assert cli("task", "list", "--json").out == "[]\n"


def test_wait_does_not_wait_for_a_server_that_never_answered(cli: Cli, unused_url: str) -> None:
    keys = ("--url", unused_url, "--access-key", "a", "--secret-key", "s")
    outcome = cli("task", "wait", "amva-000000000000", *keys)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: no server answers at {unused_url}")


def test_retry_makes_a_new_task_of_a_stopped_one_and_can_wait_for_it(
    cli: Cli, server: RunningServer, task: str, request: pytest.FixtureRequest
) -> None:
    refused = cli("task", "retry", task)
    assert refused.code == 1
    assert "(TaskStatusConflict, HTTP 409" in refused.err
    cli("task", "cancel", task)
    made = cli("task", "retry", task, "--json")
    assert list(json.loads(made.out)) == ["id"]
    cli("task", "cancel", json.loads(made.out)["id"])
    request.getfixturevalue("worker")
    outcome = cli("task", "retry", task, "--wait", "--json")
    detail = json.loads(outcome.out)
    assert (outcome.code, detail["status"], detail["retryOf"]) == (0, "succeeded", task)
    assert f"retry of     {task}\n" in cli("task", "show", detail["id"]).out


def test_logs_are_printed_as_they_are_or_as_a_list_and_followed_to_the_end(
    cli: Cli, server: RunningServer, task: str, request: pytest.FixtureRequest
) -> None:
    assert cli("task", "logs", task).out == ""
    request.getfixturevalue("worker")
    followed = cli("task", "logs", task, "--follow")
    lines = followed.out.splitlines()
    assert (followed.code, followed.err) == (0, "")
    assert lines[0].endswith(" attempt 1 begins: W4A16C16")
    assert lines[-1].endswith(" publishing")
    assert json.loads(cli("task", "logs", task, "--json").out) == lines


def test_list_is_narrowed_by_status_scheme_name_set_tag_and_time(
    cli: Cli, server: RunningServer, imported: str, task: str
) -> None:
    tagged = cli("task", "create", "--model", imported, "--weight", "INT8-PTQ", "--name", "夜间", "--tag", "team=搜索")
    other = tagged.out.strip()
    cli("task", "cancel", task)

    def shown(*wanted: str) -> list[str]:
        ended = cli("task", "list", *wanted, "--json")
        assert ended.code == 0, ended.err
        return [found["id"] for found in json.loads(ended.out)]

    own = json.loads(cli("task", "show", task, "--json").out)["modelSetId"]
    assert shown("--status", "stopped") == shown("--weight", "wint4") == [task]
    assert shown("--tag", "team=搜索") == shown("--name", "夜") == shown("--status", "creating") == [other]
    assert shown("--set", own, "--status", "creating", "--status", "stopped", "--reverse") == [other, task]
    assert shown("--since", "2000-01-01", "--until", "2000-01-01T23:59") == []
    assert shown("--since", "2000-01-01") == [task, other]
    assert "tags         team=搜索" in cli("task", "show", other).out
    wrong = cli("task", "list", "--since", "yesterday")
    assert wrong.code == 2
    assert "is not a time like 2026-01-31" in wrong.err


def test_options_of_a_task_are_told_as_they_are_written_on_the_command_line(
    cli: Cli, server: RunningServer, imported: str
) -> None:
    options = (
        "--group-size 64 --asymmetric --scale-search mse --target 'mlp.*' --ignore 'layers.0.*' "
        "--override down_proj=W8A16C16 --override 'gate_proj,u*_proj=W4A16C16,32,symmetric'"
    )
    made = cli("task", "create", "--model", imported, "--weight", "W4A16", *shlex.split(options)).out.strip()
    assert f"options      {options}\n" in cli("task", "show", made).out
