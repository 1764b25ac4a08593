"""Thresholds and objectives: `thresholds.yaml`, read strictly, one frozen object.

Dashboards colour by the same numbers, so that none is typed twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from exporter import yamlfile
from exporter.catalogue import handoffs

FILE = Path(__file__).with_name("thresholds.yaml")
PERIOD_S = 30 * 86400.0
"""What an objective is over."""
_UNIT_S = {"m": 60.0, "h": 3600.0, "d": 86400.0}

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Window = Annotated[str, Field(pattern=r"^[1-9][0-9]*[mhd]$")]


class ThresholdsError(Exception):
    """The file cannot be used; the message names the key, its value and the rule."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Site(_Strict):
    """What a site's Prometheus says of the exporter."""

    job: Annotated[str, Field(min_length=1)]
    sample_limit: Annotated[int, Field(ge=1)]


class Availability(_Strict):
    """Of the exporter and its sources, as `thresholds.yaml` says beside each."""

    polls_failing_ratio: Share
    poll_seconds: Positive
    rejected_ratio: Share
    rejected_rows: Annotated[int, Field(ge=1)]
    overflow_rows: Annotated[int, Field(ge=1)]
    stale_rows: Annotated[int, Field(ge=1)]
    checkpoint_failures: Annotated[int, Field(ge=1)]
    near_sample_limit: Share
    failed_logins: Annotated[int, Field(ge=1)]
    certificate_days: Annotated[int, Field(ge=1)]


class Handoffs(_Strict):
    """Of hand-offs: shares, seconds and numbers of events, as `thresholds.yaml` says beside each."""

    failure_ratio: Share
    failures: Annotated[int, Field(ge=1)]
    latency_growth: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    latency_floor_seconds: Positive
    few_events: Annotated[int, Field(ge=1)]
    oldest_in_flight_seconds: Positive
    waiting: Annotated[int, Field(ge=1)]
    low_confidence: Share
    low_confidence_ratio: Share
    low_confidence_growth: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    overconfident_above: Share
    overconfident_failures: Share
    unavailable_ratio: Share
    unavailable_routes: Annotated[int, Field(ge=1)]
    escalated_ratio: Share
    escalations: Annotated[int, Field(ge=1)]

    @field_validator("low_confidence", "overconfident_above")
    @classmethod
    def _is_a_bound(cls, value: float) -> float:
        return _bound(value, handoffs.HANDOFF_CONFIDENCE.buckets)


class Work(_Strict):
    """Of tasks, agents, tools and hooks: shares, numbers of events, and quality on its scale of 0 to 5."""

    failures: Annotated[int, Field(ge=1)]
    task_failures: Share
    agent_errors: Share
    tool_errors: Share
    hook_failures: Share
    quality_drop: Annotated[float, Field(gt=0, lt=5)]
    quality_scores: Annotated[int, Field(ge=1)]


class Sessions(_Strict):
    """Of sessions: shares and numbers of their ends, and what one of them may come to."""

    more_idle: Share
    ends_a_day: Annotated[int, Field(ge=1)]
    subagents: Annotated[int, Field(ge=1)]
    subagents_growth: Annotated[int, Field(ge=1)]
    cost_usd: Positive
    cost_growth_usd: Positive


class Money(_Strict):
    """Of what was spent: factors, shares, numbers of events, and US dollars."""

    spike: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    spike_floor_usd: Positive
    loss_usd: Positive
    loss_ratio: Share
    exhausted_ratio: Share
    exhausted_sessions: Annotated[int, Field(ge=1)]
    unpriced_ratio: Share
    unpriced_events: Annotated[int, Field(ge=1)]


class Budgets(_Strict):
    """Of budgets: shares of the limit and of the period, and days."""

    near: Share
    faster_than_time: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    elapsed: Share
    pace_days: Positive


class Objective(_Strict):
    """The share of events over 30 days that are good."""

    objective: Share


class LatencyObjective(Objective):
    """The share of events over 30 days that take at most so many seconds."""

    within_seconds: Positive

    @field_validator("within_seconds")
    @classmethod
    def _is_a_bound(cls, value: float) -> float:
        return _bound(value, handoffs.HANDOFF_DURATION.buckets)


class ServiceLevels(_Strict):
    """The four objectives."""

    tasks: Objective
    handoffs: Objective
    handoff_latency: LatencyObjective
    freshness: Objective


class BurnWindows(_Strict):
    """Two windows over which the error budget burns too fast, and the share of it that is gone then."""

    long: Window
    short: Window
    budget: Share

    @property
    def factor(self) -> float:
        """The burn rate that spends ``budget`` of 30 days' error budget within the long window."""
        return self.budget * PERIOD_S / seconds(self.long)


class BadEvents(_Strict):
    """How many bad events make a burn."""

    long: Annotated[int, Field(ge=1)]
    short: Annotated[int, Field(ge=1)]


class Anomalies(_Strict):
    """How far from a source's own past is an anomaly, as `thresholds.yaml` says beside each."""

    deviations: Positive
    growth: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    handoffs: Annotated[int, Field(ge=1)]
    cost_usd: Positive
    latency_seconds: Positive
    failure_ratio: Share
    few_events: Annotated[int, Field(ge=1)]
    dropped_to: Share
    expected: Annotated[int, Field(ge=1)]


class Thresholds(_Strict):
    """All of `thresholds.yaml`."""

    tenant_labels: tuple[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")], ...]
    site: Site
    availability: Availability
    handoffs: Handoffs
    work: Work
    sessions: Sessions
    money: Money
    budgets: Budgets
    service_levels: ServiceLevels
    burn_windows: tuple[BurnWindows, BurnWindows, BurnWindows, BurnWindows]
    burn_share: Share
    bad_events: BadEvents
    anomalies: Anomalies

    def burn_factor(self, pair: BurnWindows, objective: float) -> float:
        """From which burn rate on a pair alerts: its factor, but never more than bad events can reach."""
        return round(min(pair.factor, self.burn_share / (1 - objective)), 6)


def seconds(window: str) -> float:
    """The length of a window of minutes, hours or days.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"[1-9][0-9]*[mhd]", window):
        raise ValueError(f"{window!r} is no window of minutes, hours or days")
    return int(window[:-1]) * _UNIT_S[window[-1]]


def parse(text: str) -> Thresholds:
    """The thresholds that a YAML text gives.

    Raises:
        ThresholdsError: it is no strict YAML, a key is missing or unknown, or a value breaks its rule.
    """
    try:
        return Thresholds.model_validate(yamlfile.parse(text).data)
    except yamlfile.YamlError as exc:
        raise ThresholdsError(str(exc)) from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ThresholdsError(f"{where}: {first['input']!r}: {first['msg']}") from exc


def load(path: Path = FILE) -> Thresholds:
    """The thresholds of a file, by default the project's.

    Raises:
        ThresholdsError: as `parse`.
        OSError: it cannot be read.
    """
    return parse(path.read_text())


def _bound(value: float, bounds: tuple[float, ...]) -> float:
    if value not in bounds:
        raise ValueError(f"must be a bucket's bound: {', '.join(map(str, bounds))}")
    return value
