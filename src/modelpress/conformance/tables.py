"""Every action that is documented or offered, by name."""

from __future__ import annotations

from modelpress.conformance.configuration_table import CONFIGURATION_TABLES
from modelpress.conformance.export_table import EXPORT_TABLES
from modelpress.conformance.model_table import MODEL_TABLES
from modelpress.conformance.system_table import OLD_TABLES, SYSTEM_TABLES
from modelpress.conformance.table import EVERY
from modelpress.conformance.task_table import TASK_TABLES

TABLES = {
    table.name: table
    for table in (
        EVERY,
        *TASK_TABLES,
        *MODEL_TABLES,
        *SYSTEM_TABLES,
        *OLD_TABLES,
        *EXPORT_TABLES,
        *CONFIGURATION_TABLES,
    )
}
