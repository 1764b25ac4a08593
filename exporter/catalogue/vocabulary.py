"""Labels and buckets that the metrics share."""

from __future__ import annotations

from exporter.catalogue.tables import TABLES
from exporter.spec import Label

DURATION_BUCKETS = tuple(0.01 * 2**n for n in range(18))
"""0.01 doubling to 1310.72 s: OpenTelemetry's GenAI client durations (to 81.92 s), extended for agents."""
TOOL_BUCKETS = DURATION_BUCKETS[:11]
"""0.01 doubling to 10.24 s."""
SHORT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""What should be quick, in seconds."""
SESSION_BUCKETS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0)
MONEY_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0),
)
COUNT_BUCKETS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
QUALITY_BUCKETS = tuple(0.5 * n for n in range(1, 11))

PROJECT = Label("project")
MODEL = Label("model")
SOURCE_MODEL = Label("source_model", vocabulary="model")
REASON = Label("reason", vocabulary="route_reason")
TASK_TYPE = Label("task_type")
COMPLEXITY = Label("complexity")
AGENT = Label("agent")
PARENT = Label("parent", vocabulary="agent")
HOOK = Label("hook")
EVENT = Label("event")
VENDOR = Label("vendor")
TIER = Label("tier")
PRIORITY = Label("priority")
PERIOD_TYPE = Label("period", vocabulary="account_period")
ACCOUNT_TIER = Label("tier", vocabulary="account_tier")
RECOMMENDED_TIER = Label("recommended_tier", vocabulary="account_tier")
BASIS = Label("basis", closed=("actual", "if_pro", "local"))
PATTERN = Label("pattern")
KIND = Label("kind")
BUDGET = Label("budget")
SERVER = Label("server")
TOOL = Label("tool")
ERROR_TYPE = Label("error_type")
OUTCOME = Label("outcome", closed=("success", "failure", "unknown"))
SESSION_OUTCOME = Label("outcome", vocabulary="session_outcome", closed=("completed", "partial", "failed"))
ESCALATION_REASON = Label("reason", vocabulary="escalation_reason", closed=("retry", "unavailable"))
PERIOD = Label(
    "period",
    vocabulary="ledger_period",
    closed=(
        *("day", "week", "month", "previous_day", "previous_week", "previous_month"),
        *("previous_day_to_date", "previous_week_to_date", "previous_month_to_date"),
    ),
)
END = Label("end", closed=("closed", "idle", "lost"))
COMPONENT = Label("component", closed=("handoff", "subagent", "tool"))
TABLE = Label("table", closed=tuple(table.name for table in TABLES))
REJECTION = Label(
    "reason",
    vocabulary="rejection",
    closed=("not_a_number", "negative", "out_of_range", "bad_time", "bad_json", "bad_text", "bad_flag"),
)
METRIC = Label("metric")
OVERFLOWN = Label("label")
