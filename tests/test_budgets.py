"""How budgets stand: what is spent in the running period, and what will be by its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import pytest

from exporter.budgets import Budget, Standing, standing
from exporter.ledger import Account, Ledger
from exporter.localtime import Calendar, place

BUDGET = Budget("b", 100.0, "month")
UTC_DAYS = Calendar(UTC, "UTC")
BERLIN = Calendar(ZoneInfo("Europe/Berlin"), "Europe/Berlin")
ACCOUNT: Account = ("p", "handoff", "m")
TODAY = "2026-11-11"  # a Wednesday
Period = Literal["day", "week", "month"]


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def at(time: str, calendar: Calendar = UTC_DAYS) -> float:
    """The Unix time of today's time, or of a whole date and time."""
    text = time if "-" in time else f"{TODAY} {time}"
    return datetime.fromisoformat(text).replace(tzinfo=calendar.zone).timestamp()


def books(*entries: tuple[str, int, float], account: Account = ACCOUNT) -> Ledger:
    """A ledger with these days, hours and costs, kept on the newest of these days."""
    ledger = Ledger()
    newest = max(day(text) for text, _, _ in entries)
    for text, hour, cost in entries:
        ledger.book(place(day(text), hour), {account: (cost, 0, 0, 0, 1, 0)}, today=newest)
    return ledger


def stands(ledger: Ledger, time: str, period: Period = "month", calendar: Calendar = UTC_DAYS) -> Standing:
    return standing(replace(BUDGET, period=period), ledger, calendar, at(time, calendar))


# ── spent ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "period, spent, start, end",
    [
        ("day", 8.0, "2026-11-11", "2026-11-12"),
        ("week", 12.0, "2026-11-09", "2026-11-16"),
        ("month", 15.0, "2026-11-01", "2026-12-01"),
    ],
)
def test_spent_is_what_the_running_period_cost(period: Period, spent: float, start: str, end: str) -> None:
    """Of today, from Monday on, from the first of the month on; what lies before is not in it."""
    ledger = books(
        *((TODAY, 3, 8.0), ("2026-11-09", 0, 4.0), ("2026-11-08", 23, 2.0), ("2026-11-01", 0, 1.0)),
        ("2026-10-31", 23, 99.0),
    )

    found = stands(ledger, "14:30", period)

    assert (found.limit, found.spent) == (100.0, spent)
    assert (found.start, found.end) == (at(f"{start} 00:00"), at(f"{end} 00:00"))


@pytest.mark.parametrize(
    "scope, value, spent",
    [("all", "", 7.0), ("project", "p", 6.0), ("project", "nobody", 0.0), ("model", "m", 5.0), ("model", "p", 0.0)],
)
def test_spent_is_of_the_scope_alone(scope: Literal["project", "model", "all"], value: str, spent: float) -> None:
    """A project of all components, a model of all projects; a name of the other kind is none."""
    ledger = Ledger()
    for account, cost in ((ACCOUNT, 4.0), (("p", "tool", "unknown"), 2.0), (("q", "handoff", "m"), 1.0)):
        ledger.book(place(day(TODAY), 0), {account: (cost, 0, 0, 0, 1, 0)}, today=day(TODAY))

    found = standing(Budget("b", 1.0, "day", scope, value), ledger, UTC_DAYS, at("12:00"))

    assert found.spent == spent


def test_nothing_is_spent_where_nothing_was_booked() -> None:
    """0, and nothing to project from."""
    found = stands(Ledger(), "12:00")

    assert (found.spent, found.projected) == (0.0, None)


# ── projected ────────────────────────────────────────────────────────────────────────────────────────────────

# Wednesdays at nine: 4, 8, 0 and 4 USD, on average 4; at ten 2 USD once, so 0.5; at eleven nothing
WEDNESDAYS = (
    *(("2026-11-04", 9, 4.0), ("2026-10-28", 9, 8.0), ("2026-10-14", 9, 4.0)),
    *(("2026-10-21", 10, 2.0), ("2026-10-07", 9, 99.0)),
)


