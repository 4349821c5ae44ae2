"""DescribeModelCompSchemes: every name it tells can be asked for."""

from __future__ import annotations

from modelpress.domain.scheme import SCHEMES, known_scheme
from tests.api.server import Account, task_body


def test_every_name_of_a_scheme_that_is_told_makes_a_task_of_that_scheme(account: Account) -> None:
    set_id, model_id = account.make_world()
    schemes = account.call("DescribeModelCompSchemes")["schemes"]
    assert {scheme["weight"] for scheme in schemes} == {scheme.name for scheme in SCHEMES}
    # The world's model is none that llama.cpp runs; see below.
    for scheme in (one for one in schemes if known_scheme(one["weight"]).output_format != "gguf"):
        for name in (scheme["weight"], scheme["quantConf"], *scheme["aliases"]):
            config = {"strategy": scheme["strategy"], "weight": name}
            task_id = account.make_task(set_id, model_id, config=config)
            told = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["config"]
            assert told["weight"] == scheme["weight"]


def test_a_gguf_file_of_a_model_that_llama_cpp_does_not_run_is_refused_at_once(account: Account) -> None:
    set_id, model_id = account.make_world()
    body = task_body(set_id, model_id) | {"config": {"strategy": "Quantization", "weight": "Q4_K_M"}}
    account.refused("CreateModelCompTask", body, code="ModelNotSupported")


def test_what_is_not_known_is_left_out(account: Account) -> None:
    [w8a16] = [one for one in account.call("DescribeModelCompSchemes")["schemes"] if one["weight"] == "W8A16C16"]
    assert w8a16["runtimes"][1:] == [
        {"name": "vLLM (CPU)", "loading": "has no kernel", "version": "0.32"},
        {
            "name": "vLLM (GPU)",
            "loading": "not seen",
            "hardware": "NVIDIA of compute capability 7.5 (Turing) or higher, by vLLM's source",
        },
    ]
