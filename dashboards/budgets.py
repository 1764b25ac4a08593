"""Budgets: how much is used, whether it lasts to the end of its period, and when it runs out."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.limits import LIMITS
from dashboards.panels import COUNT, TIMES, Column, Look, Query, bars, stat, steps, table, timeseries
from dashboards.questions import as_date, ask, or_none, share, since, some
from exporter.catalogue import money, platform
from exporter.promql import NOW, binary

SPENT = ask.now(money.BUDGET_SPENT, "budget")
LIMIT = ask.now(money.BUDGET_LIMIT, "budget")
PROJECTED = ask.now(money.BUDGET_PROJECTED, "budget")
START = ask.now(money.BUDGET_START, "budget", how="max")
END = ask.now(money.BUDGET_END, "budget", how="max")
ELAPSED = binary(since(START), "/", binary(END, "-", START))
USED = share(SPENT, LIMIT)
SPEED = share(USED, ELAPSED)
"""How fast the budget is used, in budgets a period: above 1 it does not last."""
A_DAY = ask.total(money.BUDGET_SPEND, "budget", over="1d")
DAYS_LEFT = share(some(binary(LIMIT, "-", SPENT)), A_DAY)
RUNS_OUT = binary(NOW, "+", binary(DAYS_LEFT, "*", 86400))

headline = (
    stat(
        "Overspent",
        "Budgets whose limit is reached.",
        Query(or_none(binary(SPENT, ">=", LIMIT).aggregate("count"))),
        Look("short", steps("green", (1, "red"))),
    ),
    stat(
        "Will be overspent",
        "Budgets that will be over their limit by the end of their period, if each hour left costs what that hour of "
        "the week did on average over the last four weeks.",
        Query(or_none(binary(PROJECTED, ">", LIMIT).aggregate("count"))),
        Look("short", steps("green", (1, "red"))),
    ),
    stat(
        "Fastest",
        "The fastest burn rate: 1 uses the whole budget in exactly its period, 2 in half of it.",
        Query(SPEED.aggregate("max")),
        Look(TIMES, LIMITS.pace, decimals=2),
    ),
    stat(
        "Token budgets exhausted",
        "Active sessions whose token budget is used up.",
        Query(ask.now(platform.TOKEN_BUDGETS_EXHAUSTED)),
        Look("short", LIMITS.exhausted),
    ),
    stat(
        "Tokens left",
        "Tokens that active sessions may still use.",
        Query(binary(ask.now(platform.TOKEN_BUDGET), "-", ask.now(platform.TOKEN_BUDGET_USED))),
        Look("short", decimals=1),
    ),
    stat(
        "Budgets",
        "Budgets that are declared.",
        Query(LIMIT.aggregate("count")),
        Look("short"),
    ),
)

money_rows = (
    table(
        "Budgets",
        "Each budget: what is used of its limit and of its time, how fast (1 is just right, above 1 it does not last), "
        "where it will stand at the end of its period, and when it runs out at the pace of the last day.",
        ("budget",),
        (
            Column("Limit", LIMIT, "currencyUSD", decimals=2),
            Column("Spent", SPENT, "currencyUSD", decimals=2),
            Column("Used", USED, "percentunit", LIMITS.budget_used, 0),
            Column("Elapsed", ELAPSED, "percentunit", decimals=0),
            Column("Burn rate", SPEED, TIMES, LIMITS.pace, 2),
            Column("Projected", PROJECTED, "currencyUSD", decimals=2),
            Column("Of limit", share(PROJECTED, LIMIT), "percentunit", LIMITS.budget_used, 0),
            Column("Ends", as_date(END), "dateTimeFromNow"),
            Column("Runs out", as_date(RUNS_OUT), "dateTimeFromNow"),
        ),
        Look(),
        sort="Used",
    ).sized(24, 8),
    bars(
        "Used",
        "What is used of each budget in its period. Above 100% it is overspent.",
        [Query(USED, "{{budget}}")],
        Look("percentunit", LIMITS.budget_used, low=0, high=1, decimals=0),
    ),
    bars(
        "Projected at the end of the period",
        "Where each budget will stand, if each hour left costs what that hour of the week did on average over the last "
        "four weeks. Above 100% it will not last.",
        [Query(share(PROJECTED, LIMIT), "{{budget}}")],
        Look("percentunit", LIMITS.budget_used, low=0, high=1, decimals=0),
    ),
    timeseries(
        "Used against elapsed",
        "What is used of each budget, and how much of its period has passed (dashed): a line above its dashed one is "
        "too fast. Both begin anew with each period.",
        [Query(USED, "{{budget}} used"), Query(ELAPSED, "{{budget}} elapsed")],
        Look("percentunit", low=0),
        dashed="elapsed",
    ),
    timeseries(
        "Booked per hour",
        "Money booked against each budget.",
        [Query(ask.per_hour(money.BUDGET_SPEND, "budget"), "{{budget}}")],
        Look("currencyUSD", low=0),
    ),
)

token_rows = (
    bars(
        "Tokens used of budgets",
        "Tokens that active sessions have used of what they may use, by project.",
        [
            Query(
                share(ask.now(platform.TOKEN_BUDGET_USED, "project"), ask.now(platform.TOKEN_BUDGET, "project")),
                "{{project}}",
            )
        ],
        Look("percentunit", LIMITS.budget_used, low=0, high=1, decimals=0),
    ),
    table(
        "Token budgets of active sessions",
        "By project and priority: what active sessions may use, what they have used, and how many have nothing left.",
        ("project", "priority"),
        (
            Column("May use", ask.now(platform.TOKEN_BUDGET, "project", "priority"), decimals=1),
            Column("Used", ask.now(platform.TOKEN_BUDGET_USED, "project", "priority"), decimals=1),
            Column("Exhausted", ask.now(platform.TOKEN_BUDGETS_EXHAUSTED, "project", "priority"), COUNT, decimals=0),
        ),
        Look(),
    ),
)

BUDGETS = Board(
    "budgets",
    "Money",
    "Orchestration / Budgets",
    "How much of each budget is used, whether it lasts to the end of its period, and when it runs out.",
    (Row("Now", headline), Row("Money", money_rows), Row("Tokens", token_rows)),
    since="now-7d",
    filters=("project",),
)
