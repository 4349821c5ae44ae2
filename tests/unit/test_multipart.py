"""Files in multipart/form-data bodies: what ordinary clients write is read, to the byte; anything else is no file."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelpress.api.multipart import UploadedFile, find_file

FIELDS = ("customSpecFile", "file")
TYPE = 'multipart/form-data; boundary="b"'


def written_by_httpx(content: bytes, *, field: str, name: str, **more: str) -> tuple[str, bytes]:
    """Content type and body as another library writes them."""
    request = httpx.Request("POST", "http://h", files={field: (name, content)}, data=more)
    return request.headers["content-type"], request.read()


@given(content=st.binary(max_size=3000), field=st.sampled_from(FIELDS))
@example(content=b"\r\n", field="file")
@example(content=b"\r\n--", field="file")
@example(content=b"--b--\r\n\r\n--b", field="file")
@example(content=b"", field="file")
@example(content=b"\x00\xff\r\r\n", field="file")
def test_what_another_library_writes_is_read_to_the_byte(content: bytes, field: str) -> None:
    content_type, body = written_by_httpx(content, field=field, name="template.py", ak="key")
    assert find_file(content_type, body, fields=FIELDS) == UploadedFile(name="template.py", content=content)


@given(content_type=st.text(max_size=80), body=st.binary(max_size=400))
@example(content_type=TYPE, body=b"--b\r\n" * 300)
@example(content_type="multipart/form-data; boundary=", body=b"")
@example(content_type="multipart/form-data; boundary*=utf-8''%ff", body=b"")
def test_any_bytes_are_a_file_or_none(content_type: str, body: bytes) -> None:
    header = content_type.encode("latin-1", errors="replace").decode("latin-1")
    assert find_file(header, body, fields=FIELDS) is None or b"\r\n\r\n" in body


@given(inside=st.binary(max_size=400))
def test_any_bytes_between_boundaries_are_a_file_or_none(inside: bytes) -> None:
    find_file(TYPE, b"--b\r\n" + inside + b"\r\n--b--", fields=FIELDS)


def part(disposition: str, *, content: bytes = b"text", more: bytes = b"") -> bytes:
    return b"--b\r\nContent-Disposition: " + disposition.encode() + b"\r\n" + more + b"\r\n" + content + b"\r\n"


def test_the_first_file_in_a_named_field_is_taken_whatever_stands_around_it() -> None:
    parts = [
        b"a preamble that means nothing\r\n",
        part('form-data; name="sk"', content=b"secret"),
        part('form-data; name="another"; filename="a.py"', content=b"no"),
        part('form-data; name="file"', content=b"no file, a text"),
        part('form-data; name="file"; filename="b.py"', content=b"yes", more=b"Content-Type: text/x-python\r\n"),
        part('form-data; name="file"; filename="c.py"', content=b"too late"),
        b"--b--\r\nan epilogue",
    ]
    assert find_file(TYPE, b"".join(parts), fields=FIELDS) == UploadedFile(name="b.py", content=b"yes")


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=b", "multipart/form-data; boundary=c"],
)
def test_another_content_type_or_boundary_has_no_file(content_type: str) -> None:
    body = part('form-data; name="file"; filename="b.py"') + b"--b--"
    assert find_file(content_type, body, fields=FIELDS) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"--b--",
        b"--b\r\n\r\ntext\r\n--b--",
        b"--b\r\nContent-Disposition: form-data; name=file; filename=b.py",
        b"--b\r\nContent-Disposition: form-data; name=file; filename=b.py\r\nX: "
        + b"x" * 5000
        + b"\r\n\r\ntext\r\n--b--",
        part('form-data; name="file"; filename=""') + b"--b--",
        b"--b--\r\n" + part('form-data; name="file"; filename="b.py"'),
    ],
)
def test_a_body_without_a_file_has_none(body: bytes) -> None:
    assert find_file(TYPE, body, fields=FIELDS) is None


def test_a_body_of_many_boundaries_is_not_split_without_end() -> None:
    """Also what would be nested multiparts to a parser that follows them."""
    nested = b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    assert find_file(TYPE, nested * 20_000, fields=FIELDS) is None
