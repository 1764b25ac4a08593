"""Days, hours and periods of any time zone: of 23, 24 and 25 hours, with and without a midnight."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.localtime import HOUR_S, WHOLE, Calendar, day_of, hour_of, place

ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"),
    *("America/Havana", "America/Asuncion", "Asia/Beirut", "Pacific/Apia", "Pacific/Chatham", "Africa/Casablanca"),
)
FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2000, 2035))
TIMES = st.integers(FIRST * 1000, LAST * 1000).map(lambda thousandths: thousandths / 1000)


def calendar(name: str) -> Calendar:
    return Calendar(ZoneInfo(name), name)


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def at(text: str, zone: str = "UTC") -> float:
    """The Unix time that a clock in that zone shows so."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def dated(time: float, zone: str = "UTC") -> str:
    return datetime.fromtimestamp(time, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


# ── days and hours ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_place_is_a_day_and_an_hour() -> None:
    """Or the whole of a day, which is no hour of it."""
    for hour in range(25):
        assert (day_of(place(700_000, hour)), hour_of(place(700_000, hour))) == (700_000, hour)
    assert (day_of(place(700_000)), hour_of(place(700_000))) == (700_000, WHOLE)
    assert WHOLE > 25


@pytest.mark.parametrize(
    "zone, date_, hours",
    [
        ("UTC", "2026-03-29", 24),
        ("Europe/Berlin", "2026-03-28", 24),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Asia/Kathmandu", "2026-03-29", 24),
        ("America/Havana", "2026-03-08", 23),  # at midnight clocks go to one: the day begins at one
        ("America/Havana", "2026-11-01", 25),  # at one they go back to midnight: the day begins at the first
        ("Australia/Lord_Howe", "2026-10-04", 24),  # half an hour less: the last hour is half a one
        ("Australia/Lord_Howe", "2026-04-05", 25),  # half an hour more
    ],
)
def test_how_many_hours_a_day_has(zone: str, date_: str, hours: int) -> None:
    """A begun one counts."""
    assert calendar(zone).hours_in(day(date_)) == hours


@pytest.mark.parametrize(
    "zone, time, date_, hour",
    [
        ("UTC", "2026-03-29T00:00+00:00", "2026-03-29", 0),
        ("UTC", "2026-03-29T23:59:59+00:00", "2026-03-29", 23),
        ("Europe/Berlin", "2026-03-28T23:00+00:00", "2026-03-29", 0),
        ("Europe/Berlin", "2026-03-29T00:59+00:00", "2026-03-29", 1),
        ("Europe/Berlin", "2026-03-29T01:00+00:00", "2026-03-29", 2),  # three o'clock, the third hour
        ("Europe/Berlin", "2026-03-29T21:59+00:00", "2026-03-29", 22),
        ("Europe/Berlin", "2026-03-29T22:00+00:00", "2026-03-30", 0),
        ("Europe/Berlin", "2026-10-25T00:30+00:00", "2026-10-25", 2),  # half past two, for the first time
        ("Europe/Berlin", "2026-10-25T01:30+00:00", "2026-10-25", 3),  # and for the second
        ("Europe/Berlin", "2026-10-25T22:59+00:00", "2026-10-25", 24),
        ("Asia/Kathmandu", "2026-03-28T18:14:59+00:00", "2026-03-28", 23),
        ("Asia/Kathmandu", "2026-03-28T18:15+00:00", "2026-03-29", 0),
        ("Asia/Kolkata", "2026-03-28T18:30+00:00", "2026-03-29", 0),
    ],
)
def test_the_hour_a_time_lies_in(zone: str, time: str, date_: str, hour: int) -> None:
    """Hours have elapsed since midnight; they are not what the clock shows."""
    unix = datetime.fromisoformat(time).timestamp()

    assert calendar(zone).places([unix]) == [place(day(date_), hour)]


def test_a_midnight_that_does_not_exist_is_the_first_moment_of_its_day() -> None:
    """In Havana clocks go from 23:59:59 to 1:00, in Apia a whole day was left out."""
    havana, apia = calendar("America/Havana"), calendar("Pacific/Apia")

    assert dated(havana.midnight(day("2026-03-08")), "America/Havana") == "2026-03-08 01:00"
    assert havana.places([havana.midnight(day("2026-03-08"))]) == [place(day("2026-03-08"), 0)]
    assert havana.places([havana.midnight(day("2026-03-08")) - 1]) == [place(day("2026-03-07"), 23)]
    assert apia.midnight(day("2011-12-31")) - apia.midnight(day("2011-12-29")) == 24 * HOUR_S
    assert apia.hours_in(day("2011-12-30")) == 0 or apia.hours_in(day("2011-12-29")) == 0


@pytest.mark.bulk
@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(TIMES)
def test_every_time_lies_in_its_places_hour(zone: str, time: float) -> None:
    """Not before it begins nor after it ends, on the day that the clock on the wall shows."""
    found = calendar(zone)

    (at_,) = found.places([time])

    begins = found.midnight(day_of(at_)) + hour_of(at_) * HOUR_S
    assert begins <= time < begins + HOUR_S
    assert day_of(at_) == found.day(time) == datetime.fromtimestamp(time, ZoneInfo(zone)).toordinal()
    assert hour_of(at_) < found.hours_in(day_of(at_)) <= 25
    assert int(found.elapsed_hours(time)) == hour_of(at_)


@pytest.mark.parametrize("zone", ZONES)
def test_days_follow_each_other_without_a_gap(zone: str) -> None:
    """What has elapsed in all days of some years is the time from the first midnight to the last."""
    found, first, last = calendar(zone), day("2024-01-01"), day("2027-01-01")

    lengths = [found.midnight(n + 1) - found.midnight(n) for n in range(first, last)]

    assert sum(lengths) == found.midnight(last) - found.midnight(first)
    assert {length / HOUR_S for length in lengths} <= {23.0, 23.5, 24.0, 24.5, 25.0}


def test_places_are_found_anew_when_too_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of them is bounded, and what it says does not change."""
    monkeypatch.setattr("exporter.localtime._KEPT_QUARTERS", 3)
    found, times = calendar("Europe/Berlin"), [at("2026-03-29T00:00") + 900.0 * n for n in range(100)]

    assert [found.places([time]) for time in times] == [calendar("Europe/Berlin").places([time]) for time in times]
    assert len(found._places) <= 4


AFFIXES = (("", ""), ("previous_", ""), ("previous_", "_to_date"))

# ── periods ──────────────────────────────────────────────────────────────────────────────────────────────────


def periods(now: str, zone: str = "UTC") -> dict[str, tuple[str, str]]:
    """From when to when each period reaches, as a clock in that zone shows it."""
    spans = calendar(zone).periods(at(now, zone))
    return {name: (dated(span.start, zone), dated(span.end, zone)) for name, span in spans.items()}


def test_the_periods_of_an_afternoon_in_the_middle_of_it_all() -> None:
    """Wednesday, the eleventh, half past two; weeks begin on Monday."""
    assert periods("2026-11-11 14:30") == {
        "day": ("2026-11-11 00:00", "2026-11-12 00:00"),
        "previous_day": ("2026-11-10 00:00", "2026-11-11 00:00"),
        "previous_day_to_date": ("2026-11-10 00:00", "2026-11-10 14:30"),
        "week": ("2026-11-09 00:00", "2026-11-16 00:00"),
        "previous_week": ("2026-11-02 00:00", "2026-11-09 00:00"),
        "previous_week_to_date": ("2026-11-02 00:00", "2026-11-04 14:30"),
        "month": ("2026-11-01 00:00", "2026-12-01 00:00"),
        "previous_month": ("2026-10-01 00:00", "2026-11-01 00:00"),
        "previous_month_to_date": ("2026-10-01 00:00", "2026-10-11 14:30"),
    }


@pytest.mark.parametrize(
    "now, month, previous, to_date",
    [
        ("2026-03-31 12:00", "2026-03-01", "2026-02-01", "2026-03-01 00:00"),  # February has no 31st: all of it
        ("2026-03-28 12:00", "2026-03-01", "2026-02-01", "2026-02-28 12:00"),
        ("2026-03-29 00:00", "2026-03-01", "2026-02-01", "2026-03-01 00:00"),
        ("2028-03-29 06:00", "2028-03-01", "2028-02-01", "2028-02-29 06:00"),  # a leap year
        ("2026-12-31 23:00", "2026-12-01", "2026-11-01", "2026-12-01 00:00"),
        ("2027-01-01 00:00", "2027-01-01", "2026-12-01", "2026-12-01 00:00"),  # nothing yet
        ("2027-01-31 23:00", "2027-01-01", "2026-12-01", "2026-12-31 23:00"),
    ],
)
def test_months_of_all_lengths(now: str, month: str, previous: str, to_date: str) -> None:
    """The one before up to the same point, and never beyond its own end."""
    found = periods(now)

    assert found["month"][0] == f"{month} 00:00"
    assert found["previous_month"] == (f"{previous} 00:00", f"{month} 00:00")
    assert found["previous_month_to_date"] == (f"{previous} 00:00", to_date)


@pytest.mark.parametrize(
    "now, to_date",
    [
        ("2026-03-30 23:30", "2026-03-30 00:00"),  # 23.5 hours, but yesterday had 23: all of them
        ("2026-03-30 12:00", "2026-03-29 13:00"),  # twelve hours elapsed, one of which the clock left out
        ("2026-10-26 12:00", "2026-10-25 11:00"),
        ("2026-10-25 23:30", "2026-10-25 00:00"),  # 24.5 hours, and yesterday had 24
    ],
)
def test_to_date_goes_by_what_has_elapsed(now: str, to_date: str) -> None:
    """On the days on which Berlin's clocks change, and those after them."""
    assert periods(now, "Europe/Berlin")["previous_day_to_date"][1] == to_date


@pytest.mark.bulk
@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(TIMES)
def test_periods_hold_together(zone: str, now: float) -> None:
    """They follow each other, hold the present, and what is to date ends within its period."""
    found = calendar(zone)

    spans = found.periods(now)

    for name in ("day", "week", "month"):
        running, before, to_date = (spans[f"{prefix}{name}{suffix}"] for prefix, suffix in AFFIXES)
        assert running.start <= now < running.end
        assert before.end == running.start
        assert before.last + 1 == running.first
        assert (to_date.first, to_date.start) == (before.first, before.start)
        assert before.start <= to_date.end <= before.end
        assert before.first <= to_date.last <= before.last
        assert running == found.running(name, now)
    assert date.fromordinal(spans["week"].first).weekday() == 0
    assert date.fromordinal(spans["month"].first).day == 1


def test_a_year_of_days_has_each_period_once() -> None:
    """Walking through a year, weeks and months begin when a calendar says so."""
    found, start = calendar("Europe/Berlin"), date(2026, 1, 1)
    weeks, months = set(), set()

    for n in range(365):
        moment = start + timedelta(days=n)
        noon = datetime(moment.year, moment.month, moment.day, 12, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
        spans = found.periods(noon)
        weeks.add(spans["week"].first)
        months.add(spans["month"].first)
        assert spans["day"].first == moment.toordinal()

    assert len(weeks) == 53
    assert len(months) == 12
