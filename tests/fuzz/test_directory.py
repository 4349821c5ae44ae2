"""Model directories that were damaged at random: refused by an error of ours, or planned and compressed as planned."""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import SCHEMES
from modelpress.domain.task import Progress
from modelpress.errors import TaskError, Unsupported
from modelpress.quality.verification import verify
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.compress import compress
from modelpress.tensors.plan import Plan, make_plan
from modelpress.tensors.staging import seal
from tests.fuzz.damage import ODD_JSON, Draw, assert_bearable, damaged_bytes, damaged_json
from tests.fuzz.memory_folder import MemoryFolder

INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")

#: name -> (dtype, shape)
Shapes = dict[str, tuple[str, list[int]]]

_DENSE: tuple[Shapes, Shapes] = (
    {"model.embed_tokens.weight": ("BF16", [4, 32]), "model.layers.0.self_attn.q_proj.weight": ("BF16", [8, 32])},
    {"model.layers.0.mlp.up_proj.weight": ("F16", [2, 32]), "model.norm.weight": ("F32", [32]), "n": ("I64", [0, 3])},
)
_EXPERTS: tuple[Shapes, Shapes] = (
    {
        "model.layers.0.mlp.experts.gate_up_proj": ("BF16", [2, 8, 32]),
        "model.layers.0.mlp.gate.weight": ("F32", [2, 32]),
    },
    {"model.layers.0.mlp.experts.down_proj": ("BF16", [2, 32, 4]), "a.q_proj.weight": ("BF16", [2, 32])},
)
_FLOAT8: tuple[Shapes, Shapes] = (
    {"a.q_proj.weight": ("F8_E4M3", [4, 32]), "a.q_proj.weight_scale_inv": ("F32", [2, 2])},
    {"a.up_proj.weight": ("F8_E4M3", [3, 32]), "a.up_proj.weight_scale_inv": ("BF16", [2, 2]), "b": ("BF16", [3])},
)
_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "auto_map": {"AutoConfig": "x.Y"},
    "n": [0, 1.5],
}
_BLOCKS = {"quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [2, 16]}}
_BITS = {"BF16": 16, "F16": 16, "F32": 32, "I64": 64, "F8_E4M3": 8}

MODELS = (
    (_DENSE, _CONFIG),
    (_EXPERTS, {**_CONFIG, "model_type": "qwen3_moe", "text_config": {"model_type": "x"}}),
    (_FLOAT8, {**_CONFIG, **_BLOCKS}),
)
_ODD_NAMES = (
    "x.bin",
    "evil.py",
    "model.safetensors",
    "a\x1b[2J",
    "\udcff",
    ".x",
    "x.partial",
    "modelpress.json",
    "é" * 80,
)


_NOT_JSON = object()


def _loaded(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOT_JSON


def header_of(shapes: Shapes) -> dict[str, Any]:
    """A sound header."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in shapes.items():
        size = _BITS[dtype] // 8
        for extent in shape:
            size *= extent
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return entries


def sound_shard(shapes: Shapes) -> bytes:
    """A sound file of zeros."""
    header = header_of(shapes)
    size = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    return shard_of(json.dumps(header), size=size)


def shard_of(header: str, *, size: int) -> bytes:
    text = header.encode(errors="surrogatepass")
    return struct.pack("<Q", len(text)) + text + bytes(size)


@st.composite
def directories(draw: Draw) -> dict[str, bytes]:
    """The files of a model, one to three of them damaged, in most cases."""
    shards, config = draw(st.sampled_from(MODELS))
    index = {"weight_map": {name: file for file, shapes in zip(SHARDS, shards, strict=True) for name in shapes}}
    damaged = draw(st.sets(st.sampled_from(("config", "index", "first", "second", "bytes", "names")), max_size=3))

    def text(part: str, value: Any) -> str:
        return str(draw(damaged_json(value))) if part in damaged else json.dumps(value)

    files = {
        "config.json": text("config", config).encode(errors="surrogatepass"),
        INDEX: text("index", index).encode(errors="surrogatepass"),
        "tokenizer.json": b"{}",
    }
    for part, file, shapes in zip(("first", "second"), SHARDS, shards, strict=True):
        header = header_of(shapes)
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        files[file] = shard_of(text(part, header), size=end)
    if "bytes" in damaged:
        name = draw(st.sampled_from(sorted(files)))
        files[name] = draw(damaged_bytes(files[name]))
    if "names" in damaged:
        files[draw(st.sampled_from(_ODD_NAMES))] = b"x"
        if draw(st.booleans()):
            files[draw(st.sampled_from(_ODD_NAMES))] = files.pop(draw(st.sampled_from(sorted(files))))
    return files


#: Names that mean something to some part of the planning, and that what is made of others may be called too.
_MODULES = (
    "a",
    "model.layers.0.mlp.experts",
    "model.layers.0.mlp.experts.0.gate_proj",
    "lm_head",
    "visual.x",
    "gate",
    "",
)
_PLAIN = ("weight", "bias", "gate_up_proj", "down_proj", "gate_proj.weight", "up_proj.weight", "x")
_QUANTIZED = ("weight_scale_inv", "weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx")
_RARE = ("weight_global_scale", "input_scale", "input_global_scale", "k_scale")
_ODD_VALUES = tuple(value for value in map(_loaded, ODD_JSON) if value is not _NOT_JSON)


@st.composite
def odd_models(draw: Draw) -> dict[str, bytes]:
    """The files of a model that is sound, and like no other: any names, shapes and dtypes, any values in its config."""
    parameters = _PLAIN + _RARE + (_QUANTIZED if draw(st.integers(1, 8)) == 1 else ())
    names = st.builds("{}.{}".format, st.sampled_from(_MODULES), st.sampled_from(parameters))
    dtypes = ("BF16", "F16", "F32", *(sorted(_BITS) if draw(st.integers(1, 8)) == 1 else ()))
    shapes: Shapes = {"a.q_proj.weight": ("BF16", [2, 32])}
    for name in draw(st.lists(names, min_size=1, max_size=8, unique=True)):
        extents = draw(st.lists(st.sampled_from((1, 2, 2, 32, 32, 64, 128, 0)), max_size=4))
        shapes[name] = draw(st.sampled_from(dtypes)), extents
    config = dict(draw(st.sampled_from(MODELS))[1])
    for key in draw(
        st.sets(st.sampled_from((*config, "text_config", "vocab_size", "tie_word_embeddings")), max_size=2)
    ):
        config[key] = draw(st.sampled_from(_ODD_VALUES))
    return {"config.json": json.dumps(config).encode(), "model.safetensors": sound_shard(shapes)}


def plan_or_refusal(files: dict[str, bytes], recipe: Recipe) -> Plan | None:
    """The plan; None if it is refused in a sentence that a terminal can bear."""
    folder = MemoryFolder(files)
    try:
        return make_plan(open_checkpoint(folder), recipe)
    except TaskError as exc:
        assert_bearable(exc.message, longest=2000)
        return None


def assert_sound(plan: Plan) -> None:
    """What the plan promises, before anything is written."""
    names = [spec.name for shard in plan.shards for step in shard.steps for spec in step.outputs]
    assert len(names) == len(set(names))
    files = [shard.name for shard in plan.shards]
    files += [side.name for side in plan.side_files] + [document.name for document in plan.documents]
    assert len(files) == len(set(files))
    assert all(note.isprintable() for note in plan.notes)
    for shard in plan.shards:
        sizes = {spec.name: spec.size_bytes for step in shard.steps for spec in step.outputs}
        places = sorted((shard.offsets[name], size) for name, size in sizes.items())
        assert places[0][0] == len(shard.header)
        assert sum(sizes.values()) + len(shard.header) == shard.size_bytes


def test_experts_that_are_there_both_fused_and_apart_are_refused() -> None:
    module = "model.layers.0.mlp.experts"
    shapes = {**_EXPERTS[0], **_EXPERTS[1], f"{module}.0.gate_proj.weight": ("BF16", [4, 32])}
    files = {"config.json": b"{}", "model.safetensors": sound_shard(shapes)}
    with pytest.raises(Unsupported, match=rf"would have the name '{module}\.0\.gate_proj"):
        make_plan(open_checkpoint(MemoryFolder(files)), Recipe(scheme=SCHEMES[0]))


def test_more_experts_than_any_model_has_are_refused_before_each_is_an_object() -> None:
    count = 400_000
    module = "model.layers.0.mlp.experts"
    shapes = {f"{module}.gate_up_proj": ("BF16", [count, 2, 1]), f"{module}.down_proj": ("BF16", [count, 1, 1])}
    files = {"config.json": b"{}", "model.safetensors": sound_shard(shapes)}
    with pytest.raises(Unsupported, match="fused experts are 1200000 tensors"):
        make_plan(open_checkpoint(MemoryFolder(files)), Recipe(scheme=SCHEMES[0]))


RECIPES = st.sampled_from(SCHEMES).map(lambda scheme: Recipe(scheme=scheme))


@given(files=directories() | odd_models(), recipe=RECIPES)
@settings(max_examples=2 * settings().max_examples)
def test_a_damaged_directory_is_refused_or_planned(files: dict[str, bytes], recipe: Recipe) -> None:
    plan = plan_or_refusal(files, recipe)
    if plan is not None:
        assert_sound(plan)


def ignore(progress: Progress) -> None:
    """A report nobody reads."""


@given(files=directories() | odd_models(), recipe=RECIPES)
@settings(max_examples=settings().max_examples // 2)
def test_what_was_planned_of_a_damaged_directory_is_what_is_written(files: dict[str, bytes], recipe: Recipe) -> None:
    plan = plan_or_refusal(files, recipe)
    if plan is None:
        return
    out = Path(tempfile.mkdtemp())
    try:
        compress(plan, MemoryFolder(files), out, report=ignore, threads=1)
        verify(plan, out)
        seal(out)
        assert sum(path.stat().st_size for path in out.iterdir()) == plan.output_bytes
    except TaskError:
        assert not list(out.glob("*.partial"))
    finally:
        shutil.rmtree(out)


@given(config=st.sampled_from(ODD_JSON), key=st.sampled_from(("architectures", "model_type", "quantization_config")))
def test_a_config_of_odd_values_is_refused_or_planned(config: str, key: str) -> None:
    shards, _ = MODELS[0]
    files = {"config.json": f'{{"{key}": {config}}}'.encode(errors="surrogatepass")}
    files |= {file: sound_shard(shapes) for file, shapes in zip(SHARDS, shards, strict=True)}
    files[INDEX] = json.dumps({"weight_map": {n: f for f, s in zip(SHARDS, shards, strict=True) for n in s}}).encode()
    plan_or_refusal(files, Recipe(scheme=SCHEMES[0]))
