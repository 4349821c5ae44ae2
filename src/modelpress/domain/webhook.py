"""Webhooks: what a receiver is told, how that is signed, and when it is told again.

Headers, signature and secret follow the Standard Webhooks specification 1.0.0 (https://www.standardwebhooks.com), so
that receivers verify with a library they have. The body is in the API's words; it is made once, where the change is
written, and kept as text: every try sends the same bytes under the same id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlsplit

from modelpress.domain.task import TaskStatus

#: The two things a receiver is told.
STATUS_CHANGED = "modelCompTask.statusChanged"
PING = "ping"

#: Waits of 10 s, 20 s, 40 s … and then of an hour; 32 tries span about a day.
_FIRST_PAUSE_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 3600.0
TRIES = 32

_SECRET_PREFIX = "whsec_"
#: The specification's bounds.
_LEAST_SECRET_BYTES = 24
_MOST_SECRET_BYTES = 64
_LONGEST_URL_CHARACTERS = 2048


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"  #: to be sent, being sent, or to be sent again
    DELIVERED = "delivered"  #: the receiver answered 2xx
    DEAD = "dead"  #: given up


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where an account's changes are told; the secret is kept apart."""

    account_id: str
    url: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One thing to be told, and how often that was tried. Its id is the receiver's key against doing it twice."""

    id: str
    account_id: str
    task_id: str | None
    type: str
    body: str
    state: DeliveryState
    tries: int
    #: When it is due: for the first time, or again; while it is being sent, when its lease ends.
    next_at: datetime
    last_status: int | None
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None

    @property
    def task_status(self) -> str:
        """The status that is told; empty for a ping."""
        return str(json.loads(self.body)["data"].get("status", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """A task's change as the transaction that made it knows it."""

    task_id: str
    name: str
    status: TaskStatus
    previous: TaskStatus | None
    source_model_id: str
    output_model_id: str
    reason: str

    def as_data(self) -> dict[str, str]:
        """In the API's words; what is not there is absent."""
        data = {
            "id": self.task_id,
            "name": self.name,
            "status": self.status.value,
            "sourceModelId": self.source_model_id,
        }
        if self.previous is not None:
            data["previousStatus"] = self.previous.value
        if self.status is TaskStatus.SUCCEEDED:
            data["modelId"] = self.output_model_id
        if self.reason:
            data["failedReason"] = self.reason
        return data


def make_body(delivery_id: str, *, kind: str, data: dict[str, str], at: datetime) -> str:
    """What is sent for a delivery."""
    moment = at.astimezone().isoformat(timespec="seconds")
    message = {"id": delivery_id, "type": kind, "createTime": moment, "data": data}
    # ASCII alone: whatever text a name or reason holds, this cannot fail in the transaction of the change.
    return json.dumps(message, separators=(",", ":"))


def pause_after(tries: int, *, share: float) -> timedelta:
    """How long to wait after so many failed tries; ``share``, 0 to 1, takes up to a quarter off, so that those which
    failed together are not tried together.
    """
    # The exponent is bounded too: 2.0 ** 1024 is an error.
    doubled = _FIRST_PAUSE_SECONDS * 2.0 ** min(tries - 1, 20)
    return timedelta(seconds=min(doubled, _LONGEST_PAUSE_SECONDS) * (1 - share / 4))


def new_secret() -> str:
    """A random signing secret."""
    return _SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed_headers(delivery_id: str, *, body: bytes, secret: str, at: datetime) -> dict[str, str]:
    """The headers by which a receiver knows that ``body`` is from us, whole and new.

    Source: Standard Webhooks 1.0.0, "Signature scheme"; the time is that of the try, not of the change.
    """
    timestamp = str(int(at.timestamp()))
    signed = b".".join((delivery_id.encode(), timestamp.encode(), body))
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)


def secret_fault(secret: str) -> str:
    """What is wrong with a signing secret that is to be taken over; empty if nothing."""
    if not secret.startswith(_SECRET_PREFIX):
        return f"a signing secret begins with {_SECRET_PREFIX}"
    try:
        size_bytes = len(_key(secret))
    except (binascii.Error, ValueError):
        return f"what follows {_SECRET_PREFIX} is not base64"
    if not _LEAST_SECRET_BYTES <= size_bytes <= _MOST_SECRET_BYTES:
        return f"the secret has {size_bytes} bytes; it takes {_LEAST_SECRET_BYTES} to {_MOST_SECRET_BYTES}"
    return ""


def url_fault(url: str) -> str:
    """What is wrong with a receiver's URL; empty if nothing. Addresses of private networks are as good as others."""
    if len(url) > _LONGEST_URL_CHARACTERS:
        return f"the URL has {len(url)} characters; it may have {_LONGEST_URL_CHARACTERS}"
    if not all("!" <= char <= "~" for char in url):
        return "the URL has spaces or characters beyond ASCII: encode them (%20, xn--…)"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        return f"not a URL: {exc}"
    if parts.scheme not in ("http", "https"):
        return "the URL begins with http:// or https://"
    if not parts.hostname or port == 0:
        return "the URL names no host, or no port that exists"
    if parts.username is not None or parts.password is not None:
        return "the URL holds a user or password; the signature says who is calling"
    if parts.fragment:
        return "the URL has a fragment, which is never sent"
    return ""
