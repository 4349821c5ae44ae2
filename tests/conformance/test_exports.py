"""Exports over a real database and directory: where they may go, and that a crash at any point ends in one or none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelpress.domain.export import MANIFEST, ExportTask
from modelpress.domain.task import TaskStatus
from modelpress.errors import (
    ExportTargetExists,
    ExportUnderway,
    InvalidRequest,
    LeaseLost,
    ModelInUse,
    ModelNotSupported,
    NoSuchBucket,
    NoSuchModel,
    SettingsError,
    TargetTaken,
)
from modelpress.service import exports as module
from modelpress.service.exports import ExportAssignment
from modelpress.service.services import open_services
from modelpress.settings import BucketSettings, Settings
from modelpress.store.export_store import ExportStore
from tests.conformance.clock import SettableClock
from tests.conformance.export_scene import SHARD, copied
from tests.conformance.house import House, make_house
from tests.conformance.scene import progress

S = TaskStatus


class _Killed(BaseException):
    """The worker's process ends here."""


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings with a bucket of the operator's that exports may go to, and one that they may not."""
    (tmp_path / "shelf").mkdir()
    buckets = {
        "shelf": BucketSettings(url=(tmp_path / "shelf").as_uri(), writable=True),
        "library": BucketSettings(url=(tmp_path / "shelf").as_uri()),
        "unmounted": BucketSettings(url=(tmp_path / "absent").as_uri(), writable=True),
        "theirs": BucketSettings(url=(tmp_path / "shelf").as_uri(), writable=True, accounts=("acc-theirs",)),
    }
    return Settings(data=tmp_path / "data", database=database_url, buckets=buckets)


def _ask(house: House, *, bucket: str | None = None, path: str | None = None) -> ExportTask:
    return house.services.exports.create(house.caller, house.source.id, bucket=bucket, path=path)


def _claim(house: House, *, holder: str = "worker") -> ExportAssignment:
    assignment = house.services.export_work.claim(holder)
    assert assignment is not None
    return assignment


def _now(house: House) -> ExportTask:
    export = house.services.exports.newest(house.caller, house.source.id)
    assert export is not None
    return export


def _root(house: House, bucket: str) -> Path:
    return house.settings.data / "exports" if bucket == "exports" else house.settings.data.parent / bucket


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _check_exported_once(house: House, export: ExportTask) -> None:
    done = _now(house)
    assert (done.id, done.status, done.percent) == (export.id, S.SUCCEEDED, 100)
    root = _root(house, export.location.bucket)
    assert set(_files(root / export.location.path)) == {"model.safetensors", MANIFEST}
    assert (root / export.location.path / "model.safetensors").read_bytes() == SHARD
    assert not list((root / ".staging").iterdir())
    assert house.services.export_work.claim("another") is None


# --- places --------------------------------------------------------------------------------------------------


def test_an_export_goes_to_a_directory_of_its_own_below_the_accounts(house: House) -> None:
    export = _ask(house)
    assert str(export.location) == f"exports:{house.caller.account_id}/{house.source.id}/{export.id}"
    assignment = _claim(house)
    assert assignment.published is None
    assert assignment.program.spec["source"] == str((house.settings.data / "local" / "tiny").resolve())
    assert house.services.export_work.publish(assignment, copied(assignment))
    _check_exported_once(house, export)


@pytest.mark.parametrize("path", ["models/tiny", "/models//tiny/", "./models/tiny"])
def test_an_export_goes_where_it_is_told(house: House, path: str) -> None:
    export = _ask(house, bucket="shelf", path=path)
    assert str(export.location) == "shelf:models/tiny"
    assignment = _claim(house)
    assert assignment.staging == _root(house, "shelf") / ".staging" / export.id
    assert house.services.export_work.publish(assignment, copied(assignment))
    _check_exported_once(house, export)


@pytest.mark.parametrize("bucket", ["local", "outputs", "library"])
def test_nothing_is_exported_into_a_bucket_that_is_only_read(house: House, bucket: str) -> None:
    with pytest.raises(InvalidRequest, match="only read") as caught:
        _ask(house, bucket=bucket)
    assert caught.value.field == "exportMeta.bucket"


