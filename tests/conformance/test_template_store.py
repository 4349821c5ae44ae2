"""Template files and what versions are imported with, kept alike by both databases."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import text

from modelpress.domain.advanced_conf import NOTHING_SAID, AdvancedConf, ChatConf, CustomSpec
from tests.conformance.scene import Scene, new_version
from tests.conformance.together import at_once

SOURCE = "def template(): return '压缩'\n".encode()


def _keep(scene: Scene, content: bytes = SOURCE) -> str:
    return scene.store.templates.keep(content, account_id=scene.account_id, now=scene.clock())


def test_a_file_comes_back_as_it_was_kept_under_a_name_of_its_own(scene: Scene) -> None:
    first, second = _keep(scene), _keep(scene, b"other")
    assert first != second
    assert first.endswith(".py")
    assert scene.store.templates.content(first) == SOURCE
    assert scene.store.templates.content(second) == b"other"


def test_the_same_bytes_of_an_account_are_kept_once_also_at_the_same_moment(scene: Scene, stranger: Scene) -> None:
    assert at_once(*[partial(_keep, scene)] * 8) == [None] * 8
    names = {_keep(scene) for _ in range(2)}
    assert len(names) == 1
    assert _keep(stranger) not in names
    with scene.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM template_file")).scalar_one() == 2


def test_a_file_is_its_accounts_alone(scene: Scene, stranger: Scene) -> None:
    file = _keep(scene)
    assert scene.store.templates.has(file, account_id=scene.account_id)
    assert not scene.store.templates.has(file, account_id=stranger.account_id)
    assert not scene.store.templates.has("amt-000000000000.py", account_id=scene.account_id)


@pytest.mark.parametrize(
    "conf",
    [
        NOTHING_SAID,
        AdvancedConf(transformer_version="4.40.2", basic_model_name="HuggingFace"),
        AdvancedConf(chat_conf=ChatConf(history_qa_template="问", latest_question_template="{q}", prompt_template="")),
        AdvancedConf(custom_spec=CustomSpec(display_name="mine", file="amt-000000000000.py")),
    ],
)
def test_what_a_version_was_imported_with_comes_back_as_it_was_said(scene: Scene, conf: AdvancedConf) -> None:
    new = replace(new_version(scene.model_set), advanced_conf=conf)
    made = scene.store.models.create_version(new, now=scene.clock())
    assert made.advanced_conf == conf
    assert scene.store.models.get_version(made.id, account_id=scene.account_id) == made


def test_a_version_of_an_older_database_was_imported_with_nothing(scene: Scene) -> None:
    with scene.database.write() as connection:
        connection.execute(text("UPDATE model_version SET advanced_conf = NULL"))
    found = scene.store.models.get_version(scene.source.id, account_id=scene.account_id)
    assert found.advanced_conf == NOTHING_SAID
