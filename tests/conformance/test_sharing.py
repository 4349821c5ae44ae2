"""Model sets that the operator shares: who reads what, what may be deleted, and where their pages begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import msgspec
import pytest

from modelpress.domain.model import Location, ModelSet, SourceType, seen_by
from modelpress.domain.page import Page, PageRequest
from modelpress.domain.task import TaskStatus
from modelpress.errors import (
    InvalidMarker,
    ModelInUse,
    ModelNotSupported,
    NameConflict,
    NoSuchModel,
    NoSuchModelSet,
)
from modelpress.service.models import ImportRequest
from modelpress.service.services import open_services
from modelpress.service.tasks import TaskRequest
from modelpress.settings import BucketSettings, Settings
from modelpress.store import model_statement
from tests.conformance.clock import SettableClock
from tests.conformance.house import House, make_house, stage, write_checkpoint
from tests.conformance.scene import RECIPE, STATISTICS, Scene, new_version
from tests.conformance.test_statement import plan_of
from tests.conformance.together import at_once


def _share(scene: Scene, which: ModelSet | None = None, *, description: str | None = None) -> ModelSet:
    which = which or scene.model_set
    return scene.store.models.share_set(which.id, description=description, now=scene.clock())


def _unshare(scene: Scene, which: ModelSet | None = None) -> None:
    scene.store.models.unshare_set((which or scene.model_set).id, now=scene.clock())


def _page(scene: Scene, *, marker: str = "", max_keys: int = 10, reverse: bool = False) -> Page[ModelSet]:
    return scene.store.models.page_shared_sets(PageRequest(marker=marker, max_keys=max_keys, reverse=reverse))


def _ids(page: Page[ModelSet]) -> list[str]:
    return [item.id for item in page.items]


# --- reading -------------------------------------------------------------------------------------------------


def test_another_account_reads_a_set_and_its_versions_while_it_is_shared(scene: Scene, stranger: Scene) -> None:
    models, theirs = stranger.store.models, stranger.account_id

    def check(*, found: bool) -> None:
        looks: tuple[Callable[[], object], ...] = (
            partial(models.readable_set, scene.model_set.id, account_id=theirs),
            partial(models.shared_set, scene.model_set.id),
            partial(models.shared_set_named, scene.model_set.name),
            partial(models.readable_version, scene.source.id, account_id=theirs),
            partial(models.shared_version, scene.source.id),
        )
        for look in looks:
            if found:
                look()
                continue
            with pytest.raises((NoSuchModelSet, NoSuchModel)):
                look()

    check(found=False)
    _share(scene)
    check(found=True)
    later = scene.version_in(scene.model_set)
    assert models.readable_version(later.id, account_id=theirs) == later
    _unshare(scene)
    check(found=False)
    _share(scene)
    check(found=True)
    scene.store.models.delete_set(scene.model_set.id, account_id=scene.account_id, now=scene.clock())
    check(found=False)


def test_what_is_not_in_a_shared_set_stays_unseen(scene: Scene, stranger: Scene) -> None:
    other = scene.set_named("not shared")
    version = scene.version_in(other)
    _share(scene)
    with pytest.raises(NoSuchModelSet):
        stranger.store.models.readable_set(other.id, account_id=stranger.account_id)
    with pytest.raises(NoSuchModel):
        stranger.store.models.readable_version(version.id, account_id=stranger.account_id)
    with pytest.raises(NoSuchModel):
        scene.store.models.shared_version(version.id)


def test_another_account_writes_nothing_into_a_shared_set_and_deletes_nothing_of_it(
    scene: Scene, stranger: Scene
) -> None:
    _share(scene)
    before = scene.everything()
    models, theirs = stranger.store.models, stranger.account_id
    foreign = replace(new_version(scene.model_set), account_id=theirs)
    for attempt, error in (
        (lambda: models.delete_set(scene.model_set.id, account_id=theirs, now=scene.clock()), NoSuchModelSet),
        (lambda: models.delete_version(scene.source.id, account_id=theirs, now=scene.clock()), NoSuchModel),
        (lambda: models.create_version(foreign, now=scene.clock()), NoSuchModelSet),
        (lambda: stranger.task(source=scene.source, fill=scene.model_set), NoSuchModelSet),
    ):
        with pytest.raises(error):
            attempt()
    assert scene.everything() == before
    page = models.page_sets(PageRequest(), account_id=theirs)
    assert _ids(page) == [stranger.model_set.id]
    with pytest.raises(InvalidMarker):
        models.page_sets(PageRequest(marker=scene.model_set.id), account_id=theirs)


def test_the_origin_of_a_shared_version_is_its_owners_alone(scene: Scene, stranger: Scene) -> None:
    task = scene.running()
    scene.succeed(task)
    made = scene.store.models.get_version(task.output_model_id, account_id=scene.account_id)
    made = replace(made, description=f"made by {task.id}")
    assert seen_by(made, scene.account_id) == made
    seen = seen_by(made, stranger.account_id)
    assert (seen.source_type, seen.task_id, seen.description) == (SourceType.PLATFORM_PRESET, None, "")
    said = replace(scene.source, description="said by its owner")
    assert seen_by(said, stranger.account_id).description == "said by its owner"


# --- sharing -------------------------------------------------------------------------------------------------


def test_sharing_again_changes_only_the_description_that_is_given(scene: Scene) -> None:
    assert _share(scene).description == ""
    assert _share(scene, description="small").description == "small"
    assert _share(scene).description == "small"
    assert _share(scene, description="").description == ""


def test_what_is_no_set_cannot_be_shared_or_unshared(scene: Scene) -> None:
    scene.store.models.delete_set(scene.model_set.id, account_id=scene.account_id, now=scene.clock())
    before = scene.everything()
    for set_id in (scene.model_set.id, "am-000000000000", scene.source.id):
        with pytest.raises(NoSuchModelSet, match=set_id):
            scene.store.models.share_set(set_id, description="x", now=scene.clock())
        with pytest.raises(NoSuchModelSet, match=set_id):
            scene.store.models.unshare_set(set_id, now=scene.clock())
    assert scene.everything() == before


def test_unsharing_what_is_not_shared_changes_nothing(scene: Scene) -> None:
    before = scene.everything()
    _unshare(scene)
    assert scene.everything() == before
    with pytest.raises(InvalidMarker):
        _page(scene, marker=scene.model_set.id)


def test_of_sets_with_the_same_name_one_is_shared(scene: Scene, stranger: Scene) -> None:
    assert scene.model_set.name == stranger.model_set.name
    outcomes = at_once(partial(_share, scene), partial(_share, stranger))
    assert [type(outcome) for outcome in outcomes if outcome] == [NameConflict]
    assert len(_page(scene).items) == 1
    first, second = (scene, stranger) if outcomes[0] is None else (stranger, scene)
    with pytest.raises(NameConflict, match=scene.model_set.name):
        _share(second)
    _unshare(first)
    _share(second)


# --- pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_shared_sets_of_all_accounts_are_paged_in_order_of_their_creation(
    scene: Scene, stranger: Scene, reverse: bool
) -> None:
    sets = [owner.set_named(f"{owner.account_id} {number}") for number in range(3) for owner in (scene, stranger)]
    for made in (sets[4], sets[0], sets[3], sets[1]):  # not in order
        _share(scene, made)
    ids = [sets[number].id for number in (0, 1, 3, 4)][:: -1 if reverse else 1]
    first = _page(scene, max_keys=3, reverse=reverse)
    assert (_ids(first), first.next_marker) == (ids[:3], ids[3])
    last = _page(scene, marker=ids[3], max_keys=3, reverse=reverse)
    assert (_ids(last), last.next_marker) == (ids[3:], None)
    assert _page(scene, max_keys=4, reverse=reverse).next_marker is None


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("gone", ["unshared", "deleted"])
def test_what_is_not_shared_any_more_still_marks_its_place(scene: Scene, reverse: bool, gone: str) -> None:
    sets = [_share(scene, scene.set_named(name)) for name in "abcd"]
    if gone == "unshared":
        _unshare(scene, sets[1])
    else:
        scene.store.models.delete_set(sets[1].id, account_id=scene.account_id, now=scene.clock())
    expected = [sets[0].id] if reverse else [sets[2].id, sets[3].id]
    assert _ids(_page(scene, marker=sets[1].id, reverse=reverse)) == expected


def test_a_marker_that_never_was_shared_is_refused_also_where_it_is_ones_own(scene: Scene) -> None:
    _share(scene, scene.set_named("shared"))
    for marker in (scene.model_set.id, "am-000000000000", scene.source.id, "压"):
        with pytest.raises(InvalidMarker):
            _page(scene, marker=marker)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_page_of_shared_sets_is_one_range_of_their_index(scene: Scene, reverse: bool) -> None:
    plan = plan_of(scene.database, model_statement.SHARED_PAGE[reverse], start=5, limit=11)
    assert "ix_model_set_shared" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


# --- tasks ---------------------------------------------------------------------------------------------------


@pytest.fixture
def theirs(house: House) -> House:
    """Another account of the same services."""
    return make_house(house.services, house.settings, house.clock, account="theirs")


def _compress(house: House, source_id: str) -> str:
    request = TaskRequest(
        name="task", description="", source_model_id=source_id, model_set_id=house.model_set.id, recipe=RECIPE
    )
    return house.services.tasks.create(house.caller, request).id


def _unshare_by_service(house: House) -> None:
    house.services.models.unshare_set(house.model_set.id)


def test_a_task_on_a_shared_version_goes_on_when_it_is_shared_no_more(house: House, theirs: House) -> None:
    services = house.services
    with pytest.raises(NoSuchModel):
        _compress(theirs, house.source.id)
    services.models.share_set(house.model_set.id, description=None)
    task_id = _compress(theirs, house.source.id)
    _unshare_by_service(house)
    with pytest.raises(NoSuchModel):
        _compress(theirs, house.source.id)
    attempt = theirs.claim()
    assert (attempt.task.id, attempt.source.path) == (task_id, house.settings.data / "local" / "tiny")
    stage(attempt)
    assert services.work.publish(attempt, STATISTICS)
    task = services.tasks.get(theirs.caller, task_id)
    assert task.status is TaskStatus.SUCCEEDED
    made = services.models.get_version(theirs.caller, task.output_model_id)
    assert (made.account_id, made.set_id) == (theirs.caller.account_id, theirs.model_set.id)
    with pytest.raises(NoSuchModel):
        services.models.get_version(house.caller, task.output_model_id)


def test_the_owner_cannot_delete_what_another_accounts_task_reads_nor_learns_its_id(
    house: House, theirs: House
) -> None:
    services = house.services
    services.models.share_set(house.model_set.id, description=None)
    task_id = _compress(theirs, house.source.id)
    _unshare_by_service(house)
    for attempt in (
        partial(services.models.delete_version, house.caller, house.source.id),
        partial(services.models.delete_set, house.caller, house.model_set.id),
    ):
        with pytest.raises(ModelInUse, match="another account") as caught:
            attempt()
        assert task_id not in str(caught.value)
    services.tasks.cancel(theirs.caller, task_id)
    services.models.delete_set(house.caller, house.model_set.id)


@pytest.fixture
def fenced(settings: Settings, clock: SettableClock) -> Iterator[House]:
    """A house whose model lies in a bucket that its account alone may use."""
    with open_services(settings, clock=clock) as services:
        owner = make_house(services, settings, clock).caller
    root = settings.data / "fenced"
    write_checkpoint(root / "tiny")
    bucket = BucketSettings(url=root.as_uri(), accounts=(owner.account_id,))
    fenced = msgspec.structs.replace(settings, buckets={"fenced": bucket})
    with open_services(fenced, clock=clock) as services:
        model_set = services.models.create_set(owner, name="fenced", model_type="Text2Text", labels=[])
        request = ImportRequest(set_id=model_set.id, location=Location(bucket="fenced", path="tiny"))
        source = services.models.import_version(owner, request)
        yield House(services=services, settings=fenced, clock=clock, caller=owner, model_set=model_set, source=source)


def test_a_shared_version_is_read_where_its_owner_may_look(fenced: House) -> None:
    services = fenced.services
    services.models.share_set(fenced.model_set.id, description=None)
    theirs = make_house(services, fenced.settings, fenced.clock, account="theirs")
    _compress(theirs, fenced.source.id)
    assert theirs.claim().source.path == fenced.settings.data / "fenced" / "tiny"


@pytest.mark.parametrize("when", ["before the task", "before its attempt"])
def test_where_a_shared_version_lay_is_not_told_when_its_files_are_gone(fenced: House, when: str) -> None:
    services = fenced.services
    services.models.share_set(fenced.model_set.id, description=None)
    theirs = make_house(services, fenced.settings, fenced.clock, account="theirs")
    lies = fenced.settings.data / "fenced" / "tiny"
    if when == "before the task":
        lies.rename(lies.with_name("elsewhere"))
        with pytest.raises(ModelNotSupported, match="not there") as caught:
            _compress(theirs, fenced.source.id)
        assert "fenced" not in caught.value.message
        return
    task_id = _compress(theirs, fenced.source.id)
    lies.rename(lies.with_name("elsewhere"))
    assert services.work.claim("worker") is None
    failed = services.tasks.get(theirs.caller, task_id)
    assert failed.reason == "BadSource: the source is not there any more"
