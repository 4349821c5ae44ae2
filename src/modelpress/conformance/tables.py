"""Every action that is documented or offered, by name."""

from __future__ import annotations

from modelpress.conformance.model_table import MODEL_TABLES
from modelpress.conformance.table import EVERY
from modelpress.conformance.task_table import TASK_TABLES

TABLES = {table.name: table for table in (EVERY, *TASK_TABLES, *MODEL_TABLES)}
