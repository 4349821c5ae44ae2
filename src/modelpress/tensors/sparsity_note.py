"""What is told of a pruned model: where its zeros are, and whether they make it smaller."""

from __future__ import annotations

from collections.abc import Iterator

from modelpress.domain.method import Method
from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import Q4_K_M
from modelpress.domain.sparsity import Sparsity
from modelpress.tensors.treatment import Assignment


def sparsity_notes(recipe: Recipe, assignment: Assignment) -> Iterator[str]:
    """Notes for a model whose weights get zeros; none for others."""
    pruned = [treatment for treatment in assignment.treatments.values() if treatment.sparsity is not None]
    if not pruned or recipe.sparsity is None:
        return
    yield f"{len(pruned)} linear weights are pruned: {_where(recipe.sparsity, recipe.method)} become zero."
    if assignment.is_dense:
        yield (
            "The output is as large as the source: zeros are stored like other numbers. With a weight in the same "
            "task, such as W4A16C16, it is smaller and has the same zeros."
        )
    elif any(treatment.scheme is Q4_K_M for treatment in pruned):
        yield "Q4_K and its like have no zero of their own: pruned weights come near it there, no more."


def _where(sparsity: Sparsity, method: Method) -> str:
    if sparsity.pattern == "2:4":
        return "two of each four neighbours in a row" + (", the smaller ones," if method is Method.MAGNITUDE else "")
    share = f"{100 * sparsity.ratio:g} %"
    return f"the smallest {share} of each row" if method is Method.MAGNITUDE else f"{share} of each"
