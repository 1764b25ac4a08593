"""What a demo run is told: the length of its past, its pace, its seed and what goes wrong."""

import math
from dataclasses import dataclass

from exporter.demo.cast import PROJECTS
from exporter.demo.durations import DAY_S
from exporter.demo.incidents import INCIDENTS, Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One run of the simulated platform.

    `speed` divides the gaps between live events, and nothing else. `incident` begins with the live part, those of
    `past` lie in the history. `lanes` is about the number of sessions running at once while live. `duration_s` and
    `max_rows` (rows inserted) end the live part by themselves.

    Raises:
        ValueError: A value lies outside what is said here, or an incident is not in `INCIDENTS`.
    """

    seed: int = 1
    history_s: float = 30 * DAY_S
    speed: float = 1.0
    incident: str | None = None
    past: tuple[Incident, ...] = ()
    projects: tuple[str, ...] = PROJECTS
    lanes: int = 8
    duration_s: float | None = None
    max_rows: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.history_s <= 3_660 * DAY_S:
            raise ValueError(f"history must be from 0 to 3660d: {self.history_s:g} s")
        if not (math.isfinite(self.speed) and self.speed > 0):
            raise ValueError(f"speed must be a number above 0: {self.speed}")
        for name in (self.incident, *(each.name for each in self.past)):
            if name is not None and name not in INCIDENTS:
                raise ValueError(f"incident must be one of {', '.join(INCIDENTS)}: {name!r}")
        for name, from_s, to_s in self.past:
            if not self.history_s >= from_s > to_s >= 0:
                times = f"from {from_s:g} s to {to_s:g} s ago"
                raise ValueError(f"{name} must lie in the past, which begins {self.history_s:g} s ago: {times}")
        if not self.projects or self.lanes < 1:
            raise ValueError(f"projects and lanes must be at least one: {len(self.projects)}, {self.lanes}")
        if self.duration_s is not None and not self.duration_s >= 0:
            raise ValueError(f"duration must be 0 or more: {self.duration_s:g} s")
        if self.max_rows is not None and self.max_rows < 1:
            raise ValueError(f"max-rows must be 1 or more: {self.max_rows}")
