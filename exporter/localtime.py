"""Days and hours of a time zone, and the calendar's periods as of a moment.

Days are ordinals (`datetime.date.toordinal`). An hour is what has elapsed since local midnight: 0 to 22, 23 or 24, for
days have 23, 24 or 25. All offsets since 2000 are multiples of a quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache

HOUR_S = 3600.0
_QUARTER_S = 900
_KEPT_QUARTERS = 10_000
_HOURS = 32
"""Places of a day: its hours, and one for the whole day."""
WHOLE = _HOURS - 1

Place = int
"""A day and one of its hours, or ``WHOLE`` of it."""


def place(day: int, hour: int = WHOLE) -> Place:
    """The place of an hour, or of a whole day."""
    return day * _HOURS + hour


def day_of(at: Place) -> int:
    """The day of a place."""
    return at // _HOURS


def hour_of(at: Place) -> int:
    """The hour of a place, or ``WHOLE``."""
    return at % _HOURS


def whole_days(first: int, end: int) -> range:
    """The places of whole days, from the first to the one before ``end``."""
    return range(place(first), place(end), _HOURS)


def first_hours(day: int, hours: int) -> range:
    """The places of a day's first hours."""
    return range(place(day, 0), place(day, hours))


@dataclass(frozen=True, slots=True)
class Span:
    """The days ``first`` to ``last``, of the last one only the first ``hours`` where that is not None; ``start`` and
    ``end`` are Unix times.
    """

    first: int
    last: int
    hours: float | None
    start: float
    end: float


class Calendar:
    """The days of one time zone."""

    def __init__(self, zone: tzinfo = UTC, name: str = "UTC") -> None:
        self.zone = zone
        self.name = name
        self._places = _Places(self)
        self.midnight = lru_cache(maxsize=2048)(self._midnight)
        """The Unix time at which a day begins."""

    def _midnight(self, day: int) -> float:
        return datetime.fromordinal(day).replace(tzinfo=self.zone).timestamp()

    def places(self, times: Iterable[float]) -> list[Place]:
        """The hour that each Unix time lies in."""
        found = self._places
        if len(found) > _KEPT_QUARTERS:
            found.clear()
        return [found[int(time) // _QUARTER_S] for time in times]

    def day(self, time: float) -> int:
        """The day that a Unix time lies in."""
        return datetime.fromtimestamp(time, self.zone).toordinal()

    def elapsed_hours(self, time: float) -> float:
        """Hours since midnight."""
        return (time - self.midnight(self.day(time))) / HOUR_S

    def hours_in(self, day: int) -> int:
        """How many hours a day has, a begun one included."""
        return -int(-(self.midnight(day + 1) - self.midnight(day)) // HOUR_S)

    def running(self, period: str, now: float) -> Span:
        """The day, week or month that is running, up to its end."""
        first, after = _bounds(period, self.day(now))
        return Span(first, after - 1, None, self.midnight(first), self.midnight(after))

    def periods(self, now: float) -> Mapping[str, Span]:
        """All periods of the ledger as of ``now``."""
        found: dict[str, Span] = {}
        for period in ("day", "week", "month"):
            running = self.running(period, now)
            found[period] = running
            first, after = _bounds(period, running.first - 1)
            found[f"previous_{period}"] = Span(first, after - 1, None, self.midnight(first), running.start)
            found[f"previous_{period}_to_date"] = self._to_date(running, first, after, now)
        return found

    def _to_date(self, running: Span, first: int, after: int, now: float) -> Span:
        """The period from ``first`` to ``after`` up to the point that the running one has reached."""
        start, day = self.midnight(first), first + self.day(now) - running.first
        if day >= after:
            return Span(first, after - 1, None, start, self.midnight(after))
        hours = self.elapsed_hours(now)
        end = min(self.midnight(day) + hours * HOUR_S, self.midnight(day + 1))
        return Span(first, day, hours, start, end)


class _Places(dict[int, Place]):
    """The place of each quarter of an hour since 1970, worked out when first asked for."""

    def __init__(self, calendar: Calendar) -> None:
        super().__init__()
        self._calendar = calendar

    def __missing__(self, quarter: int) -> Place:
        time = float(quarter * _QUARTER_S)
        day = self._calendar.day(time)
        found = self[quarter] = place(day, int((time - self._calendar.midnight(day)) // HOUR_S))
        return found


def _bounds(period: str, day: int) -> tuple[int, int]:
    """First day and day after the last of the period that ``day`` lies in. Weeks begin on Monday."""
    moment = date.fromordinal(day)
    match period:
        case "day":
            return day, day + 1
        case "week":
            first = day - moment.weekday()
            return first, first + 7
        case _:
            after = date(moment.year + moment.month // 12, moment.month % 12 + 1, 1)
            return moment.replace(day=1).toordinal(), after.toordinal()
