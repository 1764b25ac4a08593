"""Histories of the alerts in alerting/groups/money.py."""

from __future__ import annotations

from collections.abc import Mapping

from alerting import thresholds
from exporter.catalogue import agents, handoffs, money, own, platform, sessions
from tests.alertcases.courses import steep
from tests.promtool import SOURCE, TARGET, Expect, History, below, ends, fires, healthy, series

LIMITS = thresholds.load()
DAY_S = 86_400
SHOP = {**SOURCE, "project": "web-shop"}
UP = {series(own.UP): "1x400"}
DOWN = {series(own.UP): "0x400"}


def history(name: str, found: Mapping[str, str], *expect: Expect, step: str = "15m") -> History:
    """A history of this group, evaluated at each of its steps."""
    return History(name, "money", found, expect, step=step, evaluated=step)


# ── days ─────────────────────────────────────────────────────────────────────────────────────────────────────────

DAYS = {series(money.PERIOD_END, period="day"): f"{DAY_S}x95 {2 * DAY_S}x95"}
"""Two days, in quarters of an hour; the first midnight is at 24 h."""


def spend(spent: float, median: float) -> dict[str, str]:
    """So much from the first noon on, after half of it until then; the next day a tenth."""
    return {
        series(money.LEDGER_COST, period="day", project="web-shop"): f"{spent / 2:g}x47 {spent:g}x47 {spent / 10:g}x95",
        series(money.LEDGER_MEDIAN, project="web-shop"): f"{median:g}x191",
    }


SPIKE = (
    history(
        "a project that spends four times its median by noon",
        {**spend(8, 2), **DAYS, **UP},
        healthy("OrchestrationCostSpike", "11h"),
        fires(
            "OrchestrationCostSpike",
            "13h",
            severity="warning",
            description="web-shop on source main has spent $8.00 today: more than 3 times its median of the last 7 "
            "days, and at least $5 above it.",
            **SHOP,
            period="day",
        ),
        ends("OrchestrationCostSpike", "25h"),
    ),
    history(
        "three times the median is no spike",
        {**spend(9, 3), **DAYS, **UP},
        below("OrchestrationCostSpike", "13h"),
    ),
    history(
        "nor is a multiple of cents, though it comes to dollars",
        {**spend(5.09, 0.1), **DAYS, **UP},
        below("OrchestrationCostSpike", "13h"),
    ),
    history(
        "a project without a week behind it has no spike",
        {**spend(50, 0), **DAYS, **UP},
        healthy("OrchestrationCostSpike", "13h"),
    ),
    history(
        "a source that went down at noon",
        {**spend(8, 2), **DAYS, series(own.UP): "1x47 0x200"},
        healthy("OrchestrationCostSpike", "13h"),
    ),
    history(
        "at midnight yesterday's spending is not today's",
        {
            **{name: values for name, values in spend(8, 2).items() if "median" in name},
            series(money.LEDGER_COST, period="day", project="web-shop"): "1x95 8x95",
            series(money.PERIOD_END, period="day"): f"{DAY_S}x191",
            **UP,
        },
        healthy("OrchestrationCostSpike", "25h"),
    ),
)


def yesterday(net: float, cost: float) -> dict[str, str]:
    """Net savings and cost of the day before, during the first day; on the second it saved something."""
    return {
        series(money.LEDGER_NET_SAVINGS, period="previous_day", project="web-shop"): f"{net:g}x95 3x95",
        series(money.LEDGER_COST, period="previous_day", project="web-shop"): f"{cost:g}x191",
    }


SAVINGS = (
    history(
        "a day that lost more than a dollar of ten",
        {**yesterday(-1.2, 10), **DAYS, **UP},
        fires(
            "OrchestrationSavingsNegative",
            "1h",
            severity="warning",
            description="Hand-offs of web-shop on source main lost $1.20 yesterday, savings minus the cost of what "
            "failed: more than $0.5 and 10% of what was spent.",
            **SHOP,
            period="previous_day",
        ),
        ends("OrchestrationSavingsNegative", "25h"),
    ),
    history(
        "a day that saved something",
        {**yesterday(0.2, 10), **DAYS, **UP},
        healthy("OrchestrationSavingsNegative", "1h"),
    ),
    history(
        "half a dollar is not much",
        {**yesterday(-0.5, 1), **DAYS, **UP},
        below("OrchestrationSavingsNegative", "1h"),
    ),
    history(
        "nor is a tenth",
        {**yesterday(-10, 100), **DAYS, **UP},
        below("OrchestrationSavingsNegative", "1h"),
    ),
)


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────────────────────

