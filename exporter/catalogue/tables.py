"""The tables that are read, with the limits beyond which a value is an error of the writer."""

from __future__ import annotations

from exporter.spec import Flag, Is, Json, Lacks, Number, Table, Tally, Text, Time

_COST_USD = 1e6
_SAVINGS_USD = 1e6
_COUNT = 1e6
_DURATION_S = 1e9
_TOKENS = 1e12
_SCORE = 1e6

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
        Lacks("unpriced", "cost", used="tokens_used", maximum=_TOKENS),
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
        Text("parent_agent"),
        Text("mcp_server_name"),
        Text("mcp_tool_name"),
        Json("metadata_server", "metadata", "$.mcp_server_name"),
        Json("metadata_tool", "metadata", "$.mcp_tool_name"),
        Flag("success"),
        Number("execution_time", _DURATION_S),
        Number("tokens_used", _TOKENS),
        Number("cost", _COST_USD),
        Lacks("unpriced", "cost", used="tokens_used", maximum=_TOKENS),
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
    columns=(
        Text("session_id"),
        Time("timestamp"),
        Text("task_complexity"),
        Text("selected_model"),
        Text("selected_vendor"),
        Number("confidence_score", 1.0),
        Flag("execution_success"),
        Number("actual_cost", _COST_USD),
        Number("actual_tokens", _TOKENS),
        Number("actual_duration", _DURATION_S),
    ),
    time="timestamp",
    identity=("session_id", "timestamp"),
    final_when="execution_success",
    vendor=("selected_model", "selected_vendor"),
)

CALLS = Table(
    "model_performance",
    columns=(
        Text("model_name"),
        Text("vendor"),
        Time("timestamp"),
        Text("task_type"),
        Number("response_time", _DURATION_S),
        Number("quality_score", 1.0),
        Number("error_count", _COUNT),
        Number("retry_count", _COUNT),
    ),
    time="timestamp",
    identity=("model_name", "timestamp"),
    session=None,
    vendor=("model_name", "vendor"),
)

HOOKS = Table(
    "claude_code_hooks",
    columns=(
        Text("session_id"),
        Time("timestamp"),
        Text("hook_type"),
        Flag("success"),
        Number("processing_time", _DURATION_S),
    ),
    time="timestamp",
    identity=("session_id", "timestamp"),
)

ACTIVITIES = Table(
    "live_activities",
    columns=(Text("session_id"), Time("timestamp"), Text("event_type")),
    time="timestamp",
    identity=("session_id", "timestamp"),
    session=None,
)
"""The platform's feed of what it does, which it deletes after seven days. It is no activity of a session."""

TOKEN_BUDGETS = Table(
    "token_budgets",
    columns=(
        Text("session_id"),
        Text("priority_level"),
        Number("initial_budget", _TOKENS),
        Number("claude_tokens_used", _TOKENS),
        Number("deepseek_tokens_used", _TOKENS),
        Number("other_tokens_used", _TOKENS),
        Flag("budget_exhausted"),
        Time("updated_at"),
    ),
    time="updated_at",
    identity=(),
)

CAPACITIES = Table(
    "model_capacity_thresholds",
    columns=(
        Text("model_name"),
        Text("vendor"),
        Number("capacity_threshold", 1.0),
        Number("cost_per_token", _COST_USD),
        Number("availability_score", 1.0),
        Time("last_updated"),
    ),
    time="last_updated",
    identity=(),
    session=None,
    vendor=("model_name", "vendor"),
)

ACCOUNT = Table(
    "claude_account_analysis",
    columns=(
        Text("period_type"),
        Text("current_tier"),
        Text("recommended_tier"),
        Number("claude_cost_actual", _COST_USD),
        Number("claude_cost_if_pro", _COST_USD),
        Number("deepseek_cost_actual", _COST_USD),
        Number("projected_savings", _SAVINGS_USD, minimum=-_SAVINGS_USD),
        Number("transition_confidence", 1.0),
        Time("timestamp"),
    ),
    time="timestamp",
    identity=(),
    session=None,
)

PATTERNS = Table(
    "pattern_analysis",
    columns=(
        Text("pattern_type"),
        Text("pattern_name"),
        Number("frequency", _COUNT),
        Number("impact_score", _SCORE, minimum=-_SCORE),
        Time("timestamp"),
    ),
    time="timestamp",
    identity=(),
    session=None,
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

ESCALATIONS = Table(
    "handoff_escalations",
    columns=(Text("reason"),),
    time="",
    identity=(),
    session=None,
    virtual=True,
    reported_as=HANDOFFS.name,
)
"""Rows that the state makes: one for each hand-off that had to go to a paid model."""

TABLES = (SESSIONS, HANDOFFS, SUBAGENTS, TASKS, ROUTING, CALLS, HOOKS, ACTIVITIES)
"""The tables that are read by a cursor, sessions first."""
NEWEST = (CAPACITIES, ACCOUNT, PATTERNS)
"""Mutable tables, of which the newest rows are read at every look."""
OF_SESSIONS = (TOKEN_BUDGETS,)
"""Mutable tables, of which the rows of open sessions are read."""
