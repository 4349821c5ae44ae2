"""``modelpress conformance`` against a real server, and the checks against servers that answer otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from modelpress.conformance.channel import HttpChannel, Reply
from modelpress.conformance.check import Outcome
from modelpress.conformance.checks import CHECKS
from modelpress.conformance.run import run_checks
from modelpress.conformance.session import Options
from modelpress.conformance.verdict import Verdict
from tests.unit.cli.conftest import Cli, RunningServer, Script

Alter = Callable[[Reply], Reply]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def keys(server: RunningServer) -> tuple[str, ...]:
    return ("--ak", server.access_key, "--sk", server.secret_key)


def test_an_empty_account_is_read_and_left_as_it_is(cli: Cli, server: RunningServer) -> None:
    ended = cli("conformance", server.url, *keys(server))
    told = lines(ended.out)
    assert (ended.code, len(told)) == (0, len(CHECKS)), ended.err
    verdicts = {(line["action"], line["check"]): line["verdict"] for line in told}
    assert verdicts["every action", "wrong-secret"] == "PASS"
    assert verdicts["DescribeModelCompTasks", "over-a-hundred"] == "PASS"
    assert verdicts["DescribeModelCompTasks", "below-one"] == "PASS", "it was not seen that the server is modelpress"
    assert verdicts["CreateModelCompTask", "created-task-is-described"] == "NA"
    assert cli("model", "list", "--json").out == "[]\n"
    assert server.secret_key not in ended.out + ended.err


def test_a_line_tells_check_fields_and_source(cli: Cli, server: RunningServer) -> None:
    ended = cli("conformance", server.url, *keys(server), "--only", "DescribeModelCompTasks")
    (line,) = (line for line in lines(ended.out) if line["check"] == "over-a-hundred")
    assert line == {
        "action": "DescribeModelCompTasks",
        "check": "over-a-hundred",
        "sentence": "A maxKeys above 100 counts as 100.",
        "fields": ["maxKeys", "result.pageInfo.maxKeys"],
        "verdict": "PASS",
        "detail": "101 is 100",
        "document": "https://cloud.baidu.com/doc/qianfan-api/s/Smm3enx6b",
        "documentDate": "2026-02-26",
        "ours": False,
    }
    assert {line["action"] for line in lines(ended.out)} == {"DescribeModelCompTasks"}


def test_another_server_is_not_held_to_our_additions(cli: Cli, server: RunningServer) -> None:
    ended = cli("conformance", server.url, *keys(server), "--theirs")
    found = [line for line in lines(ended.out) if line["ours"]]
    assert found
    assert {line["verdict"] for line in found} == {"NA"}


def test_keys_may_come_from_the_environment(cli: Cli, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QIANFAN_ACCESS_KEY", server.access_key)
    monkeypatch.setenv("QIANFAN_SECRET_KEY", server.secret_key)
    assert cli("conformance", server.url, "--only", "DescribeModelSet").code == 0


def test_an_unknown_action_is_refused_with_those_there_are(cli: Cli, server: RunningServer) -> None:
    ended = cli("conformance", server.url, *keys(server), "--only", "Nothing")
    assert (ended.code, ended.out) == (2, "")
    assert "DescribeModelCompTasks" in ended.err


def test_a_server_that_answers_otherwise_fails_and_no_secret_is_told(cli: Cli, script: Script) -> None:
    script.replies = [(200, {"requestId": "r", "error_code": 0, "say": "a-secret-key"})] * 400
    url = f"http://127.0.0.1:{script.server_port}"
    ended = cli("conformance", url, "--ak", "access", "--sk", "a-secret-key", "--theirs")
    assert ended.code == 1
    assert "a-secret-key" not in ended.out + ended.err
    failed = [line["check"] for line in lines(ended.out) if line["verdict"] == "FAIL"]
    assert {"success-form", "error-form", "wrong-secret", "over-a-hundred", "unknown-marker"} <= set(failed)


class Altered:
    """A server whose successes are not what they are."""

    def __init__(self, channel: HttpChannel, alter: Alter) -> None:
        self._channel = channel
        self._alter = alter

    def send(self, target: str, body: Mapping[str, Any]) -> Reply:
        return self._alter(self._channel.send(target, body))


def altered(server: RunningServer, alter: Alter, *, action: str) -> dict[str, Outcome]:
    checks = [check for check in CHECKS if check.action == action]
    channel = HttpChannel(server.url, access_key=server.access_key, secret_key=server.secret_key)
    try:
        ended = run_checks(checks, Altered(channel, alter), Options(ours=True), pause=lambda: None)
        return {outcome.check.name: outcome for outcome in ended}
    finally:
        channel.close()


def in_result(change: Callable[[dict[str, Any]], None]) -> Alter:
    def alter(reply: Reply) -> Reply:
        body = json.loads(json.dumps(reply.body))
        if isinstance(body.get("result"), dict):
            change(body["result"])
        return replace(reply, body=body)

    return alter


def _page_info(**changes: Any) -> Alter:
    return in_result(lambda result: result.get("pageInfo", {}).update(changes))


def _every_set(change: Callable[[dict[str, Any]], None]) -> Alter:
    def all_of(result: dict[str, Any]) -> None:
        for item in result.get("customModelSetList", []):
            change(item)

    return in_result(all_of)


@pytest.mark.parametrize(
    ("alter", "action", "check"),
    [
        (_page_info(maxKeys="10"), "DescribeModelCompTasks", "fields-of-answers"),
        (_page_info(maxKeys=101), "DescribeModelCompTasks", "over-a-hundred"),
        (_page_info(marker="x"), "DescribeCustomModelSets", "default-page"),
        (_page_info(nextMarker="x"), "DescribeCustomModelSets", "following-pages"),
        (in_result(lambda result: result.pop("pageInfo", None)), "DescribeModelCompTasks", "default-page"),
        (_every_set(lambda item: item.update(createTime="2026-01-31 23:59:00 +0800 CST")),
         "DescribeCustomModelSets", "fields-of-answers"),
        (_every_set(lambda item: item.pop("modelNames")), "DescribeCustomModelSets", "fields-of-answers"),
        (_every_set(lambda item: item.update(modelCount=7)), "DescribeCustomModelSets", "sets-count-their-versions"),
        (in_result(lambda result: result.update(source="Someone")), "DescribeModelSet", "set-by-id-or-name"),
        (lambda reply: replace(reply, status=200), "DescribeModel", "unknown-model"),
        (lambda reply: replace(reply, body={**reply.body, "code": "Odd"}), "DescribeModelCompTasks", "unknown-marker"),
        (lambda reply: replace(reply, body={**reply.body, "requestId": 7}), "every action", "fields-of-answers"),
    ],
)  # fmt: skip
def test_what_is_not_as_documented_is_found(
    cli: Cli, server: RunningServer, alter: Alter, action: str, check: str
) -> None:
    assert cli("model", "create", "first").code == 0
    assert cli("model", "create", "second").code == 0
    outcome = altered(server, alter, action=action)[check]
    assert outcome.verdict is Verdict.FAIL, outcome
