"""Every table and every metric, declared once.

The reader's SQL, the state's arithmetic, the exposition's HELP, the reference, the dashboards and the alerts follow
from what stands here. To change a metric, change it in the module of its subject.
"""

from __future__ import annotations

from exporter.catalogue import agents, handoffs, models, money, own, platform, routing, sessions, tasks
from exporter.catalogue.shown import SHOWN
from exporter.catalogue.tables import NEWEST, OF_SESSIONS, SESSION_ENDS, TABLES
from exporter.spec import Metric, Schema

METRICS: tuple[Metric, ...] = (
    *own.HEALTH,
    *sessions.METRICS,
    *handoffs.METRICS,
    *money.METRICS,
    *agents.METRICS,
    *tasks.METRICS,
    *routing.METRICS,
    *models.METRICS,
    *platform.METRICS,
    *own.METRICS,
)
"""All metrics made from a source, in the order of the exposition."""

SCHEMA = Schema(
    TABLES,
    METRICS,
    ends=SESSION_ENDS,
    own=own.COUNTERS,
    ledger=money.LEDGER,
    escalation=handoffs.ESCALATION,
    newest=NEWEST,
    of_sessions=OF_SESSIONS,
    headlines={
        "Sessions started": sessions.SESSIONS_STARTED,
        "Sessions ended": sessions.SESSIONS_ENDED,
        "Hand-offs": handoffs.HANDOFFS_TOTAL,
        "Tasks": tasks.TASKS_TOTAL,
        "Sub-agents": agents.SUBAGENT_INVOCATIONS,
        "MCP tool calls": agents.TOOL_CALLS,
        "Spend (USD)": money.COST,
        "Baseline (USD)": money.BASELINE_COST,
    },
)
"""What a platform's database is read by."""

__all__ = ["METRICS", "SCHEMA", "SHOWN", "TABLES"]
