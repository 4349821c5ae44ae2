"""The actions on model sets and versions as they are written down."""

from __future__ import annotations

from modelpress.conformance import document
from modelpress.conformance.field import Mark, always, not_offered, ours, sometimes, within
from modelpress.conformance.table import EMPTY_RESULT, ID_RESULT, PAGE_INFO, PAGE_REQUEST, ActionTable

MODEL_STATUSES = ("Ready", "Creating", "Fail")
_APPLICATION_TYPES = (
    "chat",
    "completion",
    "embedding",
    "reranker",
    "Text-to-Image",
    "Image-to-Text",
    "video",
    "voice",
)
_SOURCE_TYPES = ("Train", "Acceleration", "Import", "PlatformPreset")

_NO_TRAINING = "there is no training here"
_NO_SERVING = "there is no deployment, evaluation or serving here"
_OLD_NUMBERS = "numbers of the old API; ids are texts here"

_SET = (
    always("modelSetId"),
    always("modelSetName"),
    always("modelType"),
    sometimes("labels", "strings"),
    always("createTime", "time"),
    always("modifyTime", "time"),
)
_VERSIONS = (always("modelIds", "strings"), always("modelNames", "strings"))

_IMPORT_META = (
    always("bucket"),
    always("objectPath"),
    sometimes("modelFormat"),
    sometimes("modelApplicationType"),
    not_offered("transformerVersion", why=_NO_SERVING),
    not_offered("chatConf", "object", why=_NO_SERVING),
    not_offered("customSpec", "object", why=_NO_SERVING),
)

_VERSION = (
    always("modelSetId"),
    always("modelId"),
    always("status", words=MODEL_STATUSES),
    always("modelName"),
    always("model"),
    always("sourceInfo", "object"),
    ours("sourceInfo.sourceType", always=True),
    ours("sourceInfo.accelerationTaskId"),
    ours("sourceInfo.bucket", always=True),
    ours("sourceInfo.objectPath", always=True),
    sometimes("description"),
    always("createTime", "time"),
    always("modifyTime", "time"),
    always("modelApplicationType", words=_APPLICATION_TYPES),
    not_offered("tokenLimitations", "object", why=_NO_SERVING),
    always("isSupportModelComp", "boolean"),
    not_offered("isSupportDeploy", "boolean", why=_NO_SERVING),
    not_offered("isSupportEvaluation", "boolean", why=_NO_SERVING),
    ours("modelFormat", always=True),
    ours("sizeBytes", "integer", always=True),
    ours("unsupportedReason"),
)

_SYSTEM_SET = (
    always("modelSetId"),
    always("modelSetName"),
    always("modelType"),
    always("description"),
    always("modifyTime", "time"),
    *_VERSIONS,
)

_SET_BY_EITHER = (sometimes("modelSetId"), sometimes("modelSetName"))

