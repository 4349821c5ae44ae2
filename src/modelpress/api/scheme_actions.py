"""The action that tells of the schemes and the methods (ours), and its forms."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from modelpress.api import wire
from modelpress.api.action import Action
from modelpress.api.result import Result
from modelpress.domain.method import Strategy
from modelpress.domain.method_fact import METHODS, MethodFact
from modelpress.domain.policy import Caller
from modelpress.domain.scheme_fact import FACTS, MEASURED_ON, SchemeFact
from modelpress.service.services import Services


class RuntimeResult(Result, frozen=True, kw_only=True):
    """What a program that serves models makes of a scheme's outputs."""

    name: str
    loading: str
    version: str | UnsetType = UNSET
    hardware: str | UnsetType = UNSET


class SchemeResult(Result, frozen=True, kw_only=True):
    """One scheme; ``weight`` is its name in a task's config."""

    weight: str
    aliases: tuple[str, ...]
    quant_conf: str
    strategy: str
    summary: str
    weight_bits: int
    activation_bits: int
    cache_bits: int
    grouping: str
    ratio: float
    ratio_basis: str
    measured_ratio: float | UnsetType = UNSET
    measured_on: str | UnsetType = UNSET
    calibration_helps: bool
    calibration: str
    runtimes: tuple[RuntimeResult, ...]


class MethodResult(Result, frozen=True, kw_only=True, omit_defaults=False):
    """One method; ``tuning`` has the fields of ``config.tuning`` that are for it, ``weights`` the schemes it makes."""

    method: str
    strategy: str
    summary: str
    is_calibrated: bool
    tuning: tuple[str, ...]
    weights: tuple[str, ...]


class SchemeList(Result, frozen=True, kw_only=True):
    """DescribeModelCompSchemes."""

    schemes: tuple[SchemeResult, ...]
    methods: tuple[MethodResult, ...]


def scheme_list() -> SchemeList:
    """All schemes, and all methods."""
    return SchemeList(schemes=tuple(map(_scheme_result, FACTS)), methods=tuple(map(_method_result, METHODS)))


def _method_result(fact: MethodFact) -> MethodResult:
    return MethodResult(
        method=fact.method.value,
        strategy=fact.method.strategy.value,
        summary=fact.summary,
        is_calibrated=fact.method.calibrated,
        tuning=fact.options,
        weights=tuple(scheme.name for scheme in fact.schemes),
    )


def _scheme_result(fact: SchemeFact) -> SchemeResult:
    scheme = fact.scheme
    return SchemeResult(
        weight=scheme.name,
        aliases=scheme.aliases,
        quant_conf=scheme.quant_conf,
        strategy=Strategy.QUANTIZATION.value,
        summary=fact.summary,
        weight_bits=scheme.weight_bits,
        activation_bits=scheme.activation_bits,
        cache_bits=scheme.cache_bits,
        grouping=scheme.grouping,
        ratio=fact.ratio,
        ratio_basis=fact.ratio_basis,
        measured_ratio=UNSET if fact.measured_ratio is None else fact.measured_ratio,
        measured_on=UNSET if fact.measured_ratio is None else MEASURED_ON,
        calibration_helps=fact.calibration_helps,
        calibration=fact.calibration,
        runtimes=tuple(
            RuntimeResult(
                name=runtime.name,
                loading=runtime.loading.value,
                version=runtime.version or UNSET,
                hardware=runtime.hardware or UNSET,
            )
            for runtime in fact.runtimes
        ),
    )


def _describe_schemes(_services: Services, _caller: Caller, _request: wire.Request) -> SchemeList:
    return scheme_list()


SCHEME_ACTIONS = (
    Action(name="DescribeModelCompSchemes", request=wire.Request, run=_describe_schemes, writes=False, quick=True),
)
