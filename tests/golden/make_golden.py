"""Makes golden.json: what llm-compressor writes for the synthetic checkpoints, as SHA-256 of every tensor.

How the environment is made (Python 3.11, about 1.5 GB), and how this is run:

    python3 -m venv golden-venv
    golden-venv/bin/pip install "torch==2.13.0" "llmcompressor==0.14.0.1" "compressed-tensors==0.19.0"
    golden-venv/bin/python tests/golden/make_golden.py

It needs no network and no model code: `model_free_ptq` works on the tensors' own names. The test that reads golden.json
makes the same checkpoints anew, without torch. Run it again when a checkpoint of synthetic.py or the truth changes.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from llmcompressor import model_free_ptq
from llmcompressor.entrypoints import model_free
from safetensors import safe_open
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.golden.synthetic import MODELS, Model, write_model

#: What is left alone: told to llm-compressor in its own words, not taken from the code under test.
IGNORED = ["re:.*lm_head$", "re:.*embed_tokens$", r"re:.*mlp\.gate$", r"re:.*block_sparse_moe\.gate$"]

#: (scheme, its own group size asked for, or None for the scheme's rule)
WISHES: tuple[tuple[str, int | None], ...] = (("W8A16C16", None), ("W4A16C16", None), ("INT8-PTQ", None))
#: Besides, for models whose widths a group of 128 divides.
GROUPED_WISHES: tuple[tuple[str, int | None], ...] = (("W8A16C16", 128), ("INT8-PTQ", 128))


def save_contiguous(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Stands in for model_free_ptq's own last line, which fails where rows are no multiple of 32 columns wide."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def scheme_of(name: str, group_size: int | None) -> QuantizationScheme:
    """The scheme in llm-compressor's terms."""
    weights = QuantizationArgs(
        num_bits=4 if name == "W4A16C16" else 8,
        type="int",
        symmetric=True,
        dynamic=False,
        strategy="channel" if group_size is None else "group",
        group_size=group_size,
    )
    activations = None
    if name == "INT8-PTQ":
        activations = QuantizationArgs(num_bits=8, type="int", symmetric=True, dynamic=True, strategy="token")
    return QuantizationScheme(targets=["Linear"], weights=weights, input_activations=activations)


def rule_of(model: Model, name: str) -> int | None:
    """The group size of the model's own name, where the scheme has groups."""
    last = model.name.rpartition("-")[2]
    return int(last) if name == "W4A16C16" and last != "channel" else None


def tensors_of(directory: Path) -> dict[str, Any]:
    """dtype, shape and hash of every tensor of a directory."""
    found: dict[str, Any] = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                tensor = file.get_tensor(name).contiguous()
                data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
                dtype = str(tensor.dtype).removeprefix("torch.")
                found[name] = [dtype, list(tensor.shape), hashlib.sha256(data).hexdigest()]
    return dict(sorted(found.items()))


def main() -> None:
    """Write golden.json beside this file."""
    model_free.save_file = save_contiguous
    cases = []
    for model in MODELS:
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(scratch, "source")
            write_model(model, source)
            wishes = WISHES + (GROUPED_WISHES if model.name.endswith("-128") else ())
            for name, asked in wishes:
                group_size = asked or rule_of(model, name)
                output = Path(scratch, f"{name}-{asked}")
                model_free_ptq(source, output, scheme=scheme_of(name, group_size), ignore=IGNORED, device="cpu")
                case = {"model": model.name, "scheme": name, "asked": asked, "group_size": group_size}
                cases.append({**case, "tensors": tensors_of(output)})
    versions = {name: version(name) for name in ("llmcompressor", "compressed-tensors", "torch")}
    text = json.dumps({"versions": versions, "cases": cases}, indent=1)
    Path(__file__).with_name("golden.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
