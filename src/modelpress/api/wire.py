"""The forms of requests, in the wire's own camelCase; fields that are not named here are ignored."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from modelpress.api.multipart import UploadedFile
from modelpress.domain.pattern import LONGEST_PATTERN
from modelpress.domain.recipe import GroupSize

LONGEST_NAME_CHARACTERS = 64


class NameText(str):
    """A name: 1 to 64 characters, not only blanks, and no control characters, which would break a line or a log."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: Any) -> NameText:
        """The name.

        Raises: ValueError saying what is wrong.
        """
        if not isinstance(value, str):
            raise ValueError("Expected a text")
        if not 1 <= len(value) <= LONGEST_NAME_CHARACTERS:
            raise ValueError(f"Expected 1 to {LONGEST_NAME_CHARACTERS} characters, got {len(value)}")
        if not value.strip():
            raise ValueError("Expected more than blanks")
        if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in value):
            raise ValueError("Expected no control characters and no line breaks")
        return cls(value)


class StatusWords:
    """One status, or a list of them, as it was written."""

    __slots__ = ("words",)

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words

    @classmethod
    def parse(cls, value: Any) -> StatusWords:
        """The words; those that are empty are left out.

        Raises: ValueError saying what is wrong.
        """
        words = (value,) if isinstance(value, str) else value
        if not isinstance(words, tuple | list) or not all(isinstance(word, str) for word in words):
            raise ValueError("Expected a text or a list of texts")
        if any(len(word) > LONGEST_NAME_CHARACTERS for word in words):
            raise ValueError(f"Expected at most {LONGEST_NAME_CHARACTERS} characters")
        return cls(tuple(filter(None, words)))


class ColumnCount:
    """Columns that share a scale: a whole number, or "channel" for whole rows."""

    __slots__ = ("size",)

    def __init__(self, size: GroupSize) -> None:
        self.size = size

    @classmethod
    def parse(cls, value: Any) -> ColumnCount:
        """What was written; 128.0 is 128.

        Raises: ValueError saying what is wrong.
        """
        if isinstance(value, str) and value.strip().lower() == "channel":
            return cls("channel")
        if isinstance(value, bool) or not isinstance(value, int | float) or int(value) != value:
            raise ValueError("Expected a whole number or 'channel'")
        return cls(int(value))


Name = Annotated[NameText, Meta(description="1 to 64 characters, no control characters")]
Description = Annotated[str, Meta(max_length=1000, description="at most 1,000 characters")]
Id = Annotated[str, Meta(min_length=1, max_length=64)]
#: A text that an error quotes when it is wrong, so it is bounded.
Word = Annotated[str, Meta(max_length=64)]


#: Anything that tells one wish from another; ``\Z``, since ``$`` would let a line break follow.
ClientToken = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[!-~]+\Z",
        description="makes repeating the request safe: 1 to 64 visible ASCII characters; also taken from the query",
    ),
]


class Whole(int):
    """A whole number, also one written 100.0: the Java SDK turns every number it parsed into a double."""


