"""Every output tensor equals llm-compressor's, bit for bit, with the C kernel and with its twin."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import find_scheme
from modelpress.quality.verification import verify
from modelpress.tensors import kernel
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder, read_all
from modelpress.tensors.header import read_header
from modelpress.tensors.kernel import native, twin
from modelpress.tensors.plan import make_plan
from tests.golden.synthetic import MODELS, write_model
from tests.kernel import needs_c

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())

#: safetensors' names of torch's dtypes.
DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "int32": "I32", "int64": "I64", "int8": "I8"}


def _kernels() -> list[Any]:
    return [pytest.param("c", marks=needs_c), "numpy"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for model in MODELS:
        write_model(model, folder / model.name)
    return folder


def _case_name(case: dict[str, Any]) -> str:
    return f"{case['model']}-{case['scheme']}-{case['asked'] or 'rule'}"


@pytest.mark.parametrize("name", _kernels())
@pytest.mark.parametrize("case", GOLDEN["cases"], ids=_case_name)
def test_every_tensor_is_the_one_llm_compressor_writes(
    case: dict[str, Any], name: str, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "quantize", native.NativeKernel().quantize if name == "c" else twin.quantize)
    scheme = find_scheme(case["scheme"])
    assert scheme is not None
    folder = LocalFolder(sources / case["model"])
    plan = make_plan(open_checkpoint(folder), Recipe(scheme=scheme, group_size=case["asked"]))
    compress(plan, folder, tmp_path / "out", report=lambda progress: None)
    verify(plan, tmp_path / "out")
    assert plan.group_size == case["group_size"]
    expected = {key: (DTYPES[dtype], shape, digest) for key, (dtype, shape, digest) in case["tensors"].items()}
    assert _tensors(tmp_path / "out") == expected


def _tensors(directory: Path) -> dict[str, tuple[str, list[int], str]]:
    folder = LocalFolder(directory)
    found = {}
    for file in folder.names():
        if not file.endswith(".safetensors"):
            continue
        content = read_all(folder, file, limit_bytes=1 << 30)
        for tensor in read_header(folder, file):
            data = content[tensor.offset : tensor.offset + tensor.spec.size_bytes]
            digest = hashlib.sha256(data).hexdigest()
            found[tensor.spec.name] = (tensor.spec.dtype, list(tensor.spec.shape), digest)
    return found
