"""Failures of authentication; each needs a request that no SDK would send."""

from __future__ import annotations

from datetime import timedelta

from modelpress.conformance import document
from modelpress.conformance.channel import Reply
from modelpress.conformance.check import check
from modelpress.conformance.scene import Scene
from modelpress.conformance.session import Session, refusal
from modelpress.conformance.table import EVERY_ACTION
from modelpress.conformance.verdict import ensure

_TARGET = "/v2/model?Action=DescribeModelCompTasks"
# The two texts that the Python SDK explains to its user.
_NO_KEY = "NotFound, cause: Could not find credential."
_WRONG_SECRET = "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match"


def _header(reply: Reply, text: str) -> None:
    found = (reply.headers or {}).get("x-bce-error-message")
    ensure(found == text, f"X-Bce-Error-Message is {found!r}, which the Python SDK does not explain")


@check(EVERY_ACTION, http_only=True)
def header_missing(session: Session, scene: Scene) -> str:
    """A request without Authorization is refused with 400 InvalidHTTPAuthHeader."""
    return refusal(session.http.send(_TARGET, {}, authorization=""), code="InvalidHTTPAuthHeader", status=400)


@check(EVERY_ACTION, http_only=True)
def header_malformed(session: Session, scene: Scene) -> str:
    """An Authorization header that is no bce-auth-v1 is refused with 400 InvalidHTTPAuthHeader."""
    reply = session.http.send(_TARGET, {}, authorization="bce-auth-v1/half/a/header")
    return refusal(reply, code="InvalidHTTPAuthHeader", status=400)


@check(EVERY_ACTION, document=document.AUTHENTICATION, http_only=True)
def bearer_token(session: Session, scene: Scene) -> str:
    """A Bearer token, which is documented for inference alone, is refused."""
    return refusal(session.http.send(_TARGET, {}, authorization="Bearer none"))


@check(EVERY_ACTION, http_only=True)
def wrong_secret(session: Session, scene: Scene) -> str:
    """A signature by another secret key is refused with 400 SignatureDoesNotMatch."""
    with session.http.altered(secret_key="not-the-secret-key") as channel:
        return refusal(channel.send(_TARGET, {}), code="SignatureDoesNotMatch", status=400)


@check(EVERY_ACTION, document=document.SDK, http_only=True)
def wrong_secret_header(session: Session, scene: Scene) -> str:
    """A wrong secret key is told in X-Bce-Error-Message by the text that the Python SDK explains."""
    with session.http.altered(secret_key="not-the-secret-key") as channel:
        _header(channel.send(_TARGET, {}), _WRONG_SECRET)
    return "the text is exact"


@check(EVERY_ACTION, document=document.BCE_ERRORS, http_only=True)
def unknown_key(session: Session, scene: Scene) -> str:
    """An access key that does not exist is refused with 403 InvalidAccessKeyId."""
    with session.http.altered(access_key="nobodys-access-key") as channel:
        return refusal(channel.send(_TARGET, {}), code="InvalidAccessKeyId", status=403)


@check(EVERY_ACTION, document=document.SDK, http_only=True)
def unknown_key_header(session: Session, scene: Scene) -> str:
    """An unknown access key is told in X-Bce-Error-Message by the text that the Python SDK explains."""
    with session.http.altered(access_key="nobodys-access-key") as channel:
        _header(channel.send(_TARGET, {}), _NO_KEY)
    return "the text is exact"


@check(EVERY_ACTION, http_only=True)
def expired(session: Session, scene: Scene) -> str:
    """A signature older than its expiration is refused with 400 RequestExpired."""
    with session.http.altered(ahead=timedelta(hours=-2)) as channel:
        return refusal(channel.send(_TARGET, {}), code="RequestExpired", status=400)


@check(EVERY_ACTION, http_only=True, ours=True)
def from_the_future(session: Session, scene: Scene) -> str:
    """A signature over 15 minutes in the future is refused with 400 RequestExpired; one of a few minutes is not."""
    with session.http.altered(ahead=timedelta(minutes=5)) as channel:
        ensure(channel.send(_TARGET, {}).status == 200, "5 minutes ahead is refused")
    with session.http.altered(ahead=timedelta(minutes=20)) as channel:
        return refusal(channel.send(_TARGET, {}), code="RequestExpired", status=400)


@check(EVERY_ACTION, document=document.SDK, http_only=True, ours=True)
def sent_again(session: Session, scene: Scene) -> str:
    """The same signature may come again, since the SDKs repeat identical requests within a second."""
    replies = [session.http.send(_TARGET, {}) for _ in range(3)]
    ensure(all(reply.status == 200 for reply in replies), "a repeated request is refused")
    return "three at once"


AUTHENTICATION_CHECKS = (
    header_missing,
    header_malformed,
    bearer_token,
    wrong_secret,
    wrong_secret_header,
    unknown_key,
    unknown_key_header,
    expired,
    from_the_future,
    sent_again,
)
