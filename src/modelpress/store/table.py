"""The tables. Texts with a CHECK instead of native enumerations; times are microseconds since 1970 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect

from modelpress.domain.task import OPEN, TaskStatus

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware datetime as integer microseconds, so that both databases compare and keep it alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Aware datetime to microseconds."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Microseconds to an aware datetime in UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


def _quoted(statuses: frozenset[TaskStatus]) -> str:
    return ", ".join(f"'{status.value}'" for status in sorted(statuses))


def _seq() -> Column[int]:
    """Orders rows by creation; never leaves the store. AUTOINCREMENT: a number is never used twice."""
    return Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

account = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
)

account_user = Table(
    "account_user",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("account.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("policies", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("account_id", "name"),
)

# A key's account and policies are its user's.
access_key = Table(
    "access_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("account_user.id"), nullable=False),
    Column("secret", LargeBinary, nullable=False),  # AES-GCM, see secret.py
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)

model_set = Table(
    "model_set",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("account_id", Text, ForeignKey("account.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("model_type", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("modified_at", Instant, nullable=False),
    Column("deleted_at", Instant),
    # Shared with all accounts since the one and not until the other; both stay, so that the id still marks its place.
    Column("shared_at", Instant),
    Column("unshared_at", Instant),
    Column("description", Text),
    sqlite_autoincrement=True,
)
Index("ix_model_set_page", model_set.c.account_id, model_set.c.seq)
Index(
    "uq_model_set_name",
    model_set.c.account_id,
    model_set.c.name,
    unique=True,
    sqlite_where=text("deleted_at IS NULL"),
    postgresql_where=text("deleted_at IS NULL"),
)
_SHARED = text("shared_at IS NOT NULL AND unshared_at IS NULL AND deleted_at IS NULL")
# The page of shared sets is one range scan of it, since accounts have many more sets than are shared.
Index("ix_model_set_shared", model_set.c.seq, sqlite_where=_SHARED, postgresql_where=_SHARED)
Index("uq_model_set_shared_name", model_set.c.name, unique=True, sqlite_where=_SHARED, postgresql_where=_SHARED)

model_version = Table(
    "model_version",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("account_id", Text, ForeignKey("account.id"), nullable=False),
    Column("set_id", Text, ForeignKey("model_set.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("model_format", Text, nullable=False),
    Column("application_type", Text, nullable=False),
    Column("architecture", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("unsupported_reason", Text),
    Column("task_id", Text),
    Column("created_at", Instant, nullable=False),
    Column("modified_at", Instant, nullable=False),
    Column("deleted_at", Instant),
    Column("files_removed_at", Instant),
    # How it is to be used where it is served; absent in old rows.
    Column("advanced_conf", JSON),
    CheckConstraint("source_type IN ('Import', 'Acceleration')", name="source_type"),
    sqlite_autoincrement=True,
)
Index("ix_model_version_set", model_version.c.set_id, model_version.c.seq)

# Chat templates that people upload as Python source: kept and told, never run.
template_file = Table(
    "template_file",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("account.id"), nullable=False),
    Column("digest", Text, nullable=False),  # SHA-256 of the content
    Column("content", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
)
Index("uq_template_file_digest", template_file.c.account_id, template_file.c.digest, unique=True)

task = Table(
    "task",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("account_id", Text, ForeignKey("account.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("recipe", JSON, nullable=False),
    # Of the recipe: what lists show and are filtered by.
    Column("strategy", Text, nullable=False, server_default="Quantization"),
    Column("scheme", Text, nullable=False, server_default=""),
    Column("source_model_id", Text, ForeignKey("model_version.id"), nullable=False),
    Column("model_set_id", Text, ForeignKey("model_set.id"), nullable=False),
    Column("output_model_id", Text, nullable=False, unique=True),
    Column("reason", Text, nullable=False, server_default=""),
    # The number of the run that holds the task: every write of a worker names it, so a stale worker writes nothing.
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("barren_attempts", Integer, nullable=False, server_default="0"),
    Column("holder", Text),
    Column("lease_until", Instant),
    Column("stage", Text, nullable=False, server_default=""),
    Column("percent", Integer, nullable=False, server_default="0"),
    Column("bytes_done", BigInteger, nullable=False, server_default="0"),
    Column("bytes_total", BigInteger, nullable=False, server_default="0"),
    # Measured by the worker from bytes and time; absent until it can tell.
    Column("eta_seconds", Integer),
    Column("statistics", JSON),
    # Pairs of key and value, to be shown; null where there are none. task_tag has them again, to be found.
    Column("tags", JSON(none_as_null=True)),
    # The finished task whose staging this one takes over.
    Column("retry_of", Text),
    # What makes creating repeatable: the caller's token, and a digest of what was asked with it.
    Column("client_token", Text),
    Column("request_digest", Text),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("deleted_at", Instant),
    CheckConstraint(f"status IN ({_quoted(frozenset(TaskStatus))})", name="status"),
    CheckConstraint("percent BETWEEN 0 AND 100", name="percent"),
    sqlite_autoincrement=True,
)
# A page is one range scan of one of these, whatever the filter; tombstones are not in them.
_LIVE = text("deleted_at IS NULL")
Index("ix_task_page", task.c.account_id, task.c.seq, sqlite_where=_LIVE, postgresql_where=_LIVE)
Index(
    "ix_task_page_source",
    task.c.account_id,
    task.c.source_model_id,
    task.c.seq,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)
Index("ix_task_page_status", task.c.account_id, task.c.status, task.c.seq, sqlite_where=_LIVE, postgresql_where=_LIVE)
# From a time to the seq at which a list filtered by time begins or ends.
Index("ix_task_created", task.c.account_id, task.c.created_at)
_WITH_TOKEN = text("client_token IS NOT NULL")
Index(
    "uq_task_client_token",
    task.c.account_id,
    task.c.client_token,
    unique=True,
    sqlite_where=_WITH_TOKEN,
    postgresql_where=_WITH_TOKEN,
)
#: Also the condition of the statements that are to use the index: SQLite takes it only for the very same text, and a
#: list of bound values is none. Without it every look for work reads all tasks there ever were.
OPEN_TASK = text(f"status IN ({_quoted(OPEN)})")
Index("ix_task_open", task.c.seq, sqlite_where=OPEN_TASK, postgresql_where=OPEN_TASK)

# One row a tag; a page filtered by a tag is one range scan of its index.
task_tag = Table(
    "task_tag",
    metadata,
    Column("task_seq", BigInteger().with_variant(Integer, "sqlite"), ForeignKey("task.seq"), nullable=False),
    Column("account_id", Text, ForeignKey("account.id"), nullable=False),
    Column("tag_key", Text, nullable=False),
    Column("tag_value", Text, nullable=False),
    PrimaryKeyConstraint("task_seq", "tag_key"),
)
Index("ix_task_tag_page", task_tag.c.account_id, task_tag.c.tag_key, task_tag.c.tag_value, task_tag.c.task_seq)

task_event = Table(
    "task_event",
    metadata,
    _seq(),
    Column("task_id", Text, ForeignKey("task.id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("message", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_task_event_task", task_event.c.task_id, task_event.c.seq)

webhook = Table(
    "webhook",
    metadata,
    Column("account_id", Text, ForeignKey("account.id"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),  # AES-GCM, see secret.py
    Column("created_at", Instant, nullable=False),
)

# The outbox: a row is written in the transaction of the change it tells of.
webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("account_id", Text, ForeignKey("account.id"), nullable=False),
    Column("task_id", Text, ForeignKey("task.id")),
    Column("type", Text, nullable=False),
    # Text, not JSON: what is signed and sent, byte for byte, at every try.
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("tries", Integer, nullable=False, server_default="0"),
    # When it is due. A claim moves it to the end of its lease, so a claim whose courier died falls due by itself.
    Column("next_at", Instant, nullable=False),
    # The claim that is sending it; an outcome names it, so that a late one changes nothing.
    Column("claim", Text),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("created_at", Instant, nullable=False),
    Column("delivered_at", Instant),
    CheckConstraint("state IN ('waiting', 'delivered', 'dead')", name="state"),
    sqlite_autoincrement=True,
)
#: Also the condition of the statements that are to use the index, as with OPEN_TASK.
WAITING_DELIVERY = text("state = 'waiting'")
Index(
    "ix_webhook_delivery_due",
    webhook_delivery.c.next_at,
    webhook_delivery.c.seq,
    sqlite_where=WAITING_DELIVERY,
    postgresql_where=WAITING_DELIVERY,
)
Index("ix_webhook_delivery_account", webhook_delivery.c.account_id, webhook_delivery.c.seq)
Index("ix_webhook_delivery_created", webhook_delivery.c.created_at)

export_task = Table(
    "export_task",
    metadata,
    _seq(),
    Column("id", Text, nullable=False, unique=True),
    Column("account_id", Text, ForeignKey("account.id"), nullable=False),
    Column("model_id", Text, ForeignKey("model_version.id"), nullable=False),
    Column("bucket", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("barren_attempts", Integer, nullable=False, server_default="0"),
    Column("holder", Text),
    Column("lease_until", Instant),
    Column("bytes_done", BigInteger, nullable=False, server_default="0"),
    Column("bytes_total", BigInteger, nullable=False, server_default="0"),
    Column("manifest_sha256", Text),
    Column("manifest_md5", Text),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    CheckConstraint(f"status IN ({_quoted(frozenset(TaskStatus))})", name="status"),
    sqlite_autoincrement=True,
)
Index("ix_export_task_open", export_task.c.seq, sqlite_where=OPEN_TASK, postgresql_where=OPEN_TASK)
Index("ix_export_task_model", export_task.c.account_id, export_task.c.model_id, export_task.c.seq)
# One at a time of an account and a version, which is what asking again means; and one at a time into a place.
Index(
    "uq_export_task_open_model",
    export_task.c.account_id,
    export_task.c.model_id,
    unique=True,
    sqlite_where=OPEN_TASK,
    postgresql_where=OPEN_TASK,
)
Index(
    "uq_export_task_open_place",
    export_task.c.bucket,
    export_task.c.path,
    unique=True,
    sqlite_where=OPEN_TASK,
    postgresql_where=OPEN_TASK,
)

export_event = Table(
    "export_event",
    metadata,
    _seq(),
    Column("task_id", Text, ForeignKey("export_task.id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("message", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_export_event_task", export_event.c.task_id, export_event.c.seq)
