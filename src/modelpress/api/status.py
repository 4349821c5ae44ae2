"""Every error a caller can meet: its HTTP status, its number, and when it happens. ``docs/errors.md`` is made of this.

The number (status × 1000 + a serial number) goes into ``error_code``: without an integer there, the Go SDK takes an
error for a success.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelpress import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """One documented error."""

    code: str
    status: int
    number: int
    when: str


#: What is not the caller's fault; also what an unexpected failure of ours looks like.
INTERNAL = ErrorRow(
    code="InternalError", status=500, number=500001, when="a failure of the server; its log has it by requestId"
)
UNAVAILABLE = ErrorRow(
    code="ServiceUnavailable", status=503, number=503001, when="the database does not answer; nothing was changed"
)
NO_ROUTE = ErrorRow(code="InvalidURI", status=404, number=404006, when="no route has this path")
NOT_POST = ErrorRow(
    code="InvalidHTTPRequest", status=405, number=405001, when="the method is not POST, or not GET for /healthz"
)

NOT_HTTP = ErrorRow(
    code="InvalidHTTPRequest", status=400, number=400010, when="the bytes received are no HTTP/1.1 request"
)
HEAD_TOO_LARGE = ErrorRow(
    code="RequestHeaderTooLarge", status=431, number=431001, when="request line and headers are over 32 KB"
)


def _row(
    kind: type[errors.ServiceError], status: int, serial: int, when: str
) -> tuple[type[errors.ServiceError], ErrorRow]:
    return kind, ErrorRow(code=kind.code, status=status, number=status * 1000 + serial, when=when)


ROWS: dict[type[errors.ServiceError], ErrorRow] = dict(
    [
        _row(errors.InvalidRequest, 400, 1, "a field is missing, mistyped or has a value that is not allowed"),
        _row(errors.MalformedJSON, 400, 2, "the body is not a JSON object"),
        _row(errors.InvalidAction, 400, 3, "the query's Action is missing or unknown"),
        _row(errors.InvalidMarker, 400, 4, "the marker names nothing that ever was in the list"),
        _row(errors.InvalidAuthHeader, 400, 5, "the Authorization header is missing or malformed"),
        _row(errors.SignatureMismatch, 400, 6, "the signature is not the one this secret key gives"),
        _row(errors.SignatureExpired, 400, 7, "the signature is too old, or over 15 minutes in the future"),
        _row(
            errors.ModelNotSupported,
            400,
            8,
            "the model cannot be imported, or compressed as asked; the message says why",
        ),
        _row(
            errors.InvalidHTTPRequest,
            400,
            9,
            "the body did not arrive as announced, or Host or Authorization is there twice",
        ),
        _row(errors.UnknownAccessKey, 403, 1, "no such access key, or it was revoked"),
        _row(errors.AccessDenied, 403, 2, "none of the access key's policies allows the action"),
        _row(errors.IdempotentParameterMismatch, 403, 3, "the clientToken was used before, with other parameters"),
        _row(errors.NoSuchTask, 404, 1, "no compression task of this account has the id"),
        _row(errors.NoSuchModel, 404, 2, "no model version of this account has the id"),
        _row(errors.NoSuchModelSet, 404, 3, "no model set of this account has the id or name"),
        _row(errors.NoSuchBucket, 404, 4, "no bucket of this name is open to the account"),
        _row(errors.NoSuchObject, 404, 5, "the bucket has no model directory, or no calibration file, at this path"),
        _row(errors.TaskStatusConflict, 409, 1, "the task's status does not allow this"),
        _row(errors.ModelInUse, 409, 2, "a task that is not final reads or fills the model"),
        _row(errors.NameConflict, 409, 3, "the account has a model set of this name"),
        _row(errors.ExportTargetExists, 409, 4, "something lies, or is about to appear, where an export was to go"),
        _row(errors.ExportUnderway, 409, 5, "the version is being exported to another place"),
        _row(errors.EntityTooLarge, 413, 1, "the body is over the limit"),
        _row(
            errors.RequestLimitExceeded,
            429,
            1,
            "the access key sent more requests than it may (setting `requests_per_second`); nothing was done",
        ),
    ]
)

#: What is not a caller's error of the services, in the order of the page.
OTHERS = (NO_ROUTE, NOT_POST, NOT_HTTP, HEAD_TOO_LARGE, UNAVAILABLE, INTERNAL)
