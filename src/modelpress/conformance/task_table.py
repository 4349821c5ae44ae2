"""The actions on compression tasks as they are written down."""

from __future__ import annotations

from modelpress.conformance import document
from modelpress.conformance.field import Field, Mark, always, ours, sometimes, within
from modelpress.conformance.table import ID_RESULT, PAGE_INFO, PAGE_REQUEST, ActionTable

STATUSES = ("creating", "running", "succeeded", "failed", "stopping", "stopped")
STRATEGIES = ("Quantization", "Sparsity")
WEIGHTS = ("INT8-PTQ", "W8A16C16", "W4A16C16")

_PASSING = "only while a task is being worked on, too short here to be met for sure"

_HOW = (ours("groupSize", "integer or string"), ours("symmetric", "boolean"))
_OPTIONS = within(
    "config",
    (
        *_HOW,
        *(ours("scaleSearch"), ours("targets", "strings"), ours("ignore", "strings")),
        ours("overrides[]", "list"),
        *within("overrides[]", (ours("targets", "strings", always=True), *_HOW)),
        ours("sparsityPattern"),
        ours("calibration", "object"),
        *within("calibration", (ours("bucket"), ours("objectPath"), ours("textField"))),
        ours("tuning", "object"),
        *within(
            "tuning",
            (
                ours("actOrder", "boolean"),
                ours("dampening", "number"),
                ours("smoothingStrength", "number"),
                ours("iterations", "integer"),
            ),
        ),
    ),
)


def _method(*, told: bool) -> tuple[Field, ...]:
    """What may be said of methods and calibration, and is always ``told``."""
    calibration = (
        ours("source", always=told),
        ours("numSamples", "integer", always=told),
        ours("maxLength", "integer", always=told),
    )
    return within("config", (ours("method", always=told), *within("calibration", calibration)))


_ITEM = (
    always("id"),
    always("name"),
    sometimes("description"),
    always("status", words=STATUSES),
    always("sourceModelId"),
    sometimes("modelId"),
    # In three of four samples, and in no table of the list.
    sometimes("config", "object"),
    sometimes("config.strategy", words=STRATEGIES),
    # Absent where weights are pruned and not quantized.
    ours("config.weight"),
    sometimes("config.quantConf"),
    # Named by a third party only.
    sometimes("config.sparsityRatio", "number"),
    *_OPTIONS,
    *_method(told=True),
    ours("config.outputFormat", unchecked="only where gguf is asked for"),
    ours("config.overrides[].weight", always=True),
    always("createTime", "time"),
    sometimes("finishTime", "time"),
    ours("progress", "integer", always=True),
    ours("stage"),
    ours("etaSeconds", "integer", unchecked=_PASSING),
    ours("queuePosition", "integer"),
    ours("tags[]", "list"),
    *within("tags[]", (ours("tagKey", always=True), ours("tagValue", always=True))),
)

_TAGS = (ours("tags[]", "list"), *within("tags[]", (ours("tagKey", always=True), ours("tagValue"))))

_STATISTICS = (
    ours("statistics", "object"),
    *within(
        "statistics",
        (
            ours("sourceBytes", "integer", always=True),
            ours("outputBytes", "integer", always=True),
            ours("ratio", "number", always=True),
            ours("seconds", "number", always=True),
            ours("peakMemoryBytes", "integer", always=True),
            ours("shardsReused", "integer", always=True),
            ours("groupSize", "integer"),
            ours("kernel", always=True),
            ours("bucket", always=True),
            ours("objectPath", always=True),
        ),
    ),
)

_EVENTS = (
    ours("events[]", "list", always=True),
    *within(
        "events[]",
        (
            ours("time", "time", always=True),
            ours("status", always=True),
            ours("attempt", "integer", always=True),
            ours("message", always=True),
        ),
    ),
)

_DETAIL = (
    *_ITEM,
    sometimes("failedReason"),
    ours("retryOf"),
    ours("modelSetId", always=True),
    ours("bytesDone", "integer", always=True),
    ours("bytesTotal", "integer", always=True),
    *_STATISTICS,
    *_EVENTS,
)

