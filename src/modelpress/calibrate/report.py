"""What is told of a calibrated run in the output's modelpress.json, and in the notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from modelpress.calibrate.coverage import Coverage

#: Names of layers that a note spells out.
_NAMES_SHOWN = 3


def calibration_entry(coverage: Coverage, blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The samples, and for each block how much of its layers' outputs was lost on them (see docs/calibration.md)."""
    return {"samples": coverage.as_json(), "blocks": [_block_entry(block) for block in blocks]}


def _block_entry(block: Mapping[str, Any]) -> dict[str, Any]:
    layers: Mapping[str, Mapping[str, Any]] = block["layers"]
    errors = {name: facts["error"] for name, facts in layers.items() if "error" in facts}
    entry: dict[str, Any] = {"block": block["block"], "layers": len(layers)}
    # Of learned rounding: of the whole block's output, before and after the lessons.
    entry |= {name: float(f"{block[name]:.4g}") for name in ("begun_error", "error") if name in block}
    if errors:
        worst = max(errors, key=lambda name: errors[name])
        entry |= {
            "mean_error": float(f"{fmean(errors.values()):.4g}"),
            "worst_layer": worst,
            "worst_error": float(f"{errors[worst]:.4g}"),
        }
    starved = {name: facts["tokens"] for name, facts in layers.items() if facts.get("starved")}
    return {**entry, "starved": starved} if starved else entry


def sentences(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """For people."""
    errors = [f["error"] for block in blocks for f in block["layers"].values() if "error" in f]
    if errors:
        yield f"On the samples, layers lose {fmean(errors):.3%} of their outputs' energy on average."
    begun, left = ([block[name] for block in blocks if name in block] for name in ("begun_error", "error"))
    if begun:
        yield f"Learning took the error of the blocks' outputs down to {fmean(left) / fmean(begun):.1%} of what it was."
    starved = [f"{block['name']}.{name}" for block in blocks for name, f in block["layers"].items() if f.get("starved")]
    if starved:
        shown = ", ".join(starved[:_NAMES_SHOWN])
        yield (
            f"{len(starved)} layers were reached by too few tokens to be calibrated and were treated without them: "
            f"{shown}{', …' if len(starved) > _NAMES_SHOWN else ''} (all are in modelpress.json)."
        )
