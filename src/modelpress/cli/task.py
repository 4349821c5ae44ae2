"""``modelpress task``: compression tasks (``amva-``), by a server."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from modelpress.cli import option
from modelpress.cli.connection import Session, connected
from modelpress.cli.output import print_facts, print_json, print_table, say, size_text, time_text
from modelpress.cli.waiting import follow, log_lines, refuse_failed
from modelpress.cli.wish import BUILT_IN, config_of, config_text, made_text, read_wish
from modelpress.cli.words import Words, worded
from modelpress.domain.calibration import CalibrationWish
from modelpress.domain.method import Method, Strategy

app = typer.Typer(
    help="Compression tasks: create, follow, list, stop, retry, delete; their logs.", no_args_is_help=True
)

TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task (amva-…).")]
TaskIds = Annotated[list[str], typer.Argument(metavar="ID", help="Tasks (amva-…).")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it to its end.")]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; may be repeated.", show_default="none")
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Longest wait.", show_default="none")
]


def _tag(text: str) -> dict[str, str]:
    key, _, value = text.partition("=")
    return {"tagKey": key, "tagValue": value}


def _moment(text: str | None) -> str | None:
    """A time as people write it, in the API's form; without an offset it is this machine's."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError as exc:
        raise typer.BadParameter(f"{text!r} is not a time like 2026-01-31 or 2026-01-31T23:59") from exc


@app.command()
@connected
@worded
def create(
    session: Session,
    model: Annotated[str, typer.Option("--model", metavar="ID", help="The model version to compress (amv-…).")],
    *,
    words: Words,
    set_id: Annotated[
        str | None,
        typer.Option("--set", metavar="ID", help="Set of the result (am-…).", show_default="the source's own"),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the task.", show_default="made of model and scheme")
    ] = None,
    description: Annotated[str, typer.Option("--description", help="A remark.", show_default=False)] = "",
    tags: Tags = None,
    wait: Wait = False,
    as_json: option.AsJson = False,
) -> None:
    """Create a compression task."""
    wish = read_wish(words, _object)
    source = session.call("DescribeModel", {"modelId": model})
    if source["sourceInfo"]["sourceType"] == "PlatformPreset" and set_id is None:
        raise typer.BadParameter(f"{model} is shared by another account: name a set of yours", param_hint="'--set'")
    method = wish.method if wish.method in set(Method) else None
    sparse = "sparse" if wish.strategy == Strategy.SPARSITY else None
    made = "".join(f"-{word}" for word in (sparse, wish.weight, method) if word)
    body = {
        "name": name or f"{source['modelName'][: option.LONGEST_NAME - len(made)]}{made}",
        "description": description,
        "sourceModelId": model,
        "modelSetId": set_id or source["modelSetId"],
        "config": config_of(wish),
        "tags": list(map(_tag, tags or ())),
    }
    _tell_made(session, session.call("CreateModelCompTask", body), wait=wait, as_json=as_json)


def _object(text: str) -> CalibrationWish:
    bucket, _, path = text.partition("/")
    if not (bucket and path):
        raise typer.BadParameter(
            f"{text!r} is neither BUCKET/PATH nor one of {', '.join(BUILT_IN)}", param_hint="'--calibration'"
        )
    return CalibrationWish(bucket=bucket, object_path=path)


def _tell_made(session: Session, task_id: str, *, wait: bool, as_json: bool) -> None:
    """The id of a new task; or its end, if that is waited for."""
    if not wait:
        if as_json:
            print_json({"id": task_id})
        else:
            typer.echo(task_id)
        return
    say(f"created {task_id}")
    details = follow(session, [task_id], timeout_seconds=None)
    if as_json:
        print_json(details[0])
    else:
        _print_ends(details)
    refuse_failed(details)


@app.command()
@connected
def retry(session: Session, task_id: TaskId, wait: Wait = False, as_json: option.AsJson = False) -> None:
    """Try a failed or stopped task again, as a new task that takes over what was finished."""
    made = session.call("RetryModelCompTask", {"modelCompTaskId": task_id})
    _tell_made(session, made, wait=wait, as_json=as_json)


@app.command("list")
@connected
def list_tasks(
    session: Session,
    model: Annotated[
        str | None, typer.Option("--model", metavar="ID", help="Those of one source model.", show_default="all")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Those of this status; may be repeated.", show_default="all")
    ] = None,
    weight: Annotated[
        str | None, typer.Option("--weight", metavar="SCHEME", help="Those of one scheme.", show_default="all")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="Those with this in their name.", show_default="all")
    ] = None,
    set_id: Annotated[
        str | None, typer.Option("--set", metavar="ID", help="Those that fill one set.", show_default="all")
    ] = None,
    tags: Tags = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", callback=_moment, help="Created then or later.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", callback=_moment, help="Created then or earlier.")
    ] = None,
    reverse: option.Reverse = False,
    limit: option.Limit = None,
    marker: Annotated[str, typer.Option("--marker", metavar="ID", help="The first to show.", show_default="all")] = "",
    as_json: option.AsJson = False,
) -> None:
    """List compression tasks, oldest first. A TIME is like 2026-01-31 or 2026-01-31T23:59, on this machine's clock."""
    wanted = {
        "sourceModelId": model,
        "status": status,
        "weight": weight,
        "name": name,
        "modelSetId": set_id,
        "tags": list(map(_tag, tags or ())),
        "createTimeStart": since,
        "createTimeEnd": until,
    }
    body = {"pageReverse": reverse, **{field: value for field, value in wanted.items() if value}}
    tasks, following = session.collect(
        "DescribeModelCompTasks", body, items="modelCompTaskList", limit=limit, marker=marker
    )
    if as_json:
        print_json(tasks)
    else:
        rows = [
            [t["id"], t["name"], t["status"], made_text(t["config"]), f"{t['progress']} %", time_text(t["createTime"])]
            for t in tasks
        ]
        columns = ["TASK", "NAME", "STATUS", "WEIGHT", "DONE", "CREATED"]
        print_table(columns, rows, whole=[column for column in columns if column != "NAME"])
    if following is not None:
        say(f"there are more: --marker {following}")


