"""Budgets: what a scope may spend in a day, a week or a month, what it spent, and what it will by the period's end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from exporter.ledger import Account, Ledger
from exporter.localtime import Calendar, Span, place

LEARNT_DAYS = 14
WEEKS = 4
Scope = Literal["project", "model", "all"]


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget of one source. ``value`` is the project or model it is for, a label value."""

    name: str
    limit_usd: float
    period: Literal["day", "week", "month"]
    scope: Scope = "all"
    value: str = ""
    shared: bool = False
    """It is a tenant's: kept here, and shown together with what other sources have of it."""

    def covers(self, account: Account) -> bool:
        """Whether what is booked on that account is spent of this budget."""
        project, _, model = account
        return self.scope == "all" or self.value == (project if self.scope == "project" else model)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands: USD, and the Unix times between which its period lies."""

    limit: float
    spent: float
    projected: float | None
    start: float
    end: float


def standing(budget: Budget, ledger: Ledger, calendar: Calendar, now: float) -> Standing:
    """How the budget stands at Unix time ``now``."""
    span = calendar.running(budget.period, now)
    spent = sum(ledger.cost(place(day), budget.covers) for day in range(span.first, span.last + 1))
    projected = _projected(budget, ledger, calendar, now, span, spent)
    return Standing(budget.limit_usd, spent, projected, span.start, span.end)


def _projected(
    budget: Budget, ledger: Ledger, calendar: Calendar, now: float, span: Span, spent: float
) -> float | None:
    """Spent, and for each hour that is left the mean cost of that hour of the week; None where too little is known."""
    today, first = calendar.day(now), ledger.first_day()
    if first is None or today - first < LEARNT_DAYS:
        return None
    means = _means(budget, ledger, today, first)
    elapsed = calendar.elapsed_hours(now)
    total = spent
    for day in range(today, span.last + 1):
        hours = means[day % 7]
        for hour in range(calendar.hours_in(day)):
            left = 1.0 if day > today else min(1.0, max(0.0, hour + 1 - elapsed))
            total += left * hours.get(hour, 0.0)
    return total


def _means(budget: Budget, ledger: Ledger, today: int, first: int) -> Mapping[int, Mapping[int, float]]:
    """By weekday the mean cost of each hour over the last four whole days of that weekday, from the first known on."""
    means: dict[int, dict[int, float]] = {}
    for back in range(1, 8):
        days = [day for week in range(WEEKS) if (day := today - back - 7 * week) >= first]
        total = means[(today - back) % 7] = dict[int, float]()
        for day in days:
            for hour in range(25):
                cost = ledger.cost(place(day, hour), budget.covers)
                if cost:
                    total[hour] = total.get(hour, 0.0) + cost / len(days)
    return means
