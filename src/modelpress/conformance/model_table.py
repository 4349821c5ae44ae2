"""The actions on an account's own model sets and versions as they are written down."""

from __future__ import annotations

from modelpress.conformance import document
from modelpress.conformance.field import always, by_http, not_offered, ours, sometimes, within
from modelpress.conformance.table import EMPTY_RESULT, ID_RESULT, PAGE_INFO, PAGE_REQUEST, ActionTable

MODEL_STATUSES = ("Ready", "Creating", "Fail")
APPLICATION_TYPES = (
    "chat",
    "completion",
    "embedding",
    "reranker",
    "Text-to-Image",
    "Image-to-Text",
    "video",
    "voice",
)

NO_TRAINING = "there is no training here"
NO_SERVING = "there is no deployment, evaluation or serving here"

_SET = (
    always("modelSetId"),
    always("modelSetName"),
    always("modelType"),
    sometimes("labels", "strings"),
    always("createTime", "time"),
    always("modifyTime", "time"),
)
VERSIONS = (always("modelIds", "strings"), always("modelNames", "strings"))

_IMPORT_META = (
    always("bucket"),
    always("objectPath"),
    sometimes("modelFormat"),
    sometimes("modelApplicationType"),
    sometimes("transformerVersion"),
    # Named on another page; of its row here only the meaning is to be read.
    sometimes("basicModelName"),
    sometimes("chatConf", "object"),
    always("chatConf.historyQATemplate"),
    always("chatConf.latestQuestionTemplate"),
    sometimes("chatConf.promptTemplate"),
    # It names a file that no SDK can be made to upload.
    *by_http(
        sometimes("customSpec", "object"),
        ours("customSpec.displayName", always=True),
        ours("customSpec.file", always=True),
    ),
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
    ours("sourceInfo.bucket"),
    ours("sourceInfo.objectPath"),
    sometimes("description"),
    always("createTime", "time"),
    always("modifyTime", "time"),
    always("modelApplicationType", words=APPLICATION_TYPES),
    not_offered("tokenLimitations", "object", why=NO_SERVING),
    always("isSupportModelComp", "boolean"),
    not_offered("isSupportDeploy", "boolean", why=NO_SERVING),
    not_offered("isSupportEvaluation", "boolean", why=NO_SERVING),
    ours("modelFormat", always=True),
    ours("sizeBytes", "integer", always=True),
    ours("unsupportedReason"),
)

SET_BY_EITHER = (sometimes("modelSetId"), sometimes("modelSetName"))

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
            *within("result.customModelSetList[]", (*_SET, always("modelCount", "integer"), *VERSIONS)),
            *PAGE_INFO,
        ),
    ),
    ActionTable(
        name="DescribeModelSet",
        document=document.DESCRIBE_SET,
        request=SET_BY_EITHER,
        answer=(
            always("result", "object"),
            *within(
                "result",
                (*_SET, *VERSIONS, always("source", words=("UserCreate", "System")), ours("modelCount", "integer")),
            ),
            sometimes("result.description", unchecked="of preset models alone"),
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
            not_offered("trainMeta", "object", why=NO_TRAINING),
            not_offered("trainMeta.taskId", why=NO_TRAINING),
            not_offered("trainMeta.checkpointStep", "integer", why=NO_TRAINING),
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
)
