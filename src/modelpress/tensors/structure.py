"""A model with narrower feed-forward parts, and fewer blocks where that is not enough, known from names and shapes.

Which neurons and blocks stay is found with data; how many is decided here, so that what comes out is planned like
anything else. All parts of a kind have one width and all blocks stay alike, since configs have one number for them, and
loaders build every layer by it.

Neurons go first: removing a tenth of SmolLM2's weights as whole blocks loses more than a quarter of them as neurons.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import lcm, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpress.domain.recipe import Recipe
from modelpress.errors import InternalFailure, Unsupported
from modelpress.tensors.checkpoint import Checkpoint, SourceTensor
from modelpress.tensors.folder import Folder
from modelpress.tensors.rows import Rows, Workbench
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.target import Part, parts_of

#: Of a feed-forward part's neurons, the share that stays at least; blocks go where more would have to.
LEAST_WIDTH = 0.25
#: Widths are multiples of the first of these that divides the width before and is a sixteenth of it at most, or this:
#: matrix products of several experts at once want rows of 16 bytes.
_MULTIPLES = (128, 64, 32, 16, 8, 4, 2, 1)
_FINENESS, _ALIGNMENT = 16, 8
#: The last words of the layers into and out of neurons.
_INTO, _FROM = ("gate_proj", "up_proj", "w1", "w3", "fc1"), ("down_proj", "w2", "fc2")
#: Gate and up in one tensor, one after the other.
_INTO_BOTH = "gate_up_proj"
#: Where configs keep widths. Of experts the first that is there.
_WIDTH, _SHARED_WIDTH, _EXPERT_WIDTHS = (
    "intermediate_size",
    "shared_expert_intermediate_size",
    ("moe_intermediate_size", "intermediate_size"),
)
_BLOCKS = "num_hidden_layers"
#: Models whose blocks do not depend on their number, by ``model_type``: of these any may go.
_ALIKE = frozenset(
    ("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "phi3", "gemma", "granite", "olmo2")
)
#: Tensors that some checkpoints keep and that follow from the config: no block brings them along.
_FOLLOWING = ".rotary_emb.inv_freq"
_NAME = re.compile(r"(?P<stem>(?:.+\.)?layers)\.(?P<block>\d+)\.(?P<rest>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmadeRows:
    """Rows that are known when the model's blocks were calibrated; see :class:`modelpress.tensors.rows.Rows`."""

    count: int
    row_bytes: int
    #: Of the source's tensor, from which they are made.
    stored_bytes: int

    @property
    def finest(self) -> Rows:
        """See :class:`modelpress.tensors.rows.Rows`."""
        return self

    def read(self, folder: Folder, *, start: int, buffer: NDArray[np.uint8], bench: Workbench) -> None:
        """See :class:`modelpress.tensors.rows.Rows`."""
        raise InternalFailure("a tensor was to be written before it was made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A tensor of a block: the block's number, and its name in it."""

    block: int
    rest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What a model becomes: ``widths`` maps, for each block, a feed-forward part to its width before and after."""

    #: What blocks' names begin with: ``model.layers``.
    stem: str
    blocks: int
    kept_blocks: int
    #: By the part's name in its block (``mlp``, ``mlp.experts.7``).
    widths: Mapping[str, tuple[int, int]]
    #: By the key of the config that says them.
    config_widths: Mapping[str, int]
    #: The share of the blocks' linear weights that goes.
    ratio: float

    def place(self, name: str) -> Place | None:
        """Where a tensor is; None if it is in no block."""
        found = _NAME.fullmatch(name)
        if found is None or found["stem"] != self.stem:
            return None
        return Place(block=int(found["block"]), rest=found["rest"])

    def name(self, place: Place) -> str:
        """The tensor's name."""
        return f"{self.stem}.{place.block}.{place.rest}"

    def narrowed(self, place: Place, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a tensor of a block after neurons went."""
        module, _, parameter = place.rest.rpartition(".")
        part, _, layer = module.rpartition(".")
        if part not in self.widths:
            return shape
        before, after = self.widths[part]
        if layer in _FROM and parameter == "weight":
            return (shape[0], after)
        if layer in (*_INTO, _INTO_BOTH):
            return (shape[0] // before * after, *shape[1:])
        return shape


def plan_structure(checkpoint: Checkpoint, recipe: Recipe) -> Structure:
    """How many neurons and blocks stay when the recipe's share of the blocks' linear weights is to go.

    Raises: Unsupported if there are no such parts, they are not alike, or so much cannot go.
    """
    assert recipe.sparsity is not None, recipe
    if not recipe.quantizes and (recipe.targets or recipe.ignore or recipe.overrides):
        raise Unsupported(
            "structured pruning takes neurons from all blocks alike, whatever targets, ignore and overrides say",
            hint="leave them out; with a weight they say what is quantized",
        )
    ratio = recipe.sparsity.ratio
    found = _Found(checkpoint, group=_group(recipe))
    for kept_blocks in range(found.blocks, 1, -1):
        share = found.share_for(ratio, kept_blocks)
        if share >= LEAST_WIDTH or (share > 0 and kept_blocks == 2):
            if kept_blocks < found.blocks:
                found.check_alike()
            return found.structure(share, kept_blocks)
    raise Unsupported(
        f"{ratio:.0%} of the blocks' linear weights cannot go: the first and the last of {found.blocks} blocks stay, "
        f"which have {1 - found.most:.0%} of them without feed-forward parts",
        hint=f"sparsityRatio may be up to {found.most:.2f}",
    )


class _Found:
    """The feed-forward parts of a checkpoint's blocks."""

    def __init__(self, checkpoint: Checkpoint, *, group: int) -> None:
        self._config, self._group = checkpoint.config, group
        parts = parts_of(tensor.spec for tensor in checkpoint.tensors)
        if any(part is Part.EXPERTS for part in parts.values()):
            raise Unsupported(
                "structured pruning does not take experts that are fused into tensors of three dimensions"
            )
        self._tensors = _by_block(checkpoint.tensors)
        self.stem = self._stem(parts)
        tensors = {
            (int(place["block"]), place["rest"]): tensor.spec
            for tensor, place in self._tensors
            if place["stem"] == self.stem
        }
        self._specs = tensors
        self.blocks = 1 + max(block for block, _ in tensors)
        self.widths = self._widths()
        self._linear = sum(
            prod(tensor.spec.shape)
            for tensor, place in self._tensors
            if place["stem"] == self.stem and parts[tensor.spec.name] is Part.LINEAR
        )
        self._fed = sum(prod(spec.shape) for (_, rest), spec in tensors.items() if self._is_fed(rest))
        if not self._fed:
            raise Unsupported(
                "structured pruning found no feed-forward parts (gate_proj, up_proj, down_proj) in its blocks"
            )

    @property
    def most(self) -> float:
        """The largest share of the linear weights that can go."""
        return 1 - 2 / self.blocks * (1 - self._fed / self._linear)

    def share_for(self, ratio: float, kept_blocks: int) -> float:
        """Of the neurons, what is left when so many blocks stay."""
        left = (1 - ratio) * self._linear * self.blocks / kept_blocks
        return min(1.0, (left - (self._linear - self._fed)) / self._fed)

    def structure(self, share: float, kept_blocks: int) -> Structure:
        """The structure with this share of neurons, in multiples that suit servers."""
        widths = {part: (width, _rounded(share * width, width, self._group)) for part, width in self.widths.items()}
        keys = {self._key(part): after for part, (_, after) in widths.items()}
        fed = sum(
            prod(spec.shape) * widths[_part(rest)][1] // widths[_part(rest)][0]
            for (_, rest), spec in self._specs.items()
            if self._is_fed(rest)
        )
        left = (self._linear - self._fed + fed) * kept_blocks / self.blocks
        return Structure(
            stem=self.stem,
            blocks=self.blocks,
            kept_blocks=kept_blocks,
            widths=widths,
            config_widths=keys,
            ratio=1 - left / self._linear,
        )

    def check_alike(self) -> None:
        """Nothing, if any block may go. Raises: Unsupported saying why not."""
        blocks: dict[int, set[tuple[str, str, tuple[int, ...]]]] = {}
        for (block, rest), spec in self._specs.items():
            blocks.setdefault(block, set()).add((rest, spec.dtype, spec.shape))
        lists = [value for value in language_config(self._config).values() if _is_of_layers(value, self.blocks)]
        alike = all(len({repr(entry) for entry in value}) == 1 for value in lists)
        same = len(blocks) == self.blocks and len({frozenset(block) for block in blocks.values()}) == 1
        model_type = language_config(self._config).get("model_type")
        sliding = language_config(self._config).get("use_sliding_window")
        if model_type not in _ALIKE or not alike or not same or sliding:
            raise Unsupported(
                f"so much cannot go without whole blocks, and those of a {model_type!r} are not known to be alike",
                hint=f"a quarter of the neurons stays at least: sparsityRatio may be up to "
                f"{(1 - LEAST_WIDTH) * self._fed / self._linear:.2f} for this model",
            )

    def _stem(self, parts: Mapping[str, Part]) -> str:
        stems = {
            place["stem"]
            for tensor, place in self._tensors
            if parts[tensor.spec.name] is Part.LINEAR and _layer(place["rest"]) in _FROM
        }
        if len(stems) != 1:
            raise Unsupported(
                "structured pruning knows blocks by one kind of names like model.layers.0.mlp.down_proj, "
                f"and here are {len(stems)}"
            )
        return stems.pop()

    def _widths(self) -> dict[str, int]:
        widths: dict[str, int] = {}
        for (_, rest), spec in self._specs.items():
            if _layer(rest) in _FROM and rest.endswith(".weight") and len(spec.shape) == 2:
                width = widths.setdefault(_part(rest), spec.shape[1])
                said = language_config(self._config).get(self._key(_part(rest)))
                if width != spec.shape[1] or said != width:
                    raise Unsupported(
                        f"weight {spec.name!r} has {spec.shape[1]} columns, and config.json says "
                        f"{self._key(_part(rest))} {said!r}: structured pruning needs one width for all such layers"
                    )
        return widths

    def _key(self, part: str) -> str:
        words = part.split(".")
        if "experts" not in words:
            return _SHARED_WIDTH if "shared_expert" in words else _WIDTH
        config = language_config(self._config)
        return next((key for key in _EXPERT_WIDTHS if key in config), _WIDTH)

    def _is_fed(self, rest: str) -> bool:
        return _part(rest) in self.widths and _layer(rest) in (*_INTO, *_FROM, _INTO_BOTH) and rest.endswith(".weight")


def narrowed(checkpoint: Checkpoint, structure: Structure) -> Checkpoint:
    """The checkpoint as it will be, blocks numbered anew; what depends on data are :class:`UnmadeRows`.

    What is in no block, and of blocks that all stay what no neuron is in, is read from the source as ever.
    """
    return replace(
        checkpoint,
        config=_narrowed_config(checkpoint.config, structure),
        tensors=tuple(_narrowed_tensors(checkpoint.tensors, structure)),
        notes=(*checkpoint.notes, *_notes(structure)),
    )


def language_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config that is about the language model: its ``text_config`` where it has one."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _narrowed_tensors(tensors: Iterable[SourceTensor], structure: Structure) -> Iterator[SourceTensor]:
    for tensor in tensors:
        place = structure.place(tensor.spec.name)
        if place is None:
            yield tensor
        elif place.block < structure.kept_blocks and not tensor.spec.name.endswith(_FOLLOWING):
            shape = structure.narrowed(place, tensor.spec.shape)
            if shape == tensor.spec.shape and structure.kept_blocks == structure.blocks:
                yield tensor
            else:
                yield replace(tensor, spec=replace(tensor.spec, shape=shape), rows=_unmade(tensor.spec, shape))


def _unmade(spec: TensorSpec, shape: tuple[int, ...]) -> UnmadeRows:
    count = prod(shape[:-1])
    row_bytes = replace(spec, shape=shape).size_bytes // max(1, count)
    return UnmadeRows(count=count, row_bytes=row_bytes, stored_bytes=spec.size_bytes)


def _narrowed_config(config: Mapping[str, Any], structure: Structure) -> dict[str, Any]:
    inner = dict(language_config(config))
    for key, value in inner.items():
        if _is_of_layers(value, structure.blocks):
            inner[key] = value[: structure.kept_blocks]
    inner |= structure.config_widths
    inner[_BLOCKS] = structure.kept_blocks
    return inner if language_config(config) is config else {**config, "text_config": inner}


def _is_of_layers(value: object, blocks: int) -> bool:
    return isinstance(value, list) and len(value) == blocks and blocks > 1


def _notes(structure: Structure) -> Iterator[str]:
    widths = ", ".join(
        f"{after} of {before} neurons" + (" an expert" if "experts" in part.split(".") else "")
        for part, (before, after) in {width: (part, width) for part, width in structure.widths.items()}.values()
    )
    blocks = (
        f"; {structure.kept_blocks} of {structure.blocks} blocks" if structure.kept_blocks < structure.blocks else ""
    )
    yield f"Structured pruning: {structure.ratio:.1%} of the blocks' linear weights go; {widths} stay{blocks}."


def _group(recipe: Recipe) -> int:
    """Columns that share a scale, and so must divide widths; the least where the scheme has several sizes."""
    if isinstance(recipe.group_size, int):
        return recipe.group_size
    return recipe.scheme.group_sizes[-1] if recipe.scheme.group_sizes else 1


def _rounded(wanted: float, width: int, group: int) -> int:
    """The width nearest to what is wanted that suits servers, and the groups that suited the width before."""
    multiple = next(m for m in _MULTIPLES if width % m == 0 and (m * _FINENESS <= width or m <= _ALIGNMENT))
    if width % group == 0:
        multiple = lcm(multiple, group)
    return min(width, max(multiple, round(wanted / multiple) * multiple))


def _by_block(tensors: Sequence[SourceTensor]) -> list[tuple[SourceTensor, re.Match[str]]]:
    found = ((tensor, _NAME.fullmatch(tensor.spec.name)) for tensor in tensors)
    return [(tensor, place) for tensor, place in found if place is not None]


def _layer(rest: str) -> str:
    """Of ``mlp.down_proj.weight``: ``down_proj``."""
    return rest.rpartition(".")[0].rpartition(".")[2]


def _part(rest: str) -> str:
    """Of ``mlp.down_proj.weight``: ``mlp``."""
    return rest.rpartition(".")[0].rpartition(".")[0]