@app.command()
@connected
def show(session: Session, task_id: TaskId, as_json: option.AsJson = False) -> None:
    """Show a task with its history and what it measured."""
    detail = session.call("DescribeModelCompTask", {"modelCompTaskId": task_id})
    if as_json:
        print_json(detail)
        return
    print_facts(_facts(detail) | _measured(session, detail.get("statistics")))
    typer.echo()
    rows = [[time_text(e["time"]), e["status"], str(e["attempt"]), e["message"]] for e in detail["events"]]
    print_table(["TIME", "STATUS", "ATTEMPT", "EVENT"], rows, whole=("TIME", "STATUS"))


@app.command()
@connected
def wait(session: Session, task_ids: TaskIds, timeout: Timeout = None, as_json: option.AsJson = False) -> None:
    """Follow tasks until all are final; fails if one of them did not succeed."""
    details = follow(session, task_ids, timeout_seconds=timeout)
    if as_json:
        print_json(details)
    else:
        _print_ends(details)
    refuse_failed(details)


@app.command()
@connected
def logs(
    session: Session,
    task_id: TaskId,
    following: Annotated[bool, typer.Option("--follow", help="Go on until the task is final.")] = False,
    as_json: option.AsJson = False,
) -> None:
    """Show a task's log."""
    lines = log_lines(session, task_id, following=following)
    if as_json:
        print_json(list(lines))
        return
    for line in lines:
        typer.echo(line)


@app.command()
@connected
def cancel(session: Session, task_ids: TaskIds, as_json: option.AsJson = False) -> None:
    """Stop tasks."""
    states = []
    for task_id in task_ids:
        session.call("CancelModelCompTask", {"modelCompTaskId": task_id})
        status = session.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["status"]
        states.append({"id": task_id, "status": status})
        say(f"{task_id} is {status}")
    if as_json:
        print_json(states)


@app.command()
@connected
def delete(session: Session, task_ids: TaskIds, as_json: option.AsJson = False) -> None:
    """Delete tasks that are final; what they produced stays."""
    for task_id in task_ids:
        session.call("DeleteModelCompTask", {"modelCompTaskId": task_id})
        say(f"{task_id} is deleted")
    if as_json:
        print_json([{"id": task_id, "state": "deleted"} for task_id in task_ids])


def _facts(detail: dict[str, Any]) -> dict[str, str]:
    return {
        "task": detail["id"],
        "name": detail["name"],
        "description": detail["description"],
        "status": detail["status"],
        "reason": detail.get("failedReason", ""),
        "weight": made_text(detail["config"]),
        "options": config_text(detail["config"]),
        "done": f"{detail['progress']} %",
        "queue": f"place {detail['queuePosition']}" if "queuePosition" in detail else "",
        "tags": ", ".join(f"{tag['tagKey']}={tag['tagValue']}" for tag in detail.get("tags", ())),
        "remaining": f"{detail['etaSeconds']} s" if "etaSeconds" in detail else "",
        "retry of": detail.get("retryOf", ""),
        "source": detail["sourceModelId"],
        "model set": detail["modelSetId"],
        "model": detail.get("modelId", ""),
        "created": time_text(detail["createTime"]),
        "finished": time_text(detail.get("finishTime", "")),
    }


def _measured(session: Session, statistics: dict[str, Any] | None) -> dict[str, str]:
    if statistics is None:
        return {}
    return {
        "group size": str(statistics.get("groupSize", "one scale an output row")),
        "time": f"{statistics['seconds']:.1f} s",
        "before": size_text(statistics["sourceBytes"]),
        "after": size_text(statistics["outputBytes"]),
        "ratio": f"{statistics['ratio']:.1%}",
        "peak memory": size_text(statistics["peakMemoryBytes"]),
        "kernel": statistics["kernel"],
        "path": session.place(bucket=statistics["bucket"], object_path=statistics["objectPath"]),
    }


def _print_ends(details: list[dict[str, Any]]) -> None:
    rows = []
    for detail in details:
        measured = detail.get("statistics")
        numbers = ["", "", ""]
        if measured is not None:
            numbers = [
                size_text(measured["sourceBytes"]),
                size_text(measured["outputBytes"]),
                f"{measured['seconds']:.1f} s",
            ]
        rows.append([detail["id"], detail["status"], detail.get("modelId", ""), *numbers])
    columns = ["TASK", "STATUS", "MODEL", "BEFORE", "AFTER", "TIME"]
    print_table(columns, rows, whole=columns)
