"""Tools and hooks: what agents reach for, and what runs beside them."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.limits import LIMITS
from dashboards.panels import COUNT, PER_HOUR, Column, Look, Query, stat, table, timeseries
from dashboards.questions import LONG, RANGE, ask, some
from exporter.catalogue import agents, platform

headline = (
    stat(
        "Tool calls",
        "Calls of MCP tools in the time range.",
        Query(ask.total(agents.TOOL_CALLS)),
        Look(COUNT, decimals=0),
    ).sized(6),
    stat(
        "Success of tool calls",
        "The share of calls that succeeded, of those whose result is known.",
        Query(ask.success(agents.TOOL_CALLS, over=RANGE)),
        Look("percentunit", LIMITS.tool_success, decimals=1),
    ).sized(6),
    stat(
        "Hooks",
        "Hooks executed in the time range.",
        Query(ask.total(platform.HOOK_EXECUTIONS)),
        Look(COUNT, decimals=0),
    ).sized(6),
    stat(
        "Success of hooks",
        "The share of executions that succeeded, of those whose result is known.",
        Query(ask.success(platform.HOOK_EXECUTIONS, over=RANGE)),
        Look("percentunit", LIMITS.hook_success, decimals=1),
    ).sized(6),
)

tool_tiles = (
    timeseries(
        "Calls per hour, by server",
        "Calls of MCP tools, by the server that has them.",
        [Query(ask.per_hour(agents.TOOL_CALLS, "server"), "{{server}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Failed calls per hour",
        "By server and tool; only those that failed in the time range.",
        [
            Query(
                some(ask.per_hour(agents.TOOL_CALLS, "server", "tool", outcome="failure")),
                "{{server}} {{tool}}",
            )
        ],
        Look(PER_HOUR, low=0),
    ),
    timeseries(
        "Duration of calls, 95th percentile",
        "95 of 100 calls of the six hours before took at most so long, by server.",
        [Query(ask.quantile(0.95, agents.TOOL_DURATION, "server", over=LONG), "{{server}}")],
        Look("s", low=0),
        log=True,
    ),
    timeseries(
        "Spend on tools per hour",
        "Money spent on tool calls, by server.",
        [Query(ask.per_hour(agents.TOOL_COST, "server"), "{{server}}")],
        Look("currencyUSD", low=0),
        stacked=True,
    ),
    table(
        "Tools",
        "Each tool in the time range: how often it was called, how well that went, how long it took and what it cost. ",
        ("server", "tool"),
        (
            Column("Calls", ask.total(agents.TOOL_CALLS, "server", "tool"), COUNT, decimals=0),
            Column(
                "Success",
                ask.success(agents.TOOL_CALLS, "server", "tool", over=RANGE),
                "percentunit",
                LIMITS.tool_success,
                1,
            ),
            Column("Mean duration", ask.mean(agents.TOOL_DURATION, "server", "tool"), "s", decimals=2),
            Column("Cost", ask.total(agents.TOOL_COST, "server", "tool"), "currencyUSD", decimals=4),
        ),
        Look(),
    ).sized(24, 10),
)

hooks = (
    timeseries(
        "Hooks per hour",
        "Hooks executed, by type.",
        [Query(ask.per_hour(platform.HOOK_EXECUTIONS, "hook"), "{{hook}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Hooks per hour, by outcome",
        "How they went.",
        [Query(ask.per_hour(platform.HOOK_EXECUTIONS, "outcome"), "{{outcome}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ),
    timeseries(
        "Duration of hooks, 95th percentile",
        "95 of 100 executions took at most so long, by type: hooks hold up the session that they run in.",
        [Query(ask.quantile(0.95, platform.HOOK_DURATION, "hook"), "{{hook}}")],
        Look("s", low=0),
    ).sized(24, 8),
)

TOOLS = Board(
    "tools",
    "Platform",
    "Orchestration / Tools and hooks",
    "Which MCP servers and tools agents reach for and which hooks run: how often, how well, how long, at what cost.",
    (Row("In the time range", headline), Row("MCP tools", tool_tiles), Row("Hooks", hooks)),
    filters=(),
)
