"""What makes the platform's day worse: the slow hour of an ordinary week, and the incidents.

An incident is live, from the start of a run on, or lies between two times of the past.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exporter.demo.durations import parse_duration
from exporter.demo.hours import is_monday, is_weekend

WEEK_S = 47 * 3_600.0  # the busy hours of one week
SLOW_S = (20 * 3_600.0, 21 * 3_600.0)
LIVE_S = 600.0  # a live incident that grows is at its worst after this


@dataclass(frozen=True, slots=True)
class Weather:
    """What all work suffers at one time.

    `latency`, `tokens` and `confidence` are factors; `dearest_share` (0..1) of the paid work goes to the dearest
    model; nearly all calls of the tools of `broken_server` fail; with `tickets` every task is a type of its own.
    """

    latency: float = 1.0
    tokens: float = 1.0
    confidence: float = 1.0
    dearest_share: float = 0.0
    local_down: bool = False
    broken_server: str = ""
    tickets: bool = False

    def beside(self, other: "Weather") -> "Weather":
        """Both at once."""
        return Weather(
            latency=self.latency * other.latency,
            tokens=self.tokens * other.tokens,
            confidence=self.confidence * other.confidence,
            dearest_share=max(self.dearest_share, other.dearest_share),
            local_down=self.local_down or other.local_down,
            broken_server=self.broken_server or other.broken_server,
            tickets=self.tickets or other.tickets,
        )


Forecast = Callable[[float], Weather]

GOOD = Weather()
_SLOW = Weather(latency=3.0)

# By how much of the incident is over, 0..1.
_BAD: Mapping[str, Callable[[float], Weather]] = {
    "model-outage": lambda _: Weather(local_down=True),
    # Slower than that, a newcomer would take the demo for stopped.
    "latency-creep": lambda over: Weather(latency=1.0 + 5.0 * over),
    "cost-spike": lambda _: Weather(tokens=8.0, dearest_share=0.7),
    # Nothing was changed on one day: prompts grow with a history that nobody cuts.
    "slow-budget-leak": lambda over: Weather(tokens=1.0 + 3.0 * over),
    "confidence-drift": lambda over: Weather(confidence=1.0 - 0.5 * over),
    "tool-failure": lambda _: Weather(broken_server="filesystem"),
    "label-flood": lambda _: Weather(tickets=True),
}
# By Unix time: when nothing is written.
_SILENT: Mapping[str, Callable[[float], bool]] = {
    "weekend-silence": is_weekend,
    "monday-silence": is_monday,
    "stale-data": lambda _: True,
}
RUNAWAY = "runaway-fanout"
INCIDENTS = (*_BAD, RUNAWAY, *_SILENT, "exporter-death")
"""`exporter-death` changes no row: it is the exporter's (`backfill --outage`)."""


class Incident(NamedTuple):
    """An incident of the past; times are seconds before its end, so that `from_s` is the greater."""

    name: str
    from_s: float
    to_s: float

    def place(self, now_s: float) -> "Placed":
        """Where it lies if the past ends at Unix time `now_s`."""
        return Placed(self.name, now_s - self.from_s, now_s - self.to_s)


class Placed(NamedTuple):
    """An incident between two Unix times."""

    name: str
    begin_s: float
    end_s: float


def parse_incident(text: str) -> str | Incident:
    """`NAME` of a live incident; of `NAME@FROM/TO`, durations before the end of the past, one of the past.

    Raises:
        ValueError: There is no such incident, or it ends before it begins.
    """
    name, at, times = text.partition("@")
    if name not in INCIDENTS:
        raise ValueError(f"must be one of {', '.join(INCIDENTS)}: {name!r}")
    if not at:
        return name
    if not re.fullmatch(r"[^/]+/[^/]+", times):
        raise ValueError(f"an incident of the past is NAME@FROM/TO, as in {RUNAWAY}@3d/2d20h: {text!r}")
    incident = Incident(name, *map(parse_duration, times.split("/")))
    if not incident.from_s > incident.to_s:
        raise ValueError(f"FROM must be longer ago than TO: {text!r}")
    return incident


def live_and_past(incidents: Iterable[str | Incident]) -> tuple[str | None, tuple[Incident, ...]]:
    """The one incident that is live, if any, and those of the past.

    Raises:
        ValueError: More than one is live.
    """
    given = tuple(incidents)
    live = [each for each in given if isinstance(each, str)]
    if len(live) > 1:
        help_ = "the others need @FROM/TO, durations before the end of the past"
        raise ValueError(f"one incident at most can be live: {', '.join(live)}; {help_}")
    return live[0] if live else None, tuple(each for each in given if isinstance(each, Incident))


def ordinary(at_s: float) -> Weather:
    """The weather after `at_s` busy seconds without an incident: one hour a week is three times as slow."""
    return _SLOW if SLOW_S[0] <= at_s % WEEK_S < SLOW_S[1] else GOOD


def forecast(incident: str | None) -> Forecast:
    """The weather of a live run, by seconds since its start; incidents begin at 0 and stay.

    Some are no weather: `runaway-fanout` adds a session, and a silence takes everything away.
    """
    bad = _BAD.get(incident or "")
    return ordinary if bad is None else lambda at_s: bad(min(1.0, at_s / LIVE_S))


def bad_weather(placed: Sequence[Placed], at_s: float) -> Weather:
    """What the incidents of the past make of the weather at a Unix time."""
    weather = GOOD
    for name, begin_s, end_s in placed:
        if name in _BAD and begin_s <= at_s < end_s:
            weather = weather.beside(_BAD[name]((at_s - begin_s) / (end_s - begin_s)))
    return weather


def is_silent(placed: Sequence[Placed], at_s: float) -> bool:
    """Whether nothing is written at a Unix time."""
    return any(begin_s <= at_s < end_s and _SILENT[name](at_s) for name, begin_s, end_s in placed if name in _SILENT)


def silences(incident: str | None) -> bool:
    """Whether a live run with that incident writes nothing, whatever the day."""
    return incident in _SILENT
