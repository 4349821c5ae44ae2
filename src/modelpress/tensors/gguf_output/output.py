"""A GGUF file as it will be written: one file with weights, sizes and tokenizer, and what is to be read beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import Scheme
from modelpress.errors import BadSource, Unsupported
from modelpress.tensors.checkpoint import Checkpoint, SideFile, SourceTensor
from modelpress.tensors.decision import LARGEST_ROW_BYTES, Decision
from modelpress.tensors.experts import apart, split_experts
from modelpress.tensors.folder import read_all
from modelpress.tensors.formats.layout import Layout
from modelpress.tensors.gguf.architecture import (
    KNOWN_CLASSES,
    Architecture,
    Part,
    family_of,
    is_permuted,
    is_raised,
    parts_of,
)
from modelpress.tensors.gguf.sizes import Sizes
from modelpress.tensors.gguf_output import encoding
from modelpress.tensors.gguf_output.block_choice import GROUPS, block_type_named, choose_block_type, file_type
from modelpress.tensors.gguf_output.encoding import OutputTensor
from modelpress.tensors.gguf_output.parameters import make_parameters, read_sizes
from modelpress.tensors.gguf_output.rows import InterleavedBias, InterleavedRows, JoinedRows
from modelpress.tensors.gguf_output.tokenizer import (
    ROLES_FILE,
    SETTINGS,
    TEMPLATE,
    TOKENIZER,
    TokenizerFiles,
    make_tokenizer,
)
from modelpress.tensors.grid import Grid
from modelpress.tensors.json_object import NotAnObject, parse_object
from modelpress.tensors.output import Output
from modelpress.tensors.rounding.blocks import BlockRounding
from modelpress.tensors.rows import Rows
from modelpress.tensors.shard import PlannedShard, Step
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.target import module_of
from modelpress.tensors.target import parts_of as parts_by_name
from modelpress.tensors.treatment import Assignment, Treatment, check_patterns

#: The largest tokenizer.json of a published model has 33 MB.
_LARGEST_TOKENIZER_BYTES = 100_000_000
_LARGEST_SETTINGS_BYTES = 10_000_000
#: A person's files; all others' content is in the file itself.
_READ_BY_PEOPLE = ("license", "licence", "notice", "readme", "copying", "use_policy")
#: Tensors that some checkpoints keep and that follow from the config.
_FOLLOWING = (".rotary_emb.inv_freq",)


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufOutput:
    """The files, and what is to be known of them. ``plain_bytes`` are those of the tensors as they are read."""

    output: Output
    decision: Decision
    plain_bytes: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One tensor of the file before its type is chosen: what it is made from, and on which grid that lies."""

    part: Part
    #: As the source has it, but that experts are one tensor.
    spec: TensorSpec
    #: Of experts, the first one's.
    module: str
    shape: tuple[int, ...]
    grid: Grid
    rows: Rows
    raised: bool


