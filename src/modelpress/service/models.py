"""Model sets and model versions: registering, looking up, deleting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelpress.domain.advanced_conf import NOTHING_SAID, AdvancedConf
from modelpress.domain.model import MODEL_TYPES, Location, ModelSet, ModelVersion, seen_by
from modelpress.domain.page import Page, PageRequest
from modelpress.domain.policy import Caller
from modelpress.errors import BadSource, InvalidRequest, ModelNotSupported, NoSuchModelSet
from modelpress.service.clock import Clock
from modelpress.storage.bucket import OUTPUTS, Buckets
from modelpress.store.model_store import ModelStore, NewVersion
from modelpress.store.template_store import TemplateStore
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.folder import LocalFolder

MODEL_FORMAT = "HuggingFace.Transformers"
#: Documented values of modelApplicationType.
APPLICATION_TYPES = ("chat", "completion", "embedding", "reranker", "Text-to-Image", "Image-to-Text", "video", "voice")
_LONGEST_ARCHITECTURE_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What importing a version says."""

    set_id: str
    location: Location
    description: str = ""
    model_format: str = MODEL_FORMAT
    application_type: str = "chat"
    advanced_conf: AdvancedConf = NOTHING_SAID


class ModelService:
    """Model sets and versions of the caller's account."""

    def __init__(self, models: ModelStore, buckets: Buckets, *, templates: TemplateStore, clock: Clock) -> None:
        self._models = models
        self._templates = templates
        self._buckets = buckets
        self._clock = clock

    def create_set(self, caller: Caller, *, name: str, model_type: str, labels: Iterable[str]) -> ModelSet:
        """A new, empty set.

        Raises: InvalidRequest for an unknown type; NameConflict.
        """
        known = {kind.lower(): kind for kind in MODEL_TYPES}.get(model_type.lower())
        if known is None:
            raise InvalidRequest("modelType", f"{model_type!r} is none of {', '.join(MODEL_TYPES)}")
        return self._models.create_set(
            account_id=caller.account_id, name=name, model_type=known, labels=labels, now=self._clock()
        )

    def get_set(self, caller: Caller, *, set_id: str | None, name: str | None) -> ModelSet:
        """The set of this id or of this name, the account's own or a shared one; exactly one of the two must be given.

        Raises: InvalidRequest, NoSuchModelSet.
        """
        _just_one(set_id, name)
        if set_id:
            return self._models.readable_set(set_id, account_id=caller.account_id)
        try:
            return self._models.get_set_named(name or "", account_id=caller.account_id)
        except NoSuchModelSet:
            return self._models.shared_set_named(name or "")

    def page_sets(self, caller: Caller, request: PageRequest) -> Page[ModelSet]:
        """One page of the account's sets.

        Raises: InvalidMarker.
        """
        return self._models.page_sets(request, account_id=caller.account_id)

    def delete_set(self, caller: Caller, set_id: str) -> None:
        """Delete a set with its versions.

        Raises: NoSuchModelSet, ModelInUse.
        """
        self._models.delete_set(set_id, account_id=caller.account_id, now=self._clock())

    def import_version(self, caller: Caller, request: ImportRequest) -> ModelVersion:
        """Register a directory of a bucket, where it lies, as a version; its headers are checked before the answer.

        A checkpoint that is quantized already may be registered, but not compressed.

        Raises: InvalidRequest, NoSuchModelSet, NoSuchBucket, NoSuchObject; ModelNotSupported if it is not a sound
        checkpoint.
        """
        if request.model_format.lower() != MODEL_FORMAT.lower():
            raise InvalidRequest("importMeta.modelFormat", f"{request.model_format!r} is not {MODEL_FORMAT}")
        application_type = {kind.lower(): kind for kind in APPLICATION_TYPES}.get(request.application_type.lower())
        if application_type is None:
            raise InvalidRequest(
                "importMeta.modelApplicationType",
                f"{request.application_type!r} is none of {', '.join(APPLICATION_TYPES)}",
            )
        if request.location.bucket == OUTPUTS:
            # Imported again, its files would go when the version that the task made is deleted.
            raise InvalidRequest("importMeta.bucket", f"what lies in {OUTPUTS!r} is a model version already")
        self._models.get_set(request.set_id, account_id=caller.account_id)
        self._check_conf(caller, request.advanced_conf)
        directory = self._buckets.find(request.location, account_id=caller.account_id)
        try:
            checkpoint = open_checkpoint(LocalFolder(directory.path, within=directory.root))
        except BadSource as exc:
            raise ModelNotSupported(
                f"{request.location.path!r} cannot be imported: {exc.message}", hint=exc.hint
            ) from exc
        version = NewVersion(
            account_id=caller.account_id,
            set_id=request.set_id,
            description=request.description,
            location=request.location,
            model_format=MODEL_FORMAT,
            application_type=application_type,
            architecture=_class_name(checkpoint.architecture),
            size_bytes=checkpoint.size_bytes,
            unsupported_reason=_printable(checkpoint.already_compressed),
            advanced_conf=request.advanced_conf,
        )
        return self._models.create_version(version, now=self._clock())

    def _check_conf(self, caller: Caller, conf: AdvancedConf) -> None:
        """Return if there is at most one template, and its file is the account's.

        Raises: InvalidRequest.
        """
        custom = conf.custom_spec
        if custom is None:
            return
        if conf.chat_conf is not None:
            raise InvalidRequest("importMeta.chatConf", "give chatConf or customSpec, not both")
        if not self._templates.has(custom.file, account_id=caller.account_id):
            raise InvalidRequest("importMeta.customSpec.file", f"no uploaded template file {custom.file!r}")

    def get_version(self, caller: Caller, model_id: str) -> ModelVersion:
        """The version of this id as the caller sees it, the account's own or a shared one.

        Raises: NoSuchModel.
        """
        version = self._models.readable_version(model_id, account_id=caller.account_id)
        return seen_by(version, caller.account_id)

    def versions(self, caller: Caller, set_id: str) -> tuple[ModelSet, list[ModelVersion]]:
        """A set, the account's own or a shared one, and its versions as the caller sees them.

        Raises: NoSuchModelSet.
        """
        model_set = self._models.readable_set(set_id, account_id=caller.account_id)
        return model_set, [seen_by(version, caller.account_id) for version in self._models.versions(set_id)]

    def delete_version(self, caller: Caller, model_id: str) -> None:
        """Delete a version; an imported one's files are never touched.

        Raises: NoSuchModel, ModelInUse.
        """
        self._models.delete_version(model_id, account_id=caller.account_id, now=self._clock())

    # --- what the operator shares with all accounts ---------------------------------------------------------

    def get_shared_set(self, *, set_id: str | None, name: str | None) -> ModelSet:
        """The shared set of this id or of this name; exactly one of the two must be given.

        Raises: InvalidRequest, NoSuchModelSet.
        """
        _just_one(set_id, name)
        return self._models.shared_set(set_id) if set_id else self._models.shared_set_named(name or "")

    def page_shared_sets(self, request: PageRequest) -> Page[ModelSet]:
        """One page of all shared sets.

        Raises: InvalidMarker.
        """
        return self._models.page_shared_sets(request)

    def get_shared_version(self, caller: Caller, model_id: str) -> ModelVersion:
        """The version of this id in a shared set, as the caller sees it.

        Raises: NoSuchModel.
        """
        return seen_by(self._models.shared_version(model_id), caller.account_id)

    def share_set(self, set_id: str, *, description: str | None) -> ModelSet:
        """Share a set, with all versions it has and will have; without a ``description`` the one it had stays.

        Raises: NoSuchModelSet; NameConflict if another shared set has its name.
        """
        return self._models.share_set(set_id, description=description, now=self._clock())

    def unshare_set(self, set_id: str) -> None:
        """Share a set no longer; tasks that read it go on.

        Raises: NoSuchModelSet.
        """
        self._models.unshare_set(set_id, now=self._clock())


def _just_one(set_id: str | None, name: str | None) -> None:
    if bool(set_id) == bool(name):
        raise InvalidRequest("modelSetId", "give either modelSetId or modelSetName")


def _class_name(text: str) -> str:
    # From a file that anyone may have written: only what can be a class's name is kept.
    return text if text.isidentifier() and len(text) <= _LONGEST_ARCHITECTURE_CHARACTERS else ""


def _printable(text: str | None) -> str | None:
    # It quotes a file that anyone may have written: what no database or answer can hold is written out.
    return text and "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
