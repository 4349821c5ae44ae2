"""Methods, sparsity, calibration and tuning of compression tasks; but for the strategy all of it modelpress's own."""

from __future__ import annotations

from typing import Any

from modelpress.conformance.check import check
from modelpress.conformance.scene import Scene, new_name
from modelpress.conformance.session import Session
from modelpress.conformance.verdict import NotApplicable, ensure

_CREATE, _SCHEMES = "CreateModelCompTask", "DescribeModelCompSchemes"
_CALIBRATION = ("source", "bucket", "objectPath", "numSamples", "maxLength", "textField")
_TUNING = ("actOrder", "dampening", "smoothingStrength", "iterations")
#: What answers tell where nothing else was asked for.
_USUAL = {"source": "default", "numSamples": 128, "maxLength": 512}


def _told(session: Session, scene: Scene, **config: Any) -> dict[str, Any]:
    """What is told of the config of a task, which ends before much is done."""
    task_id = scene.new_task(config)
    told: dict[str, Any] = session.result("DescribeModelCompTask", {"modelCompTaskId": task_id})["config"]
    scene.end(task_id)
    return told


def _refused(session: Session, scene: Scene, about: str, **config: Any) -> str:
    body = {"name": "conformance", "sourceModelId": scene.source, "modelSetId": scene.target_set, "config": config}
    return session.refused(_CREATE, body, code="InappropriateJSON", status=400, about=about)


@check(_CREATE, request=("config.method",), writes=True, ours=True)
def method_is_told(session: Session, scene: Scene) -> str:
    """The method is told with the task, the one that is meant where none is named; an unknown one is refused."""
    quantized = {"strategy": "Quantization", "weight": "W4A16C16"}
    for asked, meant in ((None, "rtn"), ("RTN", "rtn"), ("auto", "rtn"), ("gptq", "gptq")):
        told = _told(session, scene, **quantized, **({"method": asked} if asked else {}))
        ensure(told["method"] == meant, f"{asked} became {told['method']!r}")
    _refused(session, scene, "config.method", **quantized, method="wanda")
    return _refused(session, scene, "config.method", **quantized, method="best")


@check(_CREATE, request=("config.strategy", "config.sparsityRatio", "config.sparsityPattern"), writes=True, ours=True)
def sparsity_is_told(session: Session, scene: Scene) -> str:
    """With strategy Sparsity the ratio is told, 0.5 where none is given, and the pattern where it is 2:4."""
    sparse = {"strategy": "Sparsity", "weight": "W8A16C16"}
    told = _told(session, scene, **sparse, sparsityRatio=0.25)
    ensure(told == sparse | {"quantConf": "wint8", "method": "magnitude", "sparsityRatio": 0.25}, f"it became {told!r}")
    told = _told(session, scene, **sparse, sparsityPattern="2:4")
    ensure((told["sparsityRatio"], told["sparsityPattern"]) == (0.5, "2:4"), f"it became {told!r}")
    return "as given"


@check(_CREATE, request=("config.sparsityRatio",), writes=True, ours=True)
def sparsity_out_of_bounds(session: Session, scene: Scene) -> str:
    """A ratio above 0.9, one of another pattern, and one without strategy Sparsity are refused."""
    _refused(session, scene, "config.sparsityRatio", strategy="Sparsity", sparsityRatio=0.95)
    _refused(session, scene, "config.sparsityRatio", strategy="Sparsity", sparsityRatio=0.6, sparsityPattern="2:4")
    quantized = {"strategy": "Quantization", "weight": "W8A16C16"}
    return _refused(session, scene, "config.sparsityRatio", **quantized, sparsityRatio=0.5)


@check(
    _CREATE,
    request=("config.calibration", *(f"config.calibration.{name}" for name in _CALIBRATION)),
    writes=True,
    ours=True,
)
def calibration_is_told(session: Session, scene: Scene) -> str:
    """The calibration is told with what is usual filled in; a file of a bucket must be there."""
    quantized = {"strategy": "Quantization", "weight": "W4A16C16"}
    told = _told(session, scene, **quantized, calibration={})
    ensure((told["method"], told["calibration"]) == ("gptq", _USUAL), f"it became {told!r}")
    own = {"source": "self", "numSamples": 2, "maxLength": 16}
    told = _told(session, scene, **quantized, calibration=own)
    ensure(told["calibration"] == own, f"it became {told!r}")
    if not session.options.bucket:
        raise NotApplicable("no file to calibrate with: give --bucket and --path")
    # The model's own config.json: any file does to be looked up.
    named = {"bucket": session.options.bucket, "objectPath": f"{session.options.path}/config.json", "textField": "text"}
    told = _told(session, scene, **quantized, calibration=named)
    ensure(told["calibration"] == _USUAL | named | {"source": "object"}, f"it became {told!r}")
    body = {"name": "conformance", "sourceModelId": scene.source, "modelSetId": scene.target_set}
    for missing, code in (({"bucket": new_name("bucket")}, "NoSuchBucket"), ({"objectPath": "none"}, "NoSuchObject")):
        config = quantized | {"calibration": named | missing}
        session.refused(_CREATE, body | {"config": config}, code=code, status=404)
    return "as given"


@check(_CREATE, request=("config.calibration",), writes=True, ours=True)
def calibration_of_what_looks_at_none(session: Session, scene: Scene) -> str:
    """Calibration for a method or a weight that is made without data is refused."""
    _refused(session, scene, "config.calibration", strategy="Sparsity", method="magnitude", calibration={})
    fp8 = {"strategy": "Quantization", "weight": "WFP8AFP8C16"}
    return _refused(session, scene, "config.calibration", **fp8, calibration={})


@check(_CREATE, request=("config.tuning", *(f"config.tuning.{name}" for name in _TUNING)), writes=True, ours=True)
def tuning_is_told(session: Session, scene: Scene) -> str:
    """What a method is tuned with is told; what it does not take is refused."""
    quantized = {"strategy": "Quantization", "weight": "INT8-PTQ"}
    smoothed = {"actOrder": False, "dampening": 0.05, "smoothingStrength": 0.75}
    told = _told(session, scene, **quantized, method="smoothquant", tuning=smoothed)
    ensure(told["tuning"] == smoothed, f"it became {told!r}")
    told = _told(session, scene, **quantized, method="learned", tuning={"iterations": 3})
    ensure(told["tuning"] == {"iterations": 3}, f"it became {told!r}")
    return _refused(session, scene, "config.tuning.iterations", **quantized, tuning={"iterations": 3})


@check(_SCHEMES, answer=("result.methods[]", "result.methods[].method"), ours=True)
def methods_are_told(session: Session, scene: Scene) -> str:
    """Every method is told with its strategy, and the weights that it makes are among the schemes."""
    told = session.result(_SCHEMES)
    schemes = {scheme["weight"] for scheme in told["schemes"]}
    strategies = {method["strategy"] for method in told["methods"]}
    ensure(strategies == {"Quantization", "Sparsity"}, f"the strategies are {', '.join(sorted(strategies))}")
    ensure(all(schemes >= set(method["weights"]) for method in told["methods"]), "a weight is none of the schemes")
    return f"{len(told['methods'])} methods"


METHOD_CHECKS = (
    method_is_told,
    sparsity_is_told,
    sparsity_out_of_bounds,
    calibration_is_told,
    calibration_of_what_looks_at_none,
    tuning_is_told,
    methods_are_told,
)
