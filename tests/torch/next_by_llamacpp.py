"""Prints what llama.cpp says comes next: run by an interpreter that has xllamacpp.

    python tests/torch/next_by_llamacpp.py GGUF_FILE FORCED_ID ID…

Prints one line of JSON: the logarithms of the probabilities of the 20 likeliest tokens after these ids, by id.
"""

from __future__ import annotations

import json
import sys

import xllamacpp


def main() -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.n_ctx = 128
    parameters.n_parallel = 1
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    # The probabilities come with text only, so a token that is text is forced; it does not show in them.
    forced = [[int(sys.argv[2]), 1000.0]]
    request = {"prompt": list(map(int, sys.argv[3:])), "n_predict": 1, "n_probs": 20, "logit_bias": forced}
    answer = server.handle_completions(request)
    likeliest = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    print(json.dumps({str(token["id"]): token["logprob"] for token in likeliest}))


if __name__ == "__main__":
    main()
