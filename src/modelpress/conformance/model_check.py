"""The actions on an account's own model sets and versions."""

from __future__ import annotations

from modelpress.conformance.check import check
from modelpress.conformance.page_check import page_checks
from modelpress.conformance.scene import MODEL_FORMAT, Scene, new_name
from modelpress.conformance.session import Session
from modelpress.conformance.verdict import ensure

_CREATE_SET, _SETS, _SET, _DELETE_SET = (
    "CreateCustomModelSet",
    "DescribeCustomModelSets",
    "DescribeModelSet",
    "DeleteModelSet",
)
_CREATE, _MODEL, _DELETE = "CreateCustomModel", "DescribeModel", "DeleteModel"
_NO_SET, _NO_MODEL = "am-000000000000", "amv-000000000000"


@check(_CREATE_SET, request=("modelSetName", "modelType", "labels"), answer=("result",), writes=True)
def created_set_is_described(session: Session, scene: Scene) -> str:
    """The answer is the id of a set without versions that has the name, type and labels of the request."""
    given = {"modelSetName": new_name("set"), "modelType": "Text2Text", "labels": ["a", "b"]}
    set_id = str(session.result(_CREATE_SET, given))
    detail = session.result(_SET, {"modelSetId": set_id})
    session.success(_DELETE_SET, {"modelSetId": set_id})
    ensure(set_id.startswith("am-"), f"the id is {set_id}")
    for name, value in given.items():
        ensure(detail.get(name) == value, f"{name} became {detail.get(name)!r}")
    ensure(detail["modelIds"] == [], "it has versions")
    return "as given"


@check(_CREATE_SET, request=("modelSetName",), writes=True, ours=True)
def names_of_sets_are_unique(session: Session, scene: Scene) -> str:
    """A second set of the same name is refused with 409 NameConflict."""
    name = session.result(_SET, {"modelSetId": scene.target_set})["modelSetName"]
    return session.refused(
        _CREATE_SET, {"modelSetName": name, "modelType": "Text2Text"}, code="NameConflict", status=409
    )


@check(_SETS, answer=("result.customModelSetList[]", "result.customModelSetList[].modelCount"))
def sets_count_their_versions(session: Session, scene: Scene) -> str:
    """Every set has as many names and ids of versions as it counts."""
    page = session.result(_SETS, {"maxKeys": 100, "pageReverse": True})
    scene.set_id  # noqa: B018  # NA where there is none to look at
    for item in page["customModelSetList"]:
        counts = {item["modelCount"], len(item["modelIds"]), len(item["modelNames"])}
        ensure(len(counts) == 1, f"{item['modelSetId']} counts {sorted(counts)}")
    return "equal"


@check(_SET, request=("modelSetId", "modelSetName"), answer=("result.source",))
def set_by_id_or_name(session: Session, scene: Scene) -> str:
    """A set is found by its id and by its name, and is the caller's own."""
    by_id = session.result(_SET, {"modelSetId": scene.set_id})
    by_name = session.result(_SET, {"modelSetName": by_id["modelSetName"]})
    ensure(by_id == by_name, "the two differ")
    ensure(by_id["modelSetId"] == scene.set_id and by_id["source"] == "UserCreate", f"source is {by_id['source']!r}")
    return "the same"


@check(_SET, request=("modelSetId", "modelSetName"))
def set_by_one_of_both(session: Session, scene: Scene) -> str:
    """Without id and name, or with both, the request is refused."""
    session.refused(_SET, {})
    detail = session.result(_SET, {"modelSetId": scene.set_id})
    return session.refused(_SET, {name: detail[name] for name in ("modelSetId", "modelSetName")})


@check(_SET, request=("modelSetId",))
def unknown_set(session: Session, scene: Scene) -> str:
    """An id that no set has is refused."""
    code, status = ("NoSuchModelSet", 404) if session.options.ours else ("", 0)
    return session.refused(_SET, {"modelSetId": _NO_SET}, code=code, status=status)


@check(_DELETE_SET, request=("modelSetId",), answer=("result",), writes=True)
def deleted_set_is_gone(session: Session, scene: Scene) -> str:
    """The answer's result is an empty object, and the set is not found any more."""
    set_id = scene.new_set()
    result = session.result(_DELETE_SET, {"modelSetId": set_id})
    ensure(result == {}, f"result is {result!r}")
    session.refused(_SET, {"modelSetId": set_id})
    return "gone"


