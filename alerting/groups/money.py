"""What the work costs: days dearer than usual, losses, budgets, and work without a price.

All but the last two read the ledger, which books by the day of the event: no restored database, no catching up moves
it, so that these need no guard on increases. They need a source that is current, and a period that has not ended: at
midnight the figures are yesterday's until the next poll. A tenant's budget has no source; it is there only while all
of its sources are current.

Of a budget that breaks one alert fires at a time: projected to break (or, as long as the ledger is too young for a
projection, faster than time), then broken. Only that it is near its limit is told besides.
"""

from __future__ import annotations

from alerting import thresholds
from alerting.guards import JOIN, ON, also, current, over, steady, total
from alerting.rules import PROJECT, SHARE, Alert, Group
from exporter.catalogue import agents, handoffs, money, own, platform, sessions
from exporter.promql import NOW, Expr, Recorded, binary, select

LIMITS = thresholds.load()
_OF, _BUDGETS = LIMITS.money, LIMITS.budgets
_USD = '${{ printf "%.2f" $value }}'
_DAY_S = 86_400


def _today(alert: Expr) -> Expr:
    """An alert on the ledger's days, while they are those of a current source, and today has not ended."""
    return current(also(alert, binary(select(money.PERIOD_END, period="day").value(), ">", NOW)))


# ── days ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_SPENT_TODAY = select(money.LEDGER_COST, period="day").value()
_MEDIAN = select(money.LEDGER_MEDIAN).value()
COST_SPIKE = Alert(
    name="OrchestrationCostSpike",
    expr=_today(
        also(
            over(_SPENT_TODAY, binary(_OF.spike, "*", binary(_MEDIAN, ">", 0)), "project", operator=">"),
            binary(over(_SPENT_TODAY, _MEDIAN, "project", operator="-"), ">=", _OF.spike_floor_usd),
            "project",
        )
    ),
    for_="10m",
    severity="warning",
    group="money",
    summary="A project spends far more today than on other days.",
    description=f"{PROJECT} has spent {_USD} today: more than {_OF.spike:g} times its median of the last 7 days, "
    f"and at least ${_OF.spike_floor_usd:g} above it.",
    dashboard="orchestration-cost",
    of=(*JOIN, "project", "period"),
)

_NET = select(money.LEDGER_NET_SAVINGS, period="previous_day").value()
_COST = select(money.LEDGER_COST, period="previous_day").value()
SAVINGS_NEGATIVE = Alert(
    name="OrchestrationSavingsNegative",
    expr=_today(
        binary(
            binary(binary(0, "-", _NET), ">", _OF.loss_usd),
            "and",
            binary(binary(_NET, "/", _COST), "<", -_OF.loss_ratio),
        )
    ),
    for_="30m",
    severity="warning",
    group="money",
    summary="Over a whole day a project's hand-offs cost more than they saved.",
    description=f"Hand-offs of {PROJECT} lost {_USD} yesterday, savings minus the cost of what failed: more than "
    f"${_OF.loss_usd:g} and {_OF.loss_ratio:.0%} of what was spent.",
    dashboard="orchestration-cost",
    of=(*JOIN, "project", "period"),
)


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────────────────────

_LIMIT = select(money.BUDGET_LIMIT).value()
_START = select(money.BUDGET_START).value()
_END = select(money.BUDGET_END).value()
_LENGTH = binary(_END, "-", _START)
_USED = binary(select(money.BUDGET_SPENT).value(), "/", _LIMIT)
_PROJECTED = binary(select(money.BUDGET_PROJECTED).value(), "/", _LIMIT)
_ELAPSED = binary(binary(NOW, "-", _START), "/", _LENGTH)
_BROKEN = binary(_USED, ">", 1)
_BUDGET = "Budget {{ $labels.budget }}"
_BUDGET_LABELS = (*JOIN, "budget")


def _running(alert: Expr) -> Expr:
    """An alert on a budget in its period, but not one of a source that is not current."""
    inside = binary(alert, "and", binary(_END, ">", NOW))
    return binary(inside, f"unless {ON}", binary(select(own.UP).value(), "==", 0))


