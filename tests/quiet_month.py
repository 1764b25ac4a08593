"""A quiet month wakes nobody: the demo's normal traffic, weekends and slow hour included, under the shipped rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.history import history
from tests.months import BUDGETS, DAY_S, JOB, SAMPLE_S, judged, needed, newest, shipped
from tests.realtools import Tools

pytestmark = pytest.mark.asyncio

END_S = datetime(2026, 11, 23, tzinfo=UTC).timestamp()  # the night to a Monday


async def test_a_quiet_month_is_quiet(
    tmp_path: Path, prometheus_tools: Tools, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two weeks that the rules learn from, then thirty days: nothing critical, two warnings at most."""
    if prometheus_tools != newest():
        return
    rules = shipped()
    past = history(
        prometheus_tools,
        days=44,
        step_s=SAMPLE_S,
        metric=needed(rules),
        end=END_S,
        budgets=json.dumps(BUDGETS),
        job=JOB,
    )

    month = await judged(prometheus_tools, past, rules, tmp_path, begin=END_S - 30 * DAY_S)

    with capsys.disabled():
        print(f"\nthe quiet month:\n{month.described()}")
    loud = [firing for firing in month.firings if firing.severity in ("critical", "warning")]
    assert [firing for firing in loud if firing.severity == "critical"] == []
    assert len(loud) <= 2
