"""The small JSON files of an output, whose content follows from the plan alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelpress import __version__
from modelpress.domain.recipe import Recipe
from modelpress.tensors.checkpoint import CONFIG, INDEX, REPORT, Document
from modelpress.tensors.shard import PlannedShard


def config_document(source: Mapping[str, Any], entry: Mapping[str, Any]) -> Document:
    """config.json: the source's, without the pointer to code that is not carried over.

    With the entry for loaders, unless it is empty: they refuse one of weights that are as they were.
    """
    config = {key: value for key, value in source.items() if key not in {"auto_map", "quantization_config"}}
    return json_document(CONFIG, {**config, "quantization_config": entry} if entry else config)


def report_document(
    recipe: Recipe,
    *,
    group_size: int | None,
    notes: Sequence[str],
    calibration: Mapping[str, Any] | None = None,
) -> Document:
    """modelpress.json: what was done and why. No time and no path, so that equal work gives equal bytes."""
    report = {"modelpress": __version__, "recipe": _told(recipe), "group_size": group_size, "notes": list(notes)}
    return json_document(REPORT, report if calibration is None else {**report, "calibration": calibration})


def _told(recipe: Recipe) -> dict[str, Any]:
    """The recipe as anyone may see it: where an account keeps its calibration text is nobody else's business."""
    told = recipe.as_json()
    if recipe.calibration is not None:
        told["calibration"] = replace(recipe.calibration, bucket="", object_path="").as_json()
    return told


def index_document(shards: Sequence[PlannedShard]) -> Document:
    """The index by which loaders find each tensor's file."""
    weight_map = {spec.name: shard.name for shard in shards for step in shard.steps for spec in step.outputs}
    total = sum(step.output_bytes for shard in shards for step in shard.steps)
    return json_document(INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})


def json_document(name: str, value: Mapping[str, Any], *, indent: int | None = 2) -> Document:
    """A file of JSON; without ``indent`` it is one line, which a long vocabulary takes a fraction of the time for."""
    # ASCII only: a config may hold escapes that are no characters, and must come out as it went in.
    return Document(name=name, content=json.dumps(value, indent=indent).encode() + b"\n")
