"""The errors of modelpress, one tree; nothing here knows HTTP.

    ModelpressError
    ├── ServiceError            a caller's mistake; ``code`` is stable and documented
    │   ├── InvalidRequest, MalformedJSON, InvalidHTTPRequest, InvalidAction, InvalidMarker,
    │   │   EntityTooLarge, RequestLimitExceeded
    │   ├── AuthenticationError: InvalidAuthHeader, UnknownAccessKey, SignatureMismatch, SignatureExpired
    │   ├── AccessDenied
    │   ├── NoSuchTask, NoSuchModel, NoSuchModelSet, NoSuchBucket, NoSuchObject
    │   ├── NoSuchAccessKey, NoSuchUser, InvalidArgument, UserInUse, PoliciesDiffer (operator commands only)
    │   ├── NoSuchAccount, NoSuchWebhook, NoSuchDelivery (operator commands only)
    │   └── TaskStatusConflict, ModelInUse, NameConflict, IdempotentParameterMismatch, ModelNotSupported
    ├── TaskError               why a task failed; ``reason`` is the class shown in failedReason
    │   ├── BadSource           the checkpoint cannot be read as one (AlreadyCompressed: it was quantized before)
    │   ├── Unsupported         it can be read, but not compressed as asked
    │   ├── BadCalibration      the calibration data is gone, or cannot be read as text
    │   ├── TargetTaken         something else lies where an export was to appear
    │   ├── DiskFull, OutOfMemory, QualityGate, WorkerLost, InternalFailure
    ├── LeaseLost               another worker holds the task now
    ├── StoreUnavailable        the database does not answer
    └── SettingsError           a setting is missing or wrong

A message says what, which and the numbers; ``hint`` says what to do, where there is something to do.
"""

from __future__ import annotations

from typing import ClassVar


class ModelpressError(Exception):
    """The root; ``hint`` is shown after the message where a person reads it."""

    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint


# --- a caller's mistakes -----------------------------------------------------------------------------------


class ServiceError(ModelpressError):
    """A request that cannot be carried out, by the caller's fault; ``code`` goes over the wire."""

    code: ClassVar[str]


class InvalidRequest(ServiceError):
    """A field is missing, of the wrong type, or has a value that is not allowed."""

    code = "InappropriateJSON"

    def __init__(self, field: str, why: str, *, hint: str | None = None) -> None:
        super().__init__(
            "The JSON you provided was well-formed and valid, but not appropriate for this operation. "
            f"param[{field}] invalid: {why}",
            hint=hint,
        )
        self.field = field
        self.why = why


class MalformedJSON(ServiceError):
    """The body is not JSON, or not a JSON object."""

    code = "MalformedJSON"

    def __init__(self, why: str) -> None:
        super().__init__(f"The JSON you provided was not well-formed: {why}")


class InvalidHTTPRequest(ServiceError):
    """The body could not be received as announced."""

    code = "InvalidHTTPRequest"


class InvalidAction(ServiceError):
    """The Action of the query is missing or unknown."""

    code = "InvalidAction"

    def __init__(self, action: str | None) -> None:
        text = "the query has no Action" if not action else f"unknown Action {action!r}"
        super().__init__(f"{text}; see docs/api.md for the list of actions")


class InvalidMarker(ServiceError):
    """The marker names nothing that ever was in the list."""

    code = "InvalidMarker"

    def __init__(self, marker: str) -> None:
        super().__init__(f"The marker you provided was invalid: {marker!r} never was in this list.")


class EntityTooLarge(ServiceError):
    """The body is over the limit."""

    code = "EntityTooLarge"

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(f"the body is larger than the allowed {limit_bytes} bytes")


class RequestLimitExceeded(ServiceError):
    """The access key sends more requests than it may; nothing was done."""

    code = "RequestLimitExceeded"

    def __init__(self, *, per_second: float, retry_after_seconds: int) -> None:
        super().__init__(
            f"this access key may send {per_second:g} requests a second; try again in {retry_after_seconds} s"
        )
        self.retry_after_seconds = retry_after_seconds


class AuthenticationError(ServiceError):
    """Who is calling could not be established; ``header_message`` is what the official SDKs look for."""

    header_message: ClassVar[str]


class InvalidAuthHeader(AuthenticationError):
    """The Authorization header is missing or malformed."""

    code = "InvalidHTTPAuthHeader"
    header_message = "InvalidHTTPAuthHeader, cause: The HTTP authorization header is invalid."

    def __init__(self, why: str) -> None:
        super().__init__(f"The HTTP authorization header is invalid: {why}")


