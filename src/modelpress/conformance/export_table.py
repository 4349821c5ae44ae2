"""The actions on exports of models; no page tells of them, the SDK's source does."""

from __future__ import annotations

from modelpress.conformance import document
from modelpress.conformance.field import Mark, always
from modelpress.conformance.table import ActionTable

EXPORT_TABLES = (
    ActionTable(
        name="CreateModelExportTask",
        document=document.SDK,
        mark=Mark.NOT_OFFERED,
        note="models are files in a bucket already",
        writes=True,
        request=(always("modelId"),),
    ),
    ActionTable(
        name="DescribeModelExportTask",
        document=document.SDK,
        mark=Mark.NOT_OFFERED,
        note="models are files in a bucket already",
        request=(always("modelId"),),
    ),
)
