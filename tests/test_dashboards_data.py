"""Every query of every panel, asked of a real Prometheus that has 15 days of a platform's past and watches it live.

The past is backfilled, incidents included; the recording rules are evaluated over it as over what comes in. Then the
demo goes on from where the past ends, and is scraped.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from alerting.groups import slo
from dashboards.board import Board, built
from dashboards.house import BOARDS
from exporter import catalogue
from exporter.catalogue import money
from exporter.demo import Incident
from exporter.telemetry import DECLARATIONS
from tests.dashboardlint import filled as with_variables
from tests.dashboardlint import panels, selectors, targets
from tests.history import Asked, History, make
from tests.months import JOB, RULES, record, shipped
from tests.processes import Demo, Serving
from tests.realtools import Prometheus, Tools, present, wanted_prometheus

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

HOUR_S, DAY_S = 3_600.0, 86_400.0
DAYS, SHOWN_DAYS = 40.0, 15.0
"""The platform's past, and its end that Prometheus has: this month is compared with the one before up to this day."""
SAMPLE_S = 600.0
"""Between the samples of the past: an hour has six, and a window of half an hour two or three."""
LOOKBACK = "--query.lookback-delta=11m"
INSTANCE = "localhost:10477"
BUDGETS = (
    {"name": "all", "limit_usd": 2000.0, "period": "month"},
    {"name": "billing", "limit_usd": 500.0, "period": "week", "scope": {"project": "billing-api"}},
)
PAST = (
    Incident("cost-spike", 9 * DAY_S, 9 * DAY_S - 6 * HOUR_S),
    Incident("model-outage", 5 * DAY_S, 5 * DAY_S - 4 * HOUR_S),
    Incident("tool-failure", 3 * DAY_S, 3 * DAY_S - 5 * HOUR_S),
)
SCRAPES = 10
"""The exporter lives: what one scrape does not show, another does."""
QUIET = {(board.uid, board.title_of(tile)): tile.quiet for board in BOARDS for tile in board.tiles if tile.quiet}
COMPARED = {("orchestration-cost", "Against the period before"), ("orchestration-overview", "Today against last week")}
"""Nothing can be compared with a day before that has cost nothing by this time of day, as at night."""
MADE = [built(board) for board in BOARDS]
WITHOUT_PAST = {
    *(metric.name for metric in DECLARATIONS),  # how an exporter fares that did not run then
    money.BUDGET_SPEND.name,  # what is booked against a budget begins with its declaration
    *(slo.bad_ratio(level, "5m").name for level in slo.EVENT_LEVELS),  # five minutes without two samples
}
"""What is not backfilled at this step."""


@dataclass(frozen=True)
class Watched:
    """A Prometheus with the past of the platform, and the platform itself, that goes on since Unix time ``since``."""

    prometheus: Prometheus
    database: Path
    since: float

    async def answer(self, target: Mapping[str, Any], range_s: float) -> list[tuple[float, float]]:
        """(time, number) that a query gives, now or over a range, as the dashboard asks when it is opened."""
        expr, now_s = filled(target["expr"], range_s), time.time()
        if target["instant"]:
            found = [(now_s, sample.value) for sample in await self.prometheus.query(expr, now_s)]
        else:
            series = await self.prometheus.query_range(expr, start=now_s - range_s, end=now_s, step_s=HOUR_S)
            found = [point for each in series for point in each.points]
        return [(at, value) for at, value in found if not math.isnan(value)]

    async def divides_by_nothing(self, target: Mapping[str, Any], range_s: float) -> bool:
        """Whether a query is silent for that what it divides by, where that is above 0, is 0 now."""
        expr = filled(target["expr"], range_s)
        return " > 0)" in expr and bool(await self.prometheus.query(expr.replace(" > 0)", " == 0)")))


def filled(expr: str, range_s: float) -> str:
    """The query with every variable as it is when a dashboard is opened: all of each, and the dashboard's range."""
    return with_variables(expr.replace("$__range", f"{range_s:.0f}s"))


def range_of(made: Mapping[str, Any]) -> float:
    """How far back a dashboard looks when it is opened, in seconds."""
    match = re.fullmatch(r"now-(\d+)([hd])", made["time"]["from"])
    assert match, made["time"]
    return int(match[1]) * {"h": HOUR_S, "d": DAY_S}[match[2]]


