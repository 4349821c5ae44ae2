"""What is taken for a model directory, and what is refused; one test an attack."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import W8A16C16
from modelpress.errors import AlreadyCompressed, BadSource
from modelpress.tensors import checkpoint
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.plan import make_plan
from tests.golden.synthetic import write_safetensors
from tests.unit.tensors.models import CONFIG, layers, weight, write_model


def refusal(directory: Path) -> BadSource:
    with pytest.raises(BadSource) as caught:
        open_checkpoint(LocalFolder(directory))
    return caught.value


def sign_of_compression(directory: Path) -> str:
    """What tells that the model was quantized; it is sound, but no plan is made of it."""
    found = open_checkpoint(LocalFolder(directory))
    with pytest.raises(AlreadyCompressed) as caught:
        make_plan(found, Recipe(scheme=W8A16C16))
    assert caught.value.message == found.already_compressed
    return caught.value.message


def write_index(directory: Path, weight_map: object) -> None:
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_a_model_directory_is_known_from_its_headers(tmp_path: Path) -> None:
    files = {"tokenizer.json": b"{}", "generation_config.json": b"{}", "chat_template.jinja": b"x"}
    write_model(tmp_path, layers(1), layers_named("b."), files=files)
    found = open_checkpoint(LocalFolder(tmp_path))
    assert found.architecture == "LlamaForCausalLM"
    assert [side.name for side in found.side_files] == sorted(files)
    assert found.shards == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert found.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    shapes = {tensor.spec.name: tensor.spec.shape for tensor in found.tensors}
    assert shapes["model.layers.0.mlp.up_proj.weight"] == (96, 64)


def layers_named(prefix: str) -> dict[str, Any]:
    return {prefix + name: value for name, value in layers(1).items()}


def test_a_single_file_of_another_name_is_taken(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1))
    (tmp_path / "model.safetensors").rename(tmp_path / "weights.safetensors")
    assert open_checkpoint(LocalFolder(tmp_path)).shards == ("weights.safetensors",)


def test_a_file_that_is_not_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    assert "cannot be read" in refusal(tmp_path / "x").message


def test_a_directory_without_config_is_refused_with_a_hint(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert "no config.json" in error.message
    assert error.hint is not None


def test_an_adapter_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "adapter" in refusal(tmp_path).message


def test_a_config_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "no safetensors file" in refusal(tmp_path).message


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl", "model.ckpt"])
def test_pickles_are_refused_by_name_with_a_hint_to_convert(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"\x80\x04.")
    error = refusal(tmp_path)
    assert name in error.message
    assert "convert" in str(error.hint)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[1]", b"[" * 100_000, b""])
def test_a_config_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    write_model(tmp_path, layers(1))
    (tmp_path / "config.json").write_bytes(content)
    assert re.match(r"config\.json is (not )?(a )?JSON", refusal(tmp_path).message)


def test_a_config_deeper_than_any_is_refused_since_it_could_not_be_written_again(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1))
    (tmp_path / "config.json").write_text('{"a":' * 65 + "1" + "}" * 65)
    assert "more than 64 levels" in refusal(tmp_path).message
    (tmp_path / "config.json").write_text('{"a":' * 64 + "1" + "}" * 64)
    make_plan(open_checkpoint(LocalFolder(tmp_path)), Recipe(scheme=W8A16C16))


def test_a_config_with_infinity_is_taken_since_some_models_have_it(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1), config={**CONFIG, "time_step_limit": [0.0, float("inf")]})
    assert open_checkpoint(LocalFolder(tmp_path)).config["time_step_limit"] == [0.0, float("inf")]


@pytest.mark.parametrize("limit", ["MOST_TENSORS", "LARGEST_HEADERS_BYTES"])
def test_many_shards_are_no_way_around_the_limits_of_one(
    tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path, layers(1), layers_named("b."))
    monkeypatch.setattr(checkpoint, limit, {"MOST_TENSORS": 7, "LARGEST_HEADERS_BYTES": 700}[limit])
    assert "with 8 tensors, up to model-00002-of-00002.safetensors" in refusal(tmp_path).message


def test_a_config_too_large_to_be_one_is_refused_unread(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1))
    with (tmp_path / "config.json").open("ab") as file:
        file.truncate(10_000_001)
    assert "10000001 bytes" in refusal(tmp_path).message


@pytest.mark.parametrize("architectures", [None, [], "LlamaForCausalLM", [7], {}])
def test_a_config_without_a_named_architecture_has_none(tmp_path: Path, architectures: object) -> None:
    write_model(tmp_path, layers(1), config={"architectures": architectures})
    assert open_checkpoint(LocalFolder(tmp_path)).architecture == ""


def test_several_shards_without_an_index_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1), layers_named("b."))
    (tmp_path / "model.safetensors.index.json").unlink()
    assert "2 safetensors files, but neither" in refusal(tmp_path).message


def test_an_index_that_names_a_missing_file_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1), layers_named("b."))
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    assert "'model-00002-of-00002.safetensors', which is missing" in refusal(tmp_path).message


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", "..\\x.safetensors", "..", ""]
)
def test_an_index_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    write_index(tmp_path, {"a.weight": name})
    assert "not in the model directory itself" in refusal(tmp_path).message


def test_an_index_that_names_a_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "x.bin").write_bytes(b"x")
    write_index(tmp_path, {"a.weight": "x.bin"})
    assert "not a safetensors file" in refusal(tmp_path).message


@pytest.mark.parametrize("weight_map", [None, {}, [], {"a": 7}, {"a": None}, "x"])
def test_an_index_without_a_map_is_refused(tmp_path: Path, weight_map: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    write_index(tmp_path, weight_map)
    assert "has no weight_map" in refusal(tmp_path).message


def test_an_index_that_names_more_files_than_the_cap_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    write_index(tmp_path, {f"t{i}": f"{i}.safetensors" for i in range(10_001)})
    assert "10001 files" in refusal(tmp_path).message


def test_an_index_that_names_a_tensor_its_file_lacks_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1), layers_named("b."))
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["phantom.weight"] = "model-00001-of-00002.safetensors"
    path.write_text(json.dumps(index))
    assert "'phantom.weight'" in refusal(tmp_path).message


def test_an_index_that_puts_a_tensor_in_the_wrong_file_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1), layers_named("b."))
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.embed_tokens.weight"] = "model-00002-of-00002.safetensors"
    path.write_text(json.dumps(index))
    assert "but it is in model-00001-of-00002.safetensors" in refusal(tmp_path).message


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path, {**layers(1), "first.bias": ("U8", (1,), b"1")}, layers(1))
    assert "is in both" in refusal(tmp_path).message


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1))
    path = tmp_path / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    assert "its tensors need" in refusal(tmp_path).message


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "bitsandbytes"),
        ({"compression_config": {"format": "pack-quantized"}}, "pack-quantized"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
    ],
)
def test_a_config_that_tells_of_quantization_is_known_for_quantized_by_method(
    tmp_path: Path, config: dict[str, Any], method: str
) -> None:
    write_model(tmp_path, layers(1), config={**CONFIG, **config})
    assert f"method {method!r}" in sign_of_compression(tmp_path)


def test_an_empty_quantization_config_means_nothing(tmp_path: Path) -> None:
    write_model(tmp_path, layers(1), config={**CONFIG, "quantization_config": None, "compression_config": {}})
    assert open_checkpoint(LocalFolder(tmp_path)).tensors


@pytest.mark.parametrize(
    "name",
    ["a.qweight", "a.weight_packed", "a.weight_scale", "a.weight_scale_inv", "a.g_idx", "a.SCB", "a.weight.absmax"],
)
def test_a_tensor_that_only_quantizers_write_is_known_for_quantized(tmp_path: Path, name: str) -> None:
    write_model(tmp_path, {**layers(1), name: ("F32", (2, 2), bytes(16))})
    assert repr(name) in sign_of_compression(tmp_path)


@pytest.mark.parametrize("dtype", ["I8", "U8", "F8_E4M3", "F8_E5M2"])
def test_a_weight_of_a_dtype_that_only_quantizers_write_is_refused(tmp_path: Path, dtype: str) -> None:
    write_model(tmp_path, {**layers(1), "a.weight": (dtype, (2, 2), bytes(4))})
    assert dtype in sign_of_compression(tmp_path)


def test_integers_that_are_no_weight_are_no_sign_of_quantization(tmp_path: Path) -> None:
    write_model(tmp_path, {**layers(1), "model.position_ids": ("I64", (1, 2), bytes(16))})
    assert open_checkpoint(LocalFolder(tmp_path)).tensors


def test_code_pickles_and_other_weights_are_left_out_and_told(tmp_path: Path) -> None:
    files = {"modeling_x.py": b"raise SystemExit", "pytorch_model.bin": b"x", "model.gguf": b"x", "LICENSE": b"mine"}
    write_model(tmp_path, layers(1), files=files)
    write_safetensors(tmp_path / "consolidated.safetensors", {"a.weight": weight(2, 2)})
    found = open_checkpoint(LocalFolder(tmp_path))
    assert [side.name for side in found.side_files] == ["LICENSE"]
    assert found.left_out == ("consolidated.safetensors", "model.gguf", "modeling_x.py", "pytorch_model.bin")


def test_a_link_out_of_the_bucket_is_refused_and_followed_where_there_is_no_bucket(tmp_path: Path) -> None:
    write_model(tmp_path / "elsewhere", layers(1))
    model = tmp_path / "bucket" / "model"
    model.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (model / name).symlink_to(tmp_path / "elsewhere" / name)
    assert open_checkpoint(LocalFolder(model)).tensors
    with pytest.raises(BadSource, match="leads out of its bucket"):
        open_checkpoint(LocalFolder(model, within=tmp_path / "bucket"))


def test_a_link_within_the_bucket_is_followed(tmp_path: Path) -> None:
    write_model(tmp_path / "blobs", layers(1))
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).symlink_to(Path("..", "blobs", name))
    assert open_checkpoint(LocalFolder(model, within=tmp_path)).tensors


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadSource, match="not a regular file"):
        LocalFolder(tmp_path).size("pipe")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "..", ".", ""])
def test_a_folder_reads_nothing_but_its_own_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadSource, match="not the name of a file"):
        LocalFolder(tmp_path).size(name)


def test_a_file_that_ends_early_is_told_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    with pytest.raises(BadSource, match="x ends at byte 5, 2 bytes too early"):
        LocalFolder(tmp_path).read_into("x", 3, memoryview(bytearray(4)))


def test_a_fingerprint_changes_with_the_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    before = LocalFolder(tmp_path).fingerprint("x")
    os.utime(tmp_path / "x", ns=(1, 1))
    assert LocalFolder(tmp_path).fingerprint("x") != before
