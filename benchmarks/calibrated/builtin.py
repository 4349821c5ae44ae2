"""With the built-in text: no method may be worse than what needs no data, in any domain."""

from __future__ import annotations

from benchmarks.calibrated.job import BASELINES, chosen, compress
from benchmarks.calibrated.judge import judge, tell_quality
from benchmarks.calibrated.place import OUTPUTS, model
from benchmarks.core.place import tell
from benchmarks.core.process import Failed
from benchmarks.machine import versions_of
from benchmarks.report import Report


def measure() -> None:
    """Measure, and write the report."""
    source = model()
    report = Report("calibrated-builtin", title="Calibrated by the built-in text", versions=versions_of("numpy"))
    report.say(
        f"{source.name}; each method with modelpress's built-in calibration text and its default settings, against the "
        "same numbers chosen without data: RTN of the same scheme, or pruning by magnitude."
    )
    outputs = {}
    methods = chosen()
    wanted = {method.baseline: BASELINES[method.baseline] for method in methods}
    jobs = [*wanted.items(), *((method.title, (*method.options, "--calibration", "default")) for method in methods)]
    for number, (name, options) in enumerate(jobs):
        tell(f"built-in text: {name}")
        try:
            outputs[name] = compress(options, source, OUTPUTS / "builtin" / str(number)).output
        except Failed as failure:
            report.say(f"**Failed**: {name}: {str(failure).splitlines()[-1]}")
    if outputs:
        figures = judge(source, outputs)
        tell_quality(report, figures)
        for method in methods:
            if method.title not in figures or method.baseline not in figures:
                continue
            ours, plain = figures[method.title], figures[method.baseline]
            shares = {name: ours[name]["perplexity"]["value"] / plain[name]["perplexity"]["value"] for name in ours}
            told = ", ".join(f"{domain} {share:.4f}" for domain, share in shares.items())
            report.target(
                f"{method.title} is no worse than {method.baseline} in any domain, perplexity: {told}",
                met=max(shares.values()) <= 1,
            )
    report.write()
