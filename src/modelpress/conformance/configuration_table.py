"""The actions on how a model is configured for serving; no page tells of them, the SDK's source does."""

from __future__ import annotations

from modelpress.conformance import document
from modelpress.conformance.field import Mark, always
from modelpress.conformance.table import ActionTable

_WHY = "there is no deployment, evaluation or serving here"

CONFIGURATION_TABLES = (
    ActionTable(
        name="CreateModelCustomConf",
        document=document.SDK,
        mark=Mark.NOT_OFFERED,
        note=_WHY,
        writes=True,
        request=(always("customSpecFile"),),
    ),
    ActionTable(
        name="DescribeModelSystemAdvancedConf",
        document=document.SDK,
        mark=Mark.NOT_OFFERED,
        note=_WHY,
        request=(always("modelApplicationType"), always("modelFormat")),
    ),
    ActionTable(
        name="DescribeModelCustomAdvancedConf",
        document=document.SDK,
        mark=Mark.NOT_OFFERED,
        note=_WHY,
        request=(always("modelId"),),
    ),
)
