"""What pages say of money: sums of the ledger's days, and how budgets stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from exporter.budgets import Budget, Standing
from exporter.ledger import Ledger
from exporter.localtime import Calendar
from exporter.view import BudgetLine, DaySpend, Spending

_DAYS = 30


def spending(ledger: Ledger, calendar: Calendar, now: float) -> Spending:
    """What was spent in the running periods as of Unix time ``now``, and on each of the last thirty days."""
    today = calendar.day(now)
    begun = {period: calendar.running(period, now).first for period in ("week", "month")}
    first = min(today - _DAYS + 1, *begun.values())
    days = {day: ledger.whole_day(day) for day in range(first, today + 1)}
    return Spending(
        today=days[today][0],
        week=sum(cost for day, (cost, _) in days.items() if day >= begun["week"]),
        month=sum(cost for day, (cost, _) in days.items() if day >= begun["month"]),
        days=tuple(DaySpend(date.fromordinal(day), *days[day]) for day in range(today - _DAYS + 1, today + 1)),
    )


def lines(budgets: Iterable[Budget], standings: Mapping[str, Standing]) -> tuple[BudgetLine, ...]:
    """The budgets as pages show them, in their order; a tenant's with what this source has of it."""
    return tuple(_line(budget, standings[budget.name]) for budget in budgets if budget.name in standings)


def _line(budget: Budget, found: Standing) -> BudgetLine:
    scope = "all projects" if budget.scope == "all" else f"{budget.scope} {budget.value}"
    return BudgetLine(
        name=budget.name,
        scope_text="all of the tenant" if budget.shared else scope,
        period=budget.period,
        limit_usd=found.limit,
        spent_usd=found.spent,
        projected_usd=found.projected,
        ends_at=found.end,
        shared=budget.shared,
    )
