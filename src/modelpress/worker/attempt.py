"""The process of one attempt at a compression task; see ``process.py``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelpress.domain.recipe import recipe_from_json
from modelpress.worker.process import Reporter, run, say


def _work(spec: dict[str, Any], reporter: Reporter) -> None:
    from modelpress.tensors.folder import LocalFolder  # after the asking to die with the parent: numpy takes a while
    from modelpress.worker.press import press

    folder = LocalFolder(Path(spec["source"]), within=Path(spec["root"]))
    recipe = recipe_from_json(spec["recipe"])
    calibration_path = spec.get("calibration_path")
    _, statistics = press(
        folder,
        recipe,
        Path(spec["staging"]),
        report=reporter.progress,
        threads=spec["threads"] or None,
        say=say,
        calibration_file=Path(calibration_path) if calibration_path else None,
    )
    reporter.tell("done", asdict(statistics))


if __name__ == "__main__":
    sys.exit(run(_work))