def gguf_output(checkpoint: Checkpoint, recipe: Recipe) -> GgufOutput:
    """One GGUF file for the model, by llama.cpp's names, in its order of rows and with its tokenizer.

    Raises: Unsupported if llama.cpp is not known to run such a model, or its tokenizer is of an unknown kind; BadSource
            if tensors, sizes and tokens do not fit together.
    """
    tensors = {
        tensor.spec.name: tensor
        for tensor in apart(checkpoint.tensors, split_experts(checkpoint.tensors, checkpoint.config))
        if not tensor.spec.name.endswith(_FOLLOWING)
    }
    family, architecture = _family(checkpoint, tensors)
    tied = bool(checkpoint.config.get("tie_word_embeddings")) or "lm_head.weight" not in tensors
    sizes = _sizes(checkpoint, tensors)
    # First, so that sizes are those of tensors before anything of such a size is made.
    found = _find(architecture, sizes, tensors, tied=tied)
    parameters = make_parameters(family, checkpoint.config, sizes)
    tokenizer = make_tokenizer(_tokenizer_files(checkpoint), rows=sizes.vocabulary)
    steps, written, treatments = _steps(found, recipe, layers=sizes.layers, tied=tied)
    decision = _decision(found, treatments, tensors, recipe)
    constants = [
        (OutputTensor(name=name, shape=factors.shape, block_type=block_type_named("F32")), factors.tobytes())
        for name, factors in parameters.factors.items()
    ]
    metadata = {
        "general.architecture": encoding.text(family),
        "general.type": encoding.text("model"),
        "general.file_type": encoding.u32(file_type(recipe.scheme)),
        "general.quantization_version": encoding.u32(2),
        **parameters.metadata,
        **tokenizer.metadata,
    }
    shard = _file(f"model-{recipe.scheme.name}.gguf", steps, written, metadata=metadata, constants=constants)
    notes = (
        f"A GGUF file for llama.cpp, architecture {family!r}.",
        tokenizer.note,
        *parameters.notes,
        *decision.assignment.notes,
        *_type_notes(written, recipe.scheme),
        *_carried_notes(checkpoint),
    )
    return GgufOutput(
        output=Output(shards=(shard,), side_files=tuple(_carried(checkpoint)), documents=(), quantization_config={}),
        decision=decision,
        plain_bytes=sum(one.rows.count * one.rows.row_bytes for one in found),
        notes=notes,
    )


def _family(checkpoint: Checkpoint, tensors: Mapping[str, SourceTensor]) -> tuple[str, Architecture]:
    found = family_of(checkpoint.architecture, tensors)
    if found is None:
        raise Unsupported(
            f"models of architecture {checkpoint.architecture[:100]!r} are not written as GGUF",
            hint=f"{', '.join(KNOWN_CLASSES)} are; other schemes take any architecture",
        )
    return found


def _sizes(checkpoint: Checkpoint, tensors: Mapping[str, SourceTensor]) -> Sizes:
    embedding = tensors.get("model.embed_tokens.weight")
    if embedding is None or len(embedding.spec.shape) != 2:
        raise BadSource("it has no matrix 'model.embed_tokens.weight', as a whole language model has")
    sizes = read_sizes(checkpoint.config, vocabulary=embedding.spec.shape[0])
    # Before anything is made for each layer or expert: the counts may be lies.
    if max(sizes.layers, sizes.experts) > len(tensors):
        raise BadSource(
            f"config.json says {sizes.layers} layers and {sizes.experts} experts, but there are {len(tensors)} tensors"
        )
    return sizes


def _find(architecture: Architecture, sizes: Sizes, tensors: Mapping[str, SourceTensor], *, tied: bool) -> list[_Found]:
    """Every tensor of the file.

    Raises: BadSource if one is missing or has another shape; Unsupported if there is one that llama.cpp has no place
            for.
    """
    used = {"lm_head.weight"} if tied else set()
    found = []
    for part in parts_of(architecture, layers=sizes.layers, tied=tied):
        shape = tuple(sizes.extents[letter] for letter in part.shape)
        stacked = part.shape[0] == "E" and len(shape) == 3
        names = [part.ours.format(expert) for expert in range(shape[0])] if stacked else [part.ours]
        sources = [_source(tensors, name, shape[1:] if stacked else shape) for name in names]
        used.update(names)
        found.append(_found(architecture, sizes, part=part, shape=shape, sources=sources))
    for name in tensors:
        if name not in used:
            raise Unsupported(
                f"the model has a tensor {name[:200]!r}, for which llama.cpp's {architecture.class_name} has no place"
            )
    return found


def _source(tensors: Mapping[str, SourceTensor], name: str, shape: tuple[int, ...]) -> SourceTensor:
    tensor = tensors.get(name)
    if tensor is None or tensor.spec.shape != shape:
        there = "there is none" if tensor is None else f"it has {tensor.spec.shape}"
        raise BadSource(f"tensor {name!r} of shape {shape} is needed by its config.json, {there}")
    if tensor.spec.dtype not in set(Grid):
        raise Unsupported(f"weight {name!r} is {tensor.spec.dtype}; weights of {', '.join(Grid)} can be compressed")
    return tensor


