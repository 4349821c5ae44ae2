"""``modelpress schemes``: what a model can become; no server is asked."""

from __future__ import annotations

from modelpress.cli import option
from modelpress.cli.output import print_json, print_table
from modelpress.domain.scheme_fact import FACTS, Loading


def schemes(as_json: option.AsJson = False) -> None:
    """List the schemes: what models can become, how small that is, and what loads them."""
    if as_json:
        import msgspec

        from modelpress.api.scheme_actions import scheme_list

        print_json(msgspec.to_builtins(scheme_list())["schemes"])
        return
    rows = [
        [
            fact.scheme.name,
            ", ".join((*fact.scheme.aliases, fact.scheme.quant_conf)),
            f"{fact.ratio:.1%}",
            "helps" if fact.calibration_helps else "hardly helps",
            ", ".join(runtime.title for runtime in fact.runtimes if runtime.loading is Loading.SEEN),
        ]
        for fact in FACTS
    ]
    print_table(["SCHEME", "ALSO", "OF BF16", "CALIBRATION", "SEEN TO LOAD IN"], rows, whole=("SCHEME", "OF BF16"))