MODEL_TABLES = (
    ActionTable(
        name="CreateCustomModelSet",
        document=document.CREATE_SET,
        writes=True,
        request=(always("modelSetName"), always("modelType"), sometimes("labels", "strings")),
        answer=ID_RESULT,
    ),
    ActionTable(
        name="DescribeCustomModelSets",
        document=document.DESCRIBE_SETS,
        request=PAGE_REQUEST,
        answer=(
            always("result", "object"),
            always("result.customModelSetList[]", "list"),
            *within("result.customModelSetList[]", (*_SET, always("modelCount", "integer"), *_VERSIONS)),
            *PAGE_INFO,
        ),
    ),
    ActionTable(
        name="DescribeModelSet",
        document=document.DESCRIBE_SET,
        request=_SET_BY_EITHER,
        answer=(
            always("result", "object"),
            *within(
                "result",
                (*_SET, *_VERSIONS, always("source", words=("UserCreate", "System")), ours("modelCount", "integer")),
            ),
            not_offered("result.description", why="of preset models alone"),
        ),
    ),
    ActionTable(
        name="DeleteModelSet",
        document=document.DELETE_SET,
        writes=True,
        request=(always("modelSetId"),),
        answer=EMPTY_RESULT,
    ),
    ActionTable(
        name="CreateCustomModel",
        document=document.CREATE_VERSION,
        writes=True,
        request=(
            always("modelSetId"),
            sometimes("description"),
            always("sourceType", words=("Train", "Import")),
            not_offered("trainMeta", "object", why=_NO_TRAINING),
            not_offered("trainMeta.taskId", why=_NO_TRAINING),
            not_offered("trainMeta.checkpointStep", "integer", why=_NO_TRAINING),
            sometimes("importMeta", "object"),
            *within("importMeta", _IMPORT_META),
        ),
        answer=(always("result", "object"), always("result.modelId")),
    ),
    ActionTable(
        name="DescribeModel",
        document=document.DESCRIBE_VERSION,
        request=(always("modelId"),),
        answer=(always("result", "object"), *within("result", _VERSION)),
    ),
    ActionTable(
        name="DeleteModel",
        document=document.DELETE_VERSION,
        writes=True,
        request=(always("modelId"),),
        answer=EMPTY_RESULT,
    ),
    ActionTable(
        name="DescribeSystemModelSets",
        document=document.DESCRIBE_SYSTEM_SETS,
        mark=Mark.NOT_OFFERED,
        note="no preset models",
        request=PAGE_REQUEST,
        answer=(
            always("result", "object"),
            always("result.systemModelSetList[]", "list"),
            *within("result.systemModelSetList[]", (*_SYSTEM_SET, always("modelCount", "integer"))),
            *PAGE_INFO,
        ),
    ),
    ActionTable(
        name="DescribeSystemModelSet",
        document=document.DESCRIBE_SYSTEM_SET,
        mark=Mark.NOT_OFFERED,
        note="no preset models",
        request=_SET_BY_EITHER,
        answer=(always("result", "object"), *within("result", (*_SYSTEM_SET, always("createTime", "time")))),
    ),
    ActionTable(
        name="DescribeSystemModel",
        document=document.DESCRIBE_SYSTEM_VERSION,
        mark=Mark.NOT_OFFERED,
        note="no preset models",
        request=(always("modelId"),),
        answer=(
            always("result", "object"),
            *within(
                "result",
                (
                    always("modelSetId"),
                    always("modelId"),
                    always("modelName"),
                    always("status", words=MODEL_STATUSES),
                    sometimes("description"),
                    always("createTime", "time"),
                    always("modifyTime", "time"),
                    always("modelApplicationType", words=_APPLICATION_TYPES),
                    not_offered("tokenLimitations", "object", why=_NO_SERVING),
                    not_offered("isSupportDeploy", "boolean", why=_NO_SERVING),
                    always("isSupportModelComp", "boolean"),
                    not_offered("isSupportEvaluation", "boolean", why=_NO_SERVING),
                    not_offered("capabilities", "strings", why=_NO_SERVING),
                    not_offered("modelProviders", "strings", why=_NO_SERVING),
                ),
            ),
        ),
    ),
    ActionTable(
        name="modelVersionDetail",
        path="/wenxinworkshop/modelrepo/modelVersionDetail",
        document=document.VERSION_DETAIL_V1,
        request=(always("modelVersionId"),),
        answer=(
            always("result", "object"),
            *within(
                "result",
                (
                    not_offered("modelId", "integer", why=_OLD_NUMBERS),
                    always("modelIdStr"),
                    always("modelName"),
                    not_offered("modelVersionId", "integer", why=_OLD_NUMBERS),
                    always("modelVersionIdStr"),
                    not_offered("version", why=_OLD_NUMBERS),
                    not_offered("description", why="DescribeModel has it"),
                    always("sourceType", words=_SOURCE_TYPES),
                    not_offered("sourceExtra", "object", why=_NO_TRAINING),
                    not_offered("framework", why=_NO_TRAINING),
                    not_offered("algorithm", why=_NO_TRAINING),
                    not_offered("modelNet", why=_NO_TRAINING),
                    always("state", words=MODEL_STATUSES),
                    not_offered("ioMode", why="DescribeModel's modelApplicationType has it"),
                    not_offered("ioLength", why=_NO_SERVING),
                    not_offered("copyright", why=_NO_SERVING),
                    not_offered("license", why=_NO_SERVING),
                    not_offered("property", why=_NO_SERVING),
                    always("createTime"),
                    always("modifyTime"),
                    not_offered("deployResource", why=_NO_SERVING),
                    always("supportOptions", "strings"),
                    not_offered("trainType", why=_NO_TRAINING),
                    not_offered("params", "object", why=_NO_TRAINING),
                ),
            ),
        ),
    ),
    ActionTable(
        name="modelDetail",
        path="/wenxinworkshop/modelrepo/modelDetail",
        document=document.MODEL_DETAIL_V1,
        mark=Mark.NOT_OFFERED,
        note="no part of compressing a model",
        request=(always("modelId"),),
        answer=(always("result", "object"), always("result.modelVersionList[]", "list")),
    ),
    ActionTable(
        name="publishTrainModel",
        path="/wenxinworkshop/modelrepo/publishTrainModel",
        document=document.SDK,
        mark=Mark.NOT_OFFERED,
        note=_NO_TRAINING,
        writes=True,
        request=(always("isNewModel", "boolean"), always("versionMeta", "object"), sometimes("modelName")),
    ),
)