class Request(Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of all requests. (Neither frozen, for type checkers, nor kw_only is inherited: every form says both.)"""


class Repeatable(Request, frozen=True, kw_only=True):
    """A request that may be sent again: with the same token it is carried out once."""

    client_token: ClientToken | None = None


class PageForm(Request, frozen=True, kw_only=True):
    """Which page of a list."""

    marker: Annotated[Word | None, Meta(description="id of the page's first item; empty: from the first")] = None
    max_keys: Annotated[Whole | None, Meta(description="items of a page; 10 where absent, above 100 means 100")] = None
    page_reverse: Annotated[bool | None, Meta(description="newest first; otherwise in order of creation")] = None


class Tag(Request, frozen=True, kw_only=True):
    """A tag of a task, as Baidu's other services write them."""

    tag_key: Annotated[str, Meta(min_length=1, max_length=64, description="1 to 64 characters, once in a task")]
    tag_value: Annotated[str, Meta(max_length=64, description="at most 64 characters")] = ""


class ListTasks(PageForm, frozen=True, kw_only=True):
    """DescribeModelCompTasks. All but the source model are filters of ours."""

    source_model_id: Annotated[Word | None, Meta(description="only tasks that read this model version")] = None
    status: Annotated[StatusWords | None, Meta(description="only tasks of this status, or of one of these")] = None
    strategy: Annotated[Word | None, Meta(description="only tasks of this strategy")] = None
    weight: Annotated[Word | None, Meta(description="only tasks of this scheme, by any of its names")] = None
    name: Annotated[Word | None, Meta(description="only tasks with this in their name, letter case as written")] = None
    model_set_id: Annotated[Word | None, Meta(description="only tasks that fill this model set")] = None
    create_time_start: Annotated[Word | None, Meta(description="only tasks created then or later (RFC 3339)")] = None
    create_time_end: Annotated[Word | None, Meta(description="only tasks created then or earlier (RFC 3339)")] = None
    tags: Annotated[tuple[Tag, ...] | None, Meta(description="only tasks with all of these tags")] = None


#: Names of modules, with wildcards.
Patterns = tuple[Annotated[str, Meta(max_length=LONGEST_PATTERN)], ...]


class OverrideForm(Request, frozen=True, kw_only=True):
    """What holds instead for some modules (ours)."""

    targets: Annotated[Patterns, Meta(description="patterns of the modules it is for; the first override that fits")]
    weight: Annotated[Word | None, Meta(description="their scheme, or none: they stay as they are")] = None
    group_size: Annotated[ColumnCount | None, Meta(description="as config.groupSize")] = None
    symmetric: Annotated[bool | None, Meta(description="as config.symmetric")] = None


class CalibrationForm(Request, frozen=True, kw_only=True):
    """The text that a method looks at (ours)."""

    source: Annotated[
        Word | None,
        Meta(description="default: what modelpress brings along; self: the model writes it; object where one is named"),
    ] = None
    bucket: Annotated[Word | None, Meta(description="name of a bucket, for an object")] = None
    object_path: Annotated[
        Annotated[str, Meta(max_length=1024)] | None,
        Meta(description="a file below its root: JSON lines or plain text, at most 1 GiB"),
    ] = None
    num_samples: Annotated[Whole | None, Meta(description="1 to 65,536 samples; 128 where absent")] = None
    max_length: Annotated[
        Whole | None, Meta(description="16 to 131,072 tokens, of a sample at most; 512 where absent")
    ] = None
    text_field: Annotated[
        Word | None, Meta(description="field of each JSON line; text or messages, found by itself, where absent")
    ] = None


class TuningForm(Request, frozen=True, kw_only=True):
    """The numbers that a method works with (ours); each is for some methods."""

    act_order: Annotated[
        bool | None, Meta(description="gptq, smoothquant: whether columns of the largest inputs are rounded first")
    ] = None
    dampening: Annotated[
        float | None,
        Meta(description="those and sparsegpt, structured: above 0, at most 1; 0.01 where absent, for sparsegpt 0.1"),
    ] = None
    smoothing_strength: Annotated[
        float | None, Meta(description="smoothquant: 0 to 1, how much goes from activations into weights")
    ] = None
    iterations: Annotated[Whole | None, Meta(description="learned: 1 to 10,000 steps for each block")] = None


class Config(Request, frozen=True, kw_only=True):
    """The ``config`` of a task; what lies below quantConf is ours."""

    strategy: Annotated[Word, Meta(description="Quantization or Sparsity")]
    weight: Annotated[
        Word | None, Meta(description="the scheme, see above; may be left out when the strategy is Sparsity")
    ] = None
    quant_conf: Annotated[Word | None, Meta(description="the scheme by its older name, instead of weight")] = None
    output_format: Annotated[
        Word | None, Meta(description="safetensors, or gguf for llama.cpp; what the scheme needs where absent")
    ] = None
    group_size: Annotated[
        ColumnCount | None, Meta(description='columns that share a scale, or "channel"; by scheme where absent')
    ] = None
    symmetric: Annotated[bool | None, Meta(description="whether zero lies amid the numbers; true where absent")] = None
    scale_search: Annotated[
        Word | None, Meta(description="max where absent; mse seeks the scale of the least squared error")
    ] = None
    targets: Annotated[
        Patterns | None, Meta(description="patterns of the modules to compress; all linear layers where absent")
    ] = None
    ignore: Annotated[Patterns | None, Meta(description="patterns of modules that stay as they are")] = None
    overrides: Annotated[tuple[OverrideForm, ...] | None, Meta(description="what holds instead for some modules")] = (
        None
    )
    method: Annotated[Word | None, Meta(description="how the numbers are chosen, see above; auto where absent")] = None
    sparsity_ratio: Annotated[
        float | None, Meta(description="Sparsity: 0 to 0.9, how much is taken away; 0.5 where absent")
    ] = None
    sparsity_pattern: Annotated[Word | None, Meta(description="Sparsity: unstructured where absent, or 2:4")] = None
    calibration: Annotated[
        CalibrationForm | None, Meta(description="the text that a method looks at; an empty object is the usual one")
    ] = None
    tuning: Annotated[TuningForm | None, Meta(description="numbers that a method works with; usual where absent")] = (
        None
    )


class CreateTask(Repeatable, frozen=True, kw_only=True):
    """CreateModelCompTask."""

    name: Name
    source_model_id: Annotated[Id, Meta(description="the model version to compress")]
    model_set_id: Annotated[Id, Meta(description="the model set that the compressed version goes into")]
    config: Annotated[Config, Meta(description="what is to be done")]
    description: Description | None = None
    tags: Annotated[tuple[Tag, ...] | None, Meta(description="at most 10 tags, to find it by (ours)")] = None


class TaskId(Request, frozen=True, kw_only=True):
    """Any action on one task. Documented as optional, yet nothing else names the task."""

    model_comp_task_id: Annotated[Id, Meta(description="the task")]


class ReadLog(TaskId, frozen=True, kw_only=True):
    """DescribeModelCompTaskLogs."""

    offset: Annotated[Whole | None, Meta(description="byte to begin at: 0 where absent, else a nextOffset")] = None
    max_lines: Annotated[Whole | None, Meta(description="100 where absent, above 1,000 means 1,000")] = None


class CreateSet(Request, frozen=True, kw_only=True):
    """CreateCustomModelSet."""

    model_set_name: Name
    model_type: Annotated[Word, Meta(description="Text2Text or another documented type")]
    labels: Annotated[tuple[Name, ...] | None, Meta(description="words to find it by")] = None


class SetId(Request, frozen=True, kw_only=True):
    """DeleteModelSet."""

    model_set_id: Annotated[Id, Meta(description="the model set")]


class SetIdOrName(Request, frozen=True, kw_only=True):
    """DescribeModelSet, DescribeSystemModelSet."""

    model_set_id: Annotated[Id | None, Meta(description="the model set; give its id or its name")] = None
    model_set_name: Annotated[Name | None, Meta(description="its name")] = None


#: A template, or one of its parts.
Template = Annotated[str, Meta(min_length=1, max_length=200)]


class ChatConf(Request, frozen=True, kw_only=True):
    """A chat template in three texts."""

    history_qa_template: Annotated[Template, Meta(description="what went before, 1 to 200 characters")] = field(
        name="historyQATemplate"
    )
    latest_question_template: Annotated[Template, Meta(description="the question, 1 to 200 characters")]
    prompt_template: Annotated[
        Annotated[str, Meta(max_length=300)] | None, Meta(description="the whole, at most 300 characters")
    ] = None


class CustomSpec(Request, frozen=True, kw_only=True):
    """A chat template in an uploaded file."""

    display_name: Annotated[Template, Meta(description="its name for people, 1 to 200 characters")]
    file: Annotated[Id, Meta(description="what CreateModelCustomConf answered")]


class ImportMeta(Request, frozen=True, kw_only=True):
    """Where the imported model lies, and what it is."""

    bucket: Annotated[str, Meta(min_length=1, max_length=64, description="name of a bucket")]
    object_path: Annotated[str, Meta(min_length=1, max_length=1024, description="directory below its root")]
    model_format: Annotated[Word | None, Meta(description="HuggingFace.Transformers")] = None
    model_application_type: Annotated[Word | None, Meta(description="chat where absent")] = None
    transformer_version: Annotated[
        Annotated[str, Meta(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")] | None,
        Meta(description="of transformers, to serve it with, such as 4.40.2; remembered and told"),
    ] = None
    basic_model_name: Annotated[Word | None, Meta(description="what it was made from; remembered and told")] = None
    chat_conf: Annotated[ChatConf | None, Meta(description="its chat template; remembered and told")] = None
    custom_spec: Annotated[CustomSpec | None, Meta(description="the same as a file, instead of chatConf")] = None


class CreateVersion(Request, frozen=True, kw_only=True):
    """CreateCustomModel."""

    model_set_id: Annotated[Id, Meta(description="the model set it goes into")]
    source_type: Annotated[Word, Meta(description="Import")]
    import_meta: Annotated[ImportMeta | None, Meta(description="where it lies; required for Import")] = None
    description: Description | None = None


class ModelId(Request, frozen=True, kw_only=True):
    """DescribeModel, DescribeSystemModel, DeleteModel."""

    model_id: Annotated[Id, Meta(description="the model version")]


class ExportMeta(Request, frozen=True, kw_only=True):
    """Where an export goes (ours)."""

    bucket: Annotated[
        Word | None, Meta(description="name of a bucket that may be written to; a setting where absent")
    ] = None
    object_path: Annotated[
        Annotated[str, Meta(max_length=1024)] | None,
        Meta(description="the directory to make below its root; where absent, one of the export's own"),
    ] = None


class CreateExport(Request, frozen=True, kw_only=True):
    """CreateModelExportTask."""

    model_id: Annotated[Id, Meta(description="the model version")]
    export_meta: Annotated[ExportMeta | None, Meta(description="where to; ours")] = None


class ModelVersionId(Request, frozen=True, kw_only=True):
    """The V1 route modelVersionDetail."""

    model_version_id: Annotated[Id, Meta(description="the model version")]


class ModelIdV1(Request, frozen=True, kw_only=True):
    """The V1 route modelDetail, where a "model" is a model set."""

    model_id: Annotated[Id, Meta(description="the model set")]


class PublishTraining(Request, frozen=True, kw_only=True):
    """The V1 route publishTrainModel; none of its fields is looked at."""


class SystemConf(Request, frozen=True, kw_only=True):
    """DescribeModelSystemAdvancedConf. Documented as required, basicModelName is not sent by the Python SDK."""

    model_format: Annotated[Word, Meta(description="HuggingFace.Transformers")]
    model_application_type: Annotated[Word, Meta(description="chat or completion")]
    basic_model_name: Annotated[Word | None, Meta(description="makes no difference here")] = None


#: The name of the uploaded file's field as the tables have it, and as the samples do.
SPEC_FIELD, SPEC_FIELD_IN_SAMPLES = "customSpecFile", "file"


class SpecFile(Request, frozen=True, kw_only=True):
    """CreateModelCustomConf, whose body is multipart/form-data."""

    custom_spec_file: Annotated[
        UploadedFile,
        Meta(description="its name ends in .py, and it is at most 1,000,000 bytes of UTF-8; or in the field `file`"),
    ]