@pytest.mark.parametrize("bucket", ["absent", "theirs", "unmounted"])
def test_a_bucket_that_is_absent_anothers_or_not_mounted_is_none(house: House, bucket: str) -> None:
    with pytest.raises(NoSuchBucket):
        _ask(house, bucket=bucket, path="x")


@pytest.mark.parametrize(
    ("bucket", "path"),
    [
        ("shelf", "../shelf2"),
        ("shelf", ".staging/x"),
        ("shelf", "link/x"),
        ("shelf", "file/x"),
        ("shelf", "x" * 256),
        ("exports", "acc-another/x"),
        ("exports", "x"),
        ("exports", "{account}"),
        ("exports", "{account}/../acc-another/x"),
        (None, "x"),
    ],
)
def test_a_path_that_leaves_its_bucket_or_its_account_is_refused(house: House, bucket: str | None, path: str) -> None:
    shelf = _root(house, "shelf")
    (shelf / "link").symlink_to("..")
    (shelf / "file").write_text("no directory")
    with pytest.raises(InvalidRequest) as caught:
        _ask(house, bucket=bucket, path=path.format(account=house.caller.account_id))
    assert caught.value.field == "exportMeta.objectPath"
    assert house.services.export_work.claim("worker") is None


@pytest.mark.parametrize("what", ["directory", "file", "broken link"])
def test_what_lies_at_the_place_already_is_never_replaced(house: House, what: str) -> None:
    place = _root(house, "shelf") / "model"
    if what == "directory":
        place.mkdir()
    elif what == "file":
        place.touch()
    else:
        place.symlink_to("gone")
    with pytest.raises(ExportTargetExists):
        _ask(house, bucket="shelf", path="model")


def test_no_export_goes_into_the_model_that_is_exported(settings: Settings, clock: SettableClock) -> None:
    local = BucketSettings(url=(settings.data / "local").as_uri(), writable=True)
    with open_services(replace_buckets(settings, local=local), clock=clock) as services:
        house = make_house(services, settings, clock)
        with pytest.raises(InvalidRequest, match="lies in the model"):
            _ask(house, bucket="local", path="tiny/copy")
        _ask(house, bucket="local", path="tiny-copy")


def test_a_version_whose_files_are_gone_is_not_exported(house: House) -> None:
    tiny = house.settings.data / "local" / "tiny"
    tiny.rename(tiny.with_name("elsewhere"))
    with pytest.raises(ModelNotSupported, match="not there"):
        _ask(house)


def test_an_unknown_version_is_not_exported(house: House) -> None:
    with pytest.raises(NoSuchModel):
        house.services.exports.create(house.caller, "amv-none", bucket=None, path=None)
    with pytest.raises(NoSuchModel):
        house.services.exports.newest(house.caller, "amv-none")


def test_an_exported_model_can_be_imported_by_its_account_alone(house: House) -> None:
    export = _ask(house)
    assignment = _claim(house)
    house.services.export_work.publish(assignment, copied(assignment))
    stranger = make_house(house.services, house.settings, house.clock, account="theirs")
    with pytest.raises(Exception, match="no model directory"):
        stranger.import_from(export.location)
    with pytest.raises(ModelNotSupported):  # found, and no sound checkpoint
        house.import_from(export.location)


def replace_buckets(settings: Settings, **buckets: BucketSettings) -> Settings:
    """The settings with these buckets alone."""
    return Settings(data=settings.data, database=settings.database, buckets=buckets)


@pytest.mark.parametrize(
    ("bucket", "export_bucket"), [(None, "shelf"), ("outputs", "exports"), (None, "local"), (None, "outputs")]
)
def test_settings_that_name_no_bucket_to_export_into_are_refused(
    settings: Settings, bucket: str | None, export_bucket: str
) -> None:
    named = {bucket: BucketSettings(url=(settings.data / "x").as_uri(), writable=True)} if bucket else {}
    wrong = Settings(data=settings.data, database=settings.database, buckets=named, export_bucket=export_bucket)
    with pytest.raises(SettingsError), open_services(wrong):
        pass


