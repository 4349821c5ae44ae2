"""Model sets (``am-``) and model versions (``amv-``, on the wire "model")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

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

    @property
    def supports_compression(self) -> bool:
        """The wire's isSupportModelComp."""
        return self.unsupported_reason is None
