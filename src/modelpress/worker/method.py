"""Which methods a worker can carry out."""

from __future__ import annotations

from modelpress.domain.method import Method
from modelpress.domain.recipe import Recipe
from modelpress.errors import Unsupported


def check_method(recipe: Recipe) -> None:
    """Return if the recipe's method can be carried out here.

    Raises: Unsupported.
    """
    if recipe.method not in (Method.RTN, Method.MAGNITUDE):
        raise Unsupported(
            f"method {recipe.method.value} is not carried out by this version",
            hint="take method rtn, or magnitude where the strategy is Sparsity",
        )
