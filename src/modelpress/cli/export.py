"""``modelpress model export``: a model version copied into a bucket, by a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from modelpress.cli import option
from modelpress.cli.connection import Session, connected
from modelpress.cli.output import print_facts, print_json, say, size_text, time_text
from modelpress.cli.waiting import follow, refuse_failed
from modelpress.domain.export import MANIFEST
from modelpress.domain.task import TaskStatus

_CREATE, _DESCRIBE = "CreateModelExportTask", "DescribeModelExportTask"
_STATUSES = {"Doing": TaskStatus.RUNNING, "Done": TaskStatus.SUCCEEDED, "Fail": TaskStatus.FAILED}


@connected
def export_model(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="ID", help="The model version (amv-…).")],
    bucket: Annotated[
        str | None, typer.Option("--bucket", help="Bucket to write to.", show_default="the server's setting")
    ] = None,
    path: Annotated[
        str | None,
        typer.Option("--path", help="Directory to make, below the bucket's root.", show_default="one of its own"),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end.")] = False,
    as_json: option.AsJson = False,
) -> None:
    """Copy a model version into a bucket, with a manifest that `sha256sum -c` verifies."""
    meta = {name: value for name, value in (("bucket", bucket), ("objectPath", path)) if value is not None}
    body = {"modelId": model, **({"exportMeta": meta} if meta else {})}
    export_id = session.call(_CREATE, body)["exportId"]
    if not wait:
        if as_json:
            print_json({"exportId": export_id})
        else:
            typer.echo(export_id)
        return
    say(f"export {export_id}")
    details = follow(session, [export_id], timeout_seconds=None, describe=_describe(session, model))
    told = {name: value for name, value in details[0].items() if name not in ("id", "stage")}
    told["status"] = next(word for word, status in _STATUSES.items() if status == told["status"])
    if as_json:
        print_json(told)
    else:
        print_facts(_facts(session, told))
    refuse_failed(details)


def _describe(session: Session, model: str) -> Callable[[str], dict[str, Any]]:
    """What is known of the newest export of a version, with a task's words for its status."""

    def describe(export_id: str) -> dict[str, Any]:
        detail = session.call(_DESCRIBE, {"modelId": model})
        return {**detail, "id": export_id, "status": _STATUSES[detail["status"]], "stage": "copy"}

    return describe


def _facts(session: Session, detail: dict[str, Any]) -> dict[str, str]:
    place = session.place(bucket=detail["bucket"], object_path=detail["objectPath"])
    done = detail["status"] == "Done"
    return {
        "export": detail["exportId"],
        "status": detail["status"],
        "size": size_text(detail["fileSize"]) if done else "",
        "finished": time_text(detail.get("finishTime", "")),
        "path": place,
        "sha256": f"{detail['sha256']}  {MANIFEST}" if done else "",
        "verify": f"sha256sum -c {MANIFEST}, in that directory" if done else "",
    }
