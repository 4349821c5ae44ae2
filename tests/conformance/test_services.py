"""The use cases over a real database and directory: access, models, tasks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelpress.domain.model import Location
from modelpress.domain.page import PageRequest
from modelpress.domain.policy import Policy
from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import W4A16C16
from modelpress.domain.task import TaskStatus
from modelpress.domain.task_filter import TaskFilter
from modelpress.errors import (
    InvalidArgument,
    InvalidRequest,
    ModelNotSupported,
    NameConflict,
    NoSuchAccessKey,
    NoSuchBucket,
    NoSuchModel,
    NoSuchModelSet,
    NoSuchObject,
    NoSuchTask,
    NoSuchUser,
    PoliciesDiffer,
    UnknownAccessKey,
)
from modelpress.service.access import KeyPair
from modelpress.service.models import ImportRequest
from modelpress.service.services import Services
from modelpress.service.tasks import TaskRequest
from tests.conformance.house import House, make_house, write_checkpoint
from tests.conformance.scene import RECIPE


@pytest.fixture
def stranger(house: House) -> House:
    """Another account of the same services."""
    return make_house(house.services, house.settings, house.clock, account="theirs")


def _import(house: House, path: str, *, bucket: str = "local", **more: Any) -> ImportRequest:
    return ImportRequest(set_id=house.model_set.id, location=Location(bucket=bucket, path=path), **more)


def _request(
    house: House, *, source: str | None = None, fill: str | None = None, recipe: Recipe = RECIPE
) -> TaskRequest:
    return TaskRequest(
        name="task",
        description="",
        source_model_id=source or house.source.id,
        model_set_id=fill or house.model_set.id,
        recipe=recipe,
    )


# --- access --------------------------------------------------------------------------------------------------


def test_a_new_key_stands_for_its_account_until_it_is_revoked(services: Services) -> None:
    pair = services.access.create_key(account="ours", user="reader", policies=[Policy.READ])
    caller, secret = services.access.caller(pair.access_key)
    assert caller.user_id == services.access.user("reader", account="ours").id
    assert (secret, caller.policies, caller.access_key) == (pair.secret_key, frozenset({Policy.READ}), pair.access_key)
    assert (caller.may_read(), caller.may_write()) == (True, False)
    assert pair.secret_key not in repr(pair)
    services.access.revoke(pair.access_key)
    with pytest.raises(UnknownAccessKey, match=pair.access_key):
        services.access.caller(pair.access_key)
    with pytest.raises(NoSuchAccessKey):
        services.access.revoke(pair.access_key)


def test_an_existing_pair_can_be_taken_over(services: Services) -> None:
    pair = KeyPair(access_key="ALTAK-1.2_3", secret_key="s")
    assert services.access.create_key(pair=pair) == pair
    with pytest.raises(NameConflict):
        services.access.create_key(pair=pair)
    services.access.revoke(pair.access_key)
    services.access.create_key(pair=KeyPair(access_key=pair.access_key, secret_key="another"))
    assert services.access.caller(pair.access_key)[1] == "another"


@pytest.mark.parametrize(
    ("access_key", "secret_key", "field"),
    [("", "s", "access-key"), ("a/b", "s", "access-key"), ("a" * 129, "s", "access-key"), ("a", "", "secret-key")],
)
def test_a_pair_that_cannot_be_one_is_refused(services: Services, access_key: str, secret_key: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        services.access.create_key(pair=KeyPair(access_key=access_key, secret_key=secret_key))
    assert caught.value.argument == field
    assert services.access.keys() == []


def test_without_a_word_a_key_is_the_default_accounts_administrators(services: Services) -> None:
    first, second = services.access.create_key(), services.access.create_key()
    (admin,) = services.access.users()
    assert (admin.account_name, admin.name) == ("default", "admin")
    assert admin.policies == {Policy.FULL_CONTROL}
    assert admin.keys_in_force == 2
    keys = services.access.keys()
    assert {key.id for key in keys} == {first.access_key, second.access_key}


def test_a_new_user_is_made_with_its_first_key_but_only_if_it_is_said_what_it_may_do(services: Services) -> None:
    with pytest.raises(NoSuchUser, match="bob") as caught:
        services.access.create_key(user="bob")
    assert caught.value.hint is not None
    assert "--policy" in caught.value.hint
    assert services.access.users() == []
    services.access.create_key(user="bob", policies=[Policy.TUNING_READ])
    services.access.create_key(user="bob")
    assert services.access.user("bob").keys_in_force == 2


def test_a_key_with_other_policies_than_its_user_has_is_refused(services: Services) -> None:
    services.access.create_key()
    services.access.create_key(policies=[Policy.FULL_CONTROL])
    with pytest.raises(PoliciesDiffer, match="admin") as caught:
        services.access.create_key(policies=[Policy.READ])
    assert "QianfanFullControlAccessPolicy" in str(caught.value)
    services.access.create_key(user="nothing", policies=[])
    with pytest.raises(PoliciesDiffer, match="none"):
        services.access.create_key(user="nothing", policies=[Policy.READ])
    assert len(services.access.keys()) == 3


def test_a_users_new_policies_are_what_its_keys_may_do_from_now_on(services: Services) -> None:
    pair = services.access.create_key()
    services.access.set_policies("admin", policies=[Policy.READ])
    caller, _ = services.access.caller(pair.access_key)
    assert (caller.may_read(), caller.may_write()) == (True, False)
    services.access.revoke(pair.access_key)
    services.access.delete_user("admin")
    assert services.access.users() == []
    for change in (services.access.delete_user, partial(services.access.set_policies, policies=[])):
        with pytest.raises(NoSuchUser, match="admin"):
            change("admin")


@pytest.mark.parametrize("name", ["", " a", "a ", "a\n", "x" * 65])
def test_a_name_that_cannot_be_told_from_others_is_refused(services: Services, name: str) -> None:
    for make in (
        services.access.create_account,
        partial(services.access.create_user, policies=[]),
        lambda name: services.access.create_user("bob", account=name, policies=[]),
        lambda name: services.access.create_key(user=name, policies=[]),
    ):
        with pytest.raises(InvalidArgument):
            make(name)
    assert (services.access.accounts(), services.access.users(), services.access.keys()) == ([], [], [])


# --- models --------------------------------------------------------------------------------------------------


def test_an_imported_model_is_known_from_its_headers(house: House) -> None:
    tiny = house.settings.data / "local" / "tiny"
    assert house.source.architecture == "LlamaForCausalLM"
    assert house.source.size_bytes == sum(entry.stat().st_size for entry in tiny.iterdir())
    assert house.source.supports_compression


def test_a_set_is_found_by_id_or_by_name_but_not_by_both_or_neither(house: House) -> None:
    get = house.services.models.get_set
    assert get(house.caller, set_id=house.model_set.id, name=None) == get(house.caller, set_id=None, name="models")
    for set_id, name in ((None, None), ("", ""), (house.model_set.id, "models")):
        with pytest.raises(InvalidRequest):
            get(house.caller, set_id=set_id, name=name)


def test_a_model_type_is_taken_in_any_letter_case_and_an_unknown_one_refused(house: House) -> None:
    assert house.model_set.model_type == "Text2Text"
    with pytest.raises(InvalidRequest, match="modelType"):
        house.services.models.create_set(house.caller, name="x", model_type="Text3Text", labels=[])


@pytest.mark.parametrize(
    ("request_of", "error"),
    [
        (lambda house: _import(house, "absent"), NoSuchObject),
        (lambda house: _import(house, "tiny", bucket="absent"), NoSuchBucket),
        (lambda house: _import(house, "../tiny"), InvalidRequest),
        (lambda house: _import(house, "tiny", model_format="GGUF"), InvalidRequest),
        (lambda house: ImportRequest(set_id="am-x", location=Location(bucket="local", path="tiny")), NoSuchModelSet),
    ],
)
def test_an_import_that_cannot_be_is_refused_and_registers_nothing(
    house: House, request_of: Callable[[House], ImportRequest], error: type[Exception]
) -> None:
    with pytest.raises(error):
        house.services.models.import_version(house.caller, request_of(house))
    assert house.versions() == [house.source.id]


def test_a_directory_that_is_no_checkpoint_is_refused_with_the_reason(house: House) -> None:
    broken = write_checkpoint(house.settings.data / "local" / "broken")
    (broken / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ModelNotSupported, match=r"'broken' cannot be imported: model.safetensors"):
        house.services.models.import_version(house.caller, _import(house, "broken"))


def test_a_checkpoint_whose_files_lead_out_of_the_bucket_is_refused(house: House, tmp_path: Path) -> None:
    outside = write_checkpoint(tmp_path / "outside")
    inside = house.settings.data / "local" / "linked"
    inside.mkdir()
    for entry in outside.iterdir():
        (inside / entry.name).symlink_to(entry)
    with pytest.raises(ModelNotSupported, match="leads out"):
        house.services.models.import_version(house.caller, _import(house, "linked"))


def test_deleting_an_imported_version_leaves_its_files(house: House) -> None:
    house.services.models.delete_version(house.caller, house.source.id)
    house.clock.advance(seconds=1_000_000_000)
    house.services.work.sweep()
    assert sorted(entry.name for entry in (house.settings.data / "local" / "tiny").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    with pytest.raises(NoSuchModel):
        house.services.models.get_version(house.caller, house.source.id)


# --- tasks ---------------------------------------------------------------------------------------------------


def test_a_task_goes_through_the_callers_hands(house: House) -> None:
    task = house.task()
    assert house.services.tasks.get(house.caller, task.id) == task
    page = house.services.tasks.page(house.caller, PageRequest(), TaskFilter(source_model_id=house.source.id))
    assert page.items == (task.summary,)
    house.services.tasks.cancel(house.caller, task.id)
    assert [event.status for event in house.services.tasks.history(house.caller, task.id)] == [
        TaskStatus.CREATING,
        TaskStatus.STOPPED,
    ]
    house.services.tasks.delete(house.caller, task.id)
    assert house.services.tasks.page(house.caller, PageRequest(), TaskFilter()).items == ()


def test_a_task_that_names_what_is_not_there_is_refused(house: House) -> None:
    for request, error in (
        (_request(house, source="amv-x"), NoSuchModel),
        (_request(house, fill="am-x"), NoSuchModelSet),
    ):
        with pytest.raises(error):
            house.services.tasks.create(house.caller, request)


def test_what_the_headers_tell_is_refused_before_there_is_a_task(house: House) -> None:
    groups = _request(house, recipe=Recipe(scheme=W4A16C16, group_size=48))
    with pytest.raises(ModelNotSupported, match=house.source.id):
        house.services.tasks.create(house.caller, groups)
    assert house.services.tasks.page(house.caller, PageRequest(), TaskFilter()).items == ()


def test_a_source_whose_files_are_gone_or_changed_for_the_worse_is_refused(house: House) -> None:
    tiny = house.settings.data / "local" / "tiny"
    (tiny / "config.json").write_text("not json")
    with pytest.raises(ModelNotSupported, match=house.source.id):
        house.task()
    tiny.rename(tiny.with_name("elsewhere"))
    with pytest.raises(ModelNotSupported, match=house.source.id):
        house.task()


def test_nothing_of_another_account_is_seen_or_changed_by_any_service(house: House, stranger: House) -> None:
    task = house.task()
    services, caller = house.services, stranger.caller
    for attempt, error in (
        (lambda: services.tasks.get(caller, task.id), NoSuchTask),
        (lambda: services.tasks.history(caller, task.id), NoSuchTask),
        (lambda: services.tasks.cancel(caller, task.id), NoSuchTask),
        (lambda: services.tasks.delete(caller, task.id), NoSuchTask),
        (lambda: services.tasks.create(caller, _request(stranger, source=house.source.id)), NoSuchModel),
        (lambda: services.tasks.create(caller, _request(stranger, fill=house.model_set.id)), NoSuchModelSet),
        (lambda: services.models.get_version(caller, house.source.id), NoSuchModel),
        (lambda: services.models.delete_version(caller, house.source.id), NoSuchModel),
        (lambda: services.models.get_set(caller, set_id=house.model_set.id, name=None), NoSuchModelSet),
        (lambda: services.models.delete_set(caller, house.model_set.id), NoSuchModelSet),
        (lambda: services.models.import_version(caller, _import(house, "tiny")), NoSuchModelSet),
    ):
        with pytest.raises(error):
            attempt()
    page = services.tasks.page(caller, PageRequest(), TaskFilter(source_model_id=house.source.id))
    assert page.items == ()
    assert house.status(task) is TaskStatus.CREATING


def test_what_tasks_made_is_imported_by_nobody(house: House, stranger: House) -> None:
    write_checkpoint(house.outputs / house.caller.account_id / "amv-secret")
    path = f"{house.caller.account_id}/amv-secret"
    for caller in (house, stranger):
        with pytest.raises(InvalidRequest, match="is a model version already"):
            house.services.models.import_version(caller.caller, _import(caller, path, bucket="outputs"))


def test_a_recipe_comes_back_from_the_database_as_it_was_asked_for(house: House) -> None:
    recipe = Recipe(scheme=W4A16C16, group_size=32)
    task = house.services.tasks.create(house.caller, _request(house, recipe=recipe))
    assert house.services.tasks.get(house.caller, task.id).recipe == recipe
