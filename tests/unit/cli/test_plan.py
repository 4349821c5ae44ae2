"""``modelpress compress --plan``: what would be done, without reading a weight."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli
from tests.unit.gguf_models import tiny_file

TABLE = """\
TENSORS                                  COUNT      SHAPE  DTYPE  BECOMES             BEFORE    AFTER  RATIO
model.embed_tokens                           1   64 × 256  BF16   stays (embedding)  32.8 kB  32.8 kB
model.layers.*.input_layernorm               2        256  BF16   stays              1.02 kB  1.02 kB
model.layers.*.post_attention_layernorm      2        256  BF16   stays              1.02 kB  1.02 kB
model.layers.*.self_attn.q_proj              2  256 × 256  BF16   W4A16C16 g128       262 kB  67.6 kB  25.8%
model.layers.*.self_attn.k_proj              2  128 × 256  BF16   W4A16C16 g128       131 kB  33.8 kB  25.8%
model.layers.*.self_attn.v_proj              2  128 × 256  BF16   W4A16C16 g128       131 kB  33.8 kB  25.8%
model.layers.*.self_attn.o_proj              2  256 × 256  BF16   stays, as asked     262 kB   262 kB
model.layers.*.mlp.gate_proj                 2  384 × 256  BF16   W4A16C16 g128       393 kB   101 kB  25.8%
model.layers.*.mlp.up_proj                   2  384 × 256  BF16   W4A16C16 g128       393 kB   101 kB  25.8%
model.layers.0.mlp.down_proj                 1  256 × 384  BF16   W8A16C16            197 kB  98.8 kB  50.3%
model.layers.1.mlp.down_proj                 1  256 × 384  BF16   W4A16C16 g128       197 kB  50.7 kB  25.8%
model.norm                                   1        256  BF16   stays                512 B    512 B
                                            20                    3 shards              2 MB   785 kB

"""
CHANGES = ("--ignore", "o_proj", "--override", "layers.0.mlp.down_proj=W8A16")


def write_large(directory: Path, *, layers: int) -> None:
    """The headers of a Llama of 70B's shapes; its weights are holes in files, and take no room on a disk."""
    directory.mkdir()
    (directory / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}')
    shapes = {"mlp.down_proj": (8192, 28672), "mlp.up_proj": (28672, 8192), "self_attn.q_proj": (8192, 8192)}
    weight_map = {}
    for layer in range(layers):
        file, header, end = f"layer-{layer:03}.safetensors", {}, 0
        for part, (rows, columns) in shapes.items():
            name = f"model.layers.{layer}.{part}.weight"
            header[name] = {
                "dtype": "BF16",
                "shape": [rows, columns],
                "data_offsets": [end, end := end + 2 * rows * columns],
            }
            weight_map[name] = file
        encoded = json.dumps(header).encode()
        with (directory / file).open("wb") as out:
            out.write(struct.pack("<Q", len(encoded)) + encoded)
            out.truncate(8 + len(encoded) + end)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_the_plan_has_a_line_for_each_kind_of_tensor_and_what_it_becomes(cli: Cli, tiny_model: Path) -> None:
    outcome = cli("compress", tiny_model, "--weight", "W4A16", "--plan", *CHANGES)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.plain.startswith(TABLE)
    assert "2.01 MB become 796 kB, all files together: 39.7%\n" in outcome.plain
    assert "W8A16C16: Each output row has one scale.\n" in outcome.plain
    assert os.listdir() == []


def test_json_has_every_tensor_and_sums_up_to_what_compressing_writes(cli: Cli, tiny_model: Path) -> None:
    planned = json.loads(cli("compress", tiny_model, "--weight", "W4A16", "--plan", "--json", *CHANGES).out)
    done = json.loads(cli("compress", tiny_model, "out", "--weight", "W4A16", "--json", *CHANGES).out)
    for same in ("scheme", "groupSize", "sourceBytes", "outputBytes", "ratio", "notes"):
        assert planned[same] == done[same]
    assert {shard["file"]: shard["sizeBytes"] for shard in planned["shards"]} == {
        file.name: file.stat().st_size for file in Path("out").glob("*.safetensors")
    }
    assert len(planned["tensors"]) == 20
    down = [tensor for tensor in planned["tensors"] if tensor["name"] == "model.layers.0.mlp.down_proj.weight"]
    assert down == [
        {
            "name": "model.layers.0.mlp.down_proj.weight",
            "part": "linear weight",
            "dtype": "BF16",
            "shape": [256, 384],
            "sourceBytes": 196608,
            "scheme": "W8A16C16",
            "symmetric": True,
            "scaleSearch": "max",
            "outputBytes": 98832,
            "writtenAs": "I32",
            "outputs": [
                {"name": "model.layers.0.mlp.down_proj.weight_packed", "dtype": "I32", "shape": [256, 96]},
                {"name": "model.layers.0.mlp.down_proj.weight_scale", "dtype": "BF16", "shape": [256, 1]},
                {"name": "model.layers.0.mlp.down_proj.weight_shape", "dtype": "I64", "shape": [2]},
            ],
            "file": down[0]["file"],
        }
    ]


