"""Makes golden.json: what llm-compressor writes for the synthetic checkpoints, as hashes.

How the environment is made (Python 3.11, about 1.5 GB), and how this is run:

    python3 -m venv golden-venv
    golden-venv/bin/pip install "torch==2.13.0"
    golden-venv/bin/pip install "llmcompressor==0.14.0.1" "compressed-tensors==0.19.0"
    golden-venv/bin/python tests/golden/make_golden.py

It needs no network and no model code: `model_free_ptq` works on the tensors' own names. The test that reads golden.json
makes the same checkpoints anew, without torch. Run it again when a checkpoint of synthetic.py or the truth changes.

Where `model_free_ptq` is not the truth as it stands, it is helped here: its last line fails on padded rows; it is told
the sets of layers that share a global scale in `oneshot`'s terms, which have those of experts and of compressed
attention too, as servers do; experts that are stored with inputs before outputs are turned first.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.entrypoints.convert import FP8BlockDequantizer
from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationConfig,
    QuantizationScheme,
    preset_name_to_scheme,
)
from llmcompressor import model_free_ptq
from llmcompressor.entrypoints import model_free
from llmcompressor.entrypoints.model_free import microscale
from llmcompressor.observers.helpers import FUSED_LAYER_NAMES
from safetensors import safe_open
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.golden.synthetic import MODELS, Model, write_model

#: What is left alone: told to llm-compressor in its own words, not taken from the code under test.
IGNORED = [
    *("re:.*lm_head$", "re:.*embed_tokens$", r"re:.*mlp\.gate$", r"re:.*block_sparse_moe\.gate$"),
    *(r"re:.*shared_expert_gate$", r"re:.*router$", r"re:.*visual\..*", r"re:.*vision_tower\..*"),
]

#: Presets, by our names.
PRESETS = {
    "WFP8AFP8C16": "FP8_DYNAMIC",
    "WFP8AFP8C16-BLOCK": "FP8_BLOCK",
    "WNVFP4A16C16": "NVFP4A16",
    "WMXFP4A16C16": "MXFP4A16",
}

#: Models of each dtype, and one whose rows end within a word, for every number of bits.
OF_EVERY_WIDTH = ("llama-bf16-channel", "qwen2-f16-64", "glm4-f32-64")

DOWN = "down_proj"
OVERRIDES: dict[str, list[dict[str, Any]]] = {
    "W4A16C16": [{"targets": [DOWN], "scheme": "W8A16C16"}],
    "WFP8AFP8C16": [{"targets": [DOWN], "scheme": "W4A16C16"}],
    "WNVFP4A16C16": [{"targets": [DOWN], "keep": True}],
    "INT8-PTQ": [{"targets": [DOWN], "scheme": "W4A16C16", "symmetric": False}],
}


def recipes_for(model: Model) -> Iterator[dict[str, Any]]:
    """What is asked for, in the words of a stored recipe."""
    for name in ("W8A16C16", "W4A16C16", "INT8-PTQ", "WFP8AFP8C16", "WFP8AFP8C16-BLOCK"):
        yield {"scheme": name}
    yield {"scheme": "W4A16C16", "symmetric": False}
    if not model.name.endswith("-channel"):
        yield {"scheme": "WNVFP4A16C16"}
        yield {"scheme": "WMXFP4A16C16"}
    if model.name.endswith("-128"):
        yield {"scheme": "W8A16C16", "group_size": 128}
        yield {"scheme": "INT8-PTQ", "group_size": 128}
    if model.name in OF_EVERY_WIDTH:
        for bits in (2, 3, 5, 6, 7, 8):
            for symmetric in (True, False):
                if (bits, symmetric) != (8, True):
                    yield {"scheme": f"W{bits}A16C16", **({} if symmetric else {"symmetric": False})}
    if model.name == "qwen3-bf16-32":
        for name, overrides in OVERRIDES.items():
            yield {"scheme": name, "overrides": overrides}


def scheme_of(wanted: dict[str, Any], model: Model, targets: list[str]) -> QuantizationScheme:
    """The scheme in llm-compressor's terms."""
    name = wanted["scheme"]
    if name in PRESETS:
        return preset_name_to_scheme(PRESETS[name], targets)
    group_size = wanted.get("group_size")
    bits = 8 if name == "INT8-PTQ" else int(name[1])
    last = model.name.rpartition("-")[2]
    if bits < 8 and last != "channel":
        group_size = int(last)
    weights = QuantizationArgs(
        num_bits=bits,
        type="int",
        symmetric=wanted.get("symmetric", True),
        dynamic=False,
        strategy="channel" if group_size is None else "group",
        group_size=group_size,
    )
    activations = None
    if name == "INT8-PTQ":
        activations = QuantizationArgs(num_bits=8, type="int", symmetric=True, dynamic=True, strategy="token")
    return QuantizationScheme(targets=targets, weights=weights, input_activations=activations)


