"""Model sets and model versions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy.exc import IntegrityError

from modelpress.domain.advanced_conf import NOTHING_SAID, AdvancedConf
from modelpress.domain.identifier import MODEL, MODEL_SET, new_id
from modelpress.domain.model import Location, ModelSet, ModelVersion, SourceType, VersionName
from modelpress.domain.page import Page, PageRequest
from modelpress.errors import ModelInUse, NameConflict, NoSuchModel, NoSuchModelSet
from modelpress.store import model_statement as statement
from modelpress.store.database import Database
from modelpress.store.paging import read_page
from modelpress.store.row import from_version, to_set, to_version


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """What registering a model version needs; its id and name are the store's to give."""

    account_id: str
    set_id: str
    description: str
    location: Location
    model_format: str
    application_type: str
    architecture: str
    size_bytes: int
    unsupported_reason: str | None
    advanced_conf: AdvancedConf = NOTHING_SAID


class ModelStore:
    """Model sets and versions of all accounts; every method names the account it works for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_set(
        self, *, account_id: str, name: str, model_type: str, labels: Iterable[str], now: datetime
    ) -> ModelSet:
        """A new, empty set.

        Raises: NameConflict if a set of this account has the name.
        """
        made = ModelSet(
            id=new_id(MODEL_SET),
            account_id=account_id,
            name=name,
            model_type=model_type,
            labels=tuple(labels),
            created_at=now,
            modified_at=now,
        )
        columns = {
            "id": made.id,
            "account_id": account_id,
            "name": name,
            "model_type": model_type,
            "labels": list(made.labels),
            "created_at": now,
            "modified_at": now,
        }
        try:
            with self._database.write() as connection:
                connection.execute(statement.INSERT_SET, columns)
        except IntegrityError as exc:
            raise NameConflict("model set", name) from exc
        return made

    def get_set(self, set_id: str, *, account_id: str) -> ModelSet:
        """The set of this id.

        Raises: NoSuchModelSet.
        """
        return self._one_set(statement.SET, {"set_id": set_id, "account_id": account_id}, which=set_id)

    def get_set_named(self, name: str, *, account_id: str) -> ModelSet:
        """The set of this name.

        Raises: NoSuchModelSet.
        """
        return self._one_set(statement.SET_BY_NAME, {"name": name, "account_id": account_id}, which=name)

    def readable_set(self, set_id: str, *, account_id: str) -> ModelSet:
        """The set of this id, the account's own or one that is shared.

        Raises: NoSuchModelSet.
        """
        return self._one_set(statement.READABLE_SET, {"set_id": set_id, "account_id": account_id}, which=set_id)

    def shared_set(self, set_id: str) -> ModelSet:
        """The shared set of this id, whoever owns it.

        Raises: NoSuchModelSet.
        """
        return self._one_set(statement.SHARED_SET, {"set_id": set_id}, which=set_id)

    def shared_set_named(self, name: str) -> ModelSet:
        """The shared set of this name, whoever owns it.

        Raises: NoSuchModelSet.
        """
        return self._one_set(statement.SHARED_SET_BY_NAME, {"name": name}, which=name)

    def page_shared_sets(self, request: PageRequest) -> Page[ModelSet]:
        """One page of the sets that are shared, in order of their creation or its reverse.

        Raises: InvalidMarker; a set that is not shared any more still marks its place.
        """
        with self._database.read() as connection:
            rows, next_marker = read_page(
                connection,
                statement.SHARED_PAGE[request.reverse],
                marked=statement.MARKED_SHARED_SET,
                request=request,
                parameters={},
            )
            return Page(items=tuple(_with_versions(connection, rows)), next_marker=next_marker)

    def share_set(self, set_id: str, *, description: str | None, now: datetime) -> ModelSet:
        """Share a set with all accounts; without a ``description`` the one it had stays.

        Raises: NoSuchModelSet; NameConflict if another shared set has its name.
        """
        try:
            with self._database.write() as connection:
                parameters = {"set_id": set_id, "said": description, "now": now}
                live = _lock(connection, statement.LIVE_SET, {"set_id": set_id}, NoSuchModelSet(set_id))
                row = connection.execute(statement.SHARE_SET, parameters).one()
                return _with_versions(connection, [row])[0]
        except IntegrityError as exc:
            raise NameConflict("shared model set", live.name) from exc

    def unshare_set(self, set_id: str, *, now: datetime) -> None:
        """Share a set no longer; tasks that read it go on. Nothing changes if it was not shared.

        Raises: NoSuchModelSet.
        """
        with self._database.write() as connection:
            _lock(connection, statement.LIVE_SET, {"set_id": set_id}, NoSuchModelSet(set_id))
            connection.execute(statement.UNSHARE_SET, {"set_id": set_id, "now": now})

    def _one_set(self, query: Any, parameters: dict[str, str], *, which: str) -> ModelSet:
        with self._database.read() as connection:
            row = connection.execute(query, parameters).first()
            if row is None:
                raise NoSuchModelSet(which)
            return _with_versions(connection, [row])[0]

    def page_sets(self, request: PageRequest, *, account_id: str) -> Page[ModelSet]:
        """One page of the account's sets, in order of creation or its reverse.

        Raises: InvalidMarker.
        """
        with self._database.read() as connection:
            rows, next_marker = read_page(
                connection,
                statement.SET_PAGE[request.reverse],
                marked=statement.MARKED_SET,
                request=request,
                parameters={"account_id": account_id},
            )
            return Page(items=tuple(_with_versions(connection, rows)), next_marker=next_marker)

    def delete_set(self, set_id: str, *, account_id: str, now: datetime) -> None:
        """Delete a set and its versions.

        Raises: NoSuchModelSet; ModelInUse while a task that is not final reads one of its versions or fills it.
        """
        with self._database.write() as connection:
            _lock(connection, statement.LOCK_SET, {"set_id": set_id, "account_id": account_id}, NoSuchModelSet(set_id))
            # Its versions too: a task may read one of them and fill another set.
            connection.execute(statement.LOCK_VERSIONS_OF_SET, {"set_id": set_id}).all()
            _refuse_in_use(connection, statement.USER_OF_SET, {"set_id": set_id}, owner=account_id)
            connection.execute(statement.DELETE_SET, {"set_id": set_id, "now": now})
            connection.execute(statement.DELETE_VERSIONS_OF_SET, {"of_set": set_id, "now": now})

    def create_version(self, new: NewVersion, *, now: datetime) -> ModelVersion:
        """Register an imported version.

        Raises: NoSuchModelSet.
        """
        with self._database.write() as connection:
            parameters = {"set_id": new.set_id, "account_id": new.account_id}
            owner = _lock(connection, statement.LOCK_SET, parameters, NoSuchModelSet(new.set_id))
            return add_version(
                connection,
                new,
                set_name=owner.name,
                model_id=new_id(MODEL),
                source=SourceType.IMPORT,
                task=None,
                now=now,
            )

    def get_version(self, model_id: str, *, account_id: str) -> ModelVersion:
        """The version of this id.

        Raises: NoSuchModel.
        """
        return self._one_version(statement.VERSION, {"model_id": model_id, "account_id": account_id})

    def readable_version(self, model_id: str, *, account_id: str) -> ModelVersion:
        """The version of this id, the account's own or one in a set that is shared.

        Raises: NoSuchModel.
        """
        return self._one_version(statement.READABLE_VERSION, {"model_id": model_id, "account_id": account_id})

    def shared_version(self, model_id: str) -> ModelVersion:
        """The version of this id in a shared set, whoever owns it.

        Raises: NoSuchModel.
        """
        return self._one_version(statement.SHARED_VERSION, {"model_id": model_id})

    def versions(self, set_id: str) -> list[ModelVersion]:
        """All versions of a set that the caller was found to be allowed to read, oldest first."""
        with self._database.read() as connection:
            return [to_version(row) for row in connection.execute(statement.VERSIONS_OF_SET, {"set_id": set_id})]

    def _one_version(self, query: Any, parameters: dict[str, str]) -> ModelVersion:
        with self._database.read() as connection:
            row = connection.execute(query, parameters).first()
        if row is None:
            raise NoSuchModel(parameters["model_id"])
        return to_version(row)

    def delete_version(self, model_id: str, *, account_id: str, now: datetime) -> None:
        """Delete a version.

        Raises: NoSuchModel; ModelInUse while a task that is not final reads it.
        """
        with self._database.write() as connection:
            _lock(
                connection,
                statement.LOCK_VERSION,
                {"model_id": model_id, "account_id": account_id},
                NoSuchModel(model_id),
            )
            _refuse_in_use(connection, statement.USER_OF_VERSION, {"model_id": model_id}, owner=account_id)
            connection.execute(statement.DELETE_VERSION, {"model_id": model_id, "now": now})

    def discarded_outputs(self, *, before: datetime) -> list[ModelVersion]:
        """Produced versions deleted before ``before`` whose files were not removed yet."""
        with self._database.read() as connection:
            return [to_version(row) for row in connection.execute(statement.DISCARDED_OUTPUTS, {"before": before})]

    def mark_files_removed(self, model_id: str, *, now: datetime) -> None:
        """Note that a discarded version's files are gone."""
        with self._database.write() as connection:
            connection.execute(statement.MARK_FILES_REMOVED, {"model_id": model_id, "now": now})


