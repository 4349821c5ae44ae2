"""``modelpress methods``: how a model's numbers can be chosen; no server is asked."""

from __future__ import annotations

from modelpress.cli import option
from modelpress.cli.output import print_json, print_table
from modelpress.domain.method_fact import METHODS


def methods(as_json: option.AsJson = False) -> None:
    """List the methods: how the numbers of a model can be chosen, and what each needs."""
    if as_json:
        import msgspec

        from modelpress.api.scheme_actions import scheme_list

        print_json(msgspec.to_builtins(scheme_list())["methods"])
        return
    rows = [
        [
            fact.method.value,
            fact.method.strategy.value,
            "needs it" if fact.method.calibrated else "no data",
            fact.summary,
        ]
        for fact in METHODS
    ]
    print_table(["METHOD", "STRATEGY", "CALIBRATION", "WHAT IT DOES"], rows, whole=("METHOD", "STRATEGY"))
