"""What happens while a model works: sub-agents, MCP tools, and the hooks around them."""

import json
from math import log
from random import Random

from exporter.demo import cast
from exporter.demo.cast import Agent, Tool
from exporter.demo.incidents import Weather
from exporter.demo.rows import Statement, insert
from exporter.demo.turns import ORCHESTRATOR

_UNTRACKED_SHARE = 0.15  # the platform's own tracker leaves results NULL, for ever
_UNPRICED_SHARE = 0.01  # it counted tokens of which nobody knew the price
_COLUMNS_SHARE = 0.2  # newer rows carry server, tool and category in columns too
_HOOK_FAILURE_SHARE = 0.015
_BROKEN_FAILING = 0.9


def hook(rng: Random, session_id: str, hook_type: str, trigger: str) -> Statement:
    """One run of a hook; times in seconds."""
    failed = rng.random() < _HOOK_FAILURE_SHARE
    return insert(
        "claude_code_hooks",
        session_id=session_id,
        hook_type=hook_type,
        trigger_event=trigger,
        hook_data=json.dumps({"trigger": trigger}),
        processing_time=round(rng.lognormvariate(log(0.02), 0.8), 5),
        success=int(not failed),
        error_message="hook exited with status 1" if failed else None,
    )


def tool_call(rng: Random, session_id: str, weather: Weather) -> tuple[Statement, ...]:
    """An MCP tool call with the hooks before and after it; tool calls are not priced."""
    [tool] = rng.choices(cast.TOOLS, cast.TOOL_WEIGHTS)
    if tool.server == weather.broken_server:
        tool = tool._replace(failing=_BROKEN_FAILING)
    call = _tool_row(rng, session_id, tool)
    before, after = rng.random() < 0.3, rng.random() < 0.3
    return (
        *([hook(rng, session_id, "PreToolUse", tool.name)] if before else ()),
        call,
        *([hook(rng, session_id, "PostToolUse", tool.name)] if after else ()),
    )


def _tool_row(rng: Random, session_id: str, tool: Tool) -> Statement:
    failed, untracked = rng.random() < tool.failing, rng.random() < _UNTRACKED_SHARE
    in_columns = rng.random() < _COLUMNS_SHARE
    tokens = rng.randint(20, 900)
    names = {"mcp_tool_name": tool.name, "mcp_server_name": tool.server, "tool_category": tool.category}
    metadata = names | {"project_context": None, "estimated_tokens": tokens, "invocation_type": "mcp_tool"}
    return insert(
        "subagent_invocations",
        session_id=session_id,
        agent_type="mcp_tool",
        agent_name=f"{tool.server}.{tool.name}",
        trigger_phrase=f"MCP tool invocation: {tool.name}",
        execution_time=None if untracked else round(rng.lognormvariate(log(tool.median_s), 0.7), 5),
        success=None if untracked else int(not failed),
        error_message="Timeout" if failed and not untracked else None,
        metadata=json.dumps(metadata),
        estimated_tokens=tokens,
        **{column: value if in_columns else None for column, value in names.items()},
    )


def subagent_call(
    rng: Random, session_id: str, agent: Agent, *, parent: str | None = ORCHESTRATOR
) -> tuple[Statement, float]:
    """A sub-agent's row, final at once, and its cost in USD (0 where the tracker left it out)."""
    failed, untracked = rng.random() < 0.06, rng.random() < _UNTRACKED_SHARE
    unpriced = untracked or rng.random() < _UNPRICED_SHARE
    tokens = int(rng.lognormvariate(log(1_500), 0.7))
    cost = round(tokens * cast.SONNET.usd_per_token, 8)
    metadata = {
        "confidence": round(rng.uniform(0.7, 0.95), 2),
        "estimated_complexity": rng.choice(("low", "medium")),
        "detection_method": "trigger_phrase",
        "available_agents": [known.name for known in cast.AGENTS],
    }
    row = insert(
        "subagent_invocations",
        session_id=session_id,
        agent_type=agent.kind,
        agent_name=agent.name,
        trigger_phrase=agent.phrase,
        task_description=rng.choice(cast.DESCRIPTIONS),
        parent_agent=parent,
        execution_time=None if untracked else round(rng.lognormvariate(log(agent.median_s), 0.6), 4),
        success=None if untracked else int(not failed),
        error_message="Timeout" if failed and not untracked else None,
        tokens_used=None if untracked else tokens,
        cost=None if unpriced else cost,
        metadata=json.dumps(metadata),
    )
    return row, 0.0 if unpriced else cost
