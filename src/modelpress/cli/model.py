"""``modelpress model``: model sets (``am-``) and model versions (``amv-``), by a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from modelpress.cli import option, placement
from modelpress.cli.connection import Session, connected
from modelpress.cli.export import export_model
from modelpress.cli.output import print_facts, print_json, print_table, say, size_text, time_text
from modelpress.domain.identifier import MODEL, MODEL_SET
from modelpress.domain.model import Location
from modelpress.errors import ModelpressError
from modelpress.settings import load_settings

app = typer.Typer(help="Models: register, list, show, export, delete, share.", no_args_is_help=True)
app.command("export")(export_model)

_LONGEST_DESCRIPTION = 1000

Type = Annotated[str, typer.Option("--type", help="What the model does.")]
ModelOrSet = Annotated[str, typer.Argument(metavar="ID", help="A model set (am-…) or a model version (amv-…).")]
Set = Annotated[str, typer.Argument(metavar="SET_ID", help="A model set (am-…), of any account.")]


@app.command()
@connected
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, 1 to 64 characters.")],
    model_type: Type = "Text2Text",
    labels: Annotated[list[str] | None, typer.Option("--label", help="A label; may be repeated.")] = None,
    as_json: option.AsJson = False,
) -> None:
    """Make an empty model set."""
    set_id = _create_set(session, name, model_type=model_type, labels=labels or [])
    if as_json:
        print_json({"modelSetId": set_id, "modelSetName": name})
        return
    typer.echo(set_id)


@app.command("import")
@connected
def import_model(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Hugging Face model directory, or a GGUF file.")],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Model set, made if it is new.", show_default="the directory's or file's name"),
    ] = None,
    set_id: Annotated[str | None, typer.Option("--set", metavar="ID", help="An existing model set (am-…).")] = None,
    description: Annotated[str, typer.Option("--description", help="A remark.", show_default=False)] = "",
    in_place: Annotated[bool, typer.Option("--in-place", help="Make no copy; PATH lies inside a bucket.")] = False,
    as_json: option.AsJson = False,
) -> None:
    """Register a model, as a copy or in place. The copy is a reflink or a hard link where the disk can."""
    if name and set_id:
        raise typer.BadParameter("give --name or --set, not both")
    files = placement.files_of_model(path)
    found = _find_set(session, set_id=set_id, name=name or placement.model_name(path)[: option.LONGEST_NAME])
    copy = None if in_place else placement.copy_in(path, files, settings=session.settings)
    place = copy.location if copy else placement.locate(path, settings=session.settings)
    if copy is not None:
        say(f"{size_text(copy.size_bytes)} brought in by {copy.how}")
    with _undone_if_refused(session, copy) as made_sets:
        into = found.id
        if into is None:
            into = _create_set(session, found.name, model_type="Text2Text", labels=[])
            made_sets.append(into)
        model_id = _register(session, set_id=into, place=place, description=description)
    if as_json:
        print_json({"modelId": model_id, "modelSetId": into, "bucket": place.bucket, "objectPath": place.path})
        return
    lies = session.place(bucket=place.bucket, object_path=place.path)
    print_facts({"model": model_id, "model set": into, "path": lies})


@app.command("list")
@connected
def list_models(
    session: Session,
    system: Annotated[bool, typer.Option("--system", help="Those that are shared with all accounts.")] = False,
    reverse: option.Reverse = False,
    limit: option.Limit = None,
    as_json: option.AsJson = False,
) -> None:
    """List model sets and their versions, oldest first."""
    action, items, told, column = (
        ("DescribeSystemModelSets", "systemModelSetList", "modifyTime", "CHANGED")
        if system
        else ("DescribeCustomModelSets", "customModelSetList", "createTime", "CREATED")
    )
    sets, _ = session.collect(action, {"pageReverse": reverse}, items=items, limit=limit)
    if as_json:
        print_json(sets)
        return
    rows = [
        [s["modelSetId"], s["modelSetName"], "\n".join(s["modelIds"]), s["modelType"], time_text(s[told])] for s in sets
    ]
    print_table(["MODEL SET", "NAME", "MODELS", "TYPE", column], rows, whole=("MODEL SET", "MODELS", column))


@app.command()
@connected
def show(session: Session, which: ModelOrSet, as_json: option.AsJson = False) -> None:
    """Show a model set or a model version."""
    action, field = _target(which)
    detail = session.call(f"Describe{action}", {field: which})
    if as_json:
        print_json(detail)
        return
    print_facts(_set_facts(detail) if which.startswith(MODEL_SET) else _version_facts(session, detail))


@app.command()
@connected
def delete(session: Session, which: ModelOrSet, as_json: option.AsJson = False) -> None:
    """Delete a model version, or a model set with all its versions."""
    action, field = _target(which)
    session.call(f"Delete{action}", {field: which})
    if as_json:
        print_json({field: which, "state": "deleted"})
        return
    say(f"{which} is deleted")


@app.command()
def share(
    set_id: Set,
    description: Annotated[
        str | None, typer.Option("--description", help="What all accounts read about it, at most 1,000 characters.")
    ] = None,
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Share a model set with all accounts: they read it and compress from it (opens the database directly)."""
    if description is not None and len(description) > _LONGEST_DESCRIPTION:
        raise typer.BadParameter(f"--description has {len(description)} characters, more than {_LONGEST_DESCRIPTION}")
    with _models(data, database, config) as models:
        shared = models.share_set(set_id, description=description)
    if as_json:
        print_json({"modelSetId": set_id, "modelSetName": shared.name, "description": shared.description})
        return
    say(f"{set_id} ({shared.name}) is shared with all accounts")


