"""Prints what a GGUF file says after a prompt: run by an interpreter that has xllamacpp.

    python tests/llamacpp/generate.py GGUF_FILE PROMPT

Prints one line of JSON: the text of the likeliest tokens.
"""

from __future__ import annotations

import json
import sys

import xllamacpp


def main() -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.n_ctx = 256
    parameters.n_parallel = 1
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    answer = server.handle_completions({"prompt": sys.argv[2], "n_predict": 12, "temperature": 0.0})
    print(json.dumps({"text": answer["choices"][0]["text"]}))


if __name__ == "__main__":
    main()
