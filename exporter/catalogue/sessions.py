"""Metrics of sessions: started, ended, active, and what one took and cost."""

from __future__ import annotations

from exporter.catalogue.tables import SESSION_ENDS, SESSIONS
from exporter.catalogue.vocabulary import COUNT_BUCKETS, END, MONEY_BUCKETS, PROJECT, SESSION_BUCKETS, SESSION_OUTCOME
from exporter.spec import Col, Counter, Feed, Gauge, Histogram, LabelValue, Metric, Project, Value


def _ends(value: Value = None, **labels: LabelValue) -> tuple[Feed, ...]:
    return (Feed(SESSION_ENDS, {"project": Project(), **labels}, value),)


SESSIONS_STARTED = Counter(
    "orchestration_sessions_started_total",
    "Sessions that started, counted when their row in orchestration_sessions is first read.",
    (PROJECT,),
    (Feed(SESSIONS, {"project": Project()}, at="first"),),
)
SESSIONS_ENDED = Counter(
    "orchestration_sessions_ended_total",
    "Sessions that ended: closed (end_time, plus 60 s), idle (no activity for session_idle_timeout, so an hour "
    "late by default) or lost (the row vanished). completed has no failed task, failed no completed one, partial "
    "both.",
    (PROJECT, SESSION_OUTCOME, END),
    _ends(outcome=Col("outcome"), end=Col("end")),
)
SESSIONS_ACTIVE = Gauge(
    "orchestration_sessions_active",
    "Sessions without an end that had activity within session_idle_timeout.",
    (PROJECT,),
    reading="sessions",
    table=SESSIONS,
    values={"project": Project()},
    known_by=SESSIONS_STARTED,
)
SESSION_DURATION = Histogram(
    "orchestration_session_duration_seconds",
    "Time from a session's start to its end_time, or to its last activity where it ended by idleness.",
    (PROJECT,),
    _ends("duration"),
    buckets=SESSION_BUCKETS,
)
SESSION_COST = Histogram(
    "orchestration_session_cost_usd",
    "Cost of a session's hand-offs, sub-agents and tools up to its end, as counted: not the row's total_cost. The "
    "same money as orchestration_cost_usd_total: never add the two.",
    (PROJECT,),
    _ends("cost"),
    buckets=MONEY_BUCKETS,
)
SESSION_HANDOFFS = Histogram(
    "orchestration_session_handoffs",
    "Hand-offs of a session up to its end.",
    (PROJECT,),
    _ends("handoffs"),
    buckets=COUNT_BUCKETS,
)
SESSION_SUBAGENTS = Histogram(
    "orchestration_session_subagents",
    "Sub-agents invoked by a session up to its end, without MCP tool calls.",
    (PROJECT,),
    _ends("subagents"),
    buckets=COUNT_BUCKETS,
)
ACTIVE_SUBAGENTS_MAX = Gauge(
    "orchestration_active_session_subagents_max",
    "Most sub-agents invoked so far by one active session of the project. A maximum: do not add it up.",
    (PROJECT,),
    reading="session_subagents_max",
    table=SESSIONS,
    values={"project": Project()},
    known_by=SESSIONS_STARTED,
)
ACTIVE_COST_MAX = Gauge(
    "orchestration_active_session_cost_usd_max",
    "Most money spent so far by one active session of the project. A maximum: do not add it up.",
    (PROJECT,),
    reading="session_cost_max",
    table=SESSIONS,
    values={"project": Project()},
    known_by=SESSIONS_STARTED,
)

METRICS: tuple[Metric, ...] = (
    SESSIONS_STARTED,
    SESSIONS_ENDED,
    SESSIONS_ACTIVE,
    SESSION_DURATION,
    SESSION_COST,
    SESSION_HANDOFFS,
    SESSION_SUBAGENTS,
    ACTIVE_SUBAGENTS_MAX,
    ACTIVE_COST_MAX,
)
