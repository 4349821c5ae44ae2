"""Signed requests as bytes, made beforehand: signing is the caller's cost, not the server's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.api.seeding import PAIRS
from modelpress.service.access import KeyPair
from modelpress.signature import SignedRequest, format_timestamp, sign

LIST = "DescribeModelCompTasks"
DETAIL = "DescribeModelCompTask"
PAGE_ITEMS = 20


def signed(action: str, body: Mapping[str, Any], *, host: str, pair: KeyPair = PAIRS[0], age_seconds: int = 0) -> bytes:
    """One request in the form of Baidu's Python SDK, good for half an hour from when it claims to have been signed."""
    now = datetime.now(UTC) - timedelta(seconds=age_seconds)
    query = f"Action={action}"
    headers = {
        "host": host,
        "content-type": "application/json",
        "request-source": "qianfan_py_sdk_v0.4.12.3",
        "x-bce-date": format_timestamp(now),
    }
    authorization = sign(
        SignedRequest(method="POST", path="/v2/model", query=query, headers=headers),
        access_key=pair.access_key,
        secret_key=pair.secret_key,
        now=now,
        signed_headers=tuple(headers),
    )
    content = encoded(body)
    others = {
        "authorization": authorization,
        "content-length": str(len(content)),
        "user-agent": "python-requests/2.32.3",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "connection": "keep-alive",
    }
    lines = [f"POST /v2/model?{query} HTTP/1.1", *(f"{name}: {value}" for name, value in {**headers, **others}.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


def encoded(body: Mapping[str, Any]) -> bytes:
    """A request's body."""
    return json.dumps(body).encode()


def page_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a list of twenty tasks."""
    return {"maxKeys": PAGE_ITEMS, **body}


def listing(*, host: str, age_seconds: int = 0, **body: Any) -> bytes:
    """A list of twenty tasks."""
    return signed(LIST, page_of(body), host=host, age_seconds=age_seconds)


def ages(count: int) -> list[int]:
    """Ages of ``count`` signatures, spread over five minutes: of callers' signatures hardly two are of one second."""
    return [number % 300 for number in range(count)]