_SCHEME = (
    *(ours(name, always=True) for name in ("weight", "quantConf", "strategy", "summary", "grouping")),
    ours("aliases", "strings", always=True),
    *(ours(name, "integer", always=True) for name in ("weightBits", "activationBits", "cacheBits")),
    ours("ratio", "number", always=True),
    ours("measuredRatio", "number"),
    ours("measuredOn"),
    *(ours(name, always=True) for name in ("ratioBasis", "calibration")),
    ours("calibrationHelps", "boolean", always=True),
    ours("runtimes[]", "list", always=True),
    *within("runtimes[]", (ours("name", always=True), ours("loading", always=True), ours("version"), ours("hardware"))),
)

_METHOD = (
    *(ours(name, always=True) for name in ("method", "strategy", "summary")),
    ours("isCalibrated", "boolean", always=True),
    *(ours(name, "strings", always=True) for name in ("tuning", "weights")),
)

TASK_TABLES = (
    ActionTable(
        name="CreateModelCompTask",
        document=document.CREATE_TASK,
        writes=True,
        request=(
            always("name"),
            sometimes("description"),
            always("sourceModelId"),
            always("modelSetId"),
            always("config", "object"),
            always("config.strategy", words=STRATEGIES),
            sometimes("config.weight", words=WEIGHTS),
            ours("config.quantConf"),
            ours("config.sparsityRatio", "number"),
            *_OPTIONS,
            *_method(told=False),
            ours("config.outputFormat"),
            ours("config.overrides[].weight"),
            # No table has it; the table of error codes says what a second use means.
            sometimes("clientToken"),
            *_TAGS,
        ),
        answer=ID_RESULT,
    ),
    ActionTable(
        name="DescribeModelCompTask",
        document=document.DESCRIBE_TASK,
        prints_optional=True,
        request=(always("modelCompTaskId"),),
        answer=(always("result", "object"), *within("result", _DETAIL)),
    ),
    ActionTable(
        name="DescribeModelCompTasks",
        document=document.DESCRIBE_TASKS,
        request=(
            *PAGE_REQUEST,
            sometimes("sourceModelId"),
            ours("status", "string or strings"),
            ours("strategy"),
            ours("weight"),
            ours("name"),
            ours("modelSetId"),
            ours("createTimeStart", "time"),
            ours("createTimeEnd", "time"),
            *_TAGS,
        ),
        answer=(
            always("result", "object"),
            always("result.modelCompTaskList[]", "list"),
            *within("result.modelCompTaskList[]", _ITEM),
            *PAGE_INFO,
        ),
    ),
    ActionTable(
        name="DescribeModelCompSchemes",
        document=document.OURS,
        mark=Mark.OURS,
        answer=(
            ours("result", "object", always=True),
            ours("result.schemes[]", "list", always=True),
            *within("result.schemes[]", _SCHEME),
            ours("result.methods[]", "list", always=True),
            *within("result.methods[]", _METHOD),
        ),
    ),
    ActionTable(
        name="RetryModelCompTask",
        document=document.OURS,
        mark=Mark.OURS,
        writes=True,
        request=(ours("modelCompTaskId", always=True),),
        answer=(ours("result", always=True),),
    ),
    ActionTable(
        name="DescribeModelCompTaskLogs",
        document=document.OURS,
        mark=Mark.OURS,
        request=(ours("modelCompTaskId", always=True), ours("offset", "integer"), ours("maxLines", "integer")),
        answer=(
            ours("result", "object", always=True),
            ours("result.lines", "strings", always=True),
            ours("result.offset", "integer", always=True),
            ours("result.nextOffset", "integer", always=True),
            ours("result.isTruncated", "boolean", always=True),
        ),
    ),
    ActionTable(
        name="CancelModelCompTask",
        document=document.CANCEL_TASK,
        writes=True,
        prints_optional=True,
        request=(always("modelCompTaskId"),),
    ),
    ActionTable(
        name="DeleteModelCompTask",
        document=document.DELETE_TASK,
        writes=True,
        prints_optional=True,
        request=(always("modelCompTaskId"),),
    ),
)
