"""The actions on how a model is configured for serving, as they are written down."""

from __future__ import annotations

from modelpress.conformance import document
from modelpress.conformance.field import always, by_http, sometimes
from modelpress.conformance.table import ID_RESULT, ActionTable

#: JSON in a string, of which no page tells more.
_TEXT = ID_RESULT

CONFIGURATION_TABLES = (
    ActionTable(
        name="CreateModelCustomConf",
        document=document.CREATE_CUSTOM_CONF,
        writes=True,
        multipart=True,
        request=by_http(always("customSpecFile", "file")),
        answer=by_http(*ID_RESULT),
    ),
    ActionTable(
        name="DescribeModelSystemAdvancedConf",
        document=document.DESCRIBE_SYSTEM_CONF,
        # Printed as required, yet not sent by the Python SDK.
        request=(sometimes("basicModelName"), always("modelFormat"), always("modelApplicationType")),
        answer=_TEXT,
    ),
    ActionTable(
        name="DescribeModelCustomAdvancedConf",
        document=document.DESCRIBE_CUSTOM_CONF,
        request=(always("modelId"),),
        answer=_TEXT,
    ),
)
