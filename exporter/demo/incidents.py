"""What makes the platform's day worse: the slow hour of an ordinary week, and the incidents."""

from collections.abc import Callable
from dataclasses import dataclass

CREEP_DOUBLES_S = 120.0
CREEP_LIMIT = 6.0  # slower than that, a newcomer would take the demo for stopped
WEEK_S = 47 * 3_600.0  # the busy hours of one week
SLOW_S = (20 * 3_600.0, 21 * 3_600.0)


@dataclass(frozen=True, slots=True)
class Weather:
    """What all models suffer at one time.

    `latency` and `tokens` are factors; `dearest_share` (0..1) of the paid work goes to the dearest model.
    """

    latency: float = 1.0
    tokens: float = 1.0
    dearest_share: float = 0.0
    local_down: bool = False


Forecast = Callable[[float], Weather]


def ordinary(at_s: float) -> Weather:
    """The weather after `at_s` busy seconds without an incident: one hour a week is three times as slow."""
    return Weather(latency=3.0) if SLOW_S[0] <= at_s % WEEK_S < SLOW_S[1] else Weather()


def forecast(incident: str | None) -> Forecast:
    """The weather of a live run, by seconds since its start; incidents begin at 0 and stay.

    `runaway-fanout` and `silence` are no weather: they add a session and take everything away.
    """
    if incident == "model-outage":
        return lambda at_s: Weather(local_down=True)
    if incident == "latency-creep":
        return lambda at_s: Weather(latency=min(CREEP_LIMIT, 1.0 + at_s / CREEP_DOUBLES_S))
    if incident == "cost-spike":
        return lambda at_s: Weather(tokens=8.0, dearest_share=0.7)
    return ordinary
