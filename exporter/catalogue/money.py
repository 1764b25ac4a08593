"""The money spent, and what the same work would have cost without hand-offs."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.catalogue.tables import HANDOFFS, SUBAGENTS
from exporter.catalogue.vocabulary import COMPONENT, MODEL, OUTCOME, PROJECT
from exporter.spec import Col, Const, Counter, Feed, Is, LabelValue, Metric, Outcome, Plus, Project, Value

_SUCCESS = Outcome("success")
_NOT_A_TOOL = Is("agent_type", "mcp_tool", negate=True)
_A_TOOL = Is("agent_type", "mcp_tool")


def _money(handoff_value: Value) -> tuple[Feed, ...]:
    def labels(component: str, model: LabelValue) -> Mapping[str, LabelValue]:
        return {"project": Project(), "component": Const(component), "model": model, "outcome": _SUCCESS}

    return (
        Feed(HANDOFFS, labels("handoff", Col("target_model")), handoff_value),
        Feed(SUBAGENTS, labels("subagent", Const("unknown")), "cost", where=_NOT_A_TOOL),
        Feed(SUBAGENTS, labels("tool", Const("unknown")), "cost", where=_A_TOOL),
    )


COST = Counter(
    "orchestration_cost_usd_total",
    "Money spent on hand-offs, sub-agents and MCP tools; its sum is the spend. Sub-agents and tools have no model "
    "(unknown). The costs of tasks and agents elsewhere are views of the same money: never add them to this.",
    (PROJECT, COMPONENT, MODEL, OUTCOME),
    _money("cost"),
)
BASELINE_COST = Counter(
    "orchestration_baseline_cost_usd_total",
    "What the same work would have cost without hand-offs: cost plus savings, or the cost where no savings are "
    "known. Savings are this minus orchestration_cost_usd_total, and can be negative.",
    (PROJECT, COMPONENT, MODEL, OUTCOME),
    _money(Plus("cost", "savings")),
)

METRICS: tuple[Metric, ...] = (
    COST,
    BASELINE_COST,
)
