"""Prints the tokens that llama.cpp makes of texts: run by an interpreter that has xllamacpp.

    python tests/torch/tokens_by_llamacpp.py GGUF_FILE TEXTS.json

Prints one line of JSON, a list of ids for each text. The package has no function for it, so llama.cpp's own is called.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import xllamacpp


class Parameters(ctypes.Structure):
    """llama_model_params, of which only the default is needed; larger than it is, which does no harm by value."""

    _fields_ = (("room", ctypes.c_char * 512),)


def main() -> None:
    library = ctypes.CDLL(str(Path(xllamacpp.__file__).with_name("xllamacpp.abi3.so")))
    library.llama_model_default_params.restype = Parameters
    library.llama_model_load_from_file.restype = ctypes.c_void_p
    library.llama_model_get_vocab.restype = ctypes.c_void_p
    library.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
    whole = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32)
    library.llama_tokenize.argtypes = [*whole, ctypes.c_bool, ctypes.c_bool]
    model = library.llama_model_load_from_file(sys.argv[1].encode(), library.llama_model_default_params())
    vocabulary = library.llama_model_get_vocab(model)
    answer = []
    for text in json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")):
        ids = (ctypes.c_int32 * 4096)()
        data = text.encode()
        count = library.llama_tokenize(vocabulary, data, len(data), ids, len(ids), True, True)
        answer.append(list(ids[:count]))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
