"""While nothing ends by its time: just after a start, and when the clocks parted.

A machine that slept, or an exporter that was down, finds sessions and rows in flight that look idle for hours; the
platform gets a minute to go on with them.
"""

from __future__ import annotations

from collections.abc import Callable

SUSPEND_S = 60.0
"""How long nothing ends by time; clocks that part by more were set, or the machine slept."""


class Suspension:
    """Nothing read before it began ends by time while it lasts. Both clocks are in seconds, ``wall`` since 1970."""

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._from = self._until = float("-inf")
        self._drift: float | None = None

    def begin(self) -> None:
        """Suspend from now on."""
        self._from, self._until = self._wall(), self._monotonic() + SUSPEND_S

    def watch(self) -> None:
        """Suspend if the clocks have parted since the last time."""
        drift = self._wall() - self._monotonic()
        if self._drift is not None and abs(drift - self._drift) > SUSPEND_S:
            self.begin()
        self._drift = drift

    @property
    def since(self) -> float | None:
        """The Unix time at which it began, None while there is none."""
        return self._from if self._monotonic() < self._until else None
