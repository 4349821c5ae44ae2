"""The actions on models that are shared with all accounts, and the routes of the old API, as they are written down."""

from __future__ import annotations

from modelpress.conformance import document
from modelpress.conformance.field import Field, always, not_offered, ours, sometimes, within
from modelpress.conformance.model_table import (
    APPLICATION_TYPES,
    MODEL_STATUSES,
    NO_SERVING,
    NO_TRAINING,
    SET_BY_EITHER,
    VERSIONS,
)
from modelpress.conformance.table import PAGE_INFO, PAGE_REQUEST, ActionTable

_SOURCE_TYPES = ("Train", "Acceleration", "Import", "PlatformPreset")
_OLD_NUMBERS = "numbers of the old API; ids are texts here"
_NOT_KNOWN = "a checkpoint does not say it"

_SET = (
    always("modelSetId"),
    always("modelSetName"),
    always("modelType"),
    always("description"),
    always("modifyTime", "time"),
    *VERSIONS,
)

_VERSION = (
    always("modelSetId"),
    always("modelId"),
    always("modelName"),
    always("status", words=MODEL_STATUSES),
    always("description"),
    always("createTime", "time"),
    always("modifyTime", "time"),
    always("modelApplicationType", words=APPLICATION_TYPES),
    not_offered("tokenLimitations", "object", why=_NOT_KNOWN),
    always("isSupportDeploy", "boolean"),
    always("isSupportModelComp", "boolean"),
    always("isSupportEvaluation", "boolean"),
    always("capabilities", "strings"),
    always("modelProviders", "strings"),
)

_VERSION_V1: tuple[Field, ...] = (
    not_offered("modelId", "integer", why=_OLD_NUMBERS),
    always("modelIdStr"),
    always("modelName"),
    not_offered("modelVersionId", "integer", why=_OLD_NUMBERS),
    always("modelVersionIdStr"),
    always("version"),
    always("description"),
    always("sourceType", words=_SOURCE_TYPES),
    always("sourceExtra", "object"),
    always("sourceExtra.sourceType", words=_SOURCE_TYPES),
    not_offered("sourceExtra.trainSourceExtra", "object", why=NO_TRAINING),
    sometimes("sourceExtra.accelerationSourceExtra", "object"),
    ours("sourceExtra.accelerationSourceExtra.taskIdStr"),
    sometimes("sourceExtra.importModelVersionSourceExtra", "object"),
    sometimes("sourceExtra.importModelVersionSourceExtra.bucket"),
    sometimes("sourceExtra.importModelVersionSourceExtra.object"),
    not_offered("framework", why=_NOT_KNOWN),
    not_offered("algorithm", why=NO_TRAINING),
    always("modelNet"),
    always("state", words=MODEL_STATUSES),
    always("ioMode"),
    not_offered("ioLength", why=_NOT_KNOWN),
    not_offered("copyright", why=_NOT_KNOWN),
    not_offered("license", why=_NOT_KNOWN),
    not_offered("property", why=_NOT_KNOWN),
    always("createTime"),
    always("modifyTime"),
    always("deployResource", "strings"),
    always("supportOptions", "strings"),
    not_offered("trainType", why=NO_TRAINING),
    not_offered("params", "object", why=NO_SERVING),
)

SYSTEM_TABLES = (
    ActionTable(
        name="DescribeSystemModelSets",
        document=document.DESCRIBE_SYSTEM_SETS,
        request=PAGE_REQUEST,
        answer=(
            always("result", "object"),
            always("result.systemModelSetList[]", "list"),
            *within("result.systemModelSetList[]", (*_SET, always("modelCount", "integer"))),
            *PAGE_INFO,
        ),
    ),
    ActionTable(
        name="DescribeSystemModelSet",
        document=document.DESCRIBE_SYSTEM_SET,
        request=SET_BY_EITHER,
        answer=(always("result", "object"), *within("result", (*_SET, always("createTime", "time")))),
    ),
    ActionTable(
        name="DescribeSystemModel",
        document=document.DESCRIBE_SYSTEM_VERSION,
        request=(always("modelId"),),
        answer=(always("result", "object"), *within("result", _VERSION)),
    ),
)

_LOG_ID = always("log_id")

OLD_TABLES = (
    ActionTable(
        name="modelVersionDetail",
        path="/wenxinworkshop/modelrepo/modelVersionDetail",
        document=document.VERSION_DETAIL_V1,
        request=(always("modelVersionId"),),
        answer=(_LOG_ID, always("result", "object"), *within("result", _VERSION_V1)),
    ),
    ActionTable(
        name="modelDetail",
        path="/wenxinworkshop/modelrepo/modelDetail",
        document=document.MODEL_DETAIL_V1,
        request=(always("modelId"),),
        answer=(
            _LOG_ID,
            always("result", "object"),
            *within(
                "result",
                (
                    not_offered("modelId", "integer", why=_OLD_NUMBERS),
                    always("modelIdStr"),
                    always("modelName"),
                    always("source"),
                    not_offered("modelType", "integer", why=_OLD_NUMBERS),
                    not_offered("createUserId", "integer", why=_OLD_NUMBERS),
                    not_offered("createUser", why="no account tells another who its people are"),
                    always("createTime"),
                    always("modifyTime"),
                    always("description"),
                    not_offered("languageSupport", "strings", why=_NOT_KNOWN),
                    not_offered("expansion", "strings", why=_NOT_KNOWN),
                    always("modelVersionList[]", "list"),
                    *within("modelVersionList[]", _VERSION_V1),
                ),
            ),
        ),
    ),
    ActionTable(
        name="publishTrainModel",
        path="/wenxinworkshop/modelrepo/publishTrainModel",
        document=document.SDK,
        writes=True,
        request=tuple(
            not_offered(name, why=NO_TRAINING) for name in ("isNewModel", "versionMeta", "modelName", "modelId", "tags")
        ),
    ),
)
