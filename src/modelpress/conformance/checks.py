"""All checks, in the order in which they are run: what looks at all answers comes last."""

from __future__ import annotations

from modelpress.conformance.authentication_check import AUTHENTICATION_CHECKS
from modelpress.conformance.configuration_check import CONFIGURATION_CHECKS
from modelpress.conformance.envelope_check import ENVELOPE_CHECKS
from modelpress.conformance.export_check import EXPORT_CHECKS
from modelpress.conformance.filter_check import FILTER_CHECKS
from modelpress.conformance.form_check import answer_check, request_checks
from modelpress.conformance.method_check import METHOD_CHECKS
from modelpress.conformance.model_check import MODEL_CHECKS
from modelpress.conformance.option_check import OPTION_CHECKS
from modelpress.conformance.system_check import SYSTEM_CHECKS
from modelpress.conformance.tables import TABLES
from modelpress.conformance.task_check import TASK_CHECKS

_OFFERED = [table for table in TABLES.values() if table.offered]

CHECKS = (
    *ENVELOPE_CHECKS,
    *AUTHENTICATION_CHECKS,
    # Models first: they make what the lists' pages are made of.
    *MODEL_CHECKS,
    *SYSTEM_CHECKS,
    *EXPORT_CHECKS,
    *CONFIGURATION_CHECKS,
    *TASK_CHECKS,
    *OPTION_CHECKS,
    *METHOD_CHECKS,
    *FILTER_CHECKS,
    *(made for table in _OFFERED for made in request_checks(table)),
    *(answer_check(table) for table in _OFFERED if table.answer),
)
