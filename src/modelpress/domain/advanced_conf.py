"""How an imported model is to be used where it is served: remembered with its version and told, never acted on here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatConf:
    """A chat template in three texts."""

    history_qa_template: str
    latest_question_template: str
    prompt_template: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomSpec:
    """A chat template in a file that was uploaded before; ``file`` is the name that it was given then."""

    display_name: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvancedConf:
    """What an import says beyond where the model lies; of the two templates at most one."""

    transformer_version: str | None = None
    basic_model_name: str | None = None
    chat_conf: ChatConf | None = None
    custom_spec: CustomSpec | None = None

    def as_json(self) -> dict[str, Any]:
        """As it is stored; what was not said is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


#: Of an import that says nothing more.
NOTHING_SAID = AdvancedConf()


def conf_from_json(stored: Mapping[str, Any] | None) -> AdvancedConf:
    """What ``as_json`` gave; nothing said where nothing is stored."""
    told = dict(stored or {})
    chat, custom = told.pop("chat_conf", None), told.pop("custom_spec", None)
    return AdvancedConf(
        **told,
        chat_conf=None if chat is None else ChatConf(**chat),
        custom_spec=None if custom is None else CustomSpec(**custom),
    )