@pytest.fixture(scope="module", params=wanted_prometheus()[-1:], ids=str)
def newest_tools(request: pytest.FixtureRequest) -> Tools:
    """The newest Prometheus, for the past takes a minute to make; that each parses each query is shown apart."""
    return present(request.param, Tools)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory, newest_tools: Tools) -> AsyncIterator[Watched]:
    """The platform lives on, two hundred times as fast, and is scraped."""
    folder = tmp_path_factory.mktemp("platform")
    end = time.time() // 300 * 300
    asked = Asked(
        days=DAYS, shown_days=SHOWN_DAYS, step_s=SAMPLE_S, end=end, past=PAST, budgets=json.dumps(BUDGETS), job=JOB
    )
    past: History = make(folder, newest_tools, asked)
    await record(
        newest_tools,
        shipped(),
        past.blocks,
        folder / "rules",
        begin=end - SHOWN_DAYS * DAY_S,
        end=end,
        step_s=HOUR_S,
        flags=[LOOKBACK],
    )
    async with AsyncExitStack() as stack:
        ends = stack.enter_context(ExitStack())
        ends.enter_context(Demo(past.database, "--speed", "200"))
        settings = {"poll_interval": 0.1, "new_series_hold": 0.0, "budgets": list(BUDGETS)}
        serving = ends.enter_context(Serving(folder / "exporter", past.database, settings))
        serving.start()
        since = time.time()
        static = [{"targets": [serving.address], "labels": {"instance": INSTANCE}}]
        prometheus = await stack.enter_async_context(
            Prometheus(
                newest_tools,
                folder / "prometheus",
                storage=past.blocks,
                job=JOB,
                scrape={"static_configs": static},
                rule_files=sorted(RULES.glob("*.yaml")),
                top={"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "5s"}},
                flags=["--enable-feature=exemplar-storage", "--storage.tsdb.retention.time=10y", LOOKBACK],
            )
        )
        await prometheus.wait_for("min(increase(orchestration_exporter_checkpoint_duration_seconds_count[1m])) > 10")
        await prometheus.wait_for("sum(increase(orchestration_budget_spend_usd_total[1m])) > 0")
        await prometheus.wait_for('sum(increase(orchestration_exporter_http_requests_total{code="200"}[1m])) > 10')
        yield Watched(prometheus, past.database, since)


async def unanswered(watched: Watched, made: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(uid, panel, query) of each query of a dashboard that gives nothing."""
    asked = [(panel["title"], target) for panel in panels(dict(made)) for target in panel.get("targets", [])]
    for _ in range(SCRAPES):
        asked = [(title, target) for title, target in asked if not await watched.answer(target, range_of(made))]
        if all((made["uid"], title) in QUIET for title, _ in asked):
            break
        await watched.prometheus.scraped()
    return [
        (made["uid"], title, target["expr"])
        for title, target in asked
        if (made["uid"], title) not in COMPARED or not await watched.divides_by_nothing(target, range_of(made))
    ]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
async def test_every_query_gives_data(watched: Watched, board: Board) -> None:
    """All but those that are named as quiet on a healthy system."""
    missing = await unanswered(watched, built(board))

    assert [each for each in missing if each[:2] not in QUIET] == []


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
async def test_every_course_has_a_past(watched: Watched, board: Board) -> None:
    """What is drawn over time is drawn of the days before as well, but what no backfill has."""
    made = built(board)
    without = []

    for where, target in targets(made):
        names = {name for name, _ in selectors(target["expr"])}
        if target["instant"] or any(name.startswith("process_") or _family(name) in WITHOUT_PAST for name in names):
            continue
        points = await watched.answer(target, range_of(made))
        if not any(at < watched.since - HOUR_S for at, _ in points):
            without.append(where)

    quiet = {f"{uid} / {title} / A" for uid, title in QUIET}
    assert [where for where in without if where not in quiet] == []


def _family(name: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", name)


async def test_the_variables_have_values(watched: Watched) -> None:
    """Each can be chosen from."""
    for made in MADE:
        for variable in made["templating"]["list"]:
            if variable["type"] == "query":
                inner = variable["query"].removeprefix("label_values(").removesuffix(")")
                selector, _, label = inner.rpartition(", ")
                found = await watched.prometheus.api("series", **{"match[]": with_variables(selector)})  # as Grafana
                assert any(each.get(label) for each in found), variable["name"]


async def test_every_name_and_label_is_scraped_or_recorded(watched: Watched) -> None:
    """No query asks for a series or for a label that a real scrape, or a rule on it, does not have."""
    series = await watched.prometheus.api("series", **{"match[]": '{__name__=~"orchestration_.+|process_.+|.+:.+"}'})
    labels: dict[str, set[str]] = {}
    for each in series:
        labels.setdefault(each["__name__"], set()).update(each)
    quiet = {
        f"{metric.name}{end}"
        for metric in (*catalogue.METRICS, *DECLARATIONS)
        for end in ("", "_bucket", "_count", "_sum")
        if metric.name.endswith(("rows_rejected_total", "label_overflow_total"))
    }

    for made in MADE:
        for where, target in targets(made):
            for name, matchers in selectors(target["expr"]):
                if name != "ALERTS" and name not in quiet:
                    asked = {part.partition("=")[0].strip(" !~") for part in matchers.split(", ") if part}
                    assert asked <= labels.get(name, set()), (where, name, asked)


async def test_what_is_quiet_speaks_of_trouble(watched: Watched) -> None:
    """Last: a value that is none and a hundred new projects, and each quiet panel shows it."""
    assert len(QUIET) == 2
    with closing(sqlite3.connect(watched.database, timeout=30)) as connection, connection:
        for number in range(130):
            name = f"project-{number}"
            connection.execute(
                "INSERT INTO orchestration_sessions (session_id, start_time, project_name) VALUES (?, datetime(), ?)",
                (name, name),
            )
        connection.execute(
            "INSERT INTO handoff_events (session_id, timestamp, target_model, success, cost) "
            "VALUES ('project-1', datetime(), 'claude-sonnet', 1, 'free')"
        )
    await watched.prometheus.wait_for("sum(orchestration_exporter_rows_rejected_total) > 0")
    await watched.prometheus.wait_for("sum(orchestration_exporter_label_overflow_total) > 0")
    await watched.prometheus.scraped()

    for made in MADE:
        assert await unanswered(watched, made) == []
