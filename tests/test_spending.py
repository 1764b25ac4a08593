"""What pages say of money: the ledger's days in sums, in zones whose days are not all alike."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from exporter.budgets import Budget, Standing
from exporter.ledger import Ledger
from exporter.localtime import Calendar, place
from exporter.spending import lines, spending
from exporter.view import BudgetLine, DaySpend

SHOP = ("shop", "handoff", "opus")


def booked(ledger: Ledger, day: date, cost: float, saved: float = 0.0, account: tuple[str, str, str] = SHOP) -> None:
    """Book an hour of a day."""
    amounts = [cost, 0.0, saved, 0.0, 1.0, 0.0]
    ledger.book(place(day.toordinal(), 3), {account: amounts}, today=date(2026, 11, 25).toordinal())


def test_the_running_periods_and_thirty_days_are_added_up() -> None:
    """Of all projects; the week begins on Monday the 23rd, the month on the 1st, thirty days ago is October 27th."""
    ledger, now = Ledger(), datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
    booked(ledger, date(2026, 11, 25), 1.0, -0.5)
    booked(ledger, date(2026, 11, 25), 2.0, 1.0, ("blog", "subagent", "unknown"))
    for day, cost in ((23, 4.0), (22, 8.0), (1, 16.0)):
        booked(ledger, date(2026, 11, day), cost)
    booked(ledger, date(2026, 10, 31), 32.0)
    booked(ledger, date(2026, 10, 26), 64.0)

    found = spending(ledger, Calendar(), now)

    assert (found.today, found.week, found.month) == (3.0, 7.0, 31.0)
    assert len(found.days) == 30
    assert found.days[0] == DaySpend(date(2026, 10, 27), 0.0, 0.0)
    assert found.days[-1] == DaySpend(date(2026, 11, 25), 3.0, 0.5)
    assert sum(day.cost_usd for day in found.days) == 63.0


@pytest.mark.parametrize("zone, today", [("UTC", 24), ("Asia/Tokyo", 25)])
def test_today_is_the_zones(zone: str, today: int) -> None:
    """In the evening of one it is morning in the other."""
    now = datetime(2026, 11, 24, 20, tzinfo=UTC).timestamp()

    assert spending(Ledger(), Calendar(ZoneInfo(zone), zone), now).days[-1].day == date(2026, 11, today)


def test_budgets_are_lines_in_their_order() -> None:
    """With their scope in words; one that has no standing yet is not there."""
    standing = Standing(limit=10.0, spent=4.0, projected=None, start=0.0, end=9.0)
    budgets = (
        Budget("b", 10.0, "week", "project", "shop"),
        Budget("a", 10.0, "day"),
        Budget("t", 10.0, "day", shared=True),
        Budget("new", 10.0, "day"),
    )

    found = lines(budgets, dict.fromkeys("bat", standing))

    assert found[0] == BudgetLine("b", "project shop", "week", 10.0, 4.0, None, 9.0)
    assert [(line.name, line.scope_text, line.shared) for line in found[1:]] == [
        ("a", "all projects", False),
        ("t", "all of the tenant", True),
    ]
