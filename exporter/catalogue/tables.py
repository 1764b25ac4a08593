"""The tables that are read, with the limits beyond which a value is an error of the writer."""

from __future__ import annotations

from exporter.spec import Flag, Is, Json, Number, Table, Tally, Text, Time

_COST_USD = 1e6
_SAVINGS_USD = 1e6
_COUNT = 1e6
_DURATION_S = 1e9
_TOKENS = 1e12

SESSIONS = Table(
    "orchestration_sessions",
    columns=(
        Text("session_id"),
        Time("start_time"),
        Time("end_time"),
        Text("project_name"),
        Number("completed_tasks", _COUNT),
        Number("failed_tasks", _COUNT),
    ),
    time="start_time",
    identity=("session_id", "start_time"),
    is_sessions=True,
)

HANDOFFS = Table(
    "handoff_events",
    columns=(
        Text("session_id"),
        Time("timestamp"),
        Text("task_type"),
        Text("source_model"),
        Text("target_model"),
        Json("route_reason", "metadata", "$.route_reason"),
        Flag("success"),
        Number("confidence_score", 1.0),
        Number("tokens_used", _TOKENS),
        Number("cost", _COST_USD),
        Number("savings", _SAVINGS_USD, minimum=-_SAVINGS_USD),
        Number("response_time", _DURATION_S),
    ),
    time="timestamp",
    identity=("session_id", "timestamp"),
    final_when="success",
    tally=Tally("handoffs", cost="cost"),
)

SUBAGENTS = Table(
    "subagent_invocations",
    columns=(
        Text("session_id"),
        Time("timestamp"),
        Text("agent_type"),
        Text("agent_name"),
        Text("mcp_server_name"),
        Text("mcp_tool_name"),
        Json("metadata_server", "metadata", "$.mcp_server_name"),
        Json("metadata_tool", "metadata", "$.mcp_tool_name"),
        Flag("success"),
        Number("execution_time", _DURATION_S),
        Number("tokens_used", _TOKENS),
        Number("cost", _COST_USD),
    ),
    time="timestamp",
    identity=("session_id", "timestamp"),
    tally=Tally("subagents", cost="cost", where=Is("agent_type", "mcp_tool", negate=True)),
)

TASKS = Table(
    "task_outcomes",
    columns=(
        Text("session_id"),
        Time("timestamp"),
        Text("task_type"),
        Text("model_used"),
        Text("error_type"),
        Flag("success"),
        Number("execution_time", _DURATION_S),
        Number("cost", _COST_USD),
        Number("quality_score", 5.0),
    ),
    time="timestamp",
    identity=("session_id", "timestamp"),
)

ROUTING = Table(
    "routing_decisions",
    columns=(Text("session_id"), Time("timestamp")),
    time="timestamp",
    identity=("session_id", "timestamp"),
)

HOOKS = Table(
    "claude_code_hooks",
    columns=(Text("session_id"), Time("timestamp")),
    time="timestamp",
    identity=("session_id", "timestamp"),
)

SESSION_ENDS = Table(
    "session_ends",
    columns=(
        Text("outcome"),
        Text("end"),
        Number("duration", _DURATION_S),
        Number("cost", 1e12),
        Number("handoffs", 1e12),
        Number("subagents", 1e12),
    ),
    time="",
    identity=(),
    session=None,
    virtual=True,
    reported_as=SESSIONS.name,
)
"""Rows that the state makes: one for each session that ends, with what was counted while it ran."""

TABLES = (SESSIONS, HANDOFFS, SUBAGENTS, TASKS, ROUTING, HOOKS)
"""The tables that are read, sessions first. Routing decisions and hooks are read for their sessions' activity."""