def test_a_shared_version_is_exported_by_every_account_into_its_own_directory(house: House) -> None:
    stranger = make_house(house.services, house.settings, house.clock, account="theirs")
    with pytest.raises(NoSuchModel):
        stranger.services.exports.create(stranger.caller, house.source.id, bucket=None, path=None)
    house.services.models.share_set(house.model_set.id, description=None)
    ours = _ask(house)
    theirs = stranger.services.exports.create(stranger.caller, house.source.id, bucket=None, path=None)
    assert theirs.location.path == f"{stranger.caller.account_id}/{house.source.id}/{theirs.id}"
    with pytest.raises(ModelInUse, match=ours.id):
        house.services.models.delete_version(house.caller, house.source.id)
    assignment = _claim(house)
    house.services.export_work.publish(assignment, copied(assignment))
    with pytest.raises(ModelInUse, match="another account"):
        house.services.models.delete_version(house.caller, house.source.id)
    assert _claim(house).program.spec["source"] == assignment.program.spec["source"]


def test_where_a_shared_version_lay_is_not_told_to_another_account(house: House) -> None:
    stranger = make_house(house.services, house.settings, house.clock, account="theirs")
    house.services.models.share_set(house.model_set.id, description=None)
    stranger.services.exports.create(stranger.caller, house.source.id, bucket=None, path=None)
    tiny = house.settings.data / "local" / "tiny"
    tiny.rename(tiny.with_name("elsewhere"))
    assert house.services.export_work.claim("worker") is None
    failed = stranger.services.exports.newest(stranger.caller, house.source.id)
    assert failed is not None
    assert failed.reason == "BadSource: the source is not there any more"
    with pytest.raises(ModelNotSupported) as caught:
        stranger.services.exports.create(stranger.caller, house.source.id, bucket=None, path=None)
    assert "tiny" not in caught.value.message


# --- asking again --------------------------------------------------------------------------------------------


def test_asking_again_while_one_runs_gives_its_id_and_another_place_is_refused(house: House) -> None:
    first = _ask(house, bucket="shelf", path="model")
    assert _ask(house).id == first.id
    assert _ask(house, bucket="shelf", path="model/").id == first.id
    with pytest.raises(ExportUnderway, match="shelf:model"):
        _ask(house, bucket="shelf", path="another")
    with pytest.raises(ExportUnderway):
        _ask(house, bucket="exports")
    _claim(house)
    assert _ask(house).id == first.id


def test_after_its_end_asking_again_is_a_new_export(house: House) -> None:
    first = _ask(house)
    assignment = _claim(house)
    house.services.export_work.publish(assignment, copied(assignment))
    second = _ask(house)
    assert second.id != first.id
    assert _now(house).id == second.id


# --- crashes -------------------------------------------------------------------------------------------------


def _then_kill(step: Callable[..., object]) -> Callable[..., None]:
    def run(*arguments: object, **named: object) -> None:
        step(*arguments, **named)
        raise _Killed

    return run


def _kill(*_arguments: object, **_named: object) -> None:
    raise _Killed


CRASHES: dict[str, tuple[object, str, bool]] = {
    "before the digest is written": (ExportStore, "exported", False),
    "after the digest is written": (ExportStore, "exported", True),
    "before the rename": (Path, "rename", False),
    "after the rename": (Path, "rename", True),
    "after the rename is on the disk": (module, "sync_directory", True),
    "before success is written": (ExportStore, "succeed", False),
}


@pytest.mark.parametrize("again", [1, 4])
@pytest.mark.parametrize("crash", sorted(CRASHES))
def test_a_worker_killed_while_publishing_leaves_what_the_next_one_ends(
    house: House, monkeypatch: pytest.MonkeyPatch, crash: str, again: int
) -> None:
    target, name, after = CRASHES[crash]
    step = getattr(target, name)
    export = _ask(house)
    for _ in range(again):
        assignment = _claim(house)
        house.services.export_work.report(assignment.task, progress(), fruitful=True)
        with monkeypatch.context() as patch:
            patch.setattr(target, name, _then_kill(step) if after else _kill)
            result = assignment.published or copied(assignment)
            try:
                house.services.export_work.publish(assignment, result)
            except _Killed:
                house.lose_the_worker()
            else:  # it lies there since an earlier attempt
                assert after
                _check_exported_once(house, export)
                return
    assignment = _claim(house)
    assert (assignment.published is not None) is (_root(house, "exports") / export.location.path).exists()
    assert house.services.export_work.publish(assignment, assignment.published or copied(assignment))
    _check_exported_once(house, export)


