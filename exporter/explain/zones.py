"""The time zone of naive times, as SQL knows it: how far local clocks were ahead, and since when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

from exporter.explain.sql import ZONE, Facts, Query, literal

_FIRST = 946684800
"""Times before 2000 are not looked at."""
_DAY_S = 86400


def add_zone(facts: Facts, query: Query) -> None:
    """Put the part that naive times are read by before the others, where it takes one."""
    if facts.rules.zone is UTC:
        return
    lines = ",\n".join(f"({since}, {ahead})" for since, ahead in _offsets(facts.rules.zone, facts.now))
    what = f"{facts.rules.zone}: since when, on its own clocks, they are so many seconds ahead of UTC"
    query.parts = {f"{ZONE}(since, ahead)": (f"VALUES\n{lines}", what), **query.parts}


def _offsets(zone: tzinfo, now: float) -> Iterator[tuple[str, str]]:
    """The local time (as if it were UTC) from which each offset holds. Of an hour that comes twice it is the first."""
    before = _ahead(zone, _FIRST)
    yield literal(0), literal(before)
    for day in range(_FIRST, int(now) + 2 * _DAY_S, _DAY_S):
        after = _ahead(zone, day + _DAY_S)
        if after != before:
            yield literal(_change(zone, day, before) + max(before, after)), literal(after)
            before = after


def _change(zone: tzinfo, day: int, before: int) -> int:
    """When on that day the offset changes."""
    low, high = day, day + _DAY_S
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _ahead(zone, middle) == before else (low, middle)
    return high


def _ahead(zone: tzinfo, at: int) -> int:
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