BUDGET = {**SOURCE, "budget": "team"}
TENANTS = {**TARGET, "tenant": "acme", "budget": "team"}
"""A tenant's budget has its sources' tenant, and no source."""
MONTH_S = 30 * DAY_S


def budget(
    spent: str, projected: str = "", of: Mapping[str, str] = BUDGET, start: int = 0, end: int = MONTH_S
) -> dict[str, str]:
    """A budget of 100 USD, for a month."""
    found = {
        series(money.BUDGET_LIMIT, of): "100x400",
        series(money.BUDGET_SPENT, of): spent,
        series(money.BUDGET_START, of): f"{start}x400",
        series(money.BUDGET_END, of): f"{end}x400",
    }
    return {**found, series(money.BUDGET_PROJECTED, of): projected} if projected else found


def broken(of: Mapping[str, str]) -> Expect:
    """What is told of a budget at 120%."""
    return fires(
        "OrchestrationBudgetBroken",
        "3h",
        severity="critical",
        description="Budget team is spent to 120% of its limit.",
        **of,
    )


BROKEN = (
    history(
        "a budget that is broken at 2 h, until it is raised or begins anew",
        {**budget("50x3 100x3 120x15 0x20"), **UP},
        healthy("OrchestrationBudgetBroken", "30m"),
        below("OrchestrationBudgetBroken", "1h45m"),
        broken(BUDGET),
        ends("OrchestrationBudgetBroken", "6h30m"),
    ),
    history(
        "a tenant's budget, while one of the sources by that exporter is down",
        {**budget("120x40", of=TENANTS), **DOWN},
        broken(TENANTS),
    ),
    history(
        "what a source showed before it went down",
        {**budget("120x40"), **DOWN},
        healthy("OrchestrationBudgetBroken", "3h"),
    ),
    history(
        "a period that has ended",
        {**budget("120x40", end=7200), **UP},
        healthy("OrchestrationBudgetBroken", "3h"),
    ),
)
NEAR = history(
    "a budget of which nine tenths are spent, then more than all",
    {**budget("50x3 80x3 90x9 120x20"), **UP},
    healthy("OrchestrationBudgetNearLimit", "30m"),
    below("OrchestrationBudgetNearLimit", "1h45m"),
    # it might be broken within the hour
    healthy("OrchestrationBudgetNearLimit", "2h30m"),
    fires(
        "OrchestrationBudgetNearLimit",
        "3h30m",
        severity="info",
        description="Budget team is spent to 90% of its limit (more than 80%).",
        **BUDGET,
    ),
    ends("OrchestrationBudgetNearLimit", "5h"),
)
PROJECTED = history(
    "a budget that will be broken, until work slows down",
    {**budget("60x40", "90x3 100x7 130x15 95x20"), **UP},
    healthy("OrchestrationBudgetProjectedToBreak", "30m"),
    below("OrchestrationBudgetProjectedToBreak", "2h30m"),
    fires(
        "OrchestrationBudgetProjectedToBreak",
        "5h",
        severity="warning",
        description="Budget team will be spent to 130% of its limit by the end of its period, by the hours of the week "
        "over the last four weeks.",
        **BUDGET,
    ),
    ends("OrchestrationBudgetProjectedToBreak", "9h"),
)
PROJECTED_AND_BROKEN = history(
    "of a broken budget no projection is told",
    {**budget("120x40", "130x40"), **UP},
    healthy("OrchestrationBudgetProjectedToBreak", "5h"),
    healthy("OrchestrationBudgetFasterThanTime", "5h"),
)

FASTER = (
    history(
        "a budget of which half is spent after a quarter of the month, and little more after",
        {**budget("10x143 50x300"), **UP},
        healthy("OrchestrationBudgetFasterThanTime", "143h"),
        fires(
            "OrchestrationBudgetFasterThanTime",
            "180h",
            severity="warning",
            description="Budget team is spent 2 times as fast as its period passes (more than 1.2); the ledger is too "
            "young for a projection.",
            **BUDGET,
        ),
        ends("OrchestrationBudgetFasterThanTime", "302h"),
        step="1h",
    ),
    history(
        "1.19 times as fast is not too fast",
        {**budget(f"0+{1.19 * 100 / 720:g}x300"), **UP},
        below("OrchestrationBudgetFasterThanTime", "180h"),
        step="1h",
    ),
    history(
        "half of it after less than a fifth of the month may be a bill that comes first",
        {**budget("50x300"), **UP},
        below("OrchestrationBudgetFasterThanTime", "143h"),
        step="1h",
    ),
    history(
        "a week's budget is spent by Friday",
        {**budget("90x300", end=7 * DAY_S), **UP},
        healthy("OrchestrationBudgetFasterThanTime", "120h"),
        step="1h",
    ),
    history(
        "where a projection says that it lasts, pace is not asked",
        {**budget("50x300", "95x300"), **UP},
        healthy("OrchestrationBudgetFasterThanTime", "180h"),
        step="1h",
    ),
)


