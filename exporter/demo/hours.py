"""When work is done: the hours of a week, and how blocks of work are laid into a stretch of calendar.

The blocks and all that is in them are the same for one seed whatever the time is; only their places follow
the clock. That is why a block is laid as a whole and never stretched: its sessions keep their real durations.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

HOUR_S = 3_600.0
_NIGHT, _EVENING = 0.02, 0.06
_WORKDAY = (
    *(_NIGHT,) * 7,
    *(0.1, 0.5, 0.85, 1.0, 1.0, 0.55, 0.8, 1.0, 0.95, 0.85, 0.6, 0.25),
    *(_EVENING,) * 4,
    _NIGHT,
)
_FREE_DAY = (*(_NIGHT,) * 9, *(0.1,) * 11, *(_NIGHT,) * 4)
MEAN_SHARE = (5 * sum(_WORKDAY) + 2 * sum(_FREE_DAY)) / 168


def busy_share(hour: int) -> float:
    """The share of an hour that is worked, 0..1, by hours since the epoch (UTC)."""
    return (_FREE_DAY if is_weekend(hour * HOUR_S) else _WORKDAY)[hour % 24]


def is_weekend(at_s: float) -> bool:
    """Whether a Unix time is on a Saturday or Sunday (UTC)."""
    return _weekday(at_s) >= 5


def is_monday(at_s: float) -> bool:
    """Whether a Unix time is on a Monday (UTC)."""
    return _weekday(at_s) == 0


def _weekday(at_s: float) -> int:
    """Days since Monday; the first day of Unix time was a Thursday."""
    return (int(at_s // 86_400) + 3) % 7


def lay(lengths_s: Sequence[float], start_s: float, end_s: float) -> list[float]:
    """Start times (epoch) of blocks so that none overlap, all lie in the stretch, and most in busy hours.

    The shares are scaled to what the blocks need, none beyond 1: a stretch of nights only is filled evenly.

    Raises:
        ValueError: The blocks are longer than the stretch.
    """
    need_s = sum(lengths_s)
    if need_s > end_s - start_s + 1e-6:
        raise ValueError(f"{need_s:g} s of work do not fit into {end_s - start_s:g} s")
    slots = list(_slots(start_s, end_s))
    factor = _factor(slots, need_s)
    before = [0.0, *accumulate(lengths_s)][: len(lengths_s)]
    places: list[float] = []
    worked = 0.0
    for begin_s, length_s, share in slots:
        rate = min(1.0, factor * share)
        while len(places) < len(before) and before[len(places)] < worked + rate * length_s:
            places.append(begin_s + (before[len(places)] - worked) / rate)
        worked += rate * length_s
    # What rounding left over starts so that it ends with the stretch.
    return places + [end_s - need_s + before[i] for i in range(len(places), len(before))]


def _slots(start_s: float, end_s: float) -> Iterator[tuple[float, float, float]]:
    """The hours of the stretch: begin, length, share; the first and last cut."""
    at_s = start_s
    while at_s < end_s:
        hour = int(at_s // HOUR_S)
        until_s = min(end_s, (hour + 1) * HOUR_S)
        yield at_s, until_s - at_s, busy_share(hour)
        at_s = until_s


def _factor(slots: Sequence[tuple[float, float, float]], need_s: float) -> float:
    """By how much the shares must be multiplied, none beyond 1, to add up to `need_s` (bisection)."""
    low, high = 0.0, 1.0 / _NIGHT
    for _ in range(50):
        middle = (low + high) / 2
        worked = sum(min(1.0, middle * share) * length_s for _, length_s, share in slots)
        low, high = (middle, high) if worked < need_s else (low, middle)
    return high
