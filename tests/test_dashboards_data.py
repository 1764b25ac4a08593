"""Every query of every panel, asked of a real Prometheus that has a platform's past and watches it live."""

from __future__ import annotations

import math
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dashboards.board import Board, built
from dashboards.house import BOARDS
from exporter import catalogue
from exporter.telemetry import DECLARATIONS
from tests.dashboardlint import filled, panels, selectors, targets
from tests.dashhistory import BUDGETS, past, stored
from tests.processes import Demo, Serving, until
from tests.realtools import Prometheus, Tools

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

HOUR_S, WEEK_S = 3_600.0, 7 * 86_400.0
LABELS = 'job="orchestration-exporter",instance="exporter:10477"'
MINUTES = (-340, -62, -32, -3)
SCRAPES = 10
"""The exporter lives: what one scrape does not show, another does."""
QUIET = {(board.uid, board.title_of(tile)): tile.quiet for board in BOARDS for tile in board.tiles if tile.quiet}
MADE = [built(board) for board in BOARDS]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database of three weeks, and what was shown of it in the last hour and in that of a week before."""
    folder = tmp_path_factory.mktemp("past")
    database = folder / "platform.db"
    with Demo(database, "--history", "35d", "--max-rows", "1") as demo:
        until(lambda: not demo.runs, "written")
    now_s = time.time()
    moments = [now_s + 60 * minute for minute in MINUTES]
    # a week before now, and before the minutes that the tests will take
    moments += [now_s - WEEK_S + 60 * minute for minute in (-40, 0, 4)]
    return database, past(database, moments, folder, LABELS)


@dataclass(frozen=True)
class Watched:
    """A Prometheus with the past of the platform, and the platform itself, that goes on."""

    prometheus: Prometheus
    database: Path

    async def answer(self, target: Mapping[str, Any]) -> list[float]:
        """The numbers that a query gives, now or over the last hour."""
        expr, now_s = filled(target["expr"]), time.time()
        if target["instant"]:
            return [sample.value for sample in await self.prometheus.query(expr, now_s) if not math.isnan(sample.value)]
        series = await self.prometheus.query_range(expr, start=now_s - HOUR_S, end=now_s, step_s=300)
        return [value for each in series for _, value in each.points if not math.isnan(value)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(
    tmp_path_factory: pytest.TempPathFactory, prometheus_tools: Tools, platform: tuple[Path, str]
) -> AsyncIterator[Watched]:
    """The platform lives on, a hundred times as fast, and is scraped."""
    folder = tmp_path_factory.mktemp("live")
    before, text = platform
    database = folder / "platform.db"
    shutil.copyfile(before, database)
    async with AsyncExitStack() as stack:
        ends = stack.enter_context(ExitStack())
        ends.enter_context(Demo(database, "--history", "35d", "--speed", "200"))
        settings = {"poll_interval": 0.1, "new_series_hold": 0.0, "budgets": list(BUDGETS)}
        serving = ends.enter_context(Serving(folder / "exporter", database, settings))
        serving.start()
        static = [{"targets": [serving.address], "labels": {"instance": "exporter:10477"}}]
        prometheus = await stack.enter_async_context(
            Prometheus(
                prometheus_tools,
                folder / "prometheus",
                storage=stored(prometheus_tools, text, folder),
                scrape={"static_configs": static},
                flags=["--enable-feature=exemplar-storage"],
            )
        )
        await prometheus.wait_for("min(increase(orchestration_exporter_checkpoint_duration_seconds_count[1m])) > 10")
        await prometheus.wait_for("sum(increase(orchestration_budget_spend_usd_total[1m])) > 0")
        await prometheus.wait_for('sum(increase(orchestration_exporter_http_requests_total{code="200"}[1m])) > 10')
        yield Watched(prometheus, database)


async def unanswered(watched: Watched, made: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(uid, panel, query) of each query of a dashboard that gives nothing."""
    asked = [(panel["title"], target) for panel in panels(dict(made)) for target in panel.get("targets", [])]
    for _ in range(SCRAPES):
        asked = [(title, target) for title, target in asked if not await watched.answer(target)]
        if all((made["uid"], title) in QUIET for title, _ in asked):
            break
        await watched.prometheus.scraped()
    return [(made["uid"], title, target["expr"]) for title, target in asked]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
async def test_every_query_gives_data(watched: Watched, board: Board) -> None:
    """All but those that are named as quiet on a healthy system."""
    missing = await unanswered(watched, built(board))

    assert [each for each in missing if each[:2] not in QUIET] == []


async def test_the_variables_have_values(watched: Watched) -> None:
    """Each can be chosen from."""
    for made in MADE:
        for variable in made["templating"]["list"]:
            if variable["type"] == "query":
                inner = variable["query"].removeprefix("label_values(").removesuffix(")")
                selector, _, label = inner.rpartition(", ")
                found = await watched.prometheus.api("series", **{"match[]": filled(selector)})  # as Grafana asks
                assert any(each.get(label) for each in found), variable["name"]


async def test_every_name_and_label_is_scraped(watched: Watched) -> None:
    """No query asks for a series or for a label that a real scrape does not have."""
    series = await watched.prometheus.api("series", **{"match[]": '{__name__=~"orchestration_.+|process_.+"}'})
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
