"""What the pages show of the event tables: labels, outcomes, durations and money, and no text that a person typed."""

from __future__ import annotations

from exporter.catalogue.tables import HANDOFFS, HOOKS, ROUTING, SUBAGENTS, TASKS
from exporter.shown import Shown
from exporter.spec import Col, FirstOf, Is, Part

SHOWN: tuple[Shown, ...] = (
    Shown(
        HANDOFFS,
        "hand-off",
        who=(Col("target_model"),),
        what=Col("task_type"),
        outcome="success",
        duration="response_time",
        cost="cost",
        is_model=True,
    ),
    Shown(
        SUBAGENTS,
        "sub-agent",
        who=(Col("agent_name"),),
        outcome="success",
        duration="execution_time",
        cost="cost",
        where=Is("agent_type", "mcp_tool", negate=True),
    ),
    Shown(
        SUBAGENTS,
        "tool call",
        who=(
            FirstOf((Col("mcp_server_name"), Col("metadata_server"), Part("agent_name", 0))),
            FirstOf((Col("mcp_tool_name"), Col("metadata_tool"), Part("agent_name", 1))),
        ),
        outcome="success",
        duration="execution_time",
        cost="cost",
        where=Is("agent_type", "mcp_tool"),
    ),
    # its cost is that of the hand-off or call that did the task: shown, it would be added up twice
    Shown(
        TASKS,
        "task",
        who=(Col("model_used"),),
        what=Col("task_type"),
        error=Col("error_type"),
        outcome="success",
        duration="execution_time",
        is_model=True,
    ),
    # the platform of today never fills in how it went; its cost is that of the hand-off
    Shown(
        ROUTING,
        "routing decision",
        who=(Col("selected_model"),),
        what=Col("task_complexity"),
        outcome="execution_success",
        duration="actual_duration",
        is_model=True,
        waits=False,
    ),
    Shown(HOOKS, "hook", who=(Col("hook_type"),), outcome="success", duration="processing_time"),
)
"""The kinds of events, in the order in which a session counts them."""
