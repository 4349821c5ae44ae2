"""What kill -9 costs: runs of each method that are killed at random moments, and started again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.calibrated.place import HERE, ROOT, model, torch_interpreter
from benchmarks.core.place import tell
from benchmarks.core.process import measured
from benchmarks.report import Report


def measure() -> None:
    """Measure, and write a report."""
    source = model()
    tell("killing: a few minutes for each method")
    run = measured(
        [torch_interpreter(), "-m", "benchmarks.calibrated.killing", str(source), str(ROOT / "kills")],
        at=HERE,
        environment={"OPENBLAS_NUM_THREADS": "1"},
    )
    tell_kills(source.name, [json.loads(line) for line in run.printed.splitlines() if line.startswith("{")])


def tell_kills(model_name: str, outcomes: Sequence[dict[str, Any]], *, note: str = "") -> None:
    """Write the report: an object of :class:`benchmarks.calibrated.killing.Outcome` for each method."""
    report = Report("calibrated-kills", title="Calibrated compression under kill -9", versions=_versions())
    report.say(
        f"{model_name}. `modelpress compress` is killed (SIGKILL) at random moments of its work and started again, "
        "until it was killed ten times and came to its end; where it ended earlier, it began anew. Then the SHA-256 "
        "over all files of the output is that of a run that nobody disturbed, or not. What a kill costs is counted in "
        "blocks that the next run begins although they had been begun before. Moments are drawn evenly from the time "
        "at which an undisturbed run begins its first block to a quarter of its work later; each run goes on where the "
        "one before was killed, so together they reach all of it."
    )
    if note:
        report.say(note)
    report.table(
        ("method", "undisturbed", "blocks", "kills", "runs", "blocks begun again for each kill", "same bytes"),
        [_row(outcome) for outcome in outcomes],
    )
    report.say("SHA-256 of the undisturbed outputs, all files by name:")
    report.table(("method", "SHA-256"), [(outcome["method"], f"`{outcome['sha256']}`") for outcome in outcomes])
    for outcome in outcomes:
        report.raw(**outcome)
    most = max((redone for outcome in outcomes for redone in outcome["redone"]), default=0)
    report.target(
        "every output that was killed on its way has the bytes of an undisturbed one", met=_all_same(outcomes)
    )
    report.target(f"a kill costs one block at most (the most is {most})", met=most <= 1)
    report.write()


def _row(outcome: dict[str, Any]) -> tuple[str, ...]:
    return (
        outcome["method"],
        f"{outcome['seconds']:.1f} s",
        str(outcome["blocks"]),
        str(len(outcome["moments"])),
        str(outcome["rounds"]),
        ", ".join(map(str, outcome["redone"])),
        "yes" if outcome["same"] else "NO",
    )


def _all_same(outcomes: Sequence[dict[str, Any]]) -> bool:
    return bool(outcomes) and all(outcome["same"] for outcome in outcomes)


def _versions() -> dict[str, str]:
    asked = "import torch, transformers; print(torch.__version__, transformers.__version__)"
    torch, transformers = measured([torch_interpreter(), "-W", "ignore", "-c", asked]).printed.split()[-2:]
    return {"torch": torch, "transformers": transformers}
