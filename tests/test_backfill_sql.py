"""Backfilled blocks in a real Prometheus against the SQL of tests/oracle/, by event time: sample and demo.

At random whole steps every series of every counter and histogram is what SQL says of the rows up to then; over random
windows between them, increase() of random series is what SQL says happened there.
"""

from __future__ import annotations

import json
import math
import random
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter import cli, demo
from exporter.catalogue import SCHEMA
from exporter.spec import Gauge
from tests.againstsql import COUNTERS, HISTOGRAMS, PREFIX, REPOSITORY, Oracle, Series, seconds, show
from tests.cases import later
from tests.conftest import StartPrometheus
from tests.demoruns import NOW_S, written_history
from tests.realtools import Prometheus, Tools

pytestmark = [pytest.mark.bulk, pytest.mark.usefixtures("logs_as_before")]

DRAWN = 200
STEP_S = 1800.0
SAMPLE = REPOSITORY.parent / "shared" / "samples" / "orchestration.db"
SESSIONS = "orchestration_sessions"
ACTIVITY = ("handoff_events", "subagent_invocations", "task_outcomes", "routing_decisions", "claude_code_hooks")
OTHERS = ("model_performance", "live_activities")
NAMES = (*COUNTERS, *HISTOGRAMS)
Values = Mapping[Series, float]


@dataclass(frozen=True, slots=True)
class Past:
    """A database, its last sample's time, and what SQL says at random whole steps of it."""

    database: Path
    end: float
    said: Mapping[float, Values]


