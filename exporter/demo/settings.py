"""What a demo run is told: the length of its past, its pace, its seed and what goes wrong."""

import math
import re
from dataclasses import dataclass

from exporter.demo.cast import PROJECTS

INCIDENTS = ("model-outage", "latency-creep", "cost-spike", "runaway-fanout", "silence")
DAY_S = 86_400.0

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": DAY_S, "w": 7 * DAY_S}
_PART = r"(\d+(?:\.\d+)?)([smhdw])"


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `30d`, `1h30m`, `2.5s`; `0` needs no unit.

    Raises:
        ValueError: It is anything else.
    """
    if text == "0":
        return 0.0
    if not re.fullmatch(f"(?:{_PART})+", text, re.ASCII):
        raise ValueError(f"a duration is a number and one of s, m, h, d, w (30d, 1h30m): {text!r}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(_PART, text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One run of the simulated platform.

    `speed` divides the gaps between live events, and nothing else. `lanes` is about the number of sessions
    running at once while live. `duration_s` and `max_rows` (rows inserted) end the live part by themselves.

    Raises:
        ValueError: A value lies outside what is said here, or the incident is not in `INCIDENTS`.
    """

    seed: int = 1
    history_s: float = 30 * DAY_S
    speed: float = 1.0
    incident: str | None = None
    projects: tuple[str, ...] = PROJECTS
    lanes: int = 8
    duration_s: float | None = None
    max_rows: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.history_s <= 3_660 * DAY_S:
            raise ValueError(f"history must be from 0 to 3660d: {self.history_s:g} s")
        if not (math.isfinite(self.speed) and self.speed > 0):
            raise ValueError(f"speed must be a number above 0: {self.speed}")
        if self.incident is not None and self.incident not in INCIDENTS:
            raise ValueError(f"incident must be one of {', '.join(INCIDENTS)}: {self.incident!r}")
        if not self.projects or self.lanes < 1:
            raise ValueError(f"projects and lanes must be at least one: {len(self.projects)}, {self.lanes}")
        if self.duration_s is not None and not self.duration_s >= 0:
            raise ValueError(f"duration must be 0 or more: {self.duration_s:g} s")
        if self.max_rows is not None and self.max_rows < 1:
            raise ValueError(f"max-rows must be 1 or more: {self.max_rows}")
