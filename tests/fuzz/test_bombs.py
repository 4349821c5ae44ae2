"""Files that are small and would be large in memory, or take for ever: what they cost stays in proportion to them."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from collections.abc import Callable

import pytest

from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import SCHEMES
from modelpress.errors import TaskError
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.plan import make_plan
from tests.fuzz.memory_folder import MemoryFolder
from tests.fuzz.test_gguf import _TENSORS, metadata
from tests.unit.gguf_writer import MetadataValue, gguf_bytes, gguf_text

#: Bytes of each bomb.
SIZE = 400_000
#: Times its bytes that what is refused may take, as json_object.py promises; what is planned is held and written too.
MOST_REFUSED, MOST_PLANNED = 17, 35
#: What is there in any case.
BASE_BYTES = 4_000_000
#: A hundred times what the slowest took: quadratic work takes hours.
MOST_SECONDS = 60.0


def filled(unit: str, *, before: str = "", after: str = "") -> bytes:
    """As many units as make SIZE bytes."""
    return f"{before}{unit * ((SIZE - len(before) - len(after)) // len(unit))}{after}".encode()


def many(count: int, write: Callable[[int], str]) -> bytes:
    return ("{" + ",".join(map(write, range(count))) + "}").encode()


JSON = {
    "depth": filled("["),
    "depth of objects": filled('{"a":'),
    "lists": filled("[],", before='{"a":[', after="[]]}"),
    "objects": filled('"":{},', before="{", after='"":{}}'),
    "members": filled('"":0,', before="{", after='"":0}'),
    "members, less dense": filled('"":1000,', before="{", after='"":0}'),
    "short texts": filled('"aa",', before='{"a":[', after="0]}"),
    "texts": filled('"aaaa",', before='{"a":[', after="0]}"),
    "numbers": filled("1.5,", before='{"a":[', after="0]}"),
    "longer numbers": filled("1000000,", before='{"a":[', after="0]}"),
    "digits": filled("9", before='{"a":', after="}"),
    "an exponent": filled("9", before='{"a":1e', after="}"),
    "a fraction": filled("9", before='{"a":0.', after="}"),
    "spaces": filled(" ", before="{", after="}"),
    "one name": filled("a", before='{"', after='":0}'),
    "escapes": filled("\\u0041", before='{"', after='":0}'),
    "quotes": filled('"'),
    "backslashes": filled("\\", before='{"'),
    "wide letters": filled("a", before='{"😀', after='":0}'),
    "tensors": many(SIZE // 60, lambda i: f'"{i}":{{"dtype":"U8","shape":[],"data_offsets":[{i},{i + 1}]}}'),
    "empty tensors": many(SIZE // 54, lambda i: f'"{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
    "a map": many(SIZE // 30, lambda i: f'"{i}":"model.safetensors"'),
}
SOUND = b'{"a.weight":{"dtype":"BF16","shape":[1,1],"data_offsets":[0,2]}}'


def shard(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def as_header(text: bytes) -> dict[str, bytes]:
    return {"config.json": b"{}", "model.safetensors": shard(text)}


def as_index(text: bytes) -> dict[str, bytes]:
    inner = text if text.startswith(b"{") else b"{" + text
    index = b'{"weight_map":' + inner + b"}"
    return {"config.json": b"{}", "model.safetensors.index.json": index, "a.safetensors": shard(SOUND, b"12")}


def as_config(text: bytes) -> dict[str, bytes]:
    return {"config.json": text, "model.safetensors": shard(SOUND, b"12")}


def defuse(files: dict[str, bytes]) -> None:
    """Nothing, if the directory is refused or planned within bounds."""
    size = sum(map(len, files.values()))
    folder = MemoryFolder(files)
    began = time.process_time()
    tracemalloc.start()
    try:
        make_plan(open_checkpoint(folder), Recipe(scheme=SCHEMES[0]))
    except TaskError as exc:
        said, most = exc.message, MOST_REFUSED
    else:
        said, most = "it was planned", MOST_PLANNED
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < most * size + BASE_BYTES, f"{peak / size:.1f} times: {said[:200]}"
    assert time.process_time() - began < MOST_SECONDS, said[:200]


@pytest.mark.parametrize("place", [as_header, as_index, as_config])
@pytest.mark.parametrize("name", JSON)
def test_json_takes_no_more_memory_than_a_multiple_of_its_bytes(
    name: str, place: Callable[[bytes], dict[str, bytes]]
) -> None:
    defuse(place(JSON[name]))


def test_a_header_that_claims_more_than_the_file_has_takes_nothing() -> None:
    defuse({"config.json": b"{}", "model.safetensors": struct.pack("<Q", 99_000_000) + b"{}"})


def texts(*values: str, count: int | None = None) -> bytes:
    return struct.pack("<IIQ", 9, 8, count or len(values)) + b"".join(map(gguf_text, values))


GGUF: dict[str, dict[str, MetadataValue]] = {
    "a count of texts that the file cannot hold": {"tokenizer.ggml.tokens": texts("a", count=4_000_000)},
    "empty texts": {"tokenizer.ggml.tokens": texts(*[""] * (SIZE // 8))},
    "short texts": {"tokenizer.ggml.tokens": texts(*[str(i) for i in range(SIZE // 14)])},
    "one long token": {"tokenizer.ggml.tokens": texts("<unk>", "<s>", "</s>", "a", "b", "a" * SIZE)},
    "one long merge": {"tokenizer.ggml.merges": texts("a " * (SIZE // 2))},
    "merges": {"tokenizer.ggml.merges": texts(*["a b"] * (SIZE // 11))},
    "numbers": {"tokenizer.ggml.scores": struct.pack("<IIQ", 9, 0, SIZE) + bytes(SIZE)},
    "a long template": {"tokenizer.chat_template": "\x00" * SIZE},
}


@pytest.mark.parametrize("tokenizer", ["gpt2", "llama"])
@pytest.mark.parametrize("name", GGUF)
def test_gguf_takes_no_more_memory_than_a_multiple_of_its_bytes(name: str, tokenizer: str) -> None:
    defuse({"model.gguf": gguf_bytes({**metadata("llama", tokenizer), **GGUF[name]}, _TENSORS)})


def test_more_layers_than_there_are_tensors_are_not_looked_for() -> None:
    content = gguf_bytes({**metadata("llama", "gpt2"), "llama.block_count": 2**32 - 1}, _TENSORS)
    defuse({"model.gguf": content})


def test_a_file_that_lies_about_every_count_takes_nothing() -> None:
    for number in (2**16, 2**32, 2**63, 2**64 - 1):
        defuse({"model.gguf": b"GGUF" + struct.pack("<IQQ", 3, number, 0)})
        defuse({"model.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, number)})
        defuse({"model.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", number)})


def test_a_directory_of_many_files_is_gone_through_once() -> None:
    files = {f"{i}.txt": b"" for i in range(10_000)} | {f"{i}.safetensors": shard(b"{}") for i in range(5_000)}
    index = {f"t{i}": f"{i}.safetensors" for i in range(5_000)}
    defuse({**files, "config.json": b"{}", "model.safetensors.index.json": json.dumps({"weight_map": index}).encode()})
