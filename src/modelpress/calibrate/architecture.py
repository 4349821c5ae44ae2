"""What the engine must know of a decoder beyond the structure of transformers' modules: one table of data.

A method that scales the channels of an input (AWQ, SmoothQuant) needs a place for the inverse of its scales: the norm
or the linear layer that makes that input. Where that place is, and what else reads the same input, no shape tells; so
it stands here, one row a place. Decoders without a row are looked at as they run (`discovery.py`).

Names of modules are transformers 5.17's, within one block, with experts that are fused taken apart into linear layers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from modelpress.errors import BadSource


class Part(StrEnum):
    """Which rows of a source make the columns that its readers see."""

    WHOLE = "whole"  #: all rows, in order; of a norm, its channels
    VALUES = "values"  #: the rows of the value heads, each head read once by every query head that shares it
    FUSED_VALUES = "fused values"  #: the same, where queries, keys and values are the rows of one layer
    SECOND_HALF = "second half"  #: where gate and up are the rows of one layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A place where scales can go, in a block of any width: ``*`` stands for an expert's number."""

    source: str
    readers: tuple[str, ...]  #: patterns of all that read what the source makes; those with no module are passed over
    part: Part = Part.WHOLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A family of decoders whose blocks have the same places."""

    rules: tuple[Rule, ...]
    norm_offset: float = 0.0  #: what a norm adds to its weight before it multiplies: 1 for the Gemmas


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A place in one block where the inverse of scales can go, so that the block computes what it did.

    The readers' columns are multiplied by the scales, the source's rows divided. A column c is made by the source's row
    ``first_row + c // (width * repeats) * width + c % width``: columns made by one row have one scale.
    """

    source: str  #: the module, a norm or a linear layer
    readers: tuple[str, ...]  #: every module that reads what it makes; the first sees every token (experts see some)
    norm_offset: float = 0.0  #: what a norm adds to its weight
    first_row: int = 0
    width: int  #: rows in a row that are read in a row: a head's width, or all of them
    repeats: int = 1  #: how many heads of the reader's input come of each head of the source

    def row_of(self, column: int) -> int:
        """The source's row that makes a column."""
        return self.first_row + column // (self.width * self.repeats) * self.width + column % self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """How many heads a block's attention has; both numbers stand in every decoder's configuration."""

    queries: int
    values: int


_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
#: The router first, for it sees every token.
_FEED_FORWARD = (
    *("mlp.gate", "mlp.shared_expert_gate", "mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj"),
    *("mlp.gate_proj", "mlp.up_proj", "mlp.experts.*.gate_proj", "mlp.experts.*.up_proj"),
)
_WITHIN = (
    Rule(source="self_attn.v_proj", readers=("self_attn.o_proj",), part=Part.VALUES),
    Rule(source="mlp.up_proj", readers=("mlp.down_proj",)),
    Rule(source="mlp.shared_expert.up_proj", readers=("mlp.shared_expert.down_proj",)),
    Rule(source="mlp.experts.*.up_proj", readers=("mlp.experts.*.down_proj",)),
)
_INTO_ATTENTION = Rule(source="input_layernorm", readers=_QKV)

#: One norm before attention, one before the layers behind it.
_TWO_NORMS = (_INTO_ATTENTION, Rule(source="post_attention_layernorm", readers=_FEED_FORWARD), *_WITHIN)
#: Norms before and after both; what stands after scales nothing but its own output.
_FOUR_NORMS = (_INTO_ATTENTION, Rule(source="pre_feedforward_layernorm", readers=_FEED_FORWARD), *_WITHIN)
_FUSED = (
    Rule(source="input_layernorm", readers=("self_attn.qkv_proj",)),
    Rule(source="post_attention_layernorm", readers=("mlp.gate_up_proj",)),
    Rule(source="self_attn.qkv_proj", readers=("self_attn.o_proj",), part=Part.FUSED_VALUES),
    Rule(source="mlp.gate_up_proj", readers=("mlp.down_proj",), part=Part.SECOND_HALF),
)

LLAMA = Architecture(rules=_TWO_NORMS)
GEMMA = Architecture(rules=_TWO_NORMS, norm_offset=1.0)
GEMMA_FOUR_NORMS = Architecture(rules=_FOUR_NORMS, norm_offset=1.0)
PHI3 = Architecture(rules=_FUSED)

#: By the configuration's model_type.
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen2_moe": LLAMA,
    "qwen3": LLAMA,
    "qwen3_moe": LLAMA,
    "mixtral": LLAMA,
    "smollm3": LLAMA,
    "gemma": GEMMA,
    "gemma2": GEMMA_FOUR_NORMS,
    "gemma3": GEMMA_FOUR_NORMS,
    "gemma3_text": GEMMA_FOUR_NORMS,
    "phi3": PHI3,
}

