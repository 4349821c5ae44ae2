"""An export: a model version copied into a bucket, with a manifest that anybody can verify it by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelpress.domain.model import Location
from modelpress.domain.task import FINAL, TaskStatus

#: The file in an exported directory that lists all others, as ``sha256sum`` does. A source's own file of this name is
#: left out: it is either such a list, which is made anew, or in its way.
MANIFEST = "manifest.sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an attempt copied: bytes of all files but the manifest, and the manifest's own digests in hexadecimal."""

    size_bytes: int
    manifest_sha256: str
    manifest_md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTask:
    """One export as the store has it. It never is ``stopping``: nothing stops an export."""

    id: str
    #: Who asked for it; a shared version may be exported by others than its owner.
    account_id: str
    model_id: str
    #: Where the directory appears.
    location: Location
    status: TaskStatus
    reason: str
    attempt: int
    barren_attempts: int
    bytes_done: int
    bytes_total: int
    #: Known from just before the directory appears.
    exported: Exported | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def percent(self) -> int:
        """100 only when it is done."""
        if self.status is TaskStatus.SUCCEEDED:
            return 100
        return min(99, self.bytes_done * 100 // self.bytes_total) if self.bytes_total else 0

    @property
    def is_open(self) -> bool:
        """Whether something is still to be done."""
        return self.status not in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class NewExport:
    """What creating an export needs; the id is chosen before, since it may be part of the place."""

    id: str
    account_id: str
    model_id: str
    location: Location