@check(
    _CREATE,
    request=(
        "modelSetId",
        "description",
        "sourceType",
        "importMeta",
        "importMeta.bucket",
        "importMeta.objectPath",
        "importMeta.modelFormat",
        "importMeta.modelApplicationType",
    ),
    answer=("result.modelId",),
    writes=True,
)
def imported_model_is_described(session: Session, scene: Scene) -> str:
    """The answer names a version that has the description, type and place of the request and belongs to its set."""
    meta = {"modelApplicationType": "completion"}
    model_id = scene.new_model(scene.target_set, description="a check's", importMeta=meta)
    detail = session.result(_MODEL, {"modelId": model_id})
    ensure(detail.get("description") == "a check's", f"description became {detail.get('description')!r}")
    ensure(detail["modelSetId"] == scene.target_set, "it belongs to another set")
    ensure(detail["modelApplicationType"] == "completion", f"it became {detail['modelApplicationType']!r}")
    listed = session.result(_SET, {"modelSetId": scene.target_set})["modelIds"]
    ensure(model_id in listed, "its set does not name it")
    if session.options.ours:
        source = detail["sourceInfo"]
        place = (source["sourceType"], source["bucket"], source["objectPath"].strip("/"))
        ensure(place == ("Import", session.options.bucket, session.options.path.strip("/")), f"sourceInfo is {source}")
    return "as given"


@check(_CREATE, request=("importMeta.objectPath",), writes=True)
def missing_directory_is_not_imported(session: Session, scene: Scene) -> str:
    """A path that holds nothing is refused."""
    meta = {"bucket": session.options.bucket or "none", "objectPath": "conformance/none"} | {
        "modelFormat": MODEL_FORMAT
    }
    body = {"modelSetId": scene.target_set, "sourceType": "Import", "importMeta": meta}
    return session.refused(_CREATE, body)


@check(_CREATE, request=("sourceType",), writes=True, ours=True)
def training_results(session: Session, scene: Scene) -> str:
    """sourceType Train is refused with 400 InappropriateJSON: there is no training here."""
    body = {"modelSetId": scene.target_set, "sourceType": "Train", "trainMeta": {"taskId": "task-1"}}
    return session.refused(_CREATE, body, code="InappropriateJSON", status=400, about="sourceType")


@check(_MODEL, request=("modelId",), answer=("result.modelId", "result.isSupportModelComp"))
def model_by_id(session: Session, scene: Scene) -> str:
    """The version that the id names is told, with isSupportModelComp; one to compress has it true."""
    detail = session.result(_MODEL, {"modelId": scene.model_id})
    ensure(detail["modelId"] == scene.model_id, f"another is told: {detail['modelId']!r}")
    ensure(not session.options.write or detail["isSupportModelComp"] is True, "isSupportModelComp is not true")
    return f"isSupportModelComp is {detail['isSupportModelComp']}"


@check(_MODEL, request=("modelId",), answer=("result.sourceInfo.sourceType",), ours=True)
def compressed_model(session: Session, scene: Scene) -> str:
    """A version that a task made says so in sourceInfo, and why it cannot be compressed again."""
    task = scene.succeeded
    detail = session.result(_MODEL, {"modelId": task["modelId"]})
    source = detail["sourceInfo"]
    made_by = (source["sourceType"], source["accelerationTaskId"])
    ensure(made_by == ("Acceleration", task["id"]), f"sourceInfo is {source}")
    ensure(detail["isSupportModelComp"] is False and bool(detail["unsupportedReason"]), "it could be compressed again")
    return "Acceleration"


@check(_MODEL, request=("modelId",))
def unknown_model(session: Session, scene: Scene) -> str:
    """An id that no version has is refused."""
    code, status = ("NoSuchModel", 404) if session.options.ours else ("", 0)
    return session.refused(_MODEL, {"modelId": _NO_MODEL}, code=code, status=status)


@check(_DELETE, request=("modelId",), answer=("result",), writes=True)
def deleted_model_is_gone(session: Session, scene: Scene) -> str:
    """It is a success, with an empty object as its result, and the version is not found any more."""
    model_id = scene.new_model(scene.new_set())
    answer = session.success(_DELETE, {"modelId": model_id})
    ensure(not session.options.ours or answer["result"] == {}, f"the answer is {answer}")
    session.refused(_MODEL, {"modelId": model_id})
    return "gone"


@check(_DELETE, request=("modelId",), writes=True, ours=True)
def model_in_use_is_not_deleted(session: Session, scene: Scene) -> str:
    """A version that a waiting task reads is refused with 409 ModelInUse."""
    task_id = scene.waiting_task()
    told = session.refused(_DELETE, {"modelId": scene.source}, code="ModelInUse", status=409)
    scene.end(task_id)
    return told


MODEL_CHECKS = (
    created_set_is_described,
    names_of_sets_are_unique,
    *page_checks(_SETS, items="customModelSetList", key="modelSetId", fill=lambda scene: scene.new_set()),
    sets_count_their_versions,
    set_by_id_or_name,
    set_by_one_of_both,
    unknown_set,
    deleted_set_is_gone,
    imported_model_is_described,
    missing_directory_is_not_imported,
    training_results,
    model_by_id,
    compressed_model,
    unknown_model,
    deleted_model_is_gone,
    model_in_use_is_not_deleted,
)