def config_of(recipe: dict[str, Any], model: Model) -> QuantizationConfig:
    """All schemes of a recipe; the first group that names a layer has it, so that overrides come first."""
    groups, ignored = {}, list(IGNORED)
    for number, override in enumerate(recipe.get("overrides", ())):
        targets = [rf"re:.*\.{name}$" for name in override["targets"]]
        if override.get("keep"):
            ignored += targets
        else:
            groups[f"override_{number}"] = scheme_of(override, model, targets)
    groups["rest"] = scheme_of(recipe, model, ["Linear"])
    return QuantizationConfig(config_groups=groups, quantization_status="initialized", ignore=ignored)


def share_global_scales() -> None:
    """Tell model_free_ptq the sets of layers that `oneshot` fuses."""
    sets = [[rf"re:.*\.{name}\.weight$" for name in names] for names in FUSED_LAYER_NAMES]
    microscale._DEFAULT_FUSED_MAPPINGS_LIST[:] = sets
    microscale.DEFAULT_FUSED_MAPPINGS.clear()
    for first, *others in FUSED_LAYER_NAMES:
        pattern = rf"^(?P<prefix>.+?)\.{first}\.weight$"
        microscale.DEFAULT_FUSED_MAPPINGS[pattern] = [f"{{prefix}}.{name}.weight" for name in others]


def save_contiguous(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Stands in for model_free_ptq's own last line, which fails where rows are no multiple of 32 columns wide."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def turn_experts(source: Path) -> None:
    """Store outputs before inputs, which is how llm-compressor takes experts apart."""
    for path in source.glob("*.safetensors"):
        tensors = load_file(path)
        turned = {name: t.transpose(1, 2).contiguous() if t.ndim == 3 else t for name, t in tensors.items()}
        save_file(turned, path)


def listing_of(directory: Path) -> list[str]:
    """A line for every tensor of a directory: name, dtype, shape, SHA-256 of its bytes."""
    lines = []
    for path in directory.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                tensor = file.get_tensor(name).contiguous()
                data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
                dtype = str(tensor.dtype).removeprefix("torch.")
                lines.append(f"{name} {dtype} {list(tensor.shape)} {hashlib.sha256(data).hexdigest()}")
    return sorted(lines)


def groups_of(directory: Path) -> list[dict[str, Any]]:
    """What config.json says of the numbers, one entry a group; nothing that is null."""
    entry = json.loads((directory / "config.json").read_text())["quantization_config"]
    groups = []
    for group in entry["config_groups"].values():
        said = {"format": group["format"], "weights": said_of(group["weights"])}
        if group["input_activations"] is not None:
            said["input_activations"] = said_of(group["input_activations"])
        groups.append(said)
    return groups


def said_of(numbers: dict[str, Any]) -> dict[str, Any]:
    """Number format alone: observers and dtypes of zero points do not matter to who reads them."""
    kept = ("num_bits", "type", "symmetric", "strategy", "group_size", "block_structure", "dynamic", "scale_dtype")
    return {name: numbers[name] for name in kept if numbers[name] is not None}


def cases_of(model: Model, scratch: Path) -> Iterator[dict[str, Any]]:
    """Every case of a model."""
    source = scratch / "source"
    write_model(model, source)
    converter = None
    if model.block_scales:
        converter = FP8BlockDequantizer(targets=["re:.*_proj$"])
    if model.transposed:
        turn_experts(source)
    for recipe in recipes_for(model):
        output = scratch / "output"
        model_free_ptq(source, output, config=config_of(recipe, model), device="cpu", converter=converter)
        lines = listing_of(output)
        yield {
            "model": model.name,
            "recipe": recipe,
            "groups": groups_of(output),
            "digest": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            # In the order of the lines: enough to say which tensor differs.
            "tensors": " ".join(line.rpartition(" ")[2][:8] for line in lines),
        }
        shutil.rmtree(output)


def main() -> None:
    """Write golden.json beside this file: one line a case."""
    model_free.save_file = save_contiguous
    share_global_scales()
    versions = {name: version(name) for name in ("llmcompressor", "compressed-tensors", "torch")}
    lines = []
    for model in MODELS:
        with tempfile.TemporaryDirectory() as scratch:
            lines += [json.dumps(case) for case in cases_of(model, Path(scratch))]
    text = f'{{"versions": {json.dumps(versions)}, "cases": [\n' + ",\n".join(lines) + "\n]}\n"
    Path(__file__).with_name("golden.json").write_text(text)


if __name__ == "__main__":
    main()
