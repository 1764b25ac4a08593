"""A bad month: twelve incidents of the demo, well apart in one history, and what finds each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.demo import Incident


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


BEGIN_S, END_S = _at("2026-09-28"), _at("2026-11-22")
DAYS = (END_S - BEGIN_S) / 86_400
JUDGED_FROM_S = _at("2026-10-17")


@dataclass(frozen=True, slots=True)
class Bad:
    """An incident between two Unix times, and the alert that is meant to find it."""

    name: str
    begin: float
    end: float
    found_by: str

    def placed(self) -> Incident:
        """The incident as the demo takes it."""
        return Incident(self.name, END_S - self.begin, END_S - self.end)


# Well apart: a leak's budgets are broken until their month ends, so nothing else happens on October's last workdays.
# A silent day leaves windows of one and three days to what comes next, so that is nothing that makes work fail.
INCIDENTS = tuple(
    Bad(name, _at(begin), _at(end), f"Orchestration{alert}")
    for name, begin, end, alert in (
        ("slow-budget-leak", "2026-10-12T00:00", "2026-10-28T00:00", "BudgetProjectedToBreak"),
        ("weekend-silence", "2026-10-31T00:00", "2026-11-02T00:00", "DataStale"),
        ("tool-failure", "2026-11-02T10:00", "2026-11-02T14:00", "ToolErrors"),
        ("runaway-fanout", "2026-11-03T10:00", "2026-11-03T11:00", "RunawayFanOut"),
        ("label-flood", "2026-11-04T10:00", "2026-11-04T16:00", "LabelOverflow"),
        ("stale-data", "2026-11-05T13:00", "2026-11-05T17:00", "DataStale"),
        ("cost-spike", "2026-11-06T09:00", "2026-11-06T15:00", "CostSpike"),
        ("monday-silence", "2026-11-09T00:00", "2026-11-10T00:00", "DataStale"),
        ("exporter-death", "2026-11-11T10:00", "2026-11-11T11:00", "ExporterDown"),
        ("latency-creep", "2026-11-12T08:00", "2026-11-13T20:00", "HandoffsSlow"),
        ("confidence-drift", "2026-11-16T08:00", "2026-11-19T20:00", "HandoffConfidenceLow"),
        ("model-outage", "2026-11-20T09:30", "2026-11-20T12:30", "LocalModelDown"),
    )
)


def apart() -> Iterator[tuple[Bad, float]]:
    """Each incident with the time at which the next begins: until then what fires is of this one."""
    ends = [incident.begin for incident in INCIDENTS[1:]] + [END_S]
    yield from zip(INCIDENTS, ends, strict=True)
