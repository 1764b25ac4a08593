"""New series, held at 0 until their 0 has been seen: ``increase()`` never sees a series' first value.

A series is released when its 0 has been served in at least two scrapes and for ``hold_s`` since the first of them, by
the monotonic clock, begun anew after a start. Releasing is saved before the value is shown (``counting.md``, "Births").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from exporter.series import Series

_SCRAPES = 2
_SCRAPES_PER_HOLD = 3


@dataclass(slots=True, eq=False)
class _Cohort:
    """Series that were first shown, as 0, by the same publication."""

    number: int
    series: set[Series]
    served_since: float | None = None
    scrapes: int = 0


@dataclass(slots=True)
class Births:
    """Who is held, and since when their 0 is served."""

    hold_s: float
    _cohorts: list[_Cohort] = field(default_factory=list)
    _waiting: set[Series] = field(default_factory=set)
    _last_scrape: float | None = None
    gap_s: float | None = None
    """The time between the last two scrapes."""

    def shown(self, held: Iterable[Series], number: int) -> None:
        """The publication of that number shows these series as 0."""
        fresh = set(held) - self._waiting
        if fresh:
            self._cohorts.append(_Cohort(number, fresh))
            self._waiting |= fresh

    def served(self, number: int, now: float) -> None:
        """A scrape got the publication of that number, whole."""
        if self._last_scrape is not None:
            self.gap_s = now - self._last_scrape
        self._last_scrape = now
        for cohort in self._cohorts:
            if cohort.number <= number:
                cohort.scrapes += 1
                cohort.served_since = now if cohort.served_since is None else cohort.served_since

    def due(self, now: float) -> set[Series]:
        """The series whose values may be shown now; they are held no longer."""
        ready = [cohort for cohort in self._cohorts if self._is_due(cohort, now)]
        self._cohorts = [cohort for cohort in self._cohorts if cohort not in ready]
        found: set[Series] = set().union(*(cohort.series for cohort in ready))
        self._waiting -= found
        return found

    def _is_due(self, cohort: _Cohort, now: float) -> bool:
        since = cohort.served_since
        return since is not None and cohort.scrapes >= _SCRAPES and now - since >= self.hold_s

    def too_short(self) -> bool:
        """True when the hold is shorter than three times the gap between scrapes: a 0 may be missed."""
        return bool(self.hold_s and self.gap_s and self.hold_s < _SCRAPES_PER_HOLD * self.gap_s)
