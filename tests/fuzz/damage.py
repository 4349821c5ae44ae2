"""Damage to sound files, small enough that what is left is still nearly understood: there the readers' errors are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

#: JSON texts that no sound file has where they are put, and some that are no JSON.
ODD_JSON = (
    *("null", "true", "[]", "{}", '""', "0", "1", "-1", "-0", "1.0", "1e0", "1e400", "NaN", "Infinity", "-Infinity"),
    *(
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "9" * 400,
        "9" * 5000,
    ),
    *(
        '"\\u0000"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"\\u001b[2J"',
        '"a\nb"',
        '"\\x"',
        '"a',
        "'a'",
        "01",
        "+1",
        ".5",
        "0x1",
    ),
    *('"U8"', '"F4"', '"F6_E2M3"', '"BF16"', '"F64"', '"bf16"', '"' + "x" * 1001 + '"', '"../x"', '"/etc/passwd"'),
    *(
        "[1]",
        "[0, 0]",
        "[0, 1]",
        "[1, 0]",
        "[0]",
        "[0, 0, 0]",
        "[4611686018427387904, 4, 0]",
        "[0, 4611686018427387904, 8]",
    ),
    *(
        "[" * 200 + "]" * 200,
        '{"a":' * 70 + "1" + "}" * 70,
        '{"a": 1, "a": 2}',
        "[" * 3000,
        "",
        ",",
        "//x",
        "\ufeff1",
        "{}{}",
    ),
    *('["\\ud800"]', "[null, null]", "[[128, 128]]", "[128, 128]", "[128.0, 128]", "[-128, 128]", '["128", 128]'),
)

_ODD_BYTES = (
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\x7f" * 8,
    b"\xff" * 8,
)


@st.composite
def damaged_bytes(draw: Draw, content: bytes, most: int = 3) -> bytes:
    """``content`` with up to ``most`` runs taken out, put in, doubled, or written over."""
    for _ in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from((0, 0, 1, 2, 8, 50, 1 << 30))))
        new = draw(
            st.one_of(
                st.sampled_from(_ODD_BYTES),
                st.sampled_from(ODD_JSON).map(lambda text: text.encode(errors="surrogatepass")),
                st.just(content[start:stop] * 2),
                st.integers(0, 2**64 - 1).map(lambda number: number.to_bytes(8, "little")),
                st.binary(max_size=10),
            )
        )
        content = content[:start] + new + content[stop:]
    return content


@st.composite
def damaged_json(draw: Draw, value: Any, one_in: int = 12) -> str:
    """``value`` as JSON text, in which about one part in ``one_in`` is something else, comes twice, or is missing."""

    def write(part: Any) -> str:
        if draw(st.integers(1, one_in)) == one_in:
            return str(draw(st.sampled_from(ODD_JSON)))
        if isinstance(part, dict):
            return "{" + ",".join(_joined([f"{key(name)}:{write(item)}" for name, item in part.items()])) + "}"
        if isinstance(part, list):
            return "[" + ",".join(_joined([write(item) for item in part])) + "]"
        if isinstance(part, int) and not isinstance(part, bool) and draw(st.integers(1, one_in)) == one_in:
            return str(part + draw(st.sampled_from((-1, 1, 8, 2**32, 2**63))))
        return json.dumps(part)

    def key(name: str) -> str:
        odd = draw(st.integers(1, 2 * one_in)) == 1
        return str(draw(st.sampled_from(ODD_JSON))) if odd else json.dumps(name)

    def _joined(parts: list[str]) -> list[str]:
        if parts and draw(st.integers(1, 2 * one_in)) == 1:
            number = draw(st.integers(0, len(parts) - 1))
            parts[number : number + 1] = draw(st.sampled_from(([], [parts[number]] * 2, [""], [*parts[::-1]])))
        return parts

    return write(value)


def assert_bearable(message: str, *, longest: int) -> None:
    """A refusal is a sentence that a terminal can show and a caller can read."""
    assert message.isprintable(), ascii(message)
    assert len(message) <= longest