def test_a_plan_of_a_large_model_reads_its_headers_alone_and_tells_which_layers_differ(
    cli: Cli, tmp_path: Path
) -> None:
    write_large(tmp_path / "large", layers=80)
    outcome = cli("compress", tmp_path / "large", "--weight", "W4A16", "--plan", "--override", "layers.[0-3].*=W8A16")
    assert outcome.code == 0
    lines = [line.split() for line in outcome.plain.splitlines()]
    assert [line[:2] for line in lines[1:7]] == [
        ["model.layers.0-3.mlp.down_proj", "4"],
        ["model.layers.0-3.mlp.up_proj", "4"],
        ["model.layers.0-3.self_attn.q_proj", "4"],
        ["model.layers.4-79.mlp.down_proj", "76"],
        ["model.layers.4-79.mlp.up_proj", "76"],
        ["model.layers.4-79.self_attn.q_proj", "76"],
    ]
    assert outcome.plain.splitlines()[9].startswith("85.9 GB become")


def test_a_destination_is_needed_only_for_work(cli: Cli, tiny_model: Path) -> None:
    outcome = cli("compress", tiny_model, "--weight", "W4A16")
    assert outcome.code == 2
    assert "'DST': required unless --plan is given" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--group-size", "0"), "'--group-size': '0' is neither"),
        (("--group-size", "²"), "'--group-size': '²' is neither"),
        (("--scale-search", "best"), "'--scale-search': 'best' is none of max, mse"),
        (("--format", "onnx"), "'--format': 'onnx' is none of"),
        (("--ignore", "re:.*down_proj"), "'--ignore': 're:.*down_proj' is a regular expression"),
        (("--target", "a b"), "'--target': 'a b' has blanks"),
        (("--override", "down_proj"), "'--override': 'down_proj' is not PATTERN=SCHEME"),
        (("--override", "down_proj=W8A16,W4A16"), "'--override': 'down_proj=W8A16,W4A16' is not PATTERN=SCHEME"),
        (("--override", "down_proj=W9A16"), "'--override': 'W9A16' is none of"),
        (("--override", "=W8A16"), "'--override': a pattern is empty"),
    ],
)
def test_wrong_options_are_named(cli: Cli, tiny_model: Path, arguments: tuple[str, ...], told: str) -> None:
    outcome = cli("compress", tiny_model, "--weight", "W4A16", "--plan", *arguments)
    assert outcome.code == 2
    assert told in " ".join(outcome.err.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--ignore", "dwn_proj"), "hint: some have names like down_proj"),
        (("--override", "lm_head=W8A16"), "the pattern 'lm_head' means none of the model's 14 linear layers"),
        (("--group-size", "48"), "groups of 48 columns do not divide"),
    ],
)
def test_what_the_model_cannot_be_given_is_an_error_with_a_hint(
    cli: Cli, tiny_model: Path, arguments: tuple[str, ...], told: str
) -> None:
    outcome = cli("compress", tiny_model, "--weight", "W4A16", "--plan", *arguments)
    assert outcome.code == 1
    assert told in outcome.err


def test_a_gguf_file_is_a_model_by_itself_planned_or_compressed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "several").mkdir()
    for name in ("model.gguf", "other.gguf"):
        (tmp_path / "several" / name).write_bytes(tiny_file("qwen3"))
    planned = cli("compress", tmp_path / "several" / "other.gguf", "--weight", "W8A16", "--plan")
    assert planned.code == 0, planned.err
    assert "model.layers.*.self_attn.q_proj" in planned.plain
    outcome = cli("compress", tmp_path / "several" / "other.gguf", tmp_path / "out", "--weight", "W8A16")
    assert outcome.code == 0, outcome.err
    assert "other.gguf is read as bf16" in outcome.err
    assert (tmp_path / "out" / "tokenizer.json").exists()
    refused = cli("compress", tmp_path / "several", tmp_path / "out2", "--weight", "W8A16")
    assert (refused.code, "hint: give the one file itself" in refused.err) == (1, True)


def test_a_plan_of_pruning_tells_where_zeros_come_and_what_becomes_smaller(cli: Cli, tiny_model: Path) -> None:
    sparse = cli("compress", tiny_model, "--sparsity", "0.3", "--weight", "W8A16", "--plan")
    (row,) = (line for line in sparse.out.splitlines() if "up_proj" in line)
    assert "30 % sparse W8A16C16" in row
    structured = cli("compress", tiny_model, "--sparsity", "0.25", "--method", "structured", "--plan")
    rows = {line.split()[0]: line for line in structured.out.splitlines() if "model." in line}
    assert "256 × 224  BF16   smaller" in rows["model.layers.*.mlp.down_proj"]
    assert "58.3%" in rows["model.layers.*.mlp.down_proj"]
    assert "stays" in rows["model.layers.*.self_attn.q_proj"]
    assert "%" not in rows["model.layers.*.self_attn.q_proj"]
