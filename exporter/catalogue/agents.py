"""Metrics of sub-agents and MCP tools."""

from __future__ import annotations

from exporter.catalogue.tables import SUBAGENTS
from exporter.catalogue.vocabulary import AGENT, DURATION_BUCKETS, OUTCOME, PARENT, PROJECT, SERVER, TOOL, TOOL_BUCKETS
from exporter.spec import Col, Counter, Feed, FirstOf, Histogram, Is, LabelValue, Metric, Outcome, Part, Project, Value

_SUCCESS = Outcome("success")
_NOT_A_TOOL = (Is("agent_type", "mcp_tool", negate=True),)
_A_TOOL = (Is("agent_type", "mcp_tool"),)
_SERVER = FirstOf((Col("mcp_server_name"), Col("metadata_server"), Part("agent_name", 0)))
_TOOL = FirstOf((Col("mcp_tool_name"), Col("metadata_tool"), Part("agent_name", 1)))


def _agents(value: Value = None, **labels: LabelValue) -> tuple[Feed, ...]:
    return (Feed(SUBAGENTS, labels, value, where=_NOT_A_TOOL),)


def _tools(value: Value = None, **labels: LabelValue) -> tuple[Feed, ...]:
    return (Feed(SUBAGENTS, {"server": _SERVER, "tool": _TOOL, **labels}, value, where=_A_TOOL),)


SUBAGENT_INVOCATIONS = Counter(
    "orchestration_subagent_invocations_total",
    "Sub-agents invoked (subagent_invocations, without MCP tool calls); unknown where the platform records no result.",
    (PROJECT, AGENT, OUTCOME),
    _agents(project=Project(), agent=Col("agent_name"), outcome=_SUCCESS),
)
SUBAGENT_SPAWNS = Counter(
    "orchestration_subagent_spawns_total",
    "Sub-agents invoked, by the agent that did it (subagent_invocations.parent_agent). The same invocations as "
    "orchestration_subagent_invocations_total: do not add the two.",
    (PARENT, AGENT),
    _agents(parent=Col("parent_agent"), agent=Col("agent_name")),
)
SUBAGENT_DURATION = Histogram(
    "orchestration_subagent_duration_seconds",
    "Execution time of sub-agents (subagent_invocations.execution_time).",
    (AGENT,),
    _agents("execution_time", agent=Col("agent_name")),
    buckets=DURATION_BUCKETS,
)
SUBAGENT_TOKENS = Counter(
    "orchestration_subagent_tokens_total",
    "Tokens used by sub-agents (subagent_invocations.tokens_used).",
    (AGENT,),
    _agents("tokens_used", agent=Col("agent_name")),
)
SUBAGENT_COST = Counter(
    "orchestration_subagent_cost_usd_total",
    "Money spent on sub-agents, by agent. A second view of orchestration_cost_usd_total's component subagent: "
    "never add the two.",
    (AGENT,),
    _agents("cost", agent=Col("agent_name")),
)
TOOL_CALLS = Counter(
    "orchestration_mcp_tool_calls_total",
    "Calls of MCP tools (subagent_invocations with agent_type mcp_tool).",
    (SERVER, TOOL, OUTCOME),
    _tools(outcome=_SUCCESS),
)
TOOL_DURATION = Histogram(
    "orchestration_mcp_tool_duration_seconds",
    "Execution time of MCP tool calls (subagent_invocations.execution_time).",
    (SERVER, TOOL),
    _tools("execution_time"),
    buckets=TOOL_BUCKETS,
)
TOOL_COST = Counter(
    "orchestration_mcp_tool_cost_usd_total",
    "Money spent on MCP tool calls, by tool. A second view of orchestration_cost_usd_total's component tool: "
    "never add the two.",
    (SERVER, TOOL),
    _tools("cost"),
)

METRICS: tuple[Metric, ...] = (
    SUBAGENT_INVOCATIONS,
    SUBAGENT_SPAWNS,
    SUBAGENT_DURATION,
    SUBAGENT_TOKENS,
    SUBAGENT_COST,
    TOOL_CALLS,
    TOOL_DURATION,
    TOOL_COST,
)
