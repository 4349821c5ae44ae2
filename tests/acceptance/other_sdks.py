"""What the Go and the Java SDK make of a reply, as a rule. **It is a rule, and not the SDKs.**

Neither can be built in the test run. The rule is what their sources say and what was seen when both were built and run
against a server: Go returns an ``*APIError`` if the body is a JSON object with a whole ``error_code`` other than 0, and
looks at no status; Java throws a ``RequestException`` unless the status is 200, and looks at the body only then.
"""

from __future__ import annotations

import json

from tests.api.exchange import Reply


def go_error(reply: Reply) -> str:
    """The type of Go's error; empty for ``nil``."""
    try:
        body = json.loads(reply.content)
    except ValueError:
        return "IAMError" if reply.headers.get("x-bce-error-code") else ""
    code = body.get("error_code", 0) if isinstance(body, dict) else 0
    return "APIError" if isinstance(code, int) and code != 0 else ""


def java_error(reply: Reply) -> str:
    """The class of Java's exception; empty for none."""
    if reply.status != 200:
        return "RequestException"
    return "ApiException" if reply.json.get("error_msg") else ""
