"""Buckets: nobody gets out of one, or into one that is not theirs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelpress.domain.model import Location
from modelpress.errors import InvalidRequest, NoSuchBucket, NoSuchObject, SettingsError
from modelpress.settings import BucketSettings, Settings
from modelpress.storage.bucket import Buckets

OURS = "acc-ours"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a model in the bucket ``local``, and something outside every bucket."""
    (tmp_path / "data" / "local" / "group" / "model").mkdir(parents=True)
    (tmp_path / "data" / "local" / "file").write_text("no directory")
    (tmp_path / "outside" / "model").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def buckets(data: Path) -> Buckets:
    """The two buckets there always are, and ``named``, which two accounts may use."""
    named = BucketSettings(url=(data.parent / "outside").as_uri(), accounts=(OURS, "acc-friend"))
    return Buckets(Settings(data=data, buckets={"named": named}))


def _find(buckets: Buckets, path: str, *, bucket: str = "local", account_id: str = OURS) -> Path:
    return buckets.find(Location(bucket=bucket, path=path), account_id=account_id).path


@pytest.mark.parametrize("path", ["group/model", "/group/model", "group/model/", "group//model", "./group/./model"])
def test_a_model_is_found_by_its_path_below_the_root(buckets: Buckets, data: Path, path: str) -> None:
    assert _find(buckets, path) == (data / "local" / "group" / "model").resolve()


@pytest.mark.parametrize(
    "path", ["", "/", "//", "..", "../outside/model", "group/../../outside/model", "group/model/..", ".hidden", "a\0b"]
)
def test_a_path_that_is_none_below_the_root_is_an_invalid_request(buckets: Buckets, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _find(buckets, path)
    assert caught.value.field == "importMeta.objectPath"


def test_an_absolute_path_is_taken_below_the_root_and_not_from_the_disks(buckets: Buckets, data: Path) -> None:
    with pytest.raises(NoSuchObject):
        _find(buckets, str(data.parent / "outside" / "model"))


@pytest.mark.parametrize("link", ["../../outside", "../../outside/model", "/", "../local2"])
def test_a_link_that_leads_out_is_as_if_it_were_not_there(buckets: Buckets, data: Path, link: str) -> None:
    (data / "local2").mkdir()  # its name begins as the bucket's does
    (data / "local" / "link").symlink_to(link)
    with pytest.raises(NoSuchObject):
        _find(buckets, "link")


def test_a_link_within_the_bucket_is_followed(buckets: Buckets, data: Path) -> None:
    (data / "local" / "link").symlink_to("group/model")
    assert _find(buckets, "link") == (data / "local" / "group" / "model").resolve()


def test_a_link_to_itself_is_as_if_it_were_not_there(buckets: Buckets, data: Path) -> None:
    os.symlink("loop", data / "local" / "loop")
    with pytest.raises(NoSuchObject):
        _find(buckets, "loop")


@pytest.mark.parametrize("path", ["absent", "file", "file/below", "x" * 300, "x/" * 3000, "\ud800"])
def test_what_is_no_directory_is_no_object(buckets: Buckets, path: str) -> None:
    with pytest.raises(NoSuchObject):
        _find(buckets, path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "", "group", "model", "~", "%2e%2e", "..\\..", "...", "//"]) | st.text(max_size=5)
    )
)
def test_no_path_whatever_leads_out_of_its_bucket(buckets: Buckets, data: Path, parts: list[str]) -> None:
    try:
        found = _find(buckets, "/".join(parts))
    except (InvalidRequest, NoSuchObject):
        return
    assert found.is_relative_to((data / "local").resolve())


def test_a_bucket_may_be_used_by_the_accounts_it_names_and_is_unknown_to_others(buckets: Buckets) -> None:
    for account_id in (OURS, "acc-friend"):
        assert _find(buckets, "model", bucket="named", account_id=account_id).name == "model"
    with pytest.raises(NoSuchBucket) as refused:
        _find(buckets, "model", bucket="named", account_id="acc-stranger")
    with pytest.raises(NoSuchBucket) as absent:
        _find(buckets, "model", bucket="absent")
    assert str(refused.value).replace("named", "absent") == str(absent.value)


@pytest.mark.parametrize("path", ["acc-theirs/amv-1", "acc-theirs", ".staging/amva-1", "acc-ours/../acc-theirs/amv-1"])
def test_in_the_outputs_an_account_finds_its_own_alone(buckets: Buckets, data: Path, path: str) -> None:
    for folder in ("acc-theirs/amv-1", "acc-ours/amv-1", ".staging/amva-1"):
        (data / "outputs" / folder).mkdir(parents=True)
    assert _find(buckets, "acc-ours/amv-1", bucket="outputs").name == "amv-1"
    with pytest.raises((NoSuchObject, InvalidRequest)):
        _find(buckets, path, bucket="outputs")


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "/srv/models", "file://host/srv", "file:srv", "", "file://"])
def test_a_url_that_is_not_supported_is_an_error_of_the_settings_naming_the_bucket(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="'models'") as caught:
        Buckets(Settings(data=tmp_path, buckets={"models": BucketSettings(url=url)}))
    assert caught.value.hint is not None
    assert "file:///" in caught.value.hint


def test_a_url_may_quote_what_a_path_may_hold(tmp_path: Path) -> None:
    root = tmp_path / "a b#c?d 模型"
    (root / "model").mkdir(parents=True)
    buckets = Buckets(Settings(data=tmp_path, buckets={"models": BucketSettings(url=root.as_uri())}))
    assert _find(buckets, "model", bucket="models") == (root / "model").resolve()


def test_the_default_buckets_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    Buckets(Settings(data=tmp_path / "data"))
    assert {entry.name: oct(entry.stat().st_mode & 0o777) for entry in (tmp_path / "data").iterdir()} == {
        "exports": "0o700",
        "local": "0o700",
        "outputs": "0o700",
    }


def test_a_default_bucket_may_be_put_elsewhere(tmp_path: Path) -> None:
    elsewhere = BucketSettings(url=(tmp_path / "elsewhere").as_uri())
    buckets = Buckets(Settings(data=tmp_path / "data", buckets={"outputs": elsewhere}))
    place = buckets.output_location(account_id=OURS, model_id="amv-1")
    assert buckets.path(place) == tmp_path / "elsewhere" / OURS / "amv-1"
    assert buckets.staging("amva-1") == tmp_path / "elsewhere" / ".staging" / "amva-1"


def test_removing_what_is_not_there_is_nothing(buckets: Buckets) -> None:
    buckets.remove_staging("amva-1")
    buckets.remove_output(buckets.output_location(account_id=OURS, model_id="amv-1"))
    assert buckets.staged_tasks() == []


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("group/model", NoSuchObject),
        ("none", NoSuchObject),
        ("leads/out", NoSuchObject),
        ("x" * 5000, NoSuchObject),
        ("../data/local/file", InvalidRequest),
    ],
)
def test_a_file_is_found_as_a_model_is_and_a_directory_is_none(
    buckets: Buckets, data: Path, path: str, refusal: type[Exception]
) -> None:
    (data / "local" / "leads").symlink_to("../../outside")
    (data.parent / "outside" / "out").write_text("outside")
    found = buckets.find_file(Location(bucket="local", path="/file"), account_id=OURS, field="f")
    assert found == (data / "local" / "file").resolve()
    with pytest.raises(refusal) as caught:
        buckets.find_file(Location(bucket="local", path=path), account_id=OURS, field="f")
    assert getattr(caught.value, "field", "f") == "f"
