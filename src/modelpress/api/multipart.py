"""The one file of a multipart/form-data body (RFC 7578): split at its boundaries, headers read by the standard library.

The standard library's parser of whole messages is not used on the body: it follows nested multiparts, and a body of a
megabyte can keep it busy for minutes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser

_MOST_PARTS = 16
_LARGEST_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedFile:
    """A file of a form: the name it had where it came from, and its bytes."""

    name: str
    content: bytes


def find_file(content_type: str, body: bytes, *, fields: Collection[str]) -> UploadedFile | None:
    """The first file in one of these fields of the form; None if there is none, or the body is no such form."""
    boundary = _boundary(content_type)
    if not boundary:
        return None
    # A boundary stands at the beginning of a line; before the first there may be anything.
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary, _MOST_PARTS)
    for part in parts:
        if part.startswith(b"--"):  # the last boundary: behind it there may be anything
            return None
        head, found, content = part.partition(b"\r\n\r\n")
        if not found or len(head) > _LARGEST_HEADER_BYTES:
            return None
        field, name = _names(head.lstrip(b" \t").removeprefix(b"\r\n"))
        if field in fields and name:
            return UploadedFile(name=name, content=content)
    return None


#: What the standard library raises for parameters that contradict each other, are numbered beyond all bounds, or say
#: that they are in an encoding that cannot be decoded.
_NO_PARAMETERS = (TypeError, ValueError)


def _names(head: bytes) -> tuple[object, str | None]:
    """The field that a part is of, and the file's name, as its headers say; None where they cannot be read."""
    headers = BytesHeaderParser().parsebytes(head)
    try:
        return headers.get_param("name", header="content-disposition"), headers.get_filename()
    except _NO_PARAMETERS:
        return None, None


def _boundary(content_type: str) -> bytes:
    header = Message()
    header["content-type"] = content_type
    try:
        boundary = header.get_boundary("") if header.get_content_type() == "multipart/form-data" else ""
    except _NO_PARAMETERS:
        return b""
    return boundary.encode("latin-1", errors="replace")