def add_version(
    connection: Connection,
    new: NewVersion,
    *,
    set_name: str,
    model_id: str,
    source: SourceType,
    task: str | None,
    now: datetime,
) -> ModelVersion:
    """Insert a version into a set inside the caller's transaction; its name is the set's with the next number."""
    count = connection.execute(statement.COUNT_VERSIONS, {"set_id": new.set_id}).scalar_one()
    version = ModelVersion(
        id=model_id,
        account_id=new.account_id,
        set_id=new.set_id,
        name=f"{set_name}-V{count + 1}",
        description=new.description,
        source_type=source,
        location=new.location,
        model_format=new.model_format,
        application_type=new.application_type,
        architecture=new.architecture,
        size_bytes=new.size_bytes,
        unsupported_reason=new.unsupported_reason,
        task_id=task,
        created_at=now,
        modified_at=now,
        advanced_conf=new.advanced_conf,
    )
    connection.execute(statement.INSERT_VERSION, from_version(version))
    connection.execute(statement.TOUCH_SET, {"set_id": new.set_id, "now": now})
    return version


def _lock(connection: Connection, query: Any, parameters: dict[str, str], missing: Exception) -> Row[Any]:
    row = connection.execute(query, parameters).first()
    if row is None:
        raise missing
    return row


def _refuse_in_use(connection: Connection, query: Any, parameters: dict[str, str], *, owner: str) -> None:
    """Nothing, unless a task that is not final is found; of another account's task no id is told.

    Raises: ModelInUse.
    """
    user = connection.execute(query, parameters | {"owner": owner}).first()
    if user is not None:
        (which,) = parameters.values()
        raise ModelInUse(which, task_id=user.id if user.account_id == owner else None)


def _with_versions(connection: Connection, rows: list[Row[Any]]) -> list[ModelSet]:
    """The sets of ``rows`` with their versions, by one more query for the whole page."""
    names: dict[str, list[VersionName]] = {row.id: [] for row in rows}
    for version in connection.execute(statement.VERSION_NAMES, {"set_ids": list(names)}):
        names[version.set_id].append(VersionName(id=version.id, name=version.name))
    return [to_set(row, tuple(names[row.id])) for row in rows]
