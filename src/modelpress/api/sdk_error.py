"""What a caller of each official SDK gets for an error of ours; a column each in ``docs/errors.md``.

``tests/acceptance/test_sdk_errors.py`` holds every row against the SDKs themselves (Python, Node), and against what is
known of those that it cannot build (Go, Java).
"""

from __future__ import annotations

from modelpress.api.status import ROWS, ErrorRow
from modelpress.errors import SignatureMismatch, UnknownAccessKey

#: The class of the error, for every row alike: that is what status and body are made for.
RAISED = {"Python": "RequestError", "Go": "APIError", "Java": "RequestException", "Node": "Error"}

#: The Python SDK adds what is probably wrong; it takes that from the header X-Bce-Error-Message.
PYTHON_HINTS = {ROWS[UnknownAccessKey]: "Access Key", ROWS[SignatureMismatch]: "Secret Key"}


def shown_by(sdk: str, row: ErrorRow) -> str:
    """The cell of the page."""
    if sdk == "Go":
        return f"`*{RAISED[sdk]}` {row.number}"
    hint = PYTHON_HINTS.get(row, "") if sdk == "Python" else ""
    return f"`{RAISED[sdk]}`" + (f" that says the {hint} is wrong" if hint else "")
