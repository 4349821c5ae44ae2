"""``modelpress schemes`` asks no server."""

from __future__ import annotations

import json

from tests.unit.cli.conftest import Cli


def test_schemes_are_told_in_a_table_or_in_full(cli: Cli) -> None:
    assert cli("schemes").plain == (
        "SCHEME    ALSO                     OF BF16  CALIBRATION   SEEN TO LOAD IN\n"
        "W4A16C16  W4A16, wint4             25.8%    helps         transformers 5.17, vLLM 0.32 (CPU)\n"
        "W8A16C16  W8A16, wint8             50.0%    hardly helps  transformers 5.17\n"
        "INT8-PTQ  W8A8, W8A8C16, int8-ptq  50.0%    hardly helps  transformers 5.17, vLLM 0.32 (CPU)\n"
    )
    told = json.loads(cli("schemes", "--json").out)
    assert [scheme["weight"] for scheme in told] == ["W4A16C16", "W8A16C16", "INT8-PTQ"]
    assert told[0]["ratio"] == 0.2578
