"""How imported models are to be used where they are served: the actions on their configuration."""

from __future__ import annotations

from modelpress.domain.advanced_conf import AdvancedConf
from modelpress.domain.policy import Caller
from modelpress.errors import InvalidRequest
from modelpress.service.clock import Clock
from modelpress.store.model_store import ModelStore
from modelpress.store.template_store import TemplateStore

#: "Within 1 MB", as documented; below the default limit of a whole body, so that its frame has room.
LARGEST_TEMPLATE_BYTES = 1_000_000


class ConfigurationService:
    """Template files, and what versions were imported with."""

    def __init__(self, templates: TemplateStore, models: ModelStore, *, clock: Clock) -> None:
        self._templates = templates
        self._models = models
        self._clock = clock

    def upload(self, caller: Caller, *, name: str, content: bytes) -> str:
        """The name under which the file is kept, to be given when a version is imported. It is never run, nor parsed.

        Raises: InvalidRequest unless it is Python source by its name, text, and not too large.
        """
        if not name.lower().endswith(".py"):
            raise InvalidRequest("customSpecFile", f"the file's name {name[:64]!r} does not end in .py")
        if len(content) > LARGEST_TEMPLATE_BYTES:
            raise InvalidRequest("customSpecFile", f"it has {len(content)} bytes, more than {LARGEST_TEMPLATE_BYTES}")
        if not _is_text(content):
            raise InvalidRequest("customSpecFile", "it is not text in UTF-8")
        return self._templates.keep(content, account_id=caller.account_id, now=self._clock())

    def of_version(self, caller: Caller, model_id: str) -> tuple[AdvancedConf, str]:
        """What a version, the account's own or a shared one, was imported with, and its template file's text if any.

        Raises: NoSuchModel.
        """
        conf = self._models.readable_version(model_id, account_id=caller.account_id).advanced_conf
        if conf.custom_spec is None:
            return conf, ""
        return conf, self._templates.content(conf.custom_spec.file).decode()


def _is_text(content: bytes) -> bool:
    try:
        return bool(content) and "\0" not in content.decode()
    except UnicodeDecodeError:
        return False
