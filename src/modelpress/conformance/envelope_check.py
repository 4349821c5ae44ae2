"""What holds for every action: the forms of success and error, headers, and what is ignored."""

from __future__ import annotations

from modelpress.conformance import document
from modelpress.conformance.channel import Reply
from modelpress.conformance.check import check
from modelpress.conformance.scene import Scene
from modelpress.conformance.session import Session, refusal
from modelpress.conformance.table import EVERY_ACTION
from modelpress.conformance.verdict import ensure

#: An id that no account has.
NOBODY = "amva-000000000000"
_LIST = "DescribeModelCompTasks"
_TARGET = f"/v2/model?Action={_LIST}"


def _an_error(session: Session) -> Reply:
    reply = session.call("DescribeModelCompTask", {"modelCompTaskId": NOBODY})
    refusal(reply)
    return reply


@check(EVERY_ACTION, answer=("requestId",), document=document.COMMON)
def success_form(session: Session, scene: Scene) -> str:
    """A success is HTTP 200 with requestId and result, and without any field of an error."""
    answer = session.success(_LIST)
    ensure(bool(answer.get("requestId")) and isinstance(answer.get("result"), dict), f"it has only {sorted(answer)}")
    errors = sorted({"code", "message", "error_code", "error_msg"} & answer.keys())
    ensure(not errors, f"a success has {', '.join(errors)}")
    return "200 with requestId and result"


@check(EVERY_ACTION, answer=("requestId", "code", "message"))
def error_form(session: Session, scene: Scene) -> str:
    """An error is HTTP 400 or above with requestId, code and message, and without result."""
    reply = _an_error(session)
    absent = sorted({"requestId", "code", "message"} - reply.body.keys())
    ensure(not absent, f"an error has no {', '.join(absent)}")
    ensure("result" not in reply.body, "an error has a result")
    return f"{reply.status} {reply.body['code']}"


@check(EVERY_ACTION, answer=("error_code", "error_msg"), document=document.SDK, ours=True)
def error_numbers(session: Session, scene: Scene) -> str:
    """An error has error_code, an integer of its status, and error_msg, without which the Go SDK sees a success."""
    reply = _an_error(session)
    number = reply.body.get("error_code")
    ensure(isinstance(number, int) and number // 1000 == reply.status, f"error_code is {number!r}")
    ensure(reply.body.get("error_msg") == reply.body.get("message"), "error_msg is not the message")
    return f"error_code {number}"


@check(EVERY_ACTION, document=document.COMMON, http_only=True)
def content_type(session: Session, scene: Scene) -> str:
    """Successes and errors are application/json."""
    for body in ({}, {"marker": NOBODY}):
        headers = session.http.send(_TARGET, body).headers or {}
        kind = headers.get("content-type", "none")
        ensure(kind.split(";")[0].strip() == "application/json", f"the content type is {kind}")
    return "application/json"


@check(EVERY_ACTION, answer=("requestId",), document=document.COMMON, http_only=True)
def request_id_header(session: Session, scene: Scene) -> str:
    """The header x-bce-request-id is the body's requestId, also of an error."""
    session.success(_LIST)
    for body in ({}, {"marker": NOBODY}):
        reply = session.http.send(_TARGET, body)
        header = (reply.headers or {}).get("x-bce-request-id")
        ensure(header == reply.body.get("requestId"), f"the header is {header!r}")
    return "equal in a success and in an error"


@check(EVERY_ACTION, answer=("code",), http_only=True)
def malformed_json(session: Session, scene: Scene) -> str:
    """A body that is no JSON is refused with 400 MalformedJSON."""
    _an_error(session)
    return refusal(session.http.send(_TARGET, b'{"maxKeys":'), code="MalformedJSON", status=400)


@check(EVERY_ACTION, http_only=True, ours=True)
def empty_body(session: Session, scene: Scene) -> str:
    """An empty body counts as an empty object, since the Node SDK sends it for one."""
    reply = session.http.send(_TARGET, b"")
    ensure(reply.status == 200, f"answered {reply.status}")
    return "200"


@check(EVERY_ACTION, document=document.BCE_ERRORS)
def unknown_fields(session: Session, scene: Scene) -> str:
    """A field that is not documented is ignored."""
    session.success(_LIST, {"maxKeys": 1, "notAFieldOfAnything": {"a": [1]}})
    return "200"


@check(EVERY_ACTION, ours=True, http_only=True)
def unknown_action(session: Session, scene: Scene) -> str:
    """An Action that is none is refused with 400 InvalidAction."""
    return refusal(session.http.send("/v2/model?Action=NoSuchAction", {}), code="InvalidAction", status=400)


@check(EVERY_ACTION, ours=True)
def whole_numbers_as_doubles(session: Session, scene: Scene) -> str:
    """A whole number may come as 2.0, since the Java SDK sends numbers so."""
    page = session.result(_LIST, {"maxKeys": 2.0})
    ensure(page["pageInfo"]["maxKeys"] == 2, f"maxKeys 2.0 became {page['pageInfo']['maxKeys']!r}")
    return "2.0 is 2"


ENVELOPE_CHECKS = (
    success_form,
    error_form,
    error_numbers,
    content_type,
    request_id_header,
    malformed_json,
    empty_body,
    unknown_fields,
    unknown_action,
    whole_numbers_as_doubles,
)