def _found(
    architecture: Architecture, sizes: Sizes, *, part: Part, shape: tuple[int, ...], sources: Sequence[SourceTensor]
) -> _Found:
    first = sources[0]
    if any(source.spec.dtype != first.spec.dtype for source in sources):
        raise Unsupported(f"the experts of {part.theirs!r} are of several dtypes")
    grid = Grid(first.spec.dtype)
    rows = first.rows if len(sources) == 1 else JoinedRows(parts=tuple(source.rows for source in sources))
    held = 1
    if is_permuted(architecture, part) and len(shape) == 1:
        rows = InterleavedBias(rows=rows, head_rows=sizes.head_width, number_bytes=grid.size_bytes)
    elif is_permuted(architecture, part):
        rows, held = InterleavedRows(rows=rows, head_rows=sizes.head_width), sizes.head_width
    if held * rows.row_bytes > LARGEST_ROW_BYTES:
        raise Unsupported(
            f"{held} rows of tensor {first.spec.name!r} have {held * rows.row_bytes} bytes; "
            f"at most {LARGEST_ROW_BYTES} are supported"
        )
    # A matrix of one row is a vector there.
    bare = shape[1:] if part.shape[0] == "1" else shape
    return _Found(
        part=part,
        spec=TensorSpec(name=part.ours.replace("{}", "*"), dtype=grid, shape=shape),
        module=module_of(first.spec.name),
        shape=bare,
        grid=grid,
        rows=rows,
        raised=is_raised(architecture, part),
    )


def _steps(
    found: Sequence[_Found], recipe: Recipe, *, layers: int, tied: bool
) -> tuple[list[Step], list[OutputTensor], dict[str, Treatment]]:
    """What becomes of each tensor, the file's tensors, and the treatments of the matrices, by the source's names."""
    steps, written, treatments = [], [], {}
    for one in found:
        if len(one.shape) == 1 or "_inp" in one.part.theirs:
            block_type = block_type_named("F32")
        elif (choice := recipe.choose(one.module)) is None:
            block_type = block_type_named(one.grid)
        else:
            scheme = choice.scheme
            block_type = choose_block_type(
                scheme, name=one.part.theirs, columns=one.shape[-1], layers=layers, tied=tied
            )
            treatments[one.spec.name] = Treatment(
                scheme=scheme, group_size=GROUPS[scheme.name], symmetric=scheme.symmetric
            )
        tensor = OutputTensor(name=one.part.theirs, shape=one.shape, block_type=block_type)
        rounding = BlockRounding(grid=one.grid, columns=one.shape[-1], block_type=block_type, added=float(one.raised))
        blocks = TensorSpec(name=tensor.name, dtype="U8", shape=(tensor.rows, tensor.row_bytes))
        layout = Layout(rounded=(blocks,), scales=blocks)
        written.append(tensor)
        steps.append(Step(source=one.spec, rows=one.rows, rounding=rounding, layout=layout))
    return steps, written, treatments


def _decision(
    found: Sequence[_Found], treatments: Mapping[str, Treatment], tensors: Mapping[str, SourceTensor], recipe: Recipe
) -> Decision:
    if not treatments:
        raise Unsupported(f"the recipe leaves all of the {len(found)} tensors as they are")
    modules: dict[Treatment, tuple[str, ...]] = {}
    for one in found:
        if one.spec.name in treatments:
            treatment = treatments[one.spec.name]
            modules[treatment] = (*modules.get(treatment, ()), one.module)
    matrices = [one for one in found if len(one.shape) > 1 and "_inp" not in one.part.theirs]
    check_patterns(recipe, [one.module for one in matrices])
    kept = tuple(one.spec.name for one in matrices if one.spec.name not in treatments)
    told = (f"{len(kept)} matrices are left as they are, as asked, first {kept[0]}.",) if kept else ()
    return Decision(
        tensors=tuple(tensors.values()),
        parts=parts_by_name(one.spec for one in found),
        assignment=Assignment(treatments=treatments, modules=modules, kept=kept, notes=told),
    )