BUDGET_BROKEN = Alert(
    name="OrchestrationBudgetBroken",
    expr=_running(_BROKEN),
    for_="5m",
    severity="critical",
    group="money",
    summary="More was spent than the budget allows.",
    description=f"{_BUDGET} is spent to {SHARE} of its limit.",
    dashboard="orchestration-budgets",
    of=_BUDGET_LABELS,
)
BUDGET_NEAR_LIMIT = Alert(
    name="OrchestrationBudgetNearLimit",
    expr=_running(binary(binary(_USED, ">", _BUDGETS.near), "<=", 1)),
    for_="1h",  # what breaks within the hour is told as broken
    severity="info",
    group="money",
    summary="A budget is nearly spent.",
    description=f"{_BUDGET} is spent to {SHARE} of its limit (more than {_BUDGETS.near:.0%}).",
    dashboard="orchestration-budgets",
    of=_BUDGET_LABELS,
)
BUDGET_PROJECTED = Alert(
    name="OrchestrationBudgetProjectedToBreak",
    expr=_running(binary(binary(_PROJECTED, ">", 1), "unless", _BROKEN)),
    for_="1h",
    keep_firing_for="1h",
    severity="warning",
    group="money",
    summary="A budget will be broken by the end of its period, if work goes on as in the last four weeks.",
    description=f"{_BUDGET} will be spent to {SHARE} of its limit by the end of its "
    "period, by the hours of the week over the last four weeks.",
    dashboard="orchestration-budgets",
    of=_BUDGET_LABELS,
)
BUDGET_FASTER = Alert(
    name="OrchestrationBudgetFasterThanTime",
    expr=_running(
        binary(
            binary(
                binary(
                    binary(binary(_USED, "/", _ELAPSED), ">", _BUDGETS.faster_than_time),
                    "and",
                    binary(
                        binary(_ELAPSED, ">", _BUDGETS.elapsed),
                        "and",
                        binary(_LENGTH, ">=", _BUDGETS.pace_days * _DAY_S),
                    ),
                ),
                "unless",
                _BROKEN,
            ),
            "unless",
            _PROJECTED,
        )
    ),
    for_="1h",
    keep_firing_for="1h",
    severity="warning",
    group="money",
    summary="A month's budget is spent faster than the month passes.",
    description=f"{_BUDGET} is spent {{{{ $value | humanize }}}} times as fast as its period passes (more than "
    f"{_BUDGETS.faster_than_time:g}); the ledger is too young for a projection.",
    dashboard="orchestration-budgets",
    of=_BUDGET_LABELS,
)


# ── tokens, and work without a price ─────────────────────────────────────────────────────────────────────────────

_EXHAUSTED = select(platform.TOKEN_BUDGETS_EXHAUSTED).value().sum(without=["priority"])
TOKEN_BUDGETS_EXHAUSTED = Alert(
    name="OrchestrationTokenBudgetsExhausted",
    expr=current(
        binary(
            binary(binary(_EXHAUSTED, ">=", _OF.exhausted_sessions), "/", select(sessions.SESSIONS_ACTIVE).value()),
            ">",
            _OF.exhausted_ratio,
        )
    ),
    for_="15m",
    keep_firing_for="15m",
    severity="info",
    group="money",
    summary="Many active sessions of a project have no tokens left in their budgets.",
    description="{{ $value | humanizePercentage }} of the active sessions of "
    f"{PROJECT} have exhausted their token budget, {_OF.exhausted_sessions} or more.",
    dashboard="orchestration-budgets",
    of=(*JOIN, "project"),
)


def _unpriced(component: str, events: Expr, *on: str) -> Expr:
    """The share of a component's events that used tokens and have no cost, by the labels its events have."""
    found = total(money.UNPRICED, "1d", "component", "model", component=component)
    return over(binary(found, ">=", _OF.unpriced_events), binary(events, ">", 0), *on)


# Of the families that count each event once, those of the fewest series: a day of `subagent_invocations_total` alone is
# 26 million samples at the catalogue's worst case.
UNPRICED_SHARE = Recorded(
    "source_component_model:unpriced_events:ratio1d",
    binary(
        _unpriced("handoff", total(handoffs.HANDOFF_TASK_TYPES, "1d", "model"), "model"),
        "or",
        _unpriced("subagent", total(agents.SUBAGENT_SPAWNS, "1d")),
    ),
    ("source", "component", "model"),
)
UNPRICED_WORK = Alert(
    name="OrchestrationUnpricedWork",
    expr=steady(binary(UNPRICED_SHARE.select(), ">", _OF.unpriced_ratio), "1d"),
    for_="30m",
    keep_firing_for="1h",
    severity="warning",
    group="money",
    summary="Much of the work has no price, so that costs and budgets are too low.",
    description="{{ $value | humanizePercentage }} of the events of the last day ({{ $labels.component }}, model "
    "{{ $labels.model }}, source {{ $labels.source }}) used tokens and have no cost (more than "
    f"{_OF.unpriced_ratio:.0%}).",
    dashboard="orchestration-cost",
    of=(*JOIN, "component", "model"),
)

GROUP = Group(
    "money",
    (
        *(BUDGET_BROKEN, BUDGET_PROJECTED, BUDGET_FASTER, BUDGET_NEAR_LIMIT),
        *(COST_SPIKE, SAVINGS_NEGATIVE, TOKEN_BUDGETS_EXHAUSTED, UNPRICED_WORK),
    ),
    slow=(UNPRICED_SHARE,),
)
