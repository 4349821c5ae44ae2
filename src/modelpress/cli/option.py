"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelpress.domain.calibration import DEFAULT_LENGTH_TOKENS, DEFAULT_SAMPLES
from modelpress.domain.scheme import SCHEMES, find_scheme
from modelpress.domain.tuning import DEFAULT_DAMPENING, SPARSEGPT_DAMPENING

#: Characters of a name, as the API has it.
LONGEST_NAME = 64

_SCHEME_NAMES = ", ".join(scheme.name for scheme in SCHEMES)


def _scheme_name(text: str | None) -> str | None:
    """The scheme's own name for any of its names; an unknown one is wrong usage."""
    if text is None:
        return None
    scheme = find_scheme(text)
    if scheme is None:
        raise typer.BadParameter(f"{text!r} is none of {_SCHEME_NAMES}")
    return scheme.name


Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="MODELPRESS_DATA", help="Data directory.", show_default="~/.local/share/modelpress"),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="MODELPRESS_DATABASE",
        help="Database URL.",
        show_default="modelpress.db in the data directory",
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", envvar="MODELPRESS_CONFIG", help="Settings file (TOML).", show_default="none")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Weight = Annotated[
    str | None,
    typer.Option(
        "--weight",
        callback=_scheme_name,
        metavar="SCHEME",
        help=f"What the weights become: {_SCHEME_NAMES}. Required, unless they are pruned.",
        show_default=False,
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="METHOD",
        help="How the numbers are chosen (modelpress methods lists them).",
        show_default="auto: gptq or sparsegpt with --calibration, else rtn or magnitude",
    ),
]
Sparsity = Annotated[
    float | None,
    typer.Option(
        "--sparsity",
        metavar="RATIO",
        help="Prune: how much is taken away, 0 to 0.9. With --weight what is left is quantized.",
        show_default="0.5 where it is pruned",
    ),
]
SparsityPattern = Annotated[
    str | None,
    typer.Option(
        "--sparsity-pattern",
        metavar="PATTERN",
        help="Where zeros may lie: 2:4 is two of every four neighbours.",
        show_default="unstructured",
    ),
]
CalibrationText = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="TEXT",
        help="What the method looks at: a file (a server's: BUCKET/PATH), default for the built-in text, self for text "
        "that the model writes.",
        show_default="default where the method needs one",
    ),
]
Samples = Annotated[
    int | None, typer.Option("--samples", metavar="N", help="Calibration samples.", show_default=str(DEFAULT_SAMPLES))
]
Length = Annotated[
    int | None,
    typer.Option(
        "--length", metavar="TOKENS", help="Tokens of a sample at most.", show_default=str(DEFAULT_LENGTH_TOKENS)
    ),
]
TextField = Annotated[
    str | None,
    typer.Option(
        "--text-field",
        metavar="NAME",
        help="Field of each JSON line that has its text or messages.",
        show_default="text or messages",
    ),
]
ActOrder = Annotated[
    bool | None,
    typer.Option(
        "--act-order/--no-act-order",
        help="gptq, smoothquant: whether the columns of the largest inputs are rounded first.",
        show_default="by method",
    ),
]
Dampening = Annotated[
    float | None,
    typer.Option(
        "--dampening",
        metavar="SHARE",
        help="Those and sparsegpt, structured: of the Gram matrix's mean diagonal, added to its diagonal.",
        show_default=f"{DEFAULT_DAMPENING}; sparsegpt {SPARSEGPT_DAMPENING}",
    ),
]
Smoothing = Annotated[
    float | None,
    typer.Option(
        "--smoothing",
        metavar="STRENGTH",
        help="smoothquant: 0 to 1, how much goes from activations into weights.",
        show_default="by method",
    ),
]
Iterations = Annotated[
    int | None,
    typer.Option("--iterations", metavar="N", help="learned: gradient steps for each block.", show_default="by method"),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="FORMAT", help="safetensors, or gguf for llama.cpp.", show_default="what the scheme needs"
    ),
]
GroupSize = Annotated[
    str | None,
    typer.Option("--group-size", metavar="N|channel", help="Columns that share a scale.", show_default="by scheme"),
]
Asymmetric = Annotated[
    bool, typer.Option("--asymmetric", help="Fit the numbers to each group's own least and largest weight.")
]
ScaleSearch = Annotated[
    str | None,
    typer.Option(
        "--scale-search",
        metavar="max|mse",
        help="How scales are found: mse seeks the least squared error.",
        show_default="max",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="PATTERN",
        help="Compress only these modules, such as 'mlp.*'; may be repeated.",
        show_default="all linear layers",
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore", metavar="PATTERN", help="Leave these modules as they are; may be repeated.", show_default="none"
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="PATTERN=SCHEME",
        help="What these modules become instead: 'down_proj=W8A16C16', 'down_proj=W4A16C16,32' with a group size, "
        "'o_proj=none' to keep them. The first that fits holds; may be repeated.",
        show_default="none",
    ),
]
Reverse = Annotated[bool, typer.Option("--reverse", help="Newest first.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Show at most this many.", show_default="all")]

# Which server, and as whom. Their variables are read in cli/connection.py: a key's source decides what it may go with.
Url = Annotated[str | None, typer.Option("--url", help="Server (MODELPRESS_URL).", show_default="the local server's")]
AccessKey = Annotated[
    str | None,
    typer.Option("--access-key", help="Access key (MODELPRESS_ACCESS_KEY).", show_default="the data directory's"),
]
SecretKey = Annotated[
    str | None,
    typer.Option(
        "--secret-key",
        help="Its secret key (MODELPRESS_SECRET_KEY keeps it off the screen).",
        show_default="the data directory's",
    ),
]