class UnknownAccessKey(AuthenticationError):
    """No such access key, or it was revoked."""

    code = "InvalidAccessKeyId"
    header_message = "NotFound, cause: Could not find credential."

    def __init__(self, access_key: str) -> None:
        super().__init__(f"The Access Key Id you provided does not exist or was revoked: {access_key!r}")


class SignatureMismatch(AuthenticationError):
    """The signature is not the one the secret key gives."""

    code = "SignatureDoesNotMatch"
    header_message = "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match"

    def __init__(self) -> None:
        super().__init__(
            "The request signature we calculated does not match the signature you provided. "
            "Check the secret key and the signing method."
        )


class SignatureExpired(AuthenticationError):
    """The signature is too old, or lies too far in the future."""

    code = "RequestExpired"
    header_message = "RequestExpired, cause: Request has expired."

    def __init__(self, *, signed_at: str, server_time: str, why: str) -> None:
        super().__init__(
            f"Request has expired. Timestamp date is {signed_at}, the server's clock is {server_time}: {why}"
        )


class AccessDenied(ServiceError):
    """The access key's policies do not allow this action."""

    code = "AccessDenied"

    def __init__(self, action: str) -> None:
        super().__init__(f"Access denied. None of this access key's policies allows {action}.")


class NotFound(ServiceError):
    """Something with this name does not exist for this account."""


class NoSuchTask(NotFound):
    """No compression task of this account has this id."""

    code = "NoSuchModelCompTask"

    def __init__(self, task_id: str) -> None:
        super().__init__(f"no compression task {task_id!r}")


class NoSuchModel(NotFound):
    """No model version of this account has this id."""

    code = "NoSuchModel"

    def __init__(self, model_id: str) -> None:
        super().__init__(f"no model version {model_id!r}")


class NoSuchModelSet(NotFound):
    """No model set of this account has this id or name."""

    code = "NoSuchModelSet"

    def __init__(self, which: str) -> None:
        super().__init__(f"no model set {which!r}")


class NoSuchBucket(NotFound):
    """No bucket of this name is configured for this account."""

    code = "NoSuchBucket"

    def __init__(self, bucket: str) -> None:
        super().__init__(f"no bucket {bucket!r}", hint="buckets are named in the server's settings: [buckets.NAME]")


class NoSuchObject(NotFound):
    """The bucket has nothing at this path."""

    code = "NoSuchObject"

    def __init__(self, *, bucket: str, path: str, wanted: str = "model directory") -> None:
        super().__init__(f"bucket {bucket!r} has no {wanted} {path!r}")


class NoSuchAccessKey(NotFound):
    """No access key of this id (operator commands only)."""

    code = "NoSuchAccessKey"

    def __init__(self, access_key: str) -> None:
        super().__init__(f"no access key {access_key!r}")


class NoSuchUser(NotFound):
    """The account has no user of this name (operator commands only)."""

    code = "NoSuchUser"

    def __init__(self, name: str, *, account: str, hint: str | None = None) -> None:
        super().__init__(f"account {account!r} has no user {name!r}", hint=hint)


class InvalidArgument(ServiceError):
    """An argument of a command has a value that is not allowed (operator commands only)."""

    code = "InvalidArgument"

    def __init__(self, argument: str, why: str) -> None:
        super().__init__(f"{argument}: {why}")
        self.argument = argument


class UserInUse(ServiceError):
    """A user that is to be deleted has access keys in force (operator commands only)."""

    code = "UserInUse"

    def __init__(self, name: str, *, account: str) -> None:
        super().__init__(
            f"user {name!r} of account {account!r} has access keys in force",
            hint=f"modelpress key list --user {name} shows them; modelpress key revoke puts one out of force",
        )


class PoliciesDiffer(ServiceError):
    """A key is wanted with other policies than its user has (operator commands only)."""

    code = "PoliciesDiffer"

    def __init__(self, name: str, *, account: str, has: str) -> None:
        super().__init__(
            f"user {name!r} of account {account!r} exists with other policies: {has}",
            hint="name another user with --user, or change this one's with modelpress user policy",
        )


class NoSuchAccount(NotFound):
    """No account of this name (operator commands only)."""

    code = "NoSuchAccount"

    def __init__(self, name: str) -> None:
        super().__init__(f"no account {name!r}", hint="modelpress account list shows those there are")


