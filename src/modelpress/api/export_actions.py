"""The actions on exports of model versions."""

from __future__ import annotations

from modelpress.api import export_result as result
from modelpress.api import wire
from modelpress.api.action import Action
from modelpress.domain.policy import Caller
from modelpress.service.services import Services


def _create_export(services: Services, caller: Caller, request: wire.CreateExport) -> result.ExportCreated:
    place = request.export_meta
    export = services.exports.create(
        caller,
        request.model_id,
        bucket=None if place is None else place.bucket,
        path=None if place is None else place.object_path,
    )
    return result.ExportCreated(export_id=export.id)


def _describe_export(services: Services, caller: Caller, request: wire.ModelId) -> result.ExportDetail:
    export = services.exports.newest(caller, request.model_id)
    return result.export_detail(export, services.exports.history(export.id) if export is not None else [])


EXPORT_ACTIONS = (
    Action(name="CreateModelExportTask", request=wire.CreateExport, run=_create_export, writes=True),
    Action(
        name="DescribeModelExportTask",
        request=wire.ModelId,
        run=_describe_export,
        writes=False,
        guarded=True,
        quick=True,
    ),
)
