"""Sessions: how many there are, how they end, what one takes and costs."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.limits import LIMITS
from dashboards.panels import COUNT, PER_HOUR, Column, Look, Query, bars, heatmap, stat, table, timeseries
from dashboards.questions import LONG, RANGE, ask, share, some
from exporter.catalogue import platform, sessions
from exporter.spec import Histogram

headline = (
    stat(
        "Started",
        "Sessions that started in the time range.",
        Query(ask.total(sessions.SESSIONS_STARTED)),
        Look(COUNT, decimals=0),
    ),
    stat(
        "Active",
        "Sessions without an end that did something within the last hour (session_idle_timeout).",
        Query(ask.now(sessions.SESSIONS_ACTIVE)),
        Look(COUNT, decimals=0),
    ),
    stat(
        "Completed",
        "The share of ended sessions in which no task failed. Most end by idleness, so they come an hour late.",
        Query(share(ask.total(sessions.SESSIONS_ENDED, outcome="completed"), ask.total(sessions.SESSIONS_ENDED))),
        Look("percentunit", decimals=0),
    ),
    stat(
        "Median cost",
        "Half of the sessions that ended in the time range cost at most so much.",
        Query(ask.quantile(0.5, sessions.SESSION_COST, over=RANGE)),
        Look("currencyUSD", decimals=3),
    ),
    stat(
        "Widest active",
        "Most sub-agents that one active session has invoked so far: one that spawns without end shows here first.",
        Query(ask.now(sessions.ACTIVE_SUBAGENTS_MAX, how="max")),
        Look(COUNT, LIMITS.subagents, decimals=0),
    ),
    stat(
        "Dearest active",
        "Most money that one active session has spent so far.",
        Query(ask.now(sessions.ACTIVE_COST_MAX, how="max")),
        Look("currencyUSD", LIMITS.session_cost, decimals=2),
    ),
)

course = (
    timeseries(
        "Started per hour",
        "Sessions that started, by project.",
        [Query(ask.per_hour(sessions.SESSIONS_STARTED, "project"), "{{project}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Active",
        "Sessions without an end that did something within the last hour, by project.",
        [Query(ask.now(sessions.SESSIONS_ACTIVE, "project"), "{{project}}")],
        Look(COUNT, low=0, decimals=0),
        stacked=True,
    ),
    timeseries(
        "Ended per hour, by outcome",
        "completed has no failed task, failed no completed one, partial both. Sessions that end by idleness come an "
        "hour late.",
        [Query(ask.per_hour(sessions.SESSIONS_ENDED, "outcome"), "{{outcome}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Ended per hour, by how",
        "closed by the platform, idle for an hour, or lost: the row vanished while the session was open.",
        [Query(ask.per_hour(sessions.SESSIONS_ENDED, "end"), "{{end}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
)


def _quantiles(metric: Histogram) -> list[Query]:
    return [
        Query(ask.quantile(level, metric, over=LONG), name)
        for level, name in ((0.5, "median"), (0.95, "95th percentile"))
    ]


each = (
    timeseries(
        "Duration",
        "Half and 95 of 100 sessions took at most so long, from their start to their end or last activity. An hour "
        "late for those that end by idleness.",
        _quantiles(sessions.SESSION_DURATION),
        Look("s", low=0),
    ),
    timeseries(
        "Cost",
        "Half and 95 of 100 sessions cost at most so much: hand-offs, sub-agents and tools. An hour late for those "
        "that end by idleness.",
        _quantiles(sessions.SESSION_COST),
        Look("currencyUSD", low=0),
    ),
    timeseries(
        "Hand-offs",
        "Half and 95 of 100 sessions had at most so many hand-offs.",
        _quantiles(sessions.SESSION_HANDOFFS),
        Look("short", low=0),
    ),
    timeseries(
        "Fan-out",
        "Half and 95 of 100 sessions invoked at most so many sub-agents.",
        _quantiles(sessions.SESSION_SUBAGENTS),
        Look("short", low=0),
    ),
    heatmap(
        "Durations",
        "How many sessions took how long, the more the darker.",
        Query(ask.buckets(sessions.SESSION_DURATION), "{{le}}"),
        Look("s"),
    ),
    heatmap(
        "Costs",
        "How many sessions cost how much, the more the darker.",
        Query(ask.buckets(sessions.SESSION_COST), "{{le}}"),
        Look("currencyUSD"),
    ),
)

now = (
    timeseries(
        "Widest active session",
        "Most sub-agents that one active session of each project has invoked so far.",
        [Query(ask.now(sessions.ACTIVE_SUBAGENTS_MAX, "project", how="max"), "{{project}}")],
        Look(COUNT, low=0, decimals=0),
    ),
    timeseries(
        "Dearest active session",
        "Most money that one active session of each project has spent so far.",
        [Query(ask.now(sessions.ACTIVE_COST_MAX, "project", how="max"), "{{project}}")],
        Look("currencyUSD", low=0),
    ),
    table(
        "By project",
        "Sessions in the time range by project, how many are active now, and what one costs on average.",
        ("project",),
        (
            Column("Started", ask.total(sessions.SESSIONS_STARTED, "project"), COUNT, decimals=0),
            Column("Active", ask.now(sessions.SESSIONS_ACTIVE, "project"), COUNT, decimals=0),
            Column("Mean cost", ask.mean(sessions.SESSION_COST, "project"), "currencyUSD", decimals=3),
            Column("Mean duration", ask.mean(sessions.SESSION_DURATION, "project"), "s", decimals=0),
            Column("Mean hand-offs", ask.mean(sessions.SESSION_HANDOFFS, "project"), decimals=1),
        ),
        Look(),
    ).sized(24, 10),
    bars(
        "Activities",
        "What the platform announced in the time range, by type of event.",
        [Query(some(ask.total(platform.ACTIVITIES_TOTAL, "event")), "{{event}}")],
        Look(COUNT, low=0, decimals=0),
    ).sized(24, 8),
)

SESSIONS = Board(
    "sessions",
    "Platform",
    "Orchestration / Sessions",
    "How many sessions there are, how they end, and what one takes and costs.",
    (
        Row("Now", headline),
        Row("How many", course),
        Row("What one takes, of those that ended in the six hours before", each),
        Row("Who", now),
    ),
    filters=("project",),
)