# ── tokens, and work without a price ─────────────────────────────────────────────────────────────────────────────


def exhausted(high: str, low: str, active: int = 8) -> dict[str, str]:
    """Exhausted token budgets of two priorities, and active sessions."""
    return {
        series(platform.TOKEN_BUDGETS_EXHAUSTED, project="web-shop", priority="high"): high,
        series(platform.TOKEN_BUDGETS_EXHAUSTED, project="web-shop", priority="low"): low,
        series(sessions.SESSIONS_ACTIVE, project="web-shop"): f"{active}x120",
    }


TOKENS = (
    history(
        "six of eight sessions without tokens",
        {**exhausted("0x14 2x14 3x30 0x60", "0x14 2x14 3x30 1x60"), **UP},
        healthy("OrchestrationTokenBudgetsExhausted", "10m"),
        below("OrchestrationTokenBudgetsExhausted", "29m"),
        fires(
            "OrchestrationTokenBudgetsExhausted",
            "50m",
            severity="info",
            description="75% of the active sessions of web-shop on source main have exhausted their token budget, 3 or "
            "more.",
            **SHOP,
        ),
        ends("OrchestrationTokenBudgetsExhausted", "80m"),
        step="1m",
    ),
    history(
        "two of two are few",
        {**exhausted("1x60", "1x60", active=2), **UP},
        below("OrchestrationTokenBudgetsExhausted", "50m"),
        step="1m",
    ),
)


def unpriced(share: float, an_hour: float = 10.0) -> dict[str, str]:
    """Work of 10 hand-offs and as many sub-agents an hour: none without a price, this share for 2 days, none again."""
    without = steep((0, 48), (share * an_hour, 48), (0, 48))
    return {
        **{
            series(handoffs.HANDOFF_TASK_TYPES, task_type=kind, model="claude", outcome=outcome): steep(
                (an_hour / 2, 144)
            )
            for kind, outcome in (("debugging", "success"), ("analysis", "failure"))
        },
        series(handoffs.HANDOFF_TASK_TYPES, task_type="debugging", model="local", outcome="success"): steep(
            (an_hour * 9, 144)
        ),
        series(agents.SUBAGENT_SPAWNS, parent="planner", agent="tester"): steep((an_hour, 144)),
        series(money.UNPRICED, component="handoff", model="claude"): without,
        series(money.UNPRICED, component="handoff", model="local"): steep((an_hour / 2, 144)),
        series(money.UNPRICED, component="subagent", model="unknown"): without,
    }


def without_price(component: str, model: str) -> Expect:
    """What is told of a day in which a quarter had no price."""
    return fires(
        "OrchestrationUnpricedWork",
        "90h",
        severity="warning",
        description=f"25% of the events of the last day ({component}, model {model}, source main) used tokens and have "
        "no cost (more than 10%).",
        **SOURCE,
        component=component,
        model=model,
    )


UNPRICED = (
    history(
        "two days in which a quarter of a model's hand-offs, and of the sub-agents, has no price",
        unpriced(0.25),
        healthy("OrchestrationUnpricedWork", "47h"),
        without_price("handoff", "claude"),
        without_price("subagent", "unknown"),
        ends("OrchestrationUnpricedWork", "122h"),
        step="1h",
    ),
    history("a tenth has no price", unpriced(0.099), below("OrchestrationUnpricedWork", "90h"), step="1h"),
    history("four of four a day", unpriced(1.0, 4 / 24), below("OrchestrationUnpricedWork", "90h"), step="1h"),
    history(
        "after a restore a day's increase says nothing",
        {**unpriced(0.25), series(own.SOURCE_REWINDS): "0x69 1x80"},
        healthy("OrchestrationUnpricedWork", "90h"),
        step="1h",
    ),
)

HISTORIES: tuple[History, ...] = (
    *SPIKE,
    *SAVINGS,
    *BROKEN,
    *(NEAR, PROJECTED, PROJECTED_AND_BROKEN),
    *FASTER,
    *TOKENS,
    *UNPRICED,
)
