"""What a webhook's receiver gets: a signature that others' libraries verify, and tries that thin out."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from modelpress.domain.task import TaskStatus
from modelpress.domain.webhook import (
    STATUS_CHANGED,
    TRIES,
    StatusChange,
    make_body,
    new_secret,
    pause_after,
    secret_fault,
    signed_headers,
    url_fault,
)

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def _headers(body: str, *, secret: str, at: datetime | None = None) -> dict[str, str]:
    return signed_headers("whd-000000000000", body=body.encode(), secret=secret, at=at or datetime.now(UTC))


def _change(status: TaskStatus, *, previous: TaskStatus | None = TaskStatus.RUNNING, reason: str = "") -> StatusChange:
    return StatusChange(
        task_id="amva-1",
        name="小",
        status=status,
        previous=previous,
        source_model_id="amv-1",
        output_model_id="amv-2",
        reason=reason,
    )


# --- the signature -------------------------------------------------------------------------------------------


def test_the_signature_is_the_one_of_the_specifications_libraries() -> None:
    """The vector that all reference libraries of Standard Webhooks have among their tests."""
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        body=b'{"test": 2432232314}',
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        at=datetime.fromtimestamp(1614265330, UTC),
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(body=st.text(), key=st.binary(min_size=24, max_size=64))
def test_the_reference_library_verifies_what_is_signed(body: str, key: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    Webhook(secret).verify(body, _headers(body, secret=secret), json_parse=False)


def test_the_reference_library_refuses_a_body_that_was_changed() -> None:
    secret = new_secret()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify('{"a": 2}', _headers('{"a": 1}', secret=secret))


# --- the secret and the URL ----------------------------------------------------------------------------------


def test_new_secrets_differ_and_can_be_taken_over() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert secret_fault(first) == ""


@pytest.mark.parametrize(
    ("secret", "fault"),
    [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with whsec_"),
        ("whsec_not base64", "not base64"),
        ("whsec_ÄÖ", "not base64"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "23 bytes; it takes 24 to 64"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "65 bytes; it takes 24 to 64"),
        ("whsec_" + base64.b64encode(bytes(24)).decode(), ""),
        ("whsec_" + base64.b64encode(bytes(64)).decode(), ""),
    ],
)
def test_a_secret_is_the_specifications_or_is_refused_with_the_reason(secret: str, fault: str) -> None:
    assert fault in secret_fault(secret)
    assert bool(fault) == bool(secret_fault(secret))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "http://10.0.0.8/hooks",
        "https://hooks.example.com/a?b=c",
        "http://[::1]:9000/",
        "HTTPS://example.com/a%20b",
    ],
)
def test_any_http_address_will_do_also_one_of_a_private_network(url: str) -> None:
    assert url_fault(url) == ""


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("ftp://example.com/", "http:// or https://"),
        ("example.com/hook", "http:// or https://"),
        ("", "http:// or https://"),
        ("http:///hook", "no host"),
        ("http://example.com:0/", "no port"),
        ("http://example.com:99999/", "not a URL"),
        ("http://example.com:port/", "not a URL"),
        ("http://[::1/", "not a URL"),
        ("http://user@example.com/", "user or password"),
        ("http://user:secret@example.com/", "user or password"),
        ("http://example.com/#part", "fragment"),
        ("http://example.com/a b", "encode them"),
        ("http://exämple.com/", "encode them"),
        ("http://example.com/\r\nHost: other", "encode them"),
        ("http://example.com/" + "a" * 2048, "2067 characters"),
    ],
)
def test_what_is_no_plain_http_address_is_refused_with_the_reason(url: str, fault: str) -> None:
    assert fault in url_fault(url)


# --- the body ------------------------------------------------------------------------------------------------


def test_the_body_tells_of_the_change_in_the_apis_words() -> None:
    data = _change(TaskStatus.SUCCEEDED).as_data()
    body = json.loads(make_body("whd-1", kind=STATUS_CHANGED, data=data, at=NOON))
    assert datetime.fromisoformat(body.pop("createTime")) == NOON
    assert body == {
        "id": "whd-1",
        "type": "modelCompTask.statusChanged",
        "data": {
            "id": "amva-1",
            "name": "小",
            "status": "succeeded",
            "sourceModelId": "amv-1",
            "previousStatus": "running",
            "modelId": "amv-2",
        },
    }


def test_what_is_not_there_is_absent() -> None:
    created = _change(TaskStatus.CREATING, previous=None).as_data()
    failed = _change(TaskStatus.FAILED, reason="BadSource: no").as_data()
    assert created.keys() == {"id", "name", "status", "sourceModelId"}
    assert failed.keys() == {*created, "previousStatus", "failedReason"}
    assert failed["failedReason"] == "BadSource: no"


@given(name=st.text(alphabet=st.characters(), max_size=20))
def test_whatever_a_name_holds_the_body_can_be_written_stored_and_read(name: str) -> None:
    body = make_body("whd-1", kind=STATUS_CHANGED, data={"name": name}, at=NOON)
    assert body.isascii()
    assert "\0" not in body
    assert json.loads(body)["data"]["name"] == name


# --- back-off ------------------------------------------------------------------------------------------------


def test_pauses_double_from_ten_seconds_up_to_an_hour() -> None:
    pauses = [pause_after(tries, share=0.0).total_seconds() for tries in range(1, 12)]
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]


def test_all_tries_span_about_a_day() -> None:
    for share in (0.0, 1.0):
        whole = sum((pause_after(tries, share=share) for tries in range(1, TRIES)), timedelta())
        assert timedelta(hours=17) < whole < timedelta(hours=24)


@given(tries=st.integers(min_value=1, max_value=10_000), share=st.floats(min_value=0, max_value=1))
def test_chance_takes_a_quarter_off_a_pause_at_most(tries: int, share: float) -> None:
    whole = pause_after(tries, share=0.0)
    assert whole * 0.75 - timedelta(microseconds=2) <= pause_after(tries, share=share) <= whole


# --- the document --------------------------------------------------------------------------------------------


def _documented() -> Any:
    """The function that docs/webhooks.md gives receivers."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    namespace: dict[str, Any] = {}
    exec(found[1], namespace)
    return namespace["verify"]


def test_the_documented_example_verifies_what_is_sent_and_nothing_else() -> None:
    verify, secret, body = _documented(), new_secret(), '{"id":"whd-1"}'
    headers = _headers(body, secret=secret)
    assert verify(headers, body.encode(), secret)
    assert not verify(headers, b'{"id":"whd-2"}', secret)
    assert not verify(headers, body.encode(), new_secret())
    assert not verify({**headers, "webhook-id": "whd-2"}, body.encode(), secret)
    old = _headers(body, secret=secret, at=datetime.now(UTC) - timedelta(minutes=6))
    assert not verify(old, body.encode(), secret)


def test_the_documented_example_finds_its_signature_among_others() -> None:
    verify, secret = _documented(), new_secret()
    headers = _headers("{}", secret=secret)
    assert verify({**headers, "webhook-signature": "v1,AAAA v1a,BBBB " + headers["webhook-signature"]}, b"{}", secret)
