"""A bad month: each of twelve incidents is found by the alert meant for it, without a flood of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter import demo
from tests import badmonth
from tests.history import history
from tests.months import BUDGETS, JOB, SAMPLE_S, Month, judged, needed, newest, shipped
from tests.realtools import Tools

pytestmark = pytest.mark.asyncio

ALWAYS = {"OrchestrationWatchdog"}
FURTHER = 2


async def test_each_incident_is_found(
    tmp_path: Path, prometheus_tools: Tools, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its alert, while it lasts; until the next one at most two further alerts begin."""
    if prometheus_tools != newest():
        return
    rules = shipped()
    past = history(
        prometheus_tools,
        days=badmonth.DAYS,
        step_s=SAMPLE_S,
        metric=needed(rules),
        end=badmonth.END_S,
        budgets=json.dumps(BUDGETS),
        job=JOB,
        past=tuple(incident.placed() for incident in badmonth.INCIDENTS),
        outages=tuple((each.begin, each.end) for each in badmonth.INCIDENTS if each.name == "exporter-death"),
    )

    month = await judged(prometheus_tools, past, rules, tmp_path, begin=badmonth.JUDGED_FROM_S)

    assert sorted(each.name for each in badmonth.INCIDENTS) == sorted(demo.INCIDENTS)
    found = [(incident.name, *_found(month, incident, until)) for incident, until in badmonth.apart()]
    with capsys.disabled():
        print("\nthe bad month:")
        for name, after_s, further in found:
            told = "not found" if after_s is None else f"found after {after_s / 3600:4.1f} h"
            print(f"  {name:17} {told}; further: {', '.join(further) or 'none'}")
        print(month.told())
    assert [name for name, after_s, _ in found if after_s is None] == []
    assert [name for name, _, further in found if len(further) > FURTHER] == []


def _found(month: Month, incident: badmonth.Bad, until: float) -> tuple[float | None, list[str]]:
    """After how many seconds the alert meant for it fired, while it lasted; and what else began to fire."""
    firings = month.between(incident.begin, until)
    meant = [firing.span.begin for firing in firings if firing.alert == incident.found_by]
    after_s = meant[0] - incident.begin if meant and meant[0] <= incident.end else None
    return after_s, sorted({firing.alert for firing in firings} - {incident.found_by} - ALWAYS)
