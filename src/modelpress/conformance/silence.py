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
        here="400 `InappropriateJSON`: this version does not offer it",
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
