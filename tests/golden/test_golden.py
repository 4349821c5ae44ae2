"""Every output tensor equals llm-compressor's, bit for bit, with the C kernel and with its twin."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelpress.domain.method import Method, Strategy
from modelpress.domain.recipe import Recipe, recipe_from_json
from modelpress.domain.scheme import SCHEMES
from modelpress.quality.verification import verify
from modelpress.tensors import grouping, kernel
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder, read_all
from modelpress.tensors.header import read_header
from modelpress.tensors.plan import Plan, make_plan
from tests.golden.synthetic import MODELS, write_model
from tests.kernel import needs_c

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())

#: torch's names of safetensors' dtypes.
DTYPES = {
    **{"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F8_E4M3": "float8_e4m3fn"},
    **{"U8": "uint8", "I8": "int8", "I32": "int32", "I64": "int64"},
}


def _recipe(case: dict[str, Any]) -> Recipe:
    stored = {"strategy": Strategy.QUANTIZATION.value, "method": Method.RTN.value, **case["recipe"]}
    return recipe_from_json(stored)


def _name(case: dict[str, Any]) -> str:
    """The model, the scheme, and what else the recipe says, in short."""
    recipe = case["recipe"]
    said = [
        recipe["scheme"],
        *(f"{key}={value}" for key, value in recipe.items() if key not in {"scheme", "overrides"}),
    ]
    return "-".join([case["model"], *said, *("overridden" for _ in recipe.get("overrides", ()))])


@pytest.fixture(scope="module", params=[pytest.param("c", marks=needs_c), "numpy"])
def _kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every function of the kernel is C's, or every one is numpy's."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setenv("MODELPRESS_KERNEL", "none")
        importlib.reload(kernel)
        assert request.param == kernel.KERNEL
        yield
    importlib.reload(kernel)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for model in MODELS:
        write_model(model, folder / model.name)
    return folder


def test_there_are_cases_of_every_scheme_that_llm_compressor_has() -> None:
    counts = Counter(case["recipe"]["scheme"] for case in GOLDEN["cases"])
    assert {scheme.name for scheme in SCHEMES if scheme.output_format == "compressed-tensors"} == set(counts)
    assert len({case["model"].partition("-")[0] for case in GOLDEN["cases"]}) >= 10


@pytest.mark.usefixtures("_kernel")
@pytest.mark.parametrize("case", GOLDEN["cases"], ids=_name)
def test_every_tensor_is_the_one_llm_compressor_writes(
    case: dict[str, Any], sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What nothing loads is refused, and yet compared.
    monkeypatch.setattr(grouping, "refuse_cut_blocks", lambda *_arguments: None)
    folder = LocalFolder(sources / case["model"])
    plan = make_plan(open_checkpoint(folder), _recipe(case))
    compress(plan, folder, tmp_path / "out", report=lambda progress: None)
    if not _overflows(case):
        verify(plan, tmp_path / "out")
    lines = _listing(tmp_path / "out")
    assert [line for line, digest in _pairs(lines, case["tensors"].split()) if _digest(line)[:8] != digest] == []
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == case["digest"]
    assert _groups(plan) == _sorted(case["groups"])


def _overflows(case: dict[str, Any]) -> bool:
    """Whether some scale is infinite, which verification refuses: a range from the least to the largest number."""
    asymmetric = any(not group["weights"]["symmetric"] for group in case["groups"])
    return asymmetric and any(model.name == case["model"] and model.huge_row for model in MODELS)


def _pairs(lines: list[str], digests: list[str]) -> list[tuple[str, str]]:
    assert len(lines) == len(digests), lines
    return list(zip(lines, digests, strict=True))


def _digest(line: str) -> str:
    return line.rpartition(" ")[2]


def _listing(directory: Path) -> list[str]:
    """A line for every tensor, as make_golden.py writes it."""
    folder = LocalFolder(directory)
    lines = []
    for file in folder.names():
        if not file.endswith(".safetensors"):
            continue
        content = read_all(folder, file, limit_bytes=1 << 30)
        for tensor in read_header(folder, file):
            data = content[tensor.offset : tensor.offset + tensor.spec.size_bytes]
            digest = hashlib.sha256(data).hexdigest()
            lines.append(f"{tensor.spec.name} {DTYPES[tensor.spec.dtype]} {list(tensor.spec.shape)} {digest}")
    return sorted(lines)


def _groups(plan: Plan) -> list[dict[str, Any]]:
    """What the plan's entry for config.json says of the numbers, in make_golden.py's terms."""
    entry = plan.quantization_config
    groups = []
    for group in entry["config_groups"].values():
        said: dict[str, Any] = {"format": group.get("format", entry["format"])}
        for part in ("weights", "input_activations"):
            if group.get(part) is not None:
                said[part] = {name: value for name, value in group[part].items() if value is not None}
        groups.append(said)
    return _sorted(groups)


def _sorted(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The order of groups is each program's own: where they overlap, loaders go by how narrowly a target is told."""
    return sorted(groups, key=lambda group: json.dumps(group, sort_keys=True))
