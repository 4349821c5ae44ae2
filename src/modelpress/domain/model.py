"""Model sets (``am-``) and model versions (``amv-``, on the wire "model"), and what of them other accounts see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from modelpress.domain.advanced_conf import NOTHING_SAID, AdvancedConf

#: Documented values of modelType, the newer pages' and the older SDK's; Baidu spells ``VioceGeneration`` so.
MODEL_TYPES = (
    "Text2Text",
    "Text2Image",
    "Embedding",
    "ImageUnderstanding",
    "VideoGeneration",
    "VioceGeneration",
    "Reasoning",
    "Reranker",
    "TextRepresentation",
    "Industry",
)


class SourceType(StrEnum):
    """Where a model version comes from."""

    IMPORT = "Import"
    ACCELERATION = "Acceleration"  #: produced by a compression task
    PLATFORM_PRESET = "PlatformPreset"  #: another account's, in a shared set; never stored


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSet:
    """A named model and the ids of its versions, oldest first."""

    id: str
    account_id: str
    name: str
    model_type: str
    labels: tuple[str, ...]
    created_at: datetime
    modified_at: datetime
    #: What the operator says of a set that is shared with all accounts.
    description: str = ""
    versions: tuple[VersionName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionName:
    """A version's id and display name."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A directory of a bucket."""

    bucket: str
    path: str

    def __str__(self) -> str:
        return f"{self.bucket}:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A model's weights at one place. A registered version is always Ready: import checks before it answers."""

    id: str
    account_id: str
    set_id: str
    name: str
    description: str
    source_type: SourceType
    location: Location
    model_format: str
    application_type: str
    architecture: str
    size_bytes: int
    #: None where the version may be compressed, else why not.
    unsupported_reason: str | None
    #: The task that produced it.
    task_id: str | None
    created_at: datetime
    modified_at: datetime
    advanced_conf: AdvancedConf = NOTHING_SAID

    @property
    def supports_compression(self) -> bool:
        """The wire's isSupportModelComp."""
        return self.unsupported_reason is None


def seen_by(version: ModelVersion, account_id: str) -> ModelVersion:
    """The version as this account sees it: its own as it is, one that another account shares without its origin.

    Neither the owner's task nor a description that we wrote, since it names that task, is told.
    """
    if version.account_id == account_id:
        return version
    made_here = version.source_type is SourceType.ACCELERATION
    return replace(
        version,
        source_type=SourceType.PLATFORM_PRESET,
        task_id=None,
        description="" if made_here else version.description,
    )
