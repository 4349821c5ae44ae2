"""Requests that are odd as HTTP, and bodies that are odd as JSON."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import suppress
from typing import Any

import pytest

from modelpress.api.protocol import LARGEST_HEAD_BYTES
from modelpress.domain.task import TaskStatus
from tests.api.exchange import read_reply, send_bytes, send_request
from tests.api.server import Account

TARGET = "/v2/model?Action=DescribeModelCompTasks"


def raw_request(account: Account, *headers: tuple[str, str], content: bytes = b"{}", target: str = TARGET) -> bytes:
    """A signed request as bytes, with these headers besides."""
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in (*account.headers(target), *headers))]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


# Bodies.


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"[",
            b"{",
            b"nonsense",
            b"{}{}",
            b'{"marker": NaN}',
            b"\xff",
            b'{"marker": "\xff"}',
            b'{"marker": "\\ud800"}',
        ),
        *(b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"[]", b"null", b"3", b'"text"', b"true", b"[" * 1_000_000),
        *(b'{"a":' * 100_000, b'{"marker": "' + b"\0" * 10 + b'"}', b"\0", gzip.compress(b"{}"), b"a=b&c=d"),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_body_that_is_no_json_object_is_malformed(account: Account, content: bytes) -> None:
    account.send(TARGET, content).refusal("MalformedJSON")


@pytest.mark.parametrize("content", [b"", b"{}", b" {\r\n} ", b'{"unknown": 1}', b'{"a": 1, "a": 2}'])
def test_an_empty_body_is_an_empty_object_and_unknown_fields_do_not_matter(account: Account, content: bytes) -> None:
    account.send(TARGET, content).success()


@pytest.mark.parametrize("value", ["1e400", "9" * 5000, '"\\u0000"', "[" * 500 + "]" * 500, "-0.0", '"\\ud83d\\ude00"'])
def test_what_an_unknown_field_holds_does_not_matter(account: Account, value: str) -> None:
    account.send(TARGET, f'{{"unknown": {value}}}'.encode()).success()


@pytest.mark.parametrize("value", ["1e400", "-1e400", "9" * 5000, "-" + "9" * 5000, "[[]]", '{"a": {}}', "0.5"])
def test_a_number_that_is_out_of_all_bounds_is_named(account: Account, value: str) -> None:
    reply = account.send(TARGET, f'{{"maxKeys": {value}}}'.encode())
    assert "param[maxKeys] invalid" in reply.refusal("InappropriateJSON")


def test_of_a_field_that_is_there_twice_the_last_counts(account: Account) -> None:
    reply = account.send(TARGET, b'{"maxKeys": 1, "maxKeys": 2}')
    assert reply.success()["result"]["pageInfo"]["maxKeys"] == 2


def test_any_text_comes_back_as_it_was_sent(account: Account) -> None:
    set_id, model_id = account.make_world()
    name = '模型 \U0001f600\u200d "<&>" \\ \' \ufffe é e\u0301'
    text = name + "\u2028 \x7f \x01 \n"
    task_id = account.make_task(set_id, model_id, name=name, description=text)
    detail = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})
    assert (detail["name"], detail["description"]) == (name, text)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": "a\0b"}, "name"),
        ({"description": "\0"}, "description"),
        ({"config": {"strategy": "Quantization", "weight": "\0"}}, "config.weight"),
    ],
)
def test_a_zero_character_is_refused_where_it_stands(account: Account, change: dict[str, Any], place: str) -> None:
    body = {"name": "n", "sourceModelId": "amv-x", "modelSetId": "am-x", "config": {"strategy": "Quantization"}}
    message = account.refused("CreateModelCompTask", body | change, code="InappropriateJSON")
    assert f"param[{place}]" in message


def test_a_zero_character_in_a_list_is_refused_where_it_stands(account: Account) -> None:
    body = {"modelSetName": "s", "modelType": "Text2Text", "labels": ["a", "\0"]}
    assert "param[labels[1]]" in account.refused("CreateCustomModelSet", body, code="InappropriateJSON")


def test_a_body_at_the_limit_is_read_and_one_byte_more_is_not(account: Account) -> None:
    limit = account.server.settings.body_bytes
    account.send(TARGET, b"{}".ljust(limit)).success()
    assert str(limit) in account.send(TARGET, b"{}".ljust(limit + 1)).refusal("EntityTooLarge")


def test_a_body_far_over_the_limit_is_drained_and_the_connection_goes_on(account: Account) -> None:
    content = b" " * (8 << 20)
    with socket.create_connection(account.server.address, timeout=20) as connection:
        connection.sendall(raw_request(account, ("content-length", str(len(content))), content=content))
        read_reply(connection).refusal("EntityTooLarge")
        connection.sendall(raw_request(account, ("content-length", "2")))
        read_reply(connection).success()


# HTTP.


def test_a_chunked_body_is_read(account: Account) -> None:
    content = b"e\r\n" + b'{"maxKeys": 1 ' + b"\r\n1\r\n}\r\n0\r\n\r\n"
    reply = send_bytes(account.server.address, raw_request(account, ("transfer-encoding", "chunked"), content=content))
    assert reply.success()["result"]["pageInfo"]["maxKeys"] == 1


def test_a_chunked_body_over_the_limit_is_refused(account: Account) -> None:
    size = account.server.settings.body_bytes + 1
    content = b"%x\r\n" % size + b" " * size + b"\r\n0\r\n\r\n"
    reply = send_bytes(account.server.address, raw_request(account, ("transfer-encoding", "chunked"), content=content))
    reply.refusal("EntityTooLarge")


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=UTF-8", "multipart/form-data", ""])
def test_the_content_type_does_not_matter(account: Account, content_type: str) -> None:
    raw = raw_request(account, ("content-type", content_type), ("content-length", "2"))
    send_bytes(account.server.address, raw).success()


@pytest.mark.parametrize("upgrade", ["TLS/1.2", "websocket", "h2c"])
def test_an_upgrade_that_is_offered_is_ignored_and_the_connection_goes_on(account: Account, upgrade: str) -> None:
    raw = raw_request(account, ("connection", "Upgrade"), ("upgrade", upgrade), ("content-length", "2"))
    with socket.create_connection(account.server.address, timeout=20) as connection:
        for _ in range(3):
            connection.sendall(raw)
            read_reply(connection).success()


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"])
@pytest.mark.parametrize("target", [TARGET, "/wenxinworkshop/modelrepo/modelVersionDetail"])
def test_only_post_is_answered(account: Account, method: str, target: str) -> None:
    reply = send_request(account.server.address, target, headers=[("host", "h")], content=b"", method=method)
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"
    if method != "HEAD":
        assert method in reply.refusal("InvalidHTTPRequest")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_health_check_is_only_read(account: Account, method: str) -> None:
    reply = send_request(account.server.address, "/healthz", headers=[("host", "h")], content=b"", method=method)
    assert method in reply.refusal("InvalidHTTPRequest")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("target", ["/", "/v2/model/", "//v2/model", "/v2/Model", "/v2", "/v2/model/x", "/v2/model%2f"])
def test_an_unknown_route_is_refused_in_the_documented_form(account: Account, target: str) -> None:
    account.send(f"{target}?Action=DescribeModelCompTasks", b"{}").refusal("InvalidURI")


def test_the_route_may_be_percent_encoded(account: Account) -> None:
    account.send("/v2/mode%6C?Action=DescribeModelComp%54asks", b"{}").success()


@pytest.mark.parametrize(
    "query",
    [
        *("", "Action", "Action=", "action=DescribeModelCompTasks", "Action=describemodelcomptasks", "Action=Nonsense"),
        *("Action=modelVersionDetail", "Action=__class__", "Action=Describe%00", "Action=%ff", "Action=%E6%A8%A1"),
        "Action=DescribeModelCompTasks&Action=DeleteModel",
        "Action=DescribeModelCompTasks&Action=DescribeModelCompTasks",
    ],
)
def test_an_action_that_is_missing_unknown_or_there_twice_is_refused(account: Account, query: str) -> None:
    account.send(f"/v2/model?{query}", b"{}").refusal("InvalidAction")


@pytest.mark.parametrize("query", ["&x=y", "&", "&access_token=t", "&clientToken=%20+", "&a;b"])
def test_what_else_the_query_says_does_not_matter(account: Account, query: str) -> None:
    account.send(TARGET + query, b"{}").success()


def test_a_server_tells_that_it_is_there_without_a_signature(account: Account) -> None:
    reply = send_request(account.server.address, "/healthz", headers=[("host", "h")], content=b"", method="GET")
    assert (reply.status, reply.json) == (200, {"status": "ok"})


# What is no HTTP at all, or has too much before its body.


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_head_at_the_limit_is_read_and_one_byte_more_is_not(account: Account, beyond: int) -> None:
    sent = [*account.headers(TARGET), ("content-length", "2"), ("x-filler", "")]
    used = len(TARGET) + sum(len(name) + len(value) for name, value in sent)
    raw = raw_request(
        account, ("content-length", "2"), ("x-filler", "x" * (LARGEST_HEAD_BYTES - used + beyond)), content=b"{}"
    )
    reply = send_bytes(account.server.address, raw)
    if beyond:
        assert str(LARGEST_HEAD_BYTES) in reply.refusal("RequestHeaderTooLarge")
        assert reply.headers["connection"] == "close"
    else:
        reply.success()


@pytest.mark.parametrize(
    "begun", [b"x-filler: ", b"x-filler: 1\r\n" * 100, b"x" * 100, b""], ids=["value", "many", "name", "target"]
)
def test_a_head_that_never_ends_is_refused_before_it_is_kept(account: Account, begun: bytes) -> None:
    head = b"POST /" + (b"" if begun else b"x" * 70_000) + b" HTTP/1.1\r\nhost: h\r\n" + begun
    with socket.create_connection(account.server.address, timeout=20) as connection:
        connection.sendall(head)
        for _ in range(4):
            with suppress(ConnectionError):  # the answer is there, and the rest is not wanted any more
                connection.sendall(b"x" * 16_384)
        read_reply(connection).refusal("RequestHeaderTooLarge")


def test_the_next_request_of_a_connection_has_the_whole_limit_again(account: Account) -> None:
    raw = raw_request(account, ("content-length", "2"), ("x-filler", "x" * (LARGEST_HEAD_BYTES // 2)))
    with socket.create_connection(account.server.address, timeout=20) as connection:
        for _ in range(5):
            connection.sendall(raw)
            read_reply(connection).success()


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "-5")],
        [("content-length", "2"), ("content-length", "3")],
        [("content-length", "2"), ("transfer-encoding", "chunked")],
        [("transfer-encoding", "chunked")],
    ],
)
def test_a_body_whose_length_cannot_be_told_is_refused(account: Account, headers: list[tuple[str, str]]) -> None:
    send_bytes(account.server.address, raw_request(account, *headers)).refusal("InvalidHTTPRequest")


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\r\n\r\n", b"POST /v2/mod\xe9l HTTP/1.1\r\nhost: h\r\n\r\n", b"BREW / HTTP/1.1\r\n\r\n"]
)
def test_bytes_that_are_no_http_are_refused(account: Account, raw: bytes) -> None:
    send_bytes(account.server.address, raw).refusal("InvalidHTTPRequest")
    account.call("DescribeModelCompTasks")


# A caller that goes away.


def test_a_body_that_breaks_off_changes_nothing_and_is_no_failure(account: Account, log: Any) -> None:
    target, begins = "/v2/model?Action=CreateCustomModelSet", len(log.getvalue())
    content = json.dumps({"modelSetName": "never", "modelType": "Text2Text"}).encode()
    for sent in (content, content[:10], b""):
        with socket.create_connection(account.server.address, timeout=20) as connection:
            announced = ("content-length", str(len(content) + 1))
            connection.sendall(raw_request(account, announced, content=sent, target=target))
    assert account.call("DescribeCustomModelSets")["customModelSetList"] == []
    assert log.getvalue()[begins:] == ""


def test_a_caller_that_does_not_wait_for_its_answer_is_still_served(account: Account, log: Any) -> None:
    begins = len(log.getvalue())
    task_id = account.make_task(*account.make_world())
    content = json.dumps({"modelCompTaskId": task_id}).encode()
    raw = raw_request(
        account, ("content-length", str(len(content))), content=content, target="/v2/model?Action=CancelModelCompTask"
    )
    with socket.create_connection(account.server.address, timeout=20) as connection:
        connection.sendall(raw)
    statuses = set()
    while TaskStatus.STOPPED.value not in statuses:
        statuses.add(account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["status"])
    assert statuses <= {"creating", "stopped"}
    assert log.getvalue()[begins:] == ""
