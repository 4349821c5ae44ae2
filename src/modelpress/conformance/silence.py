"""Where Baidu's documents are silent or contradict each other, and what modelpress does there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One open point, and the decision; none was observed on the real service."""

    action: str
    point: str
    here: str


LISTS = "lists"

#: The page of conformance shows them in this order.
POINTS = (
    Point(
        action=LISTS,
        point="is the item that `marker` names in its page?",
        here="yes, it is the first; it stays valid when the task is deleted",
    ),
    Point(
        action=LISTS,
        point="which order is forward?",
        here="creation, oldest first; `pageReverse: true` is newest first",
    ),
    Point(
        action=LISTS,
        point="`maxKeys` below 1",
        here="400 `InappropriateJSON`; above 100 means 100 (documented)",
    ),
    Point(
        action=LISTS,
        point="an unknown marker",
        here="400 `InvalidMarker` (the code is documented)",
    ),
    Point(
        action="every action",
        point="time format",
        here="RFC 3339 with the server's offset, whole seconds",
    ),
    Point(
        action="DescribeModelCompTask",
        point="`config` in answers",
        here="`strategy`, `weight` and `quantConf` (`wint8`, `wint4`, `int8-ptq`), since samples and tables differ",
    ),
    Point(
        action="CreateModelCompTask",
        point="letter case of `weight`",
        here="any on the way in; `INT8-PTQ`, `W8A16C16`, `W4A16C16` on the way out",
    ),
    Point(
        action="DescribeModelCompTask",
        point="`modelId` of a task",
        here="absent until `succeeded`; empty when failed or stopped",
    ),
    Point(
        action="DescribeModelCompTask",
        point="`finishTime`",
        here="absent until the task is final",
    ),
    Point(
        action="CancelModelCompTask",
        point="may a finished task be cancelled?",
        here="409 `TaskStatusConflict`; a stopping one: 200 again",
    ),
    Point(
        action="DeleteModelCompTask",
        point="may an unfinished task be deleted?",
        here="409 `TaskStatusConflict`",
    ),
    Point(
        action="DeleteModelCompTask",
        point="what becomes of the output when its task is deleted?",
        here="it stays",
    ),
    Point(
        action="DeleteModel",
        point="`DeleteModel`, `DeleteModelSet` in use",
        here="409 `ModelInUse` while a task that is not final reads or fills it",
    ),
    Point(
        action="CreateCustomModelSet",
        point="names of model sets",
        here="unique in an account, else 409 `NameConflict`; names of tasks are not",
    ),
    Point(
        action="CreateModelCompTask",
        point="`clientToken` of CreateModelCompTask",
        here="in the body or the query, 1 to 64 visible ASCII characters; same token and same wish (however "
        "spelled): the same task id and nothing new; another wish: 403 `IdempotentParameterMismatch`",
    ),
    Point(
        action="CreateModelCompTask",
        point="how long is a `clientToken` taken?",
        here="for good, in its account; also when the task has ended or was deleted. A refused request takes none",
    ),
    Point(
        action="RetryModelCompTask",
        point="trying a task again",
        here="`RetryModelCompTask` (ours): a new task of the same wish, whose id is the `result`; it takes over the "
        "shards the old one finished, and tells of it in `retryOf`. Only for failed and stopped tasks, else 409 "
        "`TaskStatusConflict`",
    ),
    Point(
        action="DescribeModelCompTaskLogs",
        point="a task's log",
        here="`DescribeModelCompTaskLogs` (ours): lines from a byte `offset` on, and the `nextOffset` to ask with "
        "next; kept until the task is deleted and `retention_hours` have passed",
    ),
    Point(
        action="every action",
        point="lengths",
        here="names 1 to 64 characters, descriptions at most 1,000",
    ),
    Point(
        action="DescribeModelCompTask",
        point="an omitted `modelCompTaskId` (documented as optional)",
        here="400 `InappropriateJSON`",
    ),
    Point(
        action="CreateModelCompTask",
        point="what is `INT8-PTQ`?",
        here="W8A8: 8-bit weights, activations rounded to 8 bits while running",
    ),
    Point(
        action="CreateModelCompTask",
        point="`strategy: Sparsity`",
        here="weights are pruned: `sparsityRatio`, 0 to 0.9, is how much (0.5 where absent), `weight` may be left out. "
        "What is pruned alone stays in the source's numbers, zeros among them",
    ),
    Point(
        action="CreateCustomModel",
        point="importing what a task produced (bucket `outputs`)",
        here="400 `InappropriateJSON`: it is a model version already",
    ),
    Point(
        action="CreateCustomModel",
        point="`sourceType: Train`",
        here="400 `InappropriateJSON`: there is no training here",
    ),
    Point(
        action="DescribeModel",
        point="children of `sourceInfo`",
        here="`sourceType`, `accelerationTaskId`, `bucket`, `objectPath`",
    ),
    Point(
        action="DescribeSystemModelSets",
        point='which models are "system" models?',
        here="those of model sets that the operator shares (`modelpress model share`); they stay their "
        "owner's, who sees them as `UserCreate` and `Import`, all others as `System` and `PlatformPreset`",
    ),
    Point(
        action="DescribeSystemModelSets",
        point="permission for `DescribeSystemModelSets`, `DescribeSystemModelSet`, `DescribeSystemModel`",
        here="any signed key, also one without a policy: their pages have no permission section",
    ),
    Point(
        action="DescribeSystemModelSets",
        point="order and markers",
        here="as in all lists, by the sets' creation; a set that is not shared any more still marks its place,"
        " one that never was is 400 `InvalidMarker`",
    ),
    Point(
        action="DescribeSystemModelSet",
        point="names of shared sets",
        here="unique among those that are shared; in `DescribeModelSet` a name means the account's own set first",
    ),
    Point(
        action="DescribeSystemModelSet",
        point="`description` of a preset",
        here="the operator's, empty where none was given; that of a version which the owner's task produced is"
        " not told, since it names the task",
    ),
    Point(
        action="DescribeSystemModel",
        point="`isSupportDeploy`, `isSupportEvaluation`, `capabilities`, `modelProviders`, `tokenLimitations`",
        here="false, false, empty, empty, absent: nothing is deployed or evaluated here, and a checkpoint does"
        " not say the rest",
    ),
    Point(
        action="CreateModelCompTask",
        point="compressing a shared version",
        here="by every account, into a set of its own (the Python SDK's `Model.compress` fills the source's "
        "set, so it does for the owner only); unsharing stops no task",
    ),
    Point(
        action="DeleteModel",
        point="writing into a shared set, deleting it",
        here="its owner only; for others it does not exist (404), though they read it",
    ),
    Point(
        action="DeleteModel",
        point="deleting a shared version that another account's task reads",
        here="409 `ModelInUse`; whose task it is, is not told",
    ),
    Point(
        action="DescribeModelExportTask",
        point="an export that failed (the page's introduction leaves failed ones out, its `status` has `Fail`)",
        here="the newest export is told, with `Fail` and `failedReason`, until there is a newer one",
    ),
    Point(
        action="DescribeModelExportTask",
        point="what is exported, and what `fileName`, `fileType`, `md5` and `fileSize` are of",
        here="the model's directory as it is, for a packed one every loader would have to unpack: its name, "
        "`directory`, the MD5 of its `manifest.sha256` (which `sha256sum -c` reads), and the bytes of all other files",
    ),
    Point(
        action="DescribeModelExportTask",
        point="`downloadUrl`",
        here="`bucket:objectPath`: a place, not an address; nothing serves files over HTTP here",
    ),
    Point(
        action="DescribeModelExportTask",
        point="a version that was never exported",
        here="`hasRecord` is false, and nothing else is told",
    ),
    Point(
        action="CreateModelExportTask",
        point="exporting a version that is being exported",
        here="the id of the one that is going on; with another `exportMeta`, 409 `ExportUnderway`",
    ),
    Point(
        action="DeleteModel",
        point="deleting a version that is being exported",
        here="409 `ModelInUse`",
    ),
    Point(
        action="modelVersionDetail",
        point="`log_id` of the old API",
        here="a string as in the newer samples (the first 32 bits of `requestId`), beside `requestId` and "
        "`result`; errors are in the one form of all routes",
    ),
    Point(
        action="modelVersionDetail",
        point="numeric `modelId` and `modelVersionId`",
        here="not there: our ids are `modelIdStr` and `modelVersionIdStr`, and requests name those",
    ),
    Point(
        action="modelVersionDetail",
        point="`sourceExtra`, `modelNet`, `deployResource`",
        here="`accelerationSourceExtra.taskIdStr` or `importModelVersionSourceExtra`; the architecture's class; empty",
    ),
    Point(
        action="modelDetail",
        point="`source` of a preset",
        here="`PlatformPreset`, the word the Python SDK's command line looks for",
    ),
    Point(
        action="publishTrainModel",
        point="publishing a training",
        here="400 `InappropriateJSON`: there is no training here",
    ),
    Point(
        action="CreateModelCustomConf",
        point="the field of the file",
        here="`customSpecFile`, as the table has it, or `file`, as the samples do",
    ),
    Point(
        action="CreateModelCustomConf",
        point="uploading by an SDK",
        here="none can: Python's `call_action` has no argument for files, Node's `consoleAction` makes JSON of the "
        "form; plain HTTP does, the documented curl sample among it",
    ),
    Point(
        action="CreateModelCustomConf",
        point="what is taken",
        here='a name that ends in .py (documented), at most 1,000,000 bytes ("within 1M" is documented), text '
        "in UTF-8, not empty; the file is kept and told, never run and never parsed",
    ),
    Point(
        action="CreateModelCustomConf",
        point="its `result`, documented as the address of the file",
        here="a name of ours that ends in .py; the same bytes of an account have the same name",
    ),
    Point(
        action="DescribeModelSystemAdvancedConf",
        point="what the JSON in its `result` holds",
        here="`modelFormat` and `modelApplicationType`: what holds for an import that says nothing more, since"
        " a checkpoint brings its own chat template",
    ),
    Point(
        action="DescribeModelSystemAdvancedConf",
        point="`basicModelName`",
        here="may be left out though printed as required: the Python SDK does not send it; it makes no difference",
    ),
    Point(
        action="DescribeModelCustomAdvancedConf",
        point="what the JSON in its `result` holds",
        here="what the version was imported with, in the words of `importMeta`; `{}` (the documented sample) "
        "where nothing was said; of a compressed version what holds for its source",
    ),
    Point(
        action="CreateCustomModel",
        point="children of `importMeta.customSpec`",
        here="`displayName` (1 to 200 characters, documented without a name) and `file`, the answer of "
        "CreateModelCustomConf",
    ),
    Point(
        action="CreateCustomModel",
        point="`importMeta.transformerVersion`",
        here="any version like 4.40.2, not the four documented ones alone: nothing here runs it",
    ),
    Point(
        action="CreateCustomModel",
        point="fields of `importMeta` that are documented without a name (vLLM's version, prompt concatenation,"
        " sampling)",
        here="not read, like all unknown fields",
    ),
    Point(
        action="every action",
        point="status and body of authentication failures",
        here="see [errors](errors.md); headers `X-Bce-Error-Code` and `X-Bce-Error-Message` with the texts the"
        " Python SDK explains",
    ),
    Point(
        action="every action",
        point="API keys as Bearer tokens",
        here="not accepted on these routes, as documented",
    ),
    Point(
        action="every action",
        point="replayed requests",
        here="answered again: the SDKs repeat identical requests within a second",
    ),
)