def _file(
    name: str,
    steps: list[Step],
    written: Sequence[OutputTensor],
    *,
    metadata: Mapping[str, bytes],
    constants: Sequence[tuple[OutputTensor, bytes]],
) -> PlannedShard:
    """The file; what is known before any data is read is written along with the first tensor."""
    if constants:
        first = steps[0]
        assert first.layout is not None
        known = tuple((TensorSpec(name=t.name, dtype="F32", shape=t.shape), content) for t, content in constants)
        steps[0] = replace(first, layout=replace(first.layout, constants=known))
    tensors = [*(tensor for tensor, _ in constants), *written]
    header, offsets = encoding.encode_header(metadata, tensors)
    last = tensors[-1]
    return PlannedShard(
        name=name,
        steps=tuple(steps),
        header=header,
        offsets=offsets,
        size_bytes=offsets[last.name] + last.size_bytes,
    )


def _type_notes(written: Sequence[OutputTensor], scheme: Scheme) -> Iterator[str]:
    counts = Counter(tensor.block_type.name for tensor in written)
    yield f"Its tensors: {', '.join(f'{name} ({count})' for name, count in counts.most_common())}."
    narrow = sum(len(tensor.shape) > 1 and tensor.shape[-1] % 256 != 0 for tensor in written)
    if narrow and scheme.group_sizes == (256,):
        yield f"{narrow} matrices have rows of no whole number of 256; there Q4_K is Q5_0, and Q6_K is Q8_0."


def _carried(checkpoint: Checkpoint) -> Iterator[SideFile]:
    for side_file in checkpoint.side_files:
        if side_file.name.lower().startswith(_READ_BY_PEOPLE):
            yield side_file


def _carried_notes(checkpoint: Checkpoint) -> Iterator[str]:
    carried = {side_file.name for side_file in _carried(checkpoint)}
    if any(side_file.name not in carried for side_file in checkpoint.side_files):
        yield "Config, tokenizer and chat template are in the file itself; of other files, licences and notes are kept."


def _tokenizer_files(checkpoint: Checkpoint) -> TokenizerFiles:
    tokenizer = _read(checkpoint, TOKENIZER, limit_bytes=_LARGEST_TOKENIZER_BYTES)
    if tokenizer is None:
        raise Unsupported(
            f"it has no {TOKENIZER}, which a GGUF file's tokenizer is made from",
            hint="save the tokenizer with transformers (AutoTokenizer.from_pretrained(…).save_pretrained(…)) beside it",
        )
    template = _read(checkpoint, TEMPLATE, limit_bytes=_LARGEST_SETTINGS_BYTES)
    return TokenizerFiles(
        tokenizer=_parse(TOKENIZER, tokenizer),
        settings=_settings(checkpoint, SETTINGS),
        roles=_settings(checkpoint, ROLES_FILE),
        template=None if template is None else _decode(template),
        config=checkpoint.config,
    )


def _settings(checkpoint: Checkpoint, name: str) -> Mapping[str, Any]:
    raw = _read(checkpoint, name, limit_bytes=_LARGEST_SETTINGS_BYTES)
    return {} if raw is None else _parse(name, raw)


def _read(checkpoint: Checkpoint, name: str, *, limit_bytes: int) -> bytes | None:
    """A side file's content, or what the checkpoint has in its place."""
    for document in checkpoint.documents:
        if document.name == name:
            return document.content
    if all(side_file.name != name for side_file in checkpoint.side_files):
        return None
    return read_all(checkpoint.folder, name, limit_bytes=limit_bytes)


def _parse(name: str, raw: bytes) -> Mapping[str, Any]:
    try:
        # A merge is two short texts in brackets, where the file is written without spaces.
        return parse_object(raw, bytes_a_bracket=8, bytes_a_comma=3)
    except NotAnObject as exc:
        raise BadSource(f"{name} is {exc}") from exc


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise BadSource(f"{TEMPLATE} is not UTF-8: {exc.reason} at its byte {exc.start}") from exc