@pytest.mark.parametrize(
    "time, projected",
    [
        ("00:00", 4.5),
        ("09:00", 4.5),
        ("09:15", 3.5),  # three quarters of the hour are left
        ("09:30", 2.5),
        ("10:00", 0.5),
        ("10:45", 0.125),
        ("11:00", 0.0),
        ("23:59", 0.0),
    ],
)
def test_each_hour_left_costs_what_it_did_on_average(time: str, projected: float) -> None:
    """Of the last four Wednesdays, hours without spend as 0, the running hour by the share that is left."""
    found = stands(books(*WEDNESDAYS), time, "day")

    assert found.projected == pytest.approx(found.spent + projected)
    assert found.spent == 0.0


def test_what_is_spent_today_teaches_nothing_about_today() -> None:
    """The running day is spent, and not among the four."""
    ledger = books(*WEDNESDAYS, (TODAY, 9, 1000.0))

    assert stands(ledger, "09:30", "day").projected == pytest.approx(1002.5)


def test_days_left_are_projected_by_their_own_weekday() -> None:
    """Thursday to Sunday by those of the last four weeks; the month by all weekdays that are left."""
    ledger = books(*WEDNESDAYS, ("2026-11-05", 12, 4.0), ("2026-11-08", 12, 8.0), ("2026-11-10", 12, 40.0))

    week, month = (stands(ledger, "11:00", period) for period in ("week", "month"))  # type: ignore[arg-type]

    assert week.projected == pytest.approx(40 + 4 / 4 + 8 / 4)
    # after today: Thursdays 12, 19, 26; Sundays 15, 22, 29; Tuesdays 17, 24; Wednesdays 18, 25
    assert month.spent == pytest.approx(4 + 4 + 8 + 40)
    assert month.projected == pytest.approx(month.spent + 3 * 1.0 + 3 * 2.0 + 2 * 10.0 + 2 * 4.5)


@pytest.mark.parametrize("first, known", [("2026-10-27", True), ("2026-10-28", True), ("2026-10-29", False)])
def test_less_than_two_weeks_teach_nothing(first: str, *, known: bool) -> None:
    """Fourteen days before today at least; a projection of three days would be of three days."""
    found = stands(books((first, 0, 1.0), ("2026-11-10", 0, 1.0)), "12:00")

    assert (found.projected is not None) is known


def test_weeks_before_the_first_day_are_left_out() -> None:
    """Two Wednesdays are known, so the mean is of two; of Tuesdays the tenth and the third, and not the 27th before."""
    ledger = books(("2026-10-28", 9, 8.0), ("2026-11-04", 9, 4.0), ("2026-11-03", 12, 3.0))

    assert stands(ledger, "00:00", "day").projected == pytest.approx(6.0)
    # from midnight on: Wednesdays 18 and 25, Tuesdays 17 and 24
    assert stands(ledger, "2026-11-12 00:00").projected == pytest.approx(7 + 2 * 12 / 3 + 2 * 3 / 2)


def test_hours_have_elapsed_since_midnight() -> None:
    """In Berlin the day of the change has 25: its last hour is one that other Sundays do not have."""
    sundays = ("2026-10-18", "2026-10-11", "2026-10-04", "2026-09-27")
    ledger = books(*((sunday, 23, 4.0) for sunday in sundays))

    before = standing(replace(BUDGET, period="day"), ledger, BERLIN, at("2026-10-25 00:00", BERLIN))
    late = standing(replace(BUDGET, period="day"), ledger, BERLIN, at("2026-10-25 22:30", BERLIN))

    assert before.projected == pytest.approx(4.0)
    # half past ten in the evening is half an hour into the hour 23
    assert late.projected == pytest.approx(2.0)


def test_a_day_of_23_hours_has_no_last_hour() -> None:
    """What other Sundays spend in it is not spent."""
    sundays = ("2026-03-22", "2026-03-15", "2026-03-08", "2026-03-01")
    ledger = books(*((sunday, 23, 4.0) for sunday in sundays), *((sunday, 22, 1.0) for sunday in sundays))

    found = standing(replace(BUDGET, period="day"), ledger, BERLIN, at("2026-03-29 00:00", BERLIN))

    assert found.projected == pytest.approx(1.0)