class NoSuchWebhook(NotFound):
    """The account has no webhook (operator commands only)."""

    code = "NoSuchWebhook"

    def __init__(self, account: str) -> None:
        super().__init__(f"account {account!r} has no webhook", hint="modelpress webhook set URL")


class NoSuchDelivery(NotFound):
    """No delivery of this id, or it was swept (operator commands only)."""

    code = "NoSuchDelivery"

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"no delivery {delivery_id!r}", hint="modelpress webhook deliveries")


class TaskStatusConflict(ServiceError):
    """The task's status does not allow this."""

    code = "TaskStatusConflict"

    def __init__(self, task_id: str, *, status: str, wanted: str) -> None:
        super().__init__(f"compression task {task_id!r} is {status}: {wanted}")


class ModelInUse(ServiceError):
    """A task that is not final reads or fills the model."""

    code = "ModelInUse"

    def __init__(self, which: str, *, task_id: str | None) -> None:
        """``task_id`` is None for another account's, which is not told."""
        user = "a task of another account" if task_id is None else f"task {task_id!r}"
        super().__init__(f"{which!r} is in use by {user}")


class NameConflict(ServiceError):
    """The name is taken in this account."""

    code = "NameConflict"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} {name!r} already exists")


class IdempotentParameterMismatch(ServiceError):
    """The client token was used before, for something else."""

    code = "IdempotentParameterMismatch"

    def __init__(self, client_token: str) -> None:
        super().__init__(
            f"The request uses the same client token {client_token!r} as an earlier request, with other parameters.",
            hint="take a new token for a new task",
        )


class ExportTargetExists(ServiceError):
    """Something lies at the place that was named for an export, or another export is about to appear there."""

    code = "ExportTargetExists"

    def __init__(self, *, bucket: str, path: str) -> None:
        super().__init__(
            f"bucket {bucket!r} has something at {path!r} already, or another export is about to put it there",
            hint="name another exportMeta.objectPath, or none: then it is a new one",
        )


class ExportUnderway(ServiceError):
    """The version is being exported to another place than the one that is asked for."""

    code = "ExportUnderway"

    def __init__(self, model_id: str, *, export_id: str, place: str) -> None:
        super().__init__(f"{model_id!r} is being exported to {place} by {export_id!r}; ask again when that has ended")


class ModelNotSupported(ServiceError):
    """The model version cannot be imported or compressed; the message says why."""

    code = "ModelNotSupported"


# --- why a task failed --------------------------------------------------------------------------------------


class TaskError(ModelpressError):
    """Compression cannot go on; ``reason`` is the first word of the task's failedReason."""

    reason: ClassVar[str] = "Internal"

    def failed_reason(self) -> str:
        """The wire's failedReason: a class and a sentence."""
        return f"{self.reason}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class BadSource(TaskError):
    """The source is not a readable checkpoint: missing files, lying headers, NaN, pickles, already quantized."""

    reason = "BadSource"


class AlreadyCompressed(BadSource):
    """The source is a sound checkpoint, but its weights are quantized already."""


class Unsupported(TaskError):
    """The checkpoint is sound but cannot be compressed as asked."""

    reason = "Unsupported"


class BadCalibration(TaskError):
    """The calibration data is gone, or no text of a known form; then the message names the file and the line."""

    reason = "BadCalibration"


class DiskFull(TaskError):
    """No space was left for the output."""

    reason = "DiskFull"


class TargetTaken(TaskError):
    """Something else lies where an export was to appear."""

    reason = "TargetExists"


class OutOfMemory(TaskError):
    """The work did not fit into memory."""

    reason = "OutOfMemory"


class QualityGate(TaskError):
    """The output did not pass verification."""

    reason = "QualityGate"


class WorkerLost(TaskError):
    """Attempt after attempt died without finishing anything."""

    reason = "WorkerLost"


class InternalFailure(TaskError):
    """A bug of ours; the trace is in the task's log."""

    reason = "Internal"


# --- the house's own troubles ------------------------------------------------------------------------------


class LeaseLost(ModelpressError):
    """The task is held by another attempt, or was ended; what this worker did is dropped."""


class StoreUnavailable(ModelpressError):
    """The database cannot be reached or does not answer."""


class SettingsError(ModelpressError):
    """A setting, flag or file of settings is missing or wrong."""
