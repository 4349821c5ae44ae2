"""``modelpress model``: model sets (``am-``) and model versions (``amv-``), by a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from modelpress.cli import option, placement
from modelpress.cli.connection import Session, connected
from modelpress.cli.output import print_facts, print_json, print_table, say, size_text, time_text
from modelpress.domain.identifier import MODEL, MODEL_SET
from modelpress.domain.model import Location
from modelpress.errors import ModelpressError

app = typer.Typer(help="Models: register, list, show, delete.", no_args_is_help=True)

_LONGEST_NAME = 64

Type = Annotated[str, typer.Option("--type", help="What the model does.")]
ModelOrSet = Annotated[str, typer.Argument(metavar="ID", help="A model set (am-…) or a model version (amv-…).")]


@app.command()
@connected
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name, 1 to 64 characters.")],
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
    path: Annotated[Path, typer.Argument(help="Hugging Face model directory.")],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Model set, made if it is new.", show_default="the directory's name"),
    ] = None,
    set_id: Annotated[str | None, typer.Option("--set", metavar="ID", help="An existing model set (am-…).")] = None,
    description: Annotated[str, typer.Option("--description", help="A remark.", show_default=False)] = "",
    in_place: Annotated[bool, typer.Option("--in-place", help="Make no copy; PATH lies inside a bucket.")] = False,
    as_json: option.AsJson = False,
) -> None:
    """Register a model directory: a copy of it (by reflink or hard link where that can be), or in place."""
    if name and set_id:
        raise typer.BadParameter("give --name or --set, not both")
    files = placement.files_of_model(path)
    place = placement.locate(path, settings=session.settings) if in_place else None
    with _model_set(session, set_id, name or placement.model_name(path)[:_LONGEST_NAME]) as into:
        if place is not None:
            model_id = _register(session, into, place, description)
        else:
            place, model_id = _copy_and_register(session, into, path, files, description)
    if as_json:
        print_json({"modelId": model_id, "modelSetId": into, "bucket": place.bucket, "objectPath": place.path})
        return
    lies = session.place(bucket=place.bucket, object_path=place.path)
    print_facts({"model": model_id, "model set": into, "path": lies})


@contextmanager
def _model_set(session: Session, set_id: str | None, name: str) -> Iterator[str]:
    """The id of the set that is meant, made if there is none of this name; one made for nothing is deleted again."""
    from modelpress.client.client import RequestFailed

    found = set_id or _set_named(session, name)
    made = found or _create_set(session, name, model_type="Text2Text", labels=[])
    try:
        yield made
    except (RequestFailed, ModelpressError, KeyboardInterrupt):
        if found is None:
            with suppress(ModelpressError):
                session.call("DeleteModelSet", {"modelSetId": made})
        raise


def _set_named(session: Session, name: str) -> str | None:
    from modelpress.client.client import RequestFailed

    try:
        return str(session.call("DescribeModelSet", {"modelSetName": name})["modelSetId"])
    except RequestFailed as exc:
        if exc.code != "NoSuchModelSet":
            raise
        return None


def _create_set(session: Session, name: str, *, model_type: str, labels: list[str]) -> str:
    body = {"modelSetName": name, "modelType": model_type, "labels": labels}
    return str(session.call("CreateCustomModelSet", body))
