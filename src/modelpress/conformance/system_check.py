"""The actions on models that are shared with all accounts, and the routes of the old API."""

from __future__ import annotations

from modelpress.conformance.check import check
from modelpress.conformance.page_check import page_checks
from modelpress.conformance.scene import Scene
from modelpress.conformance.session import Session
from modelpress.conformance.verdict import NotApplicable, ensure

_SETS, _SET, _MODEL = "DescribeSystemModelSets", "DescribeSystemModelSet", "DescribeSystemModel"
_NO_SET, _NO_MODEL = "am-000000000000", "amv-000000000000"


def _no_more(_scene: Scene) -> None:
    raise NotApplicable("the operator shares too few models for two pages")


@check(_SETS, answer=("result.systemModelSetList[]", "result.systemModelSetList[].modelCount"))
def system_sets_count_their_versions(session: Session, scene: Scene) -> str:
    """Every set has as many names and ids of versions as it counts."""
    for item in scene.system_sets:
        counts = {item["modelCount"], len(item["modelIds"]), len(item["modelNames"])}
        ensure(len(counts) == 1, f"{item['modelSetId']} counts {sorted(counts)}")
    return "equal"


@check(_SET, request=("modelSetId", "modelSetName"), answer=("result.modelSetId", "result.modelIds"))
def system_set_by_id_or_name(session: Session, scene: Scene) -> str:
    """A set of the list is found by its id and by its name."""
    item = scene.system_sets[0]
    by_id = session.result(_SET, {"modelSetId": item["modelSetId"]})
    by_name = session.result(_SET, {"modelSetName": item["modelSetName"]})
    ensure(by_id == by_name, "the two differ")
    for name in ("modelSetId", "modelSetName", "modelType", "modelIds", "modelNames"):
        ensure(by_id[name] == item[name], f"{name} is not that of the list")
    return "the same"


@check(_SET, request=("modelSetId", "modelSetName"))
def system_set_by_one_of_both(session: Session, scene: Scene) -> str:
    """Without id and name, or with both, the request is refused."""
    session.refused(_SET, {})
    return session.refused(_SET, {name: scene.system_sets[0][name] for name in ("modelSetId", "modelSetName")})


@check(_SET, request=("modelSetId",))
def unknown_system_set(session: Session, scene: Scene) -> str:
    """An id that no set has is refused."""
    code, status = ("NoSuchModelSet", 404) if session.options.ours else ("", 0)
    return session.refused(_SET, {"modelSetId": _NO_SET}, code=code, status=status)


@check(_SET, request=("modelSetId",), writes=True, ours=True)
def own_set_is_no_system_set(session: Session, scene: Scene) -> str:
    """A set that is not shared is refused with 404 NoSuchModelSet, also to its owner."""
    return session.refused(_SET, {"modelSetId": scene.target_set}, code="NoSuchModelSet", status=404)


@check(_MODEL, request=("modelId",), answer=("result.modelId", "result.modelSetId"))
def system_model_by_id(session: Session, scene: Scene) -> str:
    """The version that a set of the list names is told."""
    detail = session.result(_MODEL, {"modelId": scene.system_model_id})
    ensure(detail["modelId"] == scene.system_model_id, f"another is told: {detail['modelId']!r}")
    return f"isSupportModelComp is {detail['isSupportModelComp']}"


@check(_MODEL, request=("modelId",))
def unknown_system_model(session: Session, scene: Scene) -> str:
    """An id that no version has is refused."""
    code, status = ("NoSuchModel", 404) if session.options.ours else ("", 0)
    return session.refused(_MODEL, {"modelId": _NO_MODEL}, code=code, status=status)


@check("modelVersionDetail", request=("modelVersionId",), answer=("result.modelIdStr", "result.modelVersionIdStr"))
def old_route_tells_the_same(session: Session, scene: Scene) -> str:
    """The old route tells of a version what DescribeModel tells: set, version and whether it can be compressed."""
    new = session.result("DescribeModel", {"modelId": scene.model_id})
    old = session.result("modelVersionDetail", {"modelVersionId": scene.model_id})
    ensure(old["modelIdStr"] == new["modelSetId"], f"the set is {old['modelIdStr']!r}")
    ensure(old["modelVersionIdStr"] == scene.model_id, f"the version is {old['modelVersionIdStr']!r}")
    supported = "Acceleration" in old["supportOptions"]
    ensure(supported is new["isSupportModelComp"], f"supportOptions are {old['supportOptions']}")
    return "the same"


@check("modelVersionDetail", answer=("result.sourceExtra.accelerationSourceExtra.taskIdStr",), ours=True)
def old_route_names_the_task(session: Session, scene: Scene) -> str:
    """Of a version that a task made, the old route names the task."""
    task = scene.succeeded
    old = session.result("modelVersionDetail", {"modelVersionId": task["modelId"]})
    ensure(old["sourceType"] == "Acceleration", f"sourceType is {old['sourceType']!r}")
    extra = old["sourceExtra"]["accelerationSourceExtra"]
    ensure(extra == {"taskIdStr": task["id"]}, f"accelerationSourceExtra is {extra}")
    return "the task"


@check("modelDetail", request=("modelId",), answer=("result.modelIdStr", "result.modelVersionList[]"))
def old_route_of_a_set_tells_the_same(session: Session, scene: Scene) -> str:
    """The old route tells of a set what DescribeModelSet tells, and of its versions what their own route tells."""
    new = session.result("DescribeModelSet", {"modelSetId": scene.set_id})
    old = session.result("modelDetail", {"modelId": scene.set_id})
    ensure((old["modelIdStr"], old["modelName"]) == (new["modelSetId"], new["modelSetName"]), "id or name differ")
    versions = old["modelVersionList"]
    ensure([one["modelVersionIdStr"] for one in versions] == new["modelIds"], "the versions differ")
    if versions and session.options.ours:
        alone = session.result("modelVersionDetail", {"modelVersionId": new["modelIds"][0]})
        ensure(versions[0] == alone, "a version's own route tells otherwise")
    return f"{len(versions)} versions"


@check("publishTrainModel", ours=True, writes=True)
def nothing_trained_is_published(session: Session, scene: Scene) -> str:
    """It is refused with 400 InappropriateJSON: there is no training here."""
    body = {"isNewModel": True, "modelName": "none", "versionMeta": {"taskId": 1, "iterationId": 1}}
    return session.refused("publishTrainModel", body, code="InappropriateJSON", status=400, about="versionMeta")


SYSTEM_CHECKS = (
    *page_checks(_SETS, items="systemModelSetList", key="modelSetId", fill=_no_more),
    system_sets_count_their_versions,
    system_set_by_id_or_name,
    system_set_by_one_of_both,
    unknown_system_set,
    own_set_is_no_system_set,
    system_model_by_id,
    unknown_system_model,
    old_route_tells_the_same,
    old_route_names_the_task,
    old_route_of_a_set_tells_the_same,
    nothing_trained_is_published,
)
