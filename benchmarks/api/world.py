"""The made-up tasks that the benchmarks page through: the same for the same size, on either database.

Seven accounts of very uneven size, a source model for each 500 tasks, statuses nearly all final, tags on a twentieth,
one task in fifty deleted. Texts are of the lengths people write, half of them Chinese. The history of a task
(``task_event``) is left out: no list reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = tuple[Any, ...]

#: What part of all tasks an account has. Lists are read from the first: only it has enough tasks at every size.
SHARES = (0.40, 0.25, 0.15, 0.10, 0.06, 0.03, 0.01)
TASKS_A_MODEL = 500
_MODELS_A_SET = 20
#: Change it when the rows below change, so that a cached database of the old rows is not taken for one of the new.
FORM = 3

_BLOCK_ROWS = 20_000
_ALPHABET = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", dtype="S1")
_BEGAN_AT = int(datetime(2026, 1, 5, 8, tzinfo=UTC).timestamp() * 1_000_000)
_SPAN_MICROSECONDS = 300 * 86_400 * 1_000_000
#: At the end of the list, whatever its length: what a busy service has waiting and running.
_OPEN_TASKS = 60

_STATUSES = ("succeeded", "failed", "stopped")
_STATUS_SHARES = (0.72, 0.20, 0.08)
_NAMES = (
    "qwen2.5-7b-nightly-{}",
    "客服问答模型-第{}轮压缩",
    "llama-3.1-8b-instruct w8 run {}",
    "ERNIE-Speed 量化实验 {}",
    "rag-reranker-release-{}",
    "文档摘要-W4A16C16-{}",
)
_DESCRIPTIONS = (
    "",
    "每晚自动提交，用于回归测试",
    "candidate for the chat endpoint, compare with last week's",
    "上线前压缩；验证集困惑度不超过原模型的 1%",
    "smaller copy for the edge boxes",
    "",
)
_SCHEMES = ("W8A16C16", "W4A16C16", "INT8-PTQ")
_REASONS = ("OutOfMemory: the attempt needed more than 24 GiB", "BadSource: layer 17 has a weight that is NaN")
_TAGS = (("team", "search"), ("team", "客服"), ("stage", "prod"), ("stage", "test"), ("owner", "li.wei"))

SET_COLUMNS = ("seq", "id", "account_id", "name", "model_type", "labels", "created_at", "modified_at")
VERSION_COLUMNS = (
    *("seq", "id", "account_id", "set_id", "name", "description", "source_type", "bucket", "path", "model_format"),
    *("application_type", "architecture", "size_bytes", "created_at", "modified_at"),
)
TASK_COLUMNS = (
    *("seq", "id", "account_id", "name", "description", "status", "recipe", "strategy", "scheme", "source_model_id"),
    *("model_set_id", "output_model_id", "reason", "attempt", "stage", "percent", "bytes_done", "bytes_total"),
    *("statistics", "created_at", "started_at", "finished_at", "deleted_at", "tags"),
)
TAG_COLUMNS = ("task_seq", "account_id", "tag_key", "tag_value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some thousand tasks and their tags, as a driver takes them."""

    tasks: list[Row]
    tags: list[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All rows for ``size`` tasks of these accounts."""

    size: int
    accounts: tuple[str, ...]
    #: Of each account: the ids of its models, and of the sets that they are in.
    models: list[list[str]] = field(init=False)
    sets: list[list[str]] = field(init=False)

    def __post_init__(self) -> None:
        """Name the models; an account has as many as its share of the tasks asks for, and at least one."""
        random = np.random.default_rng(self.size)
        counts = [max(1, round(self.size * share / TASKS_A_MODEL)) for share in SHARES]
        object.__setattr__(self, "models", [_ids(random, "amv-", count) for count in counts])
        object.__setattr__(self, "sets", [_ids(random, "am-", 1 + count // _MODELS_A_SET) for count in counts])

    def set_rows(self) -> Iterator[Row]:
        """Rows of SET_COLUMNS."""
        seq = 0
        for account, sets in zip(self.accounts, self.sets, strict=True):
            for number, set_id in enumerate(sets):
                seq += 1
                yield (seq, set_id, account, f"模型集 {number}", "Text2Text", "[]", _BEGAN_AT, _BEGAN_AT)

    def version_rows(self) -> Iterator[Row]:
        """Rows of VERSION_COLUMNS."""
        seq = 0
        for account, sets, models in zip(self.accounts, self.sets, self.models, strict=True):
            for number, model_id in enumerate(models):
                seq += 1
                place = ("local", f"models/{number}", "HuggingFace.Transformers", "chat", "LlamaForCausalLM")
                named = (seq, model_id, account, sets[number // _MODELS_A_SET], f"v{number}", "", "Import")
                yield (*named, *place, 16_060_522_240, _BEGAN_AT, _BEGAN_AT)

    def blocks(self) -> Iterator[Block]:
        """Rows of TASK_COLUMNS in order of creation, and of TAG_COLUMNS."""
        for first in range(0, self.size, _BLOCK_ROWS):
            yield self._block(first, min(_BLOCK_ROWS, self.size - first))

    def _block(self, first: int, count: int) -> Block:
        random = np.random.default_rng((self.size, first))
        ids, outputs = _ids(random, "amva-", count), _ids(random, "amv-", count)
        owners = random.choice(len(SHARES), size=count, p=SHARES).tolist()
        statuses = random.choice(len(_STATUSES), size=count, p=_STATUS_SHARES).tolist()
        dice = random.integers(0, 2**31, size=count).tolist()
        rows = []
        tags: list[Row] = []
        for i in range(count):
            seq, owner, die = first + i + 1, owners[i], dice[i]
            account = self.accounts[owner]
            is_open = seq > self.size - _OPEN_TASKS
            status = "creating" if is_open else _STATUSES[statuses[i]]
            model = die % len(self.models[owner])
            of = (account, self.models[owner][model], self.sets[owner][model // _MODELS_A_SET], outputs[i])
            rows.append(_task(seq, ids[i], status, of, die=die, at=_BEGAN_AT + seq * _SPAN_MICROSECONDS // self.size))
            if _is_tagged(die):
                tags.append((seq, account, *_tag(die)))
        return Block(tasks=rows, tags=tags)


def _task(seq: int, task_id: str, status: str, of: tuple[str, str, str, str], *, die: int, at: int) -> Row:
    account, source, model_set, output = of
    scheme = _SCHEMES[die // 7 % 3]
    total = 13_000_000_000 + die
    succeeded, final = status == "succeeded", status != "creating"
    percent = 100 if succeeded else die % 100 if final else 0
    return (
        *(seq, task_id, account, _NAMES[die // 3 % 6].format(seq), _DESCRIPTIONS[die // 11 % 6], status),
        *(_RECIPES[scheme], "Quantization", scheme, source, model_set, output),
        _REASONS[die % 2] if status == "failed" else "",
        *(1 if final else 0, "done" if succeeded else "quantizing" if final else "", percent),
        *(total * percent // 100, total if final else 0),
        # Of a tenth: they are long, no list shows them, and the rows of ten million tasks are to fit a small disk.
        _STATISTICS if succeeded and die % 10 == 0 else None,
        *(at, at + 2_000_000 if final else None, at + 700_000_000 if final else None),
        at + 90_000_000_000 if final and die % 50 == 1 else None,
        json.dumps([_tag(die)], ensure_ascii=False) if _is_tagged(die) else None,
    )


def _is_tagged(die: int) -> bool:
    return die % 20 == 0


def _tag(die: int) -> tuple[str, str]:
    return _TAGS[die // 20 % len(_TAGS)]


_RECIPES = {
    scheme: json.dumps({"strategy": "Quantization", "scheme": scheme, "method": "rtn", "group_size": None})
    for scheme in _SCHEMES
}
_STATISTICS = json.dumps(
    {
        "source_bytes": 16_060_522_240,
        "output_bytes": 9_080_000_000,
        "seconds": 691.2,
        "peak_memory_bytes": 1_610_612_736,
        "shards_reused": 0,
        "group_size": None,
        "kernel": "avx2",
    }
)


def _ids(random: np.random.Generator, prefix: str, count: int) -> list[str]:
    letters: NDArray[np.bytes_] = _ALPHABET[random.integers(0, len(_ALPHABET), size=(count, 12))]
    return [prefix + text.decode("ascii") for text in np.ascontiguousarray(letters).view("S12").ravel().tolist()]
