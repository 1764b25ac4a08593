"""Overview: is the platform well, does it pay off, and where to look next."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.limits import LIMITS
from dashboards.panels import PER_HOUR, Look, Query, bars, stat, steps, timeseries
from dashboards.questions import FIRING, ask, savings_rate, share, some
from exporter.catalogue import handoffs, money, own, sessions, tasks
from exporter.promql import binary

HANDOFFS, COST, BUDGETS = "orchestration-handoffs", "orchestration-cost", "orchestration-budgets"
SESSIONS, AGENTS, SLO, EXPORTER = (f"orchestration-{name}" for name in ("sessions", "agents", "slo", "exporter"))

SPENT_TODAY = ask.now(money.LEDGER_COST, period="day")
OPTIMISATION = savings_rate(
    ask.total(money.BASELINE_COST, component="handoff"), ask.total(money.COST, component="handoff")
)
BUDGET_LEFT = binary(1, "-", binary(ask.gauge(money.BUDGET_SPENT), "/", ask.gauge(money.BUDGET_LIMIT))).aggregate("min")
HEALTH = (("1", "Current", "green"), ("0", "Not current", "red"))

headline = (
    stat(
        "Optimisation rate",
        "What share of the hand-offs' baseline was saved in the time range. The platform aims for 95%; below, work "
        "goes to dearer models than planned.",
        Query(OPTIMISATION),
        Look("percentunit", LIMITS.optimisation, decimals=1, explains=COST),
    ),
    stat(
        "Spend today",
        "Money spent since midnight in the ledger's time zone, on hand-offs, sub-agents and tools, all models.",
        Query(SPENT_TODAY),
        Look("currencyUSD", decimals=2, explains=COST),
    ),
    stat(
        "Today against last week",
        "Spend today over that of the same day last week up to the same time. 100% is alike, 200% is double.",
        Query(share(SPENT_TODAY, ask.now(money.LEDGER_COST, period="day", offset="1w"))),
        Look("percentunit", LIMITS.growth, decimals=0, explains=COST),
    ),
    stat(
        "Least budget left",
        "What is left of the tightest budget in its period; below 0 it is overspent.",
        Query(BUDGET_LEFT),
        Look("percentunit", LIMITS.budget_left, decimals=0, explains=BUDGETS),
    ),
    stat(
        "Firing alerts",
        "Alerts of the orchestration rules that fire now, without the watchdog's.",
        Query(FIRING),
        Look("short", steps("green", (1, "red")), explains=SLO),
    ),
    stat(
        "Exporter",
        "Whether all that is served is current: a source that cannot be read shows its last totals.",
        Query(ask.now(own.UP, how="min")),
        Look("none", steps("red", (1, "green")), mappings=HEALTH, explains=EXPORTER),
    ),
)

work = (
    timeseries(
        "Work per hour",
        "How much is going on: sessions started, hand-offs and tasks with a result. A drop of all three is a platform "
        "that stands still, or an exporter that does not read.",
        [
            Query(ask.per_hour(sessions.SESSIONS_STARTED), "sessions"),
            Query(ask.per_hour(handoffs.HANDOFFS_TOTAL), "hand-offs"),
            Query(ask.per_hour(tasks.TASKS_TOTAL), "tasks"),
        ],
        Look(PER_HOUR, low=0, explains=SESSIONS),
    ),
    timeseries(
        "Success",
        "The share that succeeded among hand-offs and among tasks whose result is known. Some platforms call every "
        "hand-off a success: then the tasks tell.",
        [
            Query(ask.success(handoffs.HANDOFFS_TOTAL), "hand-offs"),
            Query(ask.success(tasks.TASKS_TOTAL), "tasks"),
        ],
        Look("percentunit", LIMITS.task_success, high=1, explains=HANDOFFS),
        limits=True,
    ),
    timeseries(
        "Hand-off duration, 95th percentile",
        "95 of 100 successful hand-offs took at most so long, by model.",
        [Query(ask.quantile(0.95, handoffs.HANDOFF_DURATION, "model", outcome="success"), "{{model}}")],
        Look("s", low=0, explains=HANDOFFS),
    ),
    timeseries(
        "Failures per hour",
        "Failed tasks by the model that did them. Compare with the rate of work: more work has more failures.",
        [Query(ask.per_hour(tasks.TASKS_TOTAL, "model", outcome="failure"), "{{model}}")],
        Look(PER_HOUR, low=0, explains=AGENTS),
    ),
)

spend = (
    timeseries(
        "Spend per hour",
        "Money spent, what it would have cost without hand-offs, and what was spent a week before (dashed).",
        [
            Query(ask.per_hour(money.COST), "spend"),
            Query(ask.per_hour(money.BASELINE_COST), "without hand-offs"),
            Query(ask.per_hour(money.COST, offset="1w"), "spend, a week before"),
        ],
        Look("currencyUSD", low=0, explains=COST),
        dashed="week before",
    ),
    bars(
        "Projects by spend",
        "The ten projects that spent most in the time range.",
        [Query(some(ask.total(money.COST, "project")).top(10), "{{project}}")],
        Look("currencyUSD", low=0, decimals=2, explains=COST),
    ),
)

OVERVIEW = Board(
    "overview",
    "Platform",
    "Orchestration / Overview",
    "Whether the platform is well, whether handing work over pays off, and where to look next. Each panel leads to the "
    "dashboard that explains it.",
    (Row("Now", headline), Row("Work", work), Row("Money", spend)),
)