#: What a decoder without a row may have; only what then proves to hold is used.
GUESSES: tuple[Architecture, ...] = (LLAMA, GEMMA, GEMMA_FOUR_NORMS, PHI3)


def folds_of(architecture: Architecture, *, shapes: Mapping[str, Sequence[int]], heads: Heads) -> tuple[Fold, ...]:
    """The places of one block, by the rules' order, from the shapes of its modules' weights.

    A place whose source or readers the block lacks, or whose sizes do not fit together, is left out: a block of dense
    layers has no experts, and attention whose values are not plain heads has no place before its output.
    Shapes: a norm's weight [channels], a linear layer's [rows, columns].
    """
    folds: list[Fold] = []
    for rule in architecture.rules:
        for source, readers in _matches(rule, shapes):
            fold = _sized(rule.part, source=source, readers=readers, shapes=shapes, heads=heads)
            if fold is not None:
                offset = architecture.norm_offset if len(shapes[source]) == 1 else 0.0
                folds.append(Fold(source=source, readers=readers, norm_offset=offset, **fold))
    return tuple(folds)


def fold_before(group: Iterable[str], folds: Iterable[Fold]) -> Fold | None:
    """The place for the scales of the input that a group of linear layers shares, if there is one."""
    members = set(group)
    return next((fold for fold in folds if members <= set(fold.readers)), None)


def _matches(rule: Rule, shapes: Mapping[str, Sequence[int]]) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Each source that is there, with its readers that are there."""
    for source in _named(rule.source, shapes):
        expert = _EXPERT.search(source)
        patterns = [reader if expert is None else reader.replace("*", expert[1]) for reader in rule.readers]
        readers = tuple(name for pattern in patterns for name in _named(pattern, shapes))
        if readers:
            yield source, readers


_EXPERT = re.compile(r"\.experts\.(\d+)\.")


def _named(pattern: str, shapes: Mapping[str, Sequence[int]]) -> list[str]:
    if "*" not in pattern:
        return [pattern] if pattern in shapes else []
    form = re.compile(re.escape(pattern).replace(r"\*", r"\d+"))
    return [name for name in shapes if form.fullmatch(name)]


def _sized(
    part: Part, *, source: str, readers: tuple[str, ...], shapes: Mapping[str, Sequence[int]], heads: Heads
) -> dict[str, int] | None:
    """The rows of the source that its readers see, or None where the sizes do not fit."""
    rows, columns = shapes[source][0], shapes[readers[0]][-1]
    if any(shapes[reader][-1] != columns for reader in readers):
        return None
    if part is Part.WHOLE:
        return {"width": columns} if rows == columns else None
    if part is Part.SECOND_HALF:
        return {"width": columns, "first_row": columns} if rows == 2 * columns else None
    width, left = divmod(columns, heads.queries)
    repeats, over = divmod(heads.queries, heads.values)
    if left or over:
        return None
    first = (heads.queries + heads.values) * width if part is Part.FUSED_VALUES else 0
    if rows != first + heads.values * width:
        return None
    return {"width": width, "first_row": first, "repeats": repeats}


#: What checkpoints call otherwise than the modules, tried one after another until a name is one of the model's.
#: Source: transformers 5.17, conversion_mapping.py, for the models of the table; what it saves has the old names.
_RENAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(stored), module)
    for stored, module in (
        (r"\.block_sparse_moe\.", ".mlp."),
        (r"\.experts\.(\d+)\.w1\.", r".experts.\1.gate_proj."),
        (r"\.experts\.(\d+)\.w3\.", r".experts.\1.up_proj."),
        (r"\.experts\.(\d+)\.w2\.", r".experts.\1.down_proj."),
        (r"\.mlp\.gate\.weight$", ".mlp.router.weight"),
        (r"^language_model\.lm_head\.", "lm_head."),
        (r"^language_model\.model\.", "model.language_model."),
        (r"^(vision_tower|multi_modal_projector)\.", r"model.\1."),
        (r"^(?!model\.)", "model."),  # stored without a head
        (r"^model\.language_model\.", "model."),  # the decoder of a model with other senses, built alone
    )
)


def stored_names(parameters: Collection[str], *, stored: Iterable[str]) -> dict[str, str]:
    """For each of a model's parameters the checkpoint's tensor that holds it; those that none holds are left out.

    Raises: BadSource where two tensors claim one parameter.
    """
    known = parameters if isinstance(parameters, (set, frozenset, dict)) else set(parameters)
    found: dict[str, str] = {}
    for name in stored:
        parameter = _parameter_of(name, known)
        if parameter is None:
            continue
        if parameter in found:
            raise BadSource(f"tensors {found[parameter]!r} and {name!r} are both the model's {parameter!r}")
        found[parameter] = name
    return found


def _parameter_of(name: str, known: Collection[str]) -> str | None:
    if name in known:
        return name
    for form, replacement in _RENAMES:
        name = form.sub(replacement, name)
        if name in known:
            return name
    return None
