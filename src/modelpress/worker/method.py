"""Which methods can be carried out, here and now."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from modelpress.domain.calibration import CalibrationSource
from modelpress.domain.recipe import Recipe
from modelpress.errors import BadCalibration, Unsupported

#: What the calibrated engine imports, and a base installation does not have.
_ENGINE = ("torch", "transformers")


def check_method(recipe: Recipe, *, calibration_file: Path | None = None) -> None:
    """Return if the recipe's method can be carried out on this machine, with this file.

    Raises: Unsupported; BadCalibration if the recipe is calibrated with a file and there is none.
    """
    missing = [name for name in _ENGINE if find_spec(name) is None] if recipe.method.calibrated else []
    if missing:
        raise Unsupported(
            f"method {recipe.method.value} needs {' and '.join(missing)}, not installed where it was to be carried out",
            hint="pip install 'modelpress[calibrate]'",
        )
    calibration = recipe.calibration
    if calibration and calibration.source is CalibrationSource.OBJECT and calibration_file is None:
        raise BadCalibration("the recipe names a file of calibration text, and none was given")
