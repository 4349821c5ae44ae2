"""Exports in the statuses that a test needs, and what an attempt at one leaves behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from modelpress.domain.export import MANIFEST, Exported, ExportTask, NewExport
from modelpress.domain.identifier import EXPORT, new_id
from modelpress.domain.model import Location, ModelVersion
from modelpress.service.exports import FILES, ExportAssignment
from tests.conformance.scene import LEASE, Scene, progress

SHARD = b"what was exported"
EXPORTED = Exported(size_bytes=len(SHARD), manifest_sha256="5" * 64, manifest_md5="d" * 32)


def make_export(scene: Scene, *, source: ModelVersion | None = None, path: str | None = None) -> ExportTask:
    """A new export; of a new version, unless one is named."""
    version = source or scene.version_in(scene.model_set)
    export_id = new_id(EXPORT)
    place = Location(bucket="exports", path=path or f"{scene.account_id}/{version.id}/{export_id}")
    new = NewExport(id=export_id, account_id=scene.account_id, model_id=version.id, location=place)
    return scene.store.exports.create(new, now=scene.clock())


def claim_export(scene: Scene, *, holder: str = "worker") -> ExportTask | None:
    """What a worker gets when it asks for an export."""
    claimed = scene.store.exports.claim(holder=holder, lease=LEASE, now=scene.clock())
    return None if claimed is None else claimed[0]


def running_export(scene: Scene) -> ExportTask:
    """A new export that a worker holds; no other may be claimable."""
    made = make_export(scene)
    claimed = claim_export(scene)
    assert claimed is not None
    assert claimed.id == made.id
    return claimed


def newest(scene: Scene, export: ExportTask) -> ExportTask:
    """The newest export of the same version, as it is now."""
    found = scene.store.exports.newest(export.model_id, account_id=export.account_id)
    assert found is not None
    return found


#: All that the worker of an export may write.
WRITES: dict[str, Callable[[Scene, ExportTask], object]] = {
    "report": lambda scene, export: scene.store.exports.report(
        export, progress(), fruitful=True, lease=LEASE, now=scene.clock()
    ),
    "exported": lambda scene, export: scene.store.exports.exported(export, EXPORTED, lease=LEASE, now=scene.clock()),
    "succeed": lambda scene, export: scene.store.exports.succeed(export, now=scene.clock()),
    "fail": lambda scene, export: scene.store.exports.fail(export, reason="DiskFull: no", now=scene.clock()),
    "release": lambda scene, export: scene.store.exports.release(export, why="no", forgive=False, now=scene.clock()),
}


def copied(assignment: ExportAssignment) -> Exported:
    """Write what an attempt copies; it may be there already."""
    folder = assignment.staging / FILES
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(SHARD)
    manifest = f"{hashlib.sha256(SHARD).hexdigest()}  model.safetensors\n".encode()
    (folder / MANIFEST).write_bytes(manifest)
    return Exported(
        size_bytes=len(SHARD),
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        manifest_md5=hashlib.md5(manifest).hexdigest(),
    )