@app.command()
def unshare(
    set_id: Set,
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Share a model set no longer; tasks that read it go on (opens the database directly)."""
    with _models(data, database, config) as models:
        models.unshare_set(set_id)
    if as_json:
        print_json({"modelSetId": set_id, "state": "not shared"})
        return
    say(f"{set_id} is not shared")


@contextmanager
def _models(data: Path | None, database: str | None, config: Path | None) -> Iterator[Any]:
    from modelpress.service.services import open_services

    with open_services(load_settings(flags={"data": data, "database": database}, config=config)) as services:
        yield services.models


def _target(which: str) -> tuple[str, str]:
    """What an id names, in the words of actions and of bodies."""
    for prefix, action, field in ((MODEL_SET, "ModelSet", "modelSetId"), (MODEL, "Model", "modelId")):
        if which.startswith(prefix):
            return action, field
    raise typer.BadParameter(f"{which!r} is neither a model set (am-…) nor a model version (amv-…)", param_hint="'ID'")


def _set_facts(detail: dict[str, Any]) -> dict[str, str]:
    versions = zip(detail["modelIds"], detail["modelNames"], strict=True)
    return {
        "model set": detail["modelSetId"],
        "name": detail["modelSetName"],
        "type": detail["modelType"],
        "source": "" if detail["source"] == "UserCreate" else detail["source"],
        "remark": detail.get("description", ""),
        "labels": ", ".join(detail["labels"]),
        "created": time_text(detail["createTime"]),
        **{f"model {number}": f"{model_id}  {name}" for number, (model_id, name) in enumerate(versions, start=1)},
    }


def _version_facts(session: Session, detail: dict[str, Any]) -> dict[str, str]:
    source = detail["sourceInfo"]
    return {
        "model": detail["modelId"],
        "name": detail["modelName"],
        "model set": detail["modelSetId"],
        "source": source["sourceType"],
        "task": source.get("accelerationTaskId", ""),
        "architecture": detail["model"],
        "size": size_text(detail["sizeBytes"]),
        "compressible": "yes" if detail["isSupportModelComp"] else f"no: {detail['unsupportedReason']}",
        "description": detail.get("description", ""),
        "created": time_text(detail["createTime"]),
        "path": session.place(bucket=source["bucket"], object_path=source["objectPath"]) if "bucket" in source else "",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The set that is meant; no id where it is yet to be made."""

    id: str | None
    name: str


def _find_set(session: Session, *, set_id: str | None, name: str) -> _Wanted:
    from modelpress.client.client import RequestFailed

    try:
        found = session.call("DescribeModelSet", {"modelSetId": set_id} if set_id else {"modelSetName": name})
    except RequestFailed as exc:
        if set_id or exc.code != "NoSuchModelSet":
            raise
        return _Wanted(id=None, name=name)
    if found.get("source") == "System" and not set_id:  # another account's, shared: nothing can be put into it
        return _Wanted(id=None, name=name)
    return _Wanted(id=found["modelSetId"], name=name)


@contextmanager
def _undone_if_refused(session: Session, copy: placement.Copy | None) -> Iterator[list[str]]:
    """Take back the copy, and the sets put on the list, if the server refuses.

    Where it is not known whether the server did it (no reply, an interrupt), the copy stays: it may be in use.
    """
    from modelpress.client.client import RequestFailed, ServerUnreachable

    made_sets: list[str] = []
    try:
        yield made_sets
    except RequestFailed as exc:
        if copy is not None:
            copy.remove()
        for set_id in made_sets:
            with suppress(ModelpressError):
                session.call("DeleteModelSet", {"modelSetId": set_id})
        if exc.code == "NoSuchObject" and copy is not None:
            exc.hint = f"the server has another data directory than {session.settings.data}: give its own with --data"
        raise
    except (ServerUnreachable, KeyboardInterrupt):
        if copy is not None:
            say(f"the copy stays at {copy.path}, since the server may have registered it")
        raise


def _register(session: Session, *, set_id: str, place: Location, description: str) -> str:
    meta = {
        "bucket": place.bucket,
        "objectPath": place.path,
        "modelFormat": "HuggingFace.Transformers",
        "modelApplicationType": "chat",
    }
    body = {"modelSetId": set_id, "sourceType": "Import", "importMeta": meta, "description": description}
    return str(session.call("CreateCustomModel", body)["modelId"])


def _create_set(session: Session, name: str, *, model_type: str, labels: list[str]) -> str:
    body = {"modelSetName": name, "modelType": model_type, "labels": labels}
    return str(session.call("CreateCustomModelSet", body))
