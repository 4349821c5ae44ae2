"""What may be asked of a compression task beside its weight; all of it modelpress's own."""

from __future__ import annotations

from typing import Any

from modelpress.conformance.check import check
from modelpress.conformance.scene import Scene
from modelpress.conformance.session import Session
from modelpress.conformance.verdict import ensure

_CREATE = "CreateModelCompTask"
#: Patterns that fit layers of any model of two or more.
_FIRST, _SECOND = "*.0.*", "*.1.*"


@check(
    _CREATE,
    request=(
        *(f"config.{name}" for name in ("groupSize", "symmetric", "scaleSearch", "targets", "ignore", "overrides[]")),
        *(f"config.overrides[].{name}" for name in ("targets", "weight", "groupSize", "symmetric")),
    ),
    writes=True,
    ours=True,
)
def options_are_told_back(session: Session, scene: Scene) -> str:
    """What is asked beside the weight is told with the task; what is usual goes without saying."""
    overrides: list[dict[str, Any]] = [
        {"targets": [_SECOND], "weight": "W8A16C16", "groupSize": 2},
        {"targets": ["*", _SECOND], "weight": "none"},
        {"targets": ["*.?.*"], "symmetric": True},
    ]
    asked = {"symmetric": False, "scaleSearch": "mse", "targets": ["*"], "ignore": [_FIRST], "overrides": overrides}
    config = {"strategy": "Quantization", "weight": "W4A16C16", "groupSize": "channel"}
    usual = {"outputFormat": "safetensors"}
    task_id = scene.new_task(config | asked | usual)
    told = session.result("DescribeModelCompTask", {"modelCompTaskId": task_id})["config"]
    scene.end(task_id)
    overrides[2]["weight"] = "W4A16C16"
    expected = config | asked | {"quantConf": "wint4", "method": "rtn"}
    ensure(told == expected, f"config became {told!r}")
    plain = scene.new_task(
        {"strategy": "Quantization", "weight": "W8A16C16", "groupSize": "channel", "symmetric": True}
        | {"scaleSearch": "max", "targets": [], "overrides": [{"targets": ["*"], "groupSize": "channel"}]}
    )
    told = session.result("DescribeModelCompTask", {"modelCompTaskId": plain})["config"]
    scene.end(plain)
    usual_config = {"strategy": "Quantization", "weight": "W8A16C16", "quantConf": "wint8", "method": "rtn"}
    ensure(told == usual_config | {"overrides": [{"targets": ["*"], "weight": "W8A16C16"}]}, f"config became {told!r}")
    return "as given"


def _refused(session: Session, scene: Scene, about: str, **options: Any) -> str:
    config = {"strategy": "Quantization", "weight": "INT8-PTQ"} | options
    body = {"name": "conformance", "sourceModelId": scene.source, "modelSetId": scene.target_set, "config": config}
    return session.refused(_CREATE, body, code="InappropriateJSON", status=400, about=about)


@check(_CREATE, request=("config.outputFormat", "config.weight"), writes=True, ours=True)
def format_that_has_no_such_weight(session: Session, scene: Scene) -> str:
    """A weight that the asked for format does not have is refused with 400 InappropriateJSON."""
    return _refused(session, scene, "config.outputFormat", outputFormat="gguf")


@check(_CREATE, request=("config.targets",), writes=True, ours=True)
def regular_expression(session: Session, scene: Scene) -> str:
    """A regular expression where a pattern is expected is refused with 400 InappropriateJSON."""
    return _refused(session, scene, "config.targets", targets=["re:.*"])


OPTION_CHECKS = (options_are_told_back, format_that_has_no_such_weight, regular_expression)
