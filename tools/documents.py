"""Writes the pages of docs/ that are made from the code: settings, API, errors, commands. ``--check`` only compares."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args, get_origin, get_type_hints

import msgspec
import typer
from msgspec import Meta

from modelpress.api import sdk_error, status
from modelpress.api.action import Action
from modelpress.api.actions import ACTIONS, V1_ROUTES
from modelpress.cli.main import app
from modelpress.domain.method import Strategy
from modelpress.domain.method_fact import METHODS, MethodFact
from modelpress.domain.policy import SHORT_NAMES
from modelpress.domain.scheme import SCHEMES
from modelpress.domain.scheme_fact import FACTS, Loading, SchemeFact
from modelpress.settings import PREFIX, BucketSettings, Settings

DOCS = Path(__file__).parent.parent / "docs"
MADE = "<!-- Made by tools/documents.py from the code; change the code and run `make docs`. -->"


def settings_page() -> str:
    """docs/settings.md."""
    lines = [
        "# Settings",
        MADE,
        "",
        "Each can be given in a TOML file (`--config FILE` or `MODELPRESS_CONFIG`), as an environment variable, and",
        "the common ones as a flag of `modelpress serve` and `modelpress worker`. A flag wins over a variable, a",
        "variable over the file.",
        "",
        "| setting | variable | default | what it is |",
        "|---|---|---|---|",
    ]
    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        variable = "file only" if field.name == "buckets" else f"`{PREFIX}{field.name.upper()}`"
        lines.append(f"| `{field.name}` | {variable} | {_default(field)} | {_description(hints[field.name])} |")
    lines += ["", "## Buckets", "", "```toml", "[buckets.models]", 'url = "file:///srv/models"', "```", ""]
    lines += ["| key | what it is |", "|---|---|"]
    bucket_hints = get_type_hints(BucketSettings, include_extras=True)
    lines += [f"| `{name}` | {_description(hint)} |" for name, hint in bucket_hints.items()]
    lines += [
        "",
        "Three buckets exist without being named, all below `data`: `local` (for models people bring; open to every",
        "account), `outputs` (what tasks produce) and `exports` (what is exported); in the last two each account sees",
        "its own directory alone. Each may be put elsewhere by naming it. Exports go to `exports` and to buckets that",
        "say `writable = true`; nothing that lies in one is ever replaced, and what was exported is never removed.",
        "",
        "## Other variables",
        "",
        "| variable | what it is |",
        "|---|---|",
        "| `MODELPRESS_KERNEL=none` | numpy instead of the C kernel: same bytes, slower. At build: no kernel |",
        "| `MODELPRESS_KERNEL=baseline`, `avx2`, `avx512` | the instructions to use, else the widest: same bytes |",
        "| `MODELPRESS_URL`, `MODELPRESS_ACCESS_KEY`, `MODELPRESS_SECRET_KEY` | for commands that ask a server |",
        "| `QIANFAN_CONSOLE_API_BASE_URL`, `QIANFAN_ACCESS_KEY`, `QIANFAN_SECRET_KEY` | the same, in the SDKs' words |",
        "",
    ]
    return "\n".join(lines)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.name == "data":
        return "`~/.local/share/modelpress`"
    if field.default is msgspec.NODEFAULT:
        return "none"
    return f"`{field.default}`" if field.default not in ("", ()) else "empty"


def _description(hint: Any) -> str:
    """The description in an ``Annotated`` type."""
    if get_origin(hint) is not Annotated:
        return ""
    return next((meta.description for meta in get_args(hint)[1:] if isinstance(meta, Meta) and meta.description), "")


def api_page() -> str:
    """docs/api.md."""
    lines = [
        "# API",
        MADE,
        "",
        "Every action is `POST /v2/model?Action=…` with a JSON body, signed with bce-auth-v1. Success is HTTP 200 with",
        '`{"requestId", "result"}`; an error is HTTP ≥ 400 with `{"requestId", "code", "message"}` and, so that the Go',
        "SDK sees it, `error_code` and `error_msg` (see [errors](errors.md)). Unknown fields are ignored. Enumerations",
        "are taken in any letter case. What is not always there is absent, never null.",
        "",
        "## Signing and permission",
        "",
        "`Authorization: bce-auth-v1/{access key}/{timestamp}/{seconds}/{signed headers}/{signature}`, as the official",
        "SDKs and Baidu's signing libraries write it, is the only way in. API keys (`Authorization: Bearer …`), which",
        "Qianfan takes for inference alone, are not accepted: the answer is 400 `InvalidHTTPAuthHeader`.",
        "",
        "What a request may do is said by the policies of the access key's user (`modelpress user`). Each action names",
        "those of which one is needed; else the answer is 403 `AccessDenied`, and nothing was looked at or changed.",
        "",
        "| policy | short |",
        "|---|---|",
        *(f"| `{policy.value}` | `{short}` |" for short, policy in SHORT_NAMES.items()),
        "",
        "## Schemes",
        "",
        "| `config.weight` | also written | `quantConf` | weight bits | activation bits | scales |",
        "|---|---|---|---|---|---|",
    ]
    for scheme in SCHEMES:
        also = ", ".join(f"`{alias}`" for alias in scheme.aliases)
        sizes = [*map(str, scheme.group_sizes)]
        scales = {
            "channel": "one an output row",
            "block": f"one a block of {' by '.join(sizes * 2)}",
            "group": f"one a group of {' or '.join(filter(None, (', '.join(sizes[:-1]), *sizes[-1:])))} columns",
        }[scheme.grouping]
        lines.append(
            f"| `{scheme.name}` | {also} | `{scheme.quant_conf}` | {scheme.weight_bits} | {scheme.activation_bits} "
            f"| {scales} |"
        )
    lines += ["", "## Methods", ""]
    lines += ["| `config.method` | strategy | looks at calibration text | makes | fields of `config.tuning` |"]
    lines += ["|---|---|---|---|---|", *map(_method, METHODS), "", *_AUTO, "", "## Actions", ""]
    for action in ACTIONS.values():
        lines += _action(f"{action.name}", action)
    lines += ["## Routes of the old API", "", "What `qianfan.model.Model` of the Python SDK calls besides. A success"]
    lines += ["carries `log_id`, a number in a string, beside `requestId` and `result`.", ""]
    for path, action in V1_ROUTES.items():
        lines += _action(f"POST {path}", action)
    return "\n".join(lines)


_AUTO = (
    "`auto`, the usual one, is `gptq` where calibration is asked for and the scheme is one of integers in safetensors",
    "files, `smoothquant` where that rounds activations too, else `rtn`; with strategy `Sparsity` it is `sparsegpt`",
    "where calibration is asked for, else `magnitude`.",
    "Answers tell the method that was meant. See [options](options.md#methods).",
)


def _method(fact: MethodFact) -> str:
    names = {scheme.name for scheme in fact.schemes}
    offered = {scheme.name for scheme in SCHEMES}
    whole = {scheme.name for scheme in SCHEMES if scheme.whole_numbers}
    makes = {
        frozenset(offered): "every scheme",
        frozenset(whole): "schemes of integers in safetensors files",
    }.get(frozenset(names), ", ".join(f"`{name}`" for name in sorted(names)))
    if fact.method.strategy is Strategy.SPARSITY:
        makes = "weights as they are, or any scheme in safetensors files"
    options = ", ".join(f"`{name}`" for name in fact.options)
    needs = "yes" if fact.method.calibrated else "no"
    return f"| `{fact.method.value}` | {fact.method.strategy.value} | {needs} | {makes} | {options} |"


def _action(title: str, action: Action) -> list[str]:
    full_control = action.writes or action.guarded
    policies = "one of the two full-control policies" if full_control else "any of the four policies"
    needs = "Any signed key may call it" if action.open_to_all else f"Needs {policies}"
    lines = [f"### {title}", "", f"{needs}.", ""]
    rows = list(_fields(action.request, ""))
    lines += ["| field of the body | type | required | |", "|---|---|---|---|", *rows, ""] if rows else []
    return [*lines, *_result(get_type_hints(action.run)["return"], tells=action.tells)]


def _result(kind: Any, *, tells: str) -> list[str]:
    """What a success carries in ``result``; ``tells`` where that is a string."""
    if kind is NoReturn:
        return ["Always answers with an error.", ""]
    if kind is type(None):
        return ["A success has no `result`.", ""]
    if kind is str:
        return [f"`result` is {tells}.", ""]
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return ["`result` is an empty object.", ""]
    rows = list(_result_fields(kind, "result."))
    return ["| field of the answer | type | always there |", "|---|---|---|", *rows, ""]


def _result_fields(form: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    hints = get_type_hints(form)
    for field in msgspec.structs.fields(form):
        hint = hints[field.name]
        is_list = get_origin(hint) is tuple
        struct = _struct_in(hint)
        name = f"{prefix}{field.encode_name}" + ("[]" if is_list and struct is not None else "")
        kind = "list" if is_list and struct is not None else _type_name(hint)
        yield f"| `{name}` | {kind} | {'yes' if field.required else 'no'} |"
        if struct is not None:
            yield from _result_fields(struct, f"{name}.")


def _fields(form: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    hints = get_type_hints(form, include_extras=True)
    for field in msgspec.structs.fields(form):
        hint = hints[field.name]
        struct = _struct_in(hint)
        described = next(filter(None, (_description(part) for part in (hint, *get_args(hint)))), "")
        required = "yes" if field.required else "no"
        yield f"| `{prefix}{field.encode_name}` | {_type_name(hint)} | {required} | {described} |"
        if struct is not None:
            yield from _fields(struct, f"{prefix}{field.encode_name}.")


def _parts(hint: Any) -> tuple[Any, ...]:
    """A type and those inside it, however deep."""
    return (hint, *(part for argument in get_args(hint) for part in _parts(argument)))


def _struct_in(hint: Any) -> type[msgspec.Struct] | None:
    """The object that a field holds, or a list of which it holds."""
    return next((part for part in _parts(hint) if isinstance(part, type) and issubclass(part, msgspec.Struct)), None)


def _type_name(hint: Any) -> str:
    text = str(hint)
    if "ColumnCount" in text or "int | str" in text:
        return "integer or string"
    if "StatusWords" in text:
        return "string or list of strings"
    if "UploadedFile" in text:
        return "file"
    if "tuple" in text:
        return "list of objects" if _struct_in(hint) else "list of strings"
    names = {
        "bool": "boolean",
        "int": "integer",
        "Whole": "integer",
        "float": "number",
        "str": "string",
        "NameText": "string",
    }
    for kind, name in names.items():
        if re.search(rf"\b{kind}\b", text.split("Meta")[0]):
            return name
    return "object"


def errors_page() -> str:
    """docs/errors.md."""
    rows = [*status.ROWS.values(), *status.OTHERS]
    sdks = list(sdk_error.RAISED)
    lines = [
        "# Errors",
        MADE,
        "",
        "The last columns are what a caller of each official SDK gets. Python and Node: seen with the SDK itself, for",
        "every row. Go and Java: what the SDK is known to make of such a reply, held against every reply. Each has",
        "`code`, `message` and `error_code` in its text; Go's `*APIError` has the last two alone.",
        "",
        "| HTTP | `code` | `error_code` | when | " + " | ".join(sdks) + " |",
        "|---|---|---|---|" + "---|" * len(sdks),
    ]
    for row in rows:
        shown = " | ".join(sdk_error.shown_by(sdk, row) for sdk in sdks)
        lines.append(f"| {row.status} | `{row.code}` | {row.number} | {row.when} | {shown} |")
    return "\n".join([*lines, ""])


def commands_page() -> str:
    """docs/cli.md."""
    lines = ["# Commands", MADE, "", "Data goes to stdout (`--json` everywhere), all else to stderr.", ""]
    lines += ["Exit status: 0 done, 1 the task or request failed, 2 wrong usage, 130 interrupted.", ""]
    for path, command in _commands(typer.main.get_command(app), "modelpress"):
        lines += [f"## {path}", "", command.help or "", ""]
        rows = [_parameter(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        rows = [row for row in rows if row]
        lines += ["| | |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(lines)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from _commands(child, f"{path} {name}")
        else:
            yield f"{path} {name}", child


def _parameter(parameter: Any) -> str:
    if parameter.name == "help":
        return ""
    shown = ", ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.name.upper()
    variable = f" (`{parameter.envvar}`)" if getattr(parameter, "envvar", None) else ""
    return f"| `{shown}` | {parameter.help or ''}{variable} |"


#: Between these, README.md has the table of schemes.
_TABLE_BEGINS = "<!-- Schemes: made by tools/documents.py from domain/scheme_fact.py. -->"
_TABLE_ENDS = "<!-- End of the schemes. -->"


def readme() -> str:
    """README.md, with its table of schemes made anew."""
    before, _, rest = (DOCS / "../README.md").read_text().partition(_TABLE_BEGINS)
    rows = [f"| `{fact.scheme.name}` | {fact.summary} | {_loads_in(fact)} |" for fact in FACTS]
    lines = [
        "| `--weight`, `config.weight` | what it does | was seen to load and generate in |",
        "|---|---|---|",
        *rows,
    ]
    return "\n".join([before + _TABLE_BEGINS, "", *lines, "", _TABLE_ENDS]) + rest.partition(_TABLE_ENDS)[2]


def _loads_in(fact: SchemeFact) -> str:
    titles = {loading: [r.title for r in fact.runtimes if r.loading is loading] for loading in Loading}
    refused = [f"{title} has no kernel for it" for title in titles[Loading.NO_KERNEL]]
    untried = [f"{title} was not tried" for title in titles[Loading.NOT_SEEN]]
    return "; ".join([", ".join(titles[Loading.SEEN]), *refused, *untried])


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "api.md": api_page,
    "errors.md": errors_page,
    "cli.md": commands_page,
    "../README.md": readme,
}


def main() -> int:
    """Write the pages, or with ``--check`` tell which are behind the code."""
    behind = [name for name, page in PAGES.items() if not (DOCS / name).exists() or (DOCS / name).read_text() != page()]
    if "--check" in sys.argv:
        for name in behind:
            print(f"docs/{name} is behind the code: run `make docs`")
        return 1 if behind else 0
    for name in behind:
        (DOCS / name).write_text(PAGES[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main())
