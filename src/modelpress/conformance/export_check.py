"""The actions on exports of model versions."""

from __future__ import annotations

from typing import Any

from modelpress.conformance.check import check
from modelpress.conformance.scene import Scene
from modelpress.conformance.session import LONGEST_WAIT, Session
from modelpress.conformance.verdict import ensure

_CREATE, _EXPORT = "CreateModelExportTask", "DescribeModelExportTask"
_NO_MODEL = "amv-000000000000"
_WHEN_DONE = ("fileName", "fileType", "md5", "fileSize", "downloadUrl")
_WHEN_DONE_OURS = ("manifest", "sha256", "finishTime")


def _described(session: Session, model_id: str) -> dict[str, Any]:
    detail: dict[str, Any] = session.result(_EXPORT, {"modelId": model_id})
    return detail


def _ended(session: Session, model_id: str) -> dict[str, Any]:
    """The newest export of a version once it is not going on."""
    for _ in range(LONGEST_WAIT):
        detail = _described(session, model_id)
        if detail.get("status") != "Doing":
            break
        session.pause()
    return detail


@check(
    _CREATE,
    request=("modelId",),
    answer=("result.exportId",),
    writes=True,
)
def created_export_is_described(session: Session, scene: Scene) -> str:
    """The answer is the id of the export that is then told of the version, and it is done in the end."""
    model_id = scene.new_model(scene.new_set())
    export_id = str(session.result(_CREATE, {"modelId": model_id})["exportId"])
    detail = _ended(session, model_id)
    ensure(detail["exportId"] == export_id, f"another is told: {detail['exportId']!r}")
    ensure(detail["hasRecord"] is True and detail["status"] == "Done", f"it is {detail['status']}")
    return export_id


@check(
    _EXPORT,
    request=("modelId",),
    answer=tuple(f"result.{name}" for name in ("exportId", "hasRecord", "status", *_WHEN_DONE)),
    writes=True,
)
def export_that_is_done_tells_its_file(session: Session, scene: Scene) -> str:
    """Name, type, digest, size and place of what was exported are told of an export that is done."""
    model_id = scene.new_model(scene.new_set())
    session.result(_CREATE, {"modelId": model_id})
    detail = _ended(session, model_id)
    missing = [name for name in _WHEN_DONE if not detail.get(name)]
    ensure(not missing, f"it lacks {', '.join(missing)}")
    ensure(len(detail["md5"]) == 32, f"md5 is {detail['md5']!r}")
    return str(detail["downloadUrl"])


@check(_EXPORT, request=("modelId",), answer=("result.hasRecord",), writes=True)
def version_without_export(session: Session, scene: Scene) -> str:
    """A version that was never exported has no record."""
    detail = _described(session, scene.new_model(scene.new_set()))
    ensure(detail["hasRecord"] is False, f"hasRecord is {detail['hasRecord']!r}")
    return "no record"


@check(_EXPORT, request=("modelId",))
def export_of_unknown_model(session: Session, scene: Scene) -> str:
    """An id that no version has is refused."""
    code, status = ("NoSuchModel", 404) if session.options.ours else ("", 0)
    return session.refused(_EXPORT, {"modelId": _NO_MODEL}, code=code, status=status)


@check(
    _CREATE,
    request=("modelId", "exportMeta", "exportMeta.bucket", "exportMeta.objectPath"),
    answer=("result.exportId",),
    writes=True,
    ours=True,
)
def export_to_a_place(session: Session, scene: Scene) -> str:
    """It appears at the place that exportMeta names, and another export to the same place is refused."""
    model_id = scene.new_model(scene.new_set())
    session.result(_CREATE, {"modelId": model_id})
    account_id = _ended(session, model_id)["objectPath"].partition("/")[0]
    meta = {"bucket": "exports", "objectPath": f"{account_id}/{model_id}/here"}
    session.result(_CREATE, {"modelId": model_id, "exportMeta": meta})
    detail = _ended(session, model_id)
    ensure(detail["status"] == "Done", f"it is {detail['status']}")
    ensure({name: detail[name] for name in meta} == meta, f"it went to {detail['downloadUrl']}")
    return session.refused(_CREATE, {"modelId": model_id, "exportMeta": meta}, code="ExportTargetExists", status=409)


@check(
    _EXPORT,
    request=("modelId",),
    answer=tuple(f"result.{name}" for name in (*_WHEN_DONE_OURS, "progress", "bytesDone", "bytesTotal", "events[]")),
    writes=True,
    ours=True,
)
def export_tells_its_manifest(session: Session, scene: Scene) -> str:
    """Where the manifest lies and its SHA-256 are told, and the bytes are all done."""
    model_id = scene.new_model(scene.new_set())
    session.result(_CREATE, {"modelId": model_id})
    detail = _ended(session, model_id)
    missing = [name for name in _WHEN_DONE_OURS if not detail.get(name)]
    ensure(not missing, f"it lacks {', '.join(missing)}")
    ensure(detail["progress"] == 100 and detail["bytesDone"] == detail["bytesTotal"] > 0, "not all bytes are done")
    ensure(detail["events"][-1]["status"] == "succeeded", f"events are {detail['events']}")
    return str(detail["manifest"])


EXPORT_CHECKS = (
    created_export_is_described,
    export_that_is_done_tells_its_file,
    version_without_export,
    export_of_unknown_model,
    export_to_a_place,
    export_tells_its_manifest,
)