def test_a_worker_killed_after_success_was_written_leaves_staging_to_the_sweep(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = _ask(house)
    assignment = _claim(house)
    with monkeypatch.context() as patch:
        patch.setattr(ExportStore, "succeed", _then_kill(ExportStore.succeed))
        with pytest.raises(_Killed):
            house.services.export_work.publish(assignment, copied(assignment))
    assert assignment.staging.exists()
    house.services.export_work.sweep()
    _check_exported_once(house, export)


def test_the_sweep_leaves_exports_that_are_not_final_and_what_it_does_not_know(house: House) -> None:
    _ask(house)
    assignment = _claim(house)
    copied(assignment)
    unknown = _root(house, "shelf") / ".staging" / "amx-unknown"
    unknown.mkdir(parents=True)
    house.services.export_work.sweep()
    assert assignment.staging.exists()
    assert unknown.exists()


def test_what_appeared_at_the_place_meanwhile_is_left_alone(house: House) -> None:
    _ask(house, bucket="shelf", path="a/model")
    assignment = _claim(house)
    theirs = _root(house, "shelf") / "a" / "model"
    theirs.mkdir(parents=True)
    (theirs / "file").write_text("theirs")
    with pytest.raises(TargetTaken):
        house.services.export_work.publish(assignment, copied(assignment))
    assert os.listdir(theirs) == ["file"]


def test_a_worker_that_lost_its_lease_publishes_nothing(house: House) -> None:
    export = _ask(house)
    stale = _claim(house)
    result = copied(stale)
    house.lose_the_worker()
    fresh = _claim(house, holder="another")
    with pytest.raises(LeaseLost):
        house.services.export_work.publish(stale, result)
    assert not (_root(house, "exports") / export.location.path).exists()
    assert house.services.export_work.publish(fresh, result)
    _check_exported_once(house, export)


# --- claims that need no worker ------------------------------------------------------------------------------


def test_three_attempts_in_a_row_without_progress_fail_the_export_as_worker_lost(house: House) -> None:
    _ask(house)
    for _ in range(3):
        assignment = _claim(house)
        copied(assignment)
        house.services.export_work.release(assignment.task, why="killed", forgive=False)
    assert house.services.export_work.claim("worker") is None
    assert _now(house).reason == "WorkerLost: 3 attempts in a row ended without progress"
    assert not assignment.staging.exists()


def test_an_export_whose_source_is_gone_fails_with_that_reason(house: House) -> None:
    _ask(house)
    tiny = house.settings.data / "local" / "tiny"
    tiny.rename(tiny.with_name("elsewhere"))
    assert house.services.export_work.claim("worker") is None
    assert _now(house).reason.startswith("BadSource: the source is not there any more")


def test_an_export_into_a_bucket_that_the_settings_do_not_have_any_more_fails(
    house: House, settings: Settings, clock: SettableClock
) -> None:
    _ask(house, bucket="shelf", path="model")
    with open_services(replace_buckets(settings), clock=clock) as services:
        assert services.export_work.claim("worker") is None
    assert _now(house).reason == "Unsupported: nothing is exported into 'shelf' any more"


def test_a_failed_export_leaves_nothing_and_the_leases_of_a_dead_worker_can_be_claimed_at_once(house: House) -> None:
    _ask(house)
    _claim(house)
    assert house.services.export_work.claim("another") is None
    assert house.services.export_work.release_holder("worker") == 1
    assignment = _claim(house)
    copied(assignment)
    house.services.export_work.fail(assignment.task, "DiskFull: no")
    assert not assignment.staging.exists()
    assert (_now(house).status, _now(house).reason) == (S.FAILED, "DiskFull: no")