@pytest.fixture(scope="module", params=["demo", *later("sample")])
def past(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Past:
    """The platform's own month, and a day and a half of the demo, each at half an hour."""
    rng = random.Random(request.param)
    if request.param == "sample":
        database, end, span_s = SAMPLE, seconds("2026-11-21T17:40:00Z"), 29 * 86400.0
    else:
        database, end, span_s = tmp_path_factory.mktemp("demo") / "demo.db", NOW_S, 1.5 * 86400.0
        written_history(database, demo.Settings(seed=11, history_s=span_s), end).close()
    last = end // STEP_S * STEP_S
    times = [last - STEP_S * number for number in rng.sample(range(1, int(span_s / STEP_S)), 20)]
    return Past(database, end, {at: said_at(database, at) for at in sorted(times)})


def said_at(database: Path, at: float) -> Values:
    """What SQL says at that Unix time of the rows with times up to it: views before the tables, for the SQL as it is.

    A session is there from its start, or from its first event, if that is earlier.
    """
    until = f"CAST(strftime('%s', {{0}}) AS REAL) <= {at!r}".format
    events = " UNION ALL ".join(f"SELECT session_id FROM main.{t} WHERE {until('timestamp')}" for t in ACTIVITY)
    with closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as connection:
        for table in (*ACTIVITY, *OTHERS):
            connection.execute(f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} WHERE {until('timestamp')}")
        connection.execute(
            f"CREATE TEMP VIEW {SESSIONS} AS SELECT * FROM main.{SESSIONS} "
            f"WHERE {until('start_time')} OR session_id IN ({events})"
        )
        oracle = Oracle(connection, datetime.fromtimestamp(at, UTC).isoformat(), ledger=False)
        return {series: value for family in NAMES for series, value in oracle.series(family).items()}


@pytest.fixture(scope="module")
def blocks(past: Past, prometheus_tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All counters and histograms of the past, in a data folder."""
    folder = tmp_path_factory.mktemp("blocks")
    names = "|".join(metric.name for metric in SCHEMA.metrics if not isinstance(metric, Gauge))
    arguments = ["--database", past.database, "--storage.path", folder / "none", "--to", past.end, "--metric", names]
    arguments += ["--step", f"{STEP_S:g}s", "--promtool", prometheus_tools.promtool, "--output", folder / "data"]
    assert cli.run(["backfill", *map(str, arguments)], {}, SCHEMA) == 0
    return folder / "data"


async def test_prometheus_says_what_sql_says(past: Past, blocks: Path, start_prometheus: StartPrometheus) -> None:
    """All raw values at 20 random steps to 1e-9, and the increase of 200 random series over random windows."""
    server = await start_prometheus(storage=blocks, flags=["--storage.tsdb.retention.time=10y"])
    for at, said in past.said.items():
        assert differences(said, await shown_at(server, at)) == []

    wrong, moved = [], set()
    for series, first, last, happened in draws(past):
        # half a step more than the window: so the sample at its beginning is in it, whether or not the version at
        # hand takes ranges as open there, and the half step is all that it may extrapolate
        window_s = last - first + STEP_S / 2
        query = f"increase({selector(series)}[{window_s * 1000:.0f}ms])"
        found = await server.query(query, last)
        value = found[0].value if found else 0.0
        most = happened * window_s / (last - first)
        if len(found) > 1 or not happened * (1 - 1e-9) - 1e-9 <= value <= most * (1 + 1e-9) + 1e-9:
            wrong.append(f"{query} at {last} is {value}, SQL says {happened}")
        if happened:
            moved.add(family_of(series))
    assert wrong == []
    assert len(moved) > 30


def test_a_difference_is_seen() -> None:
    """Of values, and of what one of the two does not have; what is about to be born may be there at 0."""
    first, second = (Series("tasks_total", frozenset({("outcome", outcome)})) for outcome in ("success", "failure"))

    assert differences({first: 2.0}, {first: 2.0, second: 0.0}) == []
    assert differences({first: 2.0}, {first: 2.0, second: 1.0}) == [
        "tasks_total{outcome='failure'} is 1.0, SQL says 0.0"
    ]
    assert differences({first: 2.0}, {first: 2.0 + 1e-8}) == [
        "tasks_total{outcome='success'} is 2.00000001, SQL says 2.0"
    ]
    assert differences({first: 0.0}, {}) == ["missing tasks_total{outcome='success'} 0.0"]


def draws(past: Past) -> Iterator[tuple[Series, float, float, float]]:
    """Random series, windows from one known step to another, and what SQL says happened there."""
    rng = random.Random(5)
    for number in range(DRAWN):
        first, last = sorted(rng.sample(list(past.said), 2))
        before, after = past.said[first], past.said[last]
        happened = {series: value - before.get(series, 0.0) for series, value in after.items()}
        # two times in three one of which something happened: to most nothing does for most of the time
        moved = [series for series, amount in happened.items() if amount > 0]
        chosen = moved if moved and number % 3 else list(happened)
        family = rng.choice(sorted({family_of(series) for series in chosen}))
        series = rng.choice([series for series in chosen if family_of(series) == family])
        yield series, first, last, happened[series]


def family_of(series: Series) -> str:
    """The metric that a series is of."""
    return re.sub(r"_(bucket|sum|count)$", "", series.name)


def selector(series: Series) -> str:
    """A selector of that series alone."""
    pairs = (f"{name}={json.dumps(text, ensure_ascii=False)}" for name, text in sorted(series.labels))
    return f"{PREFIX}{series.name}{{{','.join(pairs)}}}"


async def shown_at(server: Prometheus, at: float) -> Values:
    """All that Prometheus has of these metrics at that time, without the labels that the scrape adds."""
    name = f"{PREFIX}.+_(total|bucket|sum|count)"
    found = await server.query(f'{{__name__=~"{name}"}}', at)
    shown = {}
    for labels, value in found:
        kept = frozenset((key, text) for key, text in labels.items() if key not in ("__name__", "job", "instance"))
        shown[Series(labels["__name__"].removeprefix(PREFIX), kept)] = value
    assert len(shown) == len(found)
    return shown


def differences(said: Values, shown: Values) -> list[str]:
    """What SQL says and Prometheus does not, and the other way round; what is about to be born is there at 0."""
    found = [f"missing {show(series)} {value}" for series, value in said.items() if series not in shown]
    for series, value in shown.items():
        expected = said.get(series, 0.0)
        if not math.isclose(value, expected, rel_tol=1e-9):
            found.append(f"{show(series)} is {value}, SQL says {expected}")
    return sorted(found)
