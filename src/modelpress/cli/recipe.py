"""A recipe as commands tell of it, as facts for people and as JSON."""

from __future__ import annotations

from typing import Any

from modelpress.cli.wish import tuning_form
from modelpress.domain.calibration import Calibration
from modelpress.domain.recipe import Recipe


def recipe_form(recipe: Recipe) -> dict[str, Any]:
    """Scheme and method with what they are asked for, by the wire's names but for ``scheme``."""
    sparsity = recipe.sparsity
    return {
        **({"scheme": recipe.scheme.name} if recipe.quantizes else {}),
        "method": recipe.method.value,
        **({} if sparsity is None else {"sparsityRatio": sparsity.ratio, "sparsityPattern": sparsity.pattern}),
        **({} if recipe.calibration is None else {"calibration": _calibration_form(recipe.calibration)}),
        **({} if recipe.tuning is None else {"tuning": tuning_form(recipe.tuning)}),
    }


def _calibration_form(calibration: Calibration) -> dict[str, Any]:
    return {
        "source": calibration.source.value,
        **({"file": calibration.object_path} if calibration.object_path else {}),
        "numSamples": calibration.num_samples,
        "maxLength": calibration.max_length,
        **({"textField": calibration.text_field} if calibration.text_field else {}),
    }


def method_facts(recipe: Recipe) -> dict[str, str]:
    """How it is done; what is not asked for is empty."""
    tuning = tuning_form(recipe.tuning)
    return {
        "sparsity": "" if recipe.sparsity is None else recipe.sparsity.title,
        "method": recipe.method.value,
        "calibration": "" if recipe.calibration is None else recipe.calibration.title,
        "tuning": ", ".join(f"{name} {value}" for name, value in tuning.items()),
    }
