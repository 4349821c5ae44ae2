"""``modelpress model`` against a real server."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli, RunningServer, Script, plain

SIZES = "2.01 MB brought in by"


def local_bucket(server: RunningServer) -> list[str]:
    return os.listdir(server.settings.data / "local")


def test_create_prints_the_id_of_an_empty_set(cli: Cli, server: RunningServer) -> None:
    made = cli("model", "create", "llama", "--label", "chat", "--label", "small")
    assert (made.code, made.plain, made.err) == (0, "am-xxxxxxxxxxxx\n", "")
    shown = cli("model", "show", made.out.strip())
    assert shown.plain == (
        "model set  am-xxxxxxxxxxxx\n"
        "name       llama\n"
        "type       Text2Text\n"
        "labels     chat, small\n"
        "created    YYYY-MM-DD hh:mm\n"
    )


def test_a_name_that_is_taken_is_an_error_of_the_server(cli: Cli, server: RunningServer) -> None:
    cli("model", "create", "llama")
    again = cli("model", "create", "llama")
    assert (again.code, again.out) == (1, "")
    assert plain(again.err) == "error: model set 'llama' already exists (NameConflict, HTTP 409, request (id))\n"


def test_import_makes_a_set_of_the_directorys_name_and_says_where_the_copy_lies(
    cli: Cli, server: RunningServer, tiny_model: Path
) -> None:
    outcome = cli("model", "import", tiny_model, "--description", "for the test")
    [name] = local_bucket(server)
    copy = server.settings.data / "local" / name
    assert outcome.code == 0
    assert outcome.err.startswith(SIZES)
    assert outcome.plain == f"model      amv-xxxxxxxxxxxx\nmodel set  am-xxxxxxxxxxxx\npath       {copy}\n"
    for file in tiny_model.iterdir():
        assert (copy / file.name).read_bytes() == file.read_bytes()

    assert cli("model", "list").plain == (
        "MODEL SET        NAME  MODELS            TYPE       CREATED\n"
        "am-xxxxxxxxxxxx  tiny  amv-xxxxxxxxxxxx  Text2Text  YYYY-MM-DD hh:mm\n"
    )
    assert cli("model", "show", outcome.out.split()[1]).plain == (
        "model         amv-xxxxxxxxxxxx\n"
        "name          tiny-V1\n"
        "model set     am-xxxxxxxxxxxx\n"
        "source        Import\n"
        "architecture  LlamaForCausalLM\n"
        "size          2.01 MB\n"
        "compressible  yes\n"
        "description   for the test\n"
        "created       YYYY-MM-DD hh:mm\n"
        f"path          {copy}\n"
    )


def test_a_second_import_goes_into_the_set_of_that_name(cli: Cli, server: RunningServer, tiny_model: Path) -> None:
    first = json.loads(cli("model", "import", tiny_model, "--json").out)
    second = json.loads(cli("model", "import", tiny_model, "--json").out)
    by_id = json.loads(cli("model", "import", tiny_model, "--set", first["modelSetId"], "--json").out)
    assert first["modelSetId"] == second["modelSetId"] == by_id["modelSetId"]
    [only] = json.loads(cli("model", "list", "--json").out)
    assert only["modelIds"] == [first["modelId"], second["modelId"], by_id["modelId"]]
    assert len(local_bucket(server)) == 3


def test_links_of_a_hugging_face_cache_are_followed_and_its_repository_gives_the_name(
    cli: Cli, server: RunningServer, tiny_model: Path, tmp_path: Path
) -> None:
    snapshot = tmp_path / "models--organisation--Tiny-Llama" / "snapshots" / "0a1b2c"
    snapshot.mkdir(parents=True)
    for file in tiny_model.iterdir():
        (snapshot / file.name).symlink_to(file)
    made = json.loads(cli("model", "import", snapshot, "--json").out)
    copy = server.settings.data / "local" / made["objectPath"]
    assert made["objectPath"].startswith("Tiny-Llama-")
    assert sorted(os.listdir(copy)) == sorted(os.listdir(tiny_model))
    assert not any(file.is_symlink() for file in copy.iterdir())


def test_files_that_are_not_needed_are_not_brought_in(
    cli: Cli, server: RunningServer, tiny_model: Path, tmp_path: Path
) -> None:
    source = tmp_path / "model"
    source.mkdir()
    for file in tiny_model.iterdir():
        os.link(file, source / file.name)
    for name in ("pytorch_model.bin", "modeling_own.py", ".gitattributes"):
        (source / name).touch()
    (source / "original").mkdir()
    made = json.loads(cli("model", "import", source, "--json").out)
    copy = server.settings.data / "local" / made["objectPath"]
    assert sorted(os.listdir(copy)) == sorted(os.listdir(tiny_model))


def test_where_the_disk_can_link_nothing_bytes_are_copied(
    cli: Cli, server: RunningServer, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr("fcntl.ioctl", refuse)
    outcome = cli("model", "import", tiny_model, "--json")
    copy = server.settings.data / "local" / json.loads(outcome.out)["objectPath"]
    assert outcome.err == f"{SIZES} copy\n"
    for file in tiny_model.iterdir():
        assert (copy / file.name).read_bytes() == file.read_bytes()
        assert not (copy / file.name).samefile(file)


def test_a_copy_that_fails_leaves_nothing(
    cli: Cli, server: RunningServer, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", fill_up)
    monkeypatch.setattr("fcntl.ioctl", fill_up)
    monkeypatch.setattr(os, "fsync", fill_up)
    outcome = cli("model", "import", tiny_model)
    size_bytes = sum(file.stat().st_size for file in tiny_model.iterdir())
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        f"error: no space in {server.settings.data}/local for the model's {size_bytes} bytes\n"
        "hint: --in-place makes no copy\n"
    )
    assert local_bucket(server) == []


def test_a_refused_registration_takes_copy_and_set_away_again(
    cli: Cli, server: RunningServer, tiny_model: Path, tmp_path: Path
) -> None:
    keys = ("--url", server.url, "--access-key", server.access_key, "--secret-key", server.secret_key)
    outcome = cli("model", "import", tiny_model, "--data", tmp_path / "other", *keys)
    assert (outcome.code, outcome.out) == (1, "")
    _, error, hint = outcome.err.splitlines()
    assert "NoSuchObject" in error
    assert hint == f"hint: the server has another data directory than {tmp_path}/other: give its own with --data"
    assert os.listdir(tmp_path / "other" / "local") == []
    assert cli("model", "list", "--json").out == "[]\n"


def test_the_copy_stays_where_nobody_knows_whether_it_was_registered(
    cli: Cli, script: Script, tiny_model: Path, tmp_path: Path
) -> None:
    script.replies = [(200, {"requestId": "r", "result": {"modelSetId": "am-000000000000"}}), None]
    outcome = cli("model", "import", tiny_model)
    [name] = os.listdir(tmp_path / "data" / "local")
    assert (outcome.code, outcome.out) == (1, "")
    _, remark, _, hint = outcome.err.splitlines()
    assert remark == f"the copy stays at {tmp_path}/data/local/{name}, since the server may have registered it"
    assert hint == "hint: the server may have carried it out: look before you repeat it"


def test_an_unknown_set_is_refused_before_anything_is_copied(cli: Cli, server: RunningServer, tiny_model: Path) -> None:
    outcome = cli("model", "import", tiny_model, "--set", "am-000000000000")
    assert outcome.code == 1
    assert outcome.err.startswith("error: no model set 'am-000000000000' (NoSuchModelSet")
    assert local_bucket(server) == []


def test_in_place_registers_a_directory_inside_a_bucket(cli: Cli, server: RunningServer, tiny_model: Path) -> None:
    inside = server.settings.data / "local" / "shelf" / "tiny"
    inside.parent.mkdir(parents=True)
    inside.mkdir()
    for file in tiny_model.iterdir():
        os.link(file, inside / file.name)
    made = json.loads(cli("model", "import", inside, "--in-place", "--json").out)
    assert (made["bucket"], made["objectPath"]) == ("local", "shelf/tiny")
    assert local_bucket(server) == ["shelf"]


def test_in_place_outside_of_every_bucket_says_which_there_are(
    cli: Cli, server: RunningServer, tiny_model: Path, tmp_path: Path
) -> None:
    shelf = tmp_path / "shelf"
    config = tmp_path / "settings.toml"
    config.write_text(f'[buckets.shelf]\nurl = "{shelf.as_uri()}"\n')
    data = server.settings.data
    outcome = cli("model", "import", tiny_model, "--in-place", "--config", config)
    assert outcome.code == 1
    assert outcome.err == (
        f"error: {tiny_model} lies in no bucket: local is {data}/local, outputs is {data}/outputs, "
        f"exports is {data}/exports, shelf is {shelf}\n"
        "hint: leave out --in-place to copy it, or name a directory above it in --config: [buckets.NAME]\n"
    )


def test_list_shows_all_pages_both_ways_and_stops_at_a_limit(cli: Cli, server: RunningServer) -> None:
    for number in range(102):
        server_side_create(server, f"set {number}")
    everything = [item["modelSetName"] for item in json.loads(cli("model", "list", "--json").out)]
    assert everything == [f"set {number}" for number in range(102)]
    newest = json.loads(cli("model", "list", "--reverse", "--limit", "2", "--json").out)
    assert [item["modelSetName"] for item in newest] == ["set 101", "set 100"]


def server_side_create(server: RunningServer, name: str) -> None:
    caller, _ = server.services.access.caller(server.access_key)
    server.services.models.create_set(caller, name=name, model_type="Text2Text", labels=())


def test_delete_takes_a_version_and_then_its_set(cli: Cli, server: RunningServer, imported: str) -> None:
    set_id = json.loads(cli("model", "show", imported, "--json").out)["modelSetId"]
    deleted = cli("model", "delete", imported)
    assert (deleted.code, deleted.out, deleted.err) == (0, "", f"{imported} is deleted\n")
    gone = cli("model", "show", imported)
    assert gone.code == 1
    assert gone.err.startswith(f"error: no model version '{imported}' (NoSuchModel, HTTP 404")
    assert json.loads(cli("model", "delete", set_id, "--json").out) == {"modelSetId": set_id, "state": "deleted"}
    assert cli("model", "list", "--json").out == "[]\n"


def test_an_id_of_another_kind_is_wrong_usage(cli: Cli, server: RunningServer) -> None:
    outcome = cli("model", "show", "amva-000000000000")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == (
        "Error: Invalid value for 'ID': 'amva-000000000000' is neither a model set (am-…) nor a model version (amv-…)"
    )


def test_name_and_set_together_are_wrong_usage(cli: Cli, server: RunningServer, tiny_model: Path) -> None:
    outcome = cli("model", "import", tiny_model, "--name", "a", "--set", "am-000000000000")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == "Error: Invalid value: give --name or --set, not both"


def test_what_is_shared_is_listed_until_it_is_unshared(cli: Cli, server: RunningServer, tiny_model: Path) -> None:
    made = json.loads(cli("model", "import", tiny_model, "--json").out)
    set_id = made["modelSetId"]
    assert cli("model", "list", "--system", "--json").out == "[]\n"
    shared = cli("model", "share", set_id, "--description", "small")
    assert (shared.code, shared.out, shared.err) == (0, "", f"{set_id} (tiny) is shared with all accounts\n")
    assert cli("model", "list", "--system").plain == (
        "MODEL SET        NAME  MODELS            TYPE       CHANGED\n"
        "am-xxxxxxxxxxxx  tiny  amv-xxxxxxxxxxxx  Text2Text  YYYY-MM-DD hh:mm\n"
    )
    again = json.loads(cli("model", "share", set_id, "--json").out)
    assert again == {"modelSetId": set_id, "modelSetName": "tiny", "description": "small"}
    for _ in range(2):
        assert cli("model", "unshare", set_id).err == f"{set_id} is not shared\n"
    assert json.loads(cli("model", "unshare", set_id, "--json").out) == {"modelSetId": set_id, "state": "not shared"}
    assert cli("model", "list", "--system", "--json").out == "[]\n"


def test_what_is_no_set_is_neither_shared_nor_unshared(cli: Cli, server: RunningServer) -> None:
    for command in ("share", "unshare"):
        outcome = cli("model", command, "am-000000000000")
        assert (outcome.code, outcome.err) == (1, "error: no model set 'am-000000000000'\n")
    outcome = cli("model", "share", "am-000000000000", "--description", "x" * 1001)
    assert outcome.code == 2


def test_another_accounts_shared_model_is_shown_and_compressed_into_ones_own_set(
    cli: Cli, server: RunningServer, tiny_model: Path
) -> None:
    made = json.loads(cli("model", "import", tiny_model, "--json").out)
    cli("model", "share", made["modelSetId"], "--description", "small")
    pair = server.services.access.create_key(account="theirs")
    keys = ("--access-key", pair.access_key, "--secret-key", pair.secret_key)
    assert cli("model", "show", made["modelSetId"], *keys).plain == (
        "model set  am-xxxxxxxxxxxx\n"
        "name       tiny\n"
        "type       Text2Text\n"
        "source     System\n"
        "remark     small\n"
        "created    YYYY-MM-DD hh:mm\n"
        "model 1    amv-xxxxxxxxxxxx  tiny-V1\n"
    )
    shown = cli("model", "show", made["modelId"], *keys).plain
    assert "source        PlatformPreset\n" in shown
    assert "path" not in shown
    task = ("task", "create", "--model", made["modelId"], "--weight", "W8A16C16", *keys)
    refused = cli(*task)
    assert refused.code == 2
    assert "is shared by another account: name a set of yours" in refused.err
    # The name of the shared set is no set of theirs: one is made.
    own = json.loads(cli("model", "import", tiny_model, "--json", *keys).out)
    assert own["modelSetId"] != made["modelSetId"]
    assert cli(*task, "--set", own["modelSetId"]).code == 0
