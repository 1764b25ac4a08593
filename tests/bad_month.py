"""A bad month: each of twelve incidents is found by the alert meant for it, without a flood of others.

Of the others those count that somebody is told of, infos included: what an alert of the same object mutes for as long
as it fires is in Alertmanager's pages only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter import demo
from tests import badmonth
from tests.history import history
from tests.months import BUDGETS, JOB, SAMPLE_S, Month, began, judged, needed, newest, shipped
from tests.realtools import Tools

pytestmark = pytest.mark.asyncio

ALWAYS = {"OrchestrationWatchdog"}
FURTHER = 2


async def test_each_incident_is_found(
    tmp_path: Path, prometheus_tools: Tools, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its alert, while it lasts; until the next one at most two further alerts begin that are told."""
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
    found = {incident.name: _found(month, incident, until) for incident, until in badmonth.apart()}
    with capsys.disabled():
        print("\nthe bad month:")
        for name, each in found.items():
            after = "not found" if each.after_s is None else f"found after {each.after_s / 3600:5.2f} h"
            told = f"{len(each.fired)} fired, {len(each.told)} told: {', '.join(each.told) or 'none'}"
            print(f"  {name:17} {after}; further ones: {told}")
        print(month.described())
    assert [name for name, each in found.items() if each.after_s is None] == []
    assert [name for name, each in found.items() if len(each.told) > FURTHER] == []


class Found(NamedTuple):
    """After how many seconds the alert meant for an incident was told; which others began to fire, and were told."""

    after_s: float | None
    fired: list[str]
    told: list[str]


def _found(month: Month, incident: badmonth.Bad, until: float) -> Found:
    """What became of an incident: its alert counts while it lasts, others until the next one."""
    fired, told = (began(firings, incident.begin, until) for firings in (month.firings, month.told))
    meant = [firing.span.begin for firing in told if firing.alert == incident.found_by]
    after_s = meant[0] - incident.begin if meant and meant[0] <= incident.end else None
    own = {incident.found_by} | ALWAYS
    others = [sorted({firing.alert for firing in firings} - own) for firings in (fired, told)]
    return Found(after_s, *others)
