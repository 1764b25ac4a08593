"""Wallboard: the state of the platform for a screen on the wall. No variables, so that it can be shared in public."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.limits import LIMITS
from dashboards.panels import COUNT, PER_HOUR, Look, Query, stat, steps, timeseries
from dashboards.questions import FIRING, everywhere, savings_rate
from exporter.catalogue import handoffs, money, own, sessions, tasks
from exporter.promql import binary

HEALTH = (("1", "Current", "green"), ("0", "Not current", "red"))

_DAY = "24h"

numbers = (
    stat(
        "Optimisation, 24 hours",
        "What share of the hand-offs' baseline was saved in the last day. The platform aims for 95%.",
        Query(
            savings_rate(
                everywhere.total(money.BASELINE_COST, over=_DAY, component="handoff"),
                everywhere.total(money.COST, over=_DAY, component="handoff"),
            )
        ),
        Look("percentunit", LIMITS.optimisation, decimals=1),
    ).sized(6, 6),
    stat(
        "Tasks that succeed, 24 hours",
        "The share of tasks of the last day that succeeded, of those whose outcome is known.",
        Query(everywhere.success(tasks.TASKS_TOTAL, over=_DAY)),
        Look("percentunit", LIMITS.task_success, decimals=1),
    ).sized(6, 6),
    stat(
        "Spend today",
        "Money spent since midnight in the ledger's time zone.",
        Query(everywhere.now(money.LEDGER_COST, period="day")),
        Look("currencyUSD", decimals=2),
    ).sized(6, 6),
    stat(
        "Least budget left",
        "What is left of the tightest budget in its period; below 0 it is overspent.",
        Query(
            binary(
                1, "-", binary(everywhere.gauge(money.BUDGET_SPENT), "/", everywhere.gauge(money.BUDGET_LIMIT))
            ).aggregate("min")
        ),
        Look("percentunit", LIMITS.budget_left, decimals=0),
    ).sized(6, 6),
    stat(
        "Active sessions",
        "Sessions without an end that did something within the last hour.",
        Query(everywhere.now(sessions.SESSIONS_ACTIVE)),
        Look(COUNT, decimals=0),
    ).sized(6, 6),
    stat(
        "Hand-offs in flight",
        "Hand-offs whose result is not there yet.",
        Query(everywhere.now(handoffs.HANDOFFS_IN_FLIGHT)),
        Look(COUNT, decimals=0),
    ).sized(6, 6),
    stat(
        "Firing alerts",
        "Alerts of the orchestration rules that fire now, without the watchdog's.",
        Query(FIRING),
        Look("short", steps("green", (1, "red"))),
    ).sized(6, 6),
    stat(
        "Numbers here",
        "Whether all that is shown is current.",
        Query(everywhere.now(own.UP, how="min")),
        Look("none", steps("red", (1, "green")), mappings=HEALTH),
    ).sized(6, 6),
)

course = (
    timeseries(
        "Tasks per hour",
        "Tasks with an outcome, by how they went.",
        [Query(everywhere.per_hour(tasks.TASKS_TOTAL, "outcome"), "{{outcome}}")],
        Look(PER_HOUR, low=0),
        stacked=True,
    ).sized(12, 10),
    timeseries(
        "Spend per hour",
        "Money spent, and what it would have cost without hand-offs.",
        [
            Query(everywhere.per_hour(money.COST), "spend"),
            Query(everywhere.per_hour(money.BASELINE_COST), "without hand-offs"),
        ],
        Look("currencyUSD", low=0),
    ).sized(12, 10),
)

WALLBOARD = Board(
    "wallboard",
    "Operations",
    "Orchestration / Wallboard",
    "The state of the platform for a screen on the wall: no variables, so that it can run in kiosk mode and be shared "
    "in public. It adds up all sources that its data source has.",
    (Row("Now", numbers), Row("The last day", course)),
    step="1h",
    variables=False,
)
