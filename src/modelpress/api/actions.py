"""The actions of ``POST /v2/model``: one row each. An Action that is no row cannot reach code."""

from __future__ import annotations

from modelpress.api.configuration_actions import CONFIGURATION_ACTIONS
from modelpress.api.export_actions import EXPORT_ACTIONS
from modelpress.api.model_actions import MODEL_ACTIONS, V1_ROUTES
from modelpress.api.scheme_actions import SCHEME_ACTIONS
from modelpress.api.task_actions import TASK_ACTIONS

__all__ = ["ACTIONS", "V1_ROUTES"]

#: The actions of ``/v2/model`` by name.
ACTIONS = {
    action.name: action
    for action in (*TASK_ACTIONS, *SCHEME_ACTIONS, *MODEL_ACTIONS, *EXPORT_ACTIONS, *CONFIGURATION_ACTIONS)
}
