"""The money spent, and what the same work would have cost without hand-offs."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.catalogue.tables import HANDOFFS, SUBAGENTS
from exporter.catalogue.vocabulary import BUDGET, COMPONENT, MODEL, OUTCOME, PERIOD, PROJECT
from exporter.spec import (
    Col,
    Const,
    Counter,
    Feed,
    Gauge,
    Is,
    LabelValue,
    Ledger,
    Metric,
    Outcome,
    Plus,
    Project,
    Value,
)

_SUCCESS = Outcome("success")
_NOT_A_TOOL = Is("agent_type", "mcp_tool", negate=True)
_A_TOOL = Is("agent_type", "mcp_tool")
_UNPRICED = Is("unpriced", 1)


def _money(handoff_value: Value, value: Value = "cost") -> tuple[Feed, ...]:
    def labels(component: str, model: LabelValue) -> Mapping[str, LabelValue]:
        return {"project": Project(), "component": Const(component), "model": model, "outcome": _SUCCESS}

    return (
        Feed(HANDOFFS, labels("handoff", Col("target_model")), handoff_value),
        Feed(SUBAGENTS, labels("subagent", Const("unknown")), value, where=(_NOT_A_TOOL,)),
        Feed(SUBAGENTS, labels("tool", Const("unknown")), value, where=(_A_TOOL,)),
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

UNPRICED = Counter(
    "orchestration_unpriced_events_total",
    "Hand-offs and sub-agents that used tokens and have no cost: what orchestration_cost_usd_total lacks.",
    (COMPONENT, MODEL),
    (
        Feed(HANDOFFS, {"component": Const("handoff"), "model": Col("target_model")}, where=(_UNPRICED,)),
        Feed(SUBAGENTS, {"component": Const("subagent"), "model": Const("unknown")}, where=(_UNPRICED, _NOT_A_TOOL)),
    ),
)

LEDGER = Ledger(
    "orchestration_ledger",
    "What was spent on each day, by the time of the events.",
    (PROJECT, COMPONENT, MODEL, OUTCOME),
    _money(Plus("cost", "savings")),
)

_BY_EVENT_DAY = "by the day of the event, in the configured time_zone"
_SAW_TOOTH = "Pin one period; begins anew with each, so no rate() or delta()."


def _ledger(name: str, what: str, column: str) -> Gauge:
    text = f"{what} in the period, {_BY_EVENT_DAY}. {_SAW_TOOTH}"
    return Gauge(f"orchestration_ledger_{name}", text, (PROJECT, PERIOD), reading="ledger", column=column)


LEDGER_COST = _ledger("cost_usd", "Money spent on hand-offs, sub-agents and MCP tools", "cost")
LEDGER_BASELINE = _ledger("baseline_cost_usd", "What the same work would have cost without hand-offs", "baseline")
LEDGER_NET_SAVINGS = _ledger(
    "net_savings_usd", "Savings of what succeeded minus the cost of what failed", "net_savings"
)
LEDGER_TOKENS = _ledger("tokens", "Tokens used by hand-offs, sub-agents and MCP tools", "tokens")
LEDGER_HANDOFFS = _ledger("handoffs", "Hand-offs with a result", "handoffs")
LEDGER_MEDIAN = Gauge(
    "orchestration_ledger_daily_cost_median_usd",
    "Median of the money spent on each of the seven days before today, days without spend as 0.",
    (PROJECT,),
    reading="ledger_median",
)
PERIOD_START = Gauge(
    "orchestration_ledger_period_start_timestamp_seconds",
    "Unix time at which the ledger's period begins.",
    (PERIOD,),
    reading="period_start",
)
PERIOD_END = Gauge(
    "orchestration_ledger_period_end_timestamp_seconds",
    "Unix time up to which the ledger's period reaches; of one to date in the past, up to the same point.",
    (PERIOD,),
    reading="period_end",
)

BUDGET_LIMIT = Gauge(
    "orchestration_budget_limit_usd",
    "The budget's limit for each of its periods, from the configuration.",
    (BUDGET,),
    reading="budget_limit",
)
BUDGET_SPENT = Gauge(
    "orchestration_budget_spent_usd",
    f"Money spent in the budget's period so far, {_BY_EVENT_DAY}. Begins anew with each period: no rate() or delta().",
    (BUDGET,),
    reading="budget_spent",
)
BUDGET_PROJECTED = Gauge(
    "orchestration_budget_projected_usd",
    "Money spent in the budget's period by its end, if each hour left costs what that hour of the week did on "
    "average over the last four weeks. Absent while less than two weeks are known.",
    (BUDGET,),
    reading="budget_projected",
)
BUDGET_START = Gauge(
    "orchestration_budget_period_start_timestamp_seconds",
    "Unix time at which the budget's period began.",
    (BUDGET,),
    reading="budget_start",
)
BUDGET_END = Gauge(
    "orchestration_budget_period_end_timestamp_seconds",
    "Unix time at which the budget's period ends.",
    (BUDGET,),
    reading="budget_end",
)
BUDGET_SPEND = Counter(
    "orchestration_budget_spend_usd_total",
    "Money booked against the budget since it was declared, over all its periods. The same money as "
    "orchestration_cost_usd_total: never add the two.",
    (BUDGET,),
)

METRICS: tuple[Metric, ...] = (
    COST,
    BASELINE_COST,
    UNPRICED,
    LEDGER_COST,
    LEDGER_BASELINE,
    LEDGER_NET_SAVINGS,
    LEDGER_TOKENS,
    LEDGER_HANDOFFS,
    LEDGER_MEDIAN,
    PERIOD_START,
    PERIOD_END,
    BUDGET_LIMIT,
    BUDGET_SPENT,
    BUDGET_PROJECTED,
    BUDGET_START,
    BUDGET_END,
    BUDGET_SPEND,
)
