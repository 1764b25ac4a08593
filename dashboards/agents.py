"""Agents and tasks: who does the work, how well, and what it costs."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.graphs import graph
from dashboards.limits import LIMITS
from dashboards.panels import COUNT, PER_HOUR, Column, Look, Query, bars, heatmap, stat, table, timeseries
from dashboards.questions import LONG, RANGE, RATE, ask, some
from exporter.catalogue import agents, tasks

headline = (
    stat(
        "Tasks",
        "Tasks with an outcome in the time range.",
        Query(ask.total(tasks.TASKS_TOTAL)),
        Look(COUNT, decimals=0),
    ),
    stat(
        "Success of tasks",
        "The share of tasks that succeeded, of those whose outcome is known.",
        Query(ask.success(tasks.TASKS_TOTAL, over=RANGE)),
        Look("percentunit", LIMITS.task_success, decimals=1),
    ),
    stat(
        "Quality",
        "Mean quality of tasks on the platform's scale of 0 to 5.",
        Query(ask.mean(tasks.TASK_QUALITY)),
        Look("none", decimals=2, high=5),
    ),
    stat(
        "Sub-agents",
        "Sub-agents invoked in the time range, without MCP tool calls.",
        Query(ask.total(agents.SUBAGENT_INVOCATIONS)),
        Look(COUNT, decimals=0),
    ),
    stat(
        "Success of sub-agents",
        "The share that succeeded of those whose result was recorded. The platform's own tracker records none: they "
        "are unknown, and not in it.",
        Query(ask.success(agents.SUBAGENT_INVOCATIONS, over=RANGE)),
        Look("percentunit", LIMITS.agent_success, decimals=1),
    ),
    stat(
        "Spend on sub-agents",
        "Money spent on sub-agents in the time range.",
        Query(ask.total(agents.SUBAGENT_COST)),
        Look("currencyUSD", decimals=2),
    ),
)

work = (
    timeseries(
        "Tasks per hour, by type",
        "What kind of work is done.",
        [Query(ask.per_hour(tasks.TASK_TYPES, "task_type"), "{{task_type}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Tasks per hour, by outcome",
        "How it goes.",
        [Query(ask.per_hour(tasks.TASKS_TOTAL, "outcome"), "{{outcome}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Success of tasks by model",
        "The share of tasks that succeeded, where there were at least five in a step.",
        [Query(ask.success(tasks.TASKS_TOTAL, "model"), "{{model}}")],
        Look("percentunit", LIMITS.task_success, high=1),
        limits=True,
    ),
    timeseries(
        "Errors per hour",
        "Failed tasks by type of error.",
        [Query(ask.per_hour(tasks.TASK_ERRORS, "error_type"), "{{error_type}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Quality of tasks",
        "Mean quality on the platform's scale of 0 to 5, by model.",
        [Query(ask.mean(tasks.TASK_QUALITY, "model", over=RATE), "{{model}}")],
        Look("none", low=0, high=5, decimals=2),
    ),
    timeseries(
        "Duration of tasks, 95th percentile",
        "95 of 100 successful tasks took at most so long, by type.",
        [Query(ask.quantile(0.95, tasks.TASK_DURATION, "task_type", outcome="success"), "{{task_type}}")],
        Look("s", low=0),
    ),
    heatmap(
        "Quality",
        "How many tasks had which quality, the more the darker.",
        Query(ask.buckets(tasks.TASK_QUALITY), "{{le}}"),
        Look("none"),
    ).sized(24, 10),
)

who = (
    timeseries(
        "Sub-agents per hour",
        "Sub-agents invoked, by agent.",
        [Query(ask.per_hour(agents.SUBAGENT_INVOCATIONS, "agent"), "{{agent}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Sub-agents per hour, by outcome",
        "Where the platform records no result, they are unknown.",
        [Query(ask.per_hour(agents.SUBAGENT_INVOCATIONS, "outcome"), "{{outcome}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Duration of sub-agents, 95th percentile",
        "95 of 100 sub-agents of the six hours before took at most so long, by agent.",
        [Query(ask.quantile(0.95, agents.SUBAGENT_DURATION, "agent", over=LONG), "{{agent}}")],
        Look("s", low=0),
    ),
    timeseries(
        "Spend on sub-agents per hour",
        "Money spent, by agent.",
        [Query(ask.per_hour(agents.SUBAGENT_COST, "agent"), "{{agent}}")],
        Look("currencyUSD", low=0),
        stacked=True,
    ),
    graph(
        "Who spawns whom",
        "Agents as circles, invocations as arrows, with how many there were in the time range.",
        agents.SUBAGENT_SPAWNS,
        "parent",
        "agent",
    ).sized(12, 26),
    table(
        "Agents",
        "Each agent in the time range: how often it was invoked, how well that went where it was recorded, how long it "
        "took and what it cost. Duration and cost are of all projects.",
        ("agent",),
        (
            Column("Invoked", ask.total(agents.SUBAGENT_INVOCATIONS, "agent"), COUNT, decimals=0),
            Column(
                "Success",
                ask.success(agents.SUBAGENT_INVOCATIONS, "agent", over=RANGE),
                "percentunit",
                LIMITS.agent_success,
                1,
            ),
            Column("Mean duration", ask.mean(agents.SUBAGENT_DURATION, "agent"), "s", decimals=1),
            Column("Cost", ask.total(agents.SUBAGENT_COST, "agent"), "currencyUSD", decimals=2),
        ),
        Look(),
    ).sized(12, 13),
    bars(
        "Errors",
        "Failed tasks in the time range, by type of error.",
        [Query(some(ask.total(tasks.TASK_ERRORS, "error_type")), "{{error_type}}")],
        Look(COUNT, low=0, decimals=0),
    ).sized(12, 13),
)

AGENTS = Board(
    "agents",
    "Platform",
    "Orchestration / Agents and tasks",
    "Who does the work, how well, how long it takes and what it costs.",
    (Row("In the time range", headline), Row("Tasks", work), Row("Sub-agents", who)),
)
