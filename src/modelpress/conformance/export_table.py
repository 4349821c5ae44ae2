"""The actions on exports of model versions as they are written down."""

from __future__ import annotations

from modelpress.conformance import document
from modelpress.conformance.field import always, ours, sometimes, within
from modelpress.conformance.table import ActionTable

EXPORT_STATUSES = ("Doing", "Done", "Fail")

_EXPORT = (
    always("hasRecord", "boolean"),
    sometimes("exportId"),
    sometimes("status", words=EXPORT_STATUSES),
    sometimes("fileName"),
    sometimes("fileType"),
    sometimes("md5"),
    sometimes("fileSize", "integer"),
    sometimes("downloadUrl"),
    ours("bucket"),
    ours("objectPath"),
    ours("progress", "integer"),
    ours("bytesDone", "integer"),
    ours("bytesTotal", "integer"),
    ours("createTime", "time"),
    ours("finishTime", "time"),
    ours("failedReason", unchecked="only a failed export has it, and none of a check's fails"),
    ours("manifest"),
    ours("sha256"),
    ours("events[]", "list", always=True),
    ours("events[].time", "time", always=True),
    ours("events[].status", always=True),
    ours("events[].attempt", "integer", always=True),
    ours("events[].message", always=True),
)

EXPORT_TABLES = (
    ActionTable(
        name="CreateModelExportTask",
        document=document.CREATE_EXPORT,
        writes=True,
        request=(
            always("modelId"),
            ours("exportMeta", "object"),
            ours("exportMeta.bucket"),
            ours("exportMeta.objectPath"),
        ),
        answer=(always("result", "object"), always("result.exportId")),
    ),
    ActionTable(
        name="DescribeModelExportTask",
        document=document.DESCRIBE_EXPORT,
        request=(always("modelId"),),
        answer=(always("result", "object"), *within("result", _EXPORT)),
    ),
)
