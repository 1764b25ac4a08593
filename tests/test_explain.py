"""`explain` proves the exporter's numbers with SQL made from the declarations, and names why one cannot be proved."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from exporter import cli, demo
from exporter.catalogue import SCHEMA
from exporter.checkpoint import Checkpoint, StateDirectory
from exporter.config import Settings
from exporter.demo.settings import DAY_S
from exporter.explain import Explanation, known, prove, understood
from exporter.explain.numbers import is_explained, shown
from exporter.explain.peek import peek
from exporter.explain.selector import Selector, SelectorError, parse
from exporter.explain.sql import Facts
from exporter.exposition import Format
from exporter.once import read_once
from exporter.source.sqlite import SqliteSource
from exporter.spec import Histogram
from tests.test_once_sample import SAMPLE
from tests.demoruns import NOW_S, written_history
from tests.running import Clock, Polling, Shown

NOW = "2026-11-21T17:40:00Z"
SAMPLE_NOW_S = 1795282800.0
SEED = 20261125
BUDGETS = [
    {"name": "all", "limit_usd": 100, "period": "month", "scope": "all"},
    {"name": "claude", "limit_usd": 20, "period": "week", "scope": {"model": "claude-sonnet"}},
]
_SERIES = re.compile(r"(\w+)(\{.*\})? \S+")


def settings_of(database: Path, storage: Path, **settings: Any) -> Settings:
    """Settings for one database."""
    source = {"name": "default", "database": str(database)}
    return Settings.model_validate({"sources": [source], "storage": {"path": str(storage)}, **settings})


class Explained:
    """What is counted of one database, and proofs of it."""

    def __init__(self, settings: Settings, now: float | None = None) -> None:
        self.settings, self.of = settings, settings.sources[0]
        self.source = SqliteSource(self.of.database)
        self._now = now
        self.facts: Facts
        self.origin: list[str] = []

    async def load(self) -> Explained:
        """Take up the checkpoint, or read everything."""
        self.facts, self.origin = await known(
            settings=self.settings, of=self.of, schema=SCHEMA, source=self.source, now=self._now
        )
        return self

    async def of_selector(self, selector: str) -> Explanation:
        """A proof."""
        wanted = understood(selector, self.facts.schema, self.of.labels)
        return await prove(self.facts, wanted, of=self.of, source=self.source, origin=self.origin)

    async def wrong(self, selectors: list[str]) -> list[str]:
        """The proofs that fail, whole."""
        proofs = [(one, await self.of_selector(one)) for one in selectors]
        return ["\n".join(proof.lines) for _, proof in proofs if not proof.agrees]


def exposed(text: str) -> list[str]:
    """The selectors of all series of an exposition that have SQL, as they are written there."""
    families = {metric.name: metric for metric in SCHEMA.metrics}
    found = []
    for line in text.split("\n"):
        match = _SERIES.fullmatch(line)
        stem = re.sub("_(bucket|sum|count)$", "", match[1]) if match else ""
        metric = families.get(match[1] if match else "") or families.get(stem)
        if match and metric is not None and is_explained(metric) and "budget_spend_usd_total" not in match[1]:
            found.append(match[1] + (match[2] or ""))
    return found


def chosen(series: list[str], seed: int = SEED) -> list[str]:
    """Of each family one at random, and fifty of all."""
    pick = random.Random(seed)
    by_family: dict[str, list[str]] = {}
    for one in series:
        by_family.setdefault(one.partition("{")[0], []).append(one)
    return [*(pick.choice(found) for found in by_family.values()), *pick.sample(series, 50)]


# ── a full read ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A copy of the sample."""
    return Path(shutil.copy(SAMPLE, tmp_path / "sample.db"))


async def test_random_series_of_the_sample_agree(sample: Path, tmp_path: Path) -> None:
    """Without a checkpoint the number is that of one full read, by the clock that was given; of every family."""
    settings = settings_of(sample, tmp_path / "none", budgets=BUDGETS, time_zone="Europe/Berlin")
    of = settings.sources[0]
    read = await read_once(settings=settings, of=of, schema=SCHEMA, source=SqliteSource(sample), now=SAMPLE_NOW_S)
    series = exposed(read.answer(Format.TEXT, b"").decode())

    explained = await Explained(settings, SAMPLE_NOW_S).load()

    assert await explained.wrong(chosen(series)) == []


def test_the_command_prints_what_sqlite_can_run(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers stand beside the SQL as remarks, and the SQL alone gives the number."""
    selector = 'orchestration_handoffs_total{outcome="success"}'
    flags = ["--database", str(sample), "--storage.path", str(tmp_path / "none"), "--now", NOW]

    code = cli.run(["explain", selector, *flags], {}, SCHEMA)

    printed = capsys.readouterr().out
    with closing(sqlite3.connect(sample)) as connection:
        ((value,),) = connection.execute(printed).fetchall()
        counted = "SELECT count(*) FROM handoff_events WHERE success = 1"
        ((expected,),) = connection.execute(counted).fetchall()
    assert code == 0
    assert value == expected
    assert f"-- SQL       {value}\n-- exporter  {value}\n-- they agree\n" in printed
    assert "-- no checkpoint in" in printed
    assert "series match: their sum" in printed
    assert not (tmp_path / "none").exists()


# ── a checkpoint ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 rows of the simulated platform, at work."""
    path = tmp_path_factory.mktemp("history") / "demo.db"
    written_history(path, demo.Settings(history_s=8 * DAY_S)).close()
    return path


@pytest.fixture
def database(history: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copy(history, tmp_path / "demo.db"))


def clock_at(at: float) -> Clock:
    """A clock that goes on from there."""
    clock = Clock()
    clock.offset_s = at - time.time()
    return clock


def go_on(database: Path, clock: Clock, rows: int) -> None:
    """Let the platform write so many rows more, a tenth of a second from one to the next."""
    ticks = count(clock.wall(), 0.1)
    live = demo.Settings(history_s=0, speed=1e9, max_rows=rows)
    demo.run(database, live, threading.Event(), lambda: next(ticks))
    clock.advance(0.1 * 2 * rows)


async def test_random_series_of_a_checkpoint_agree(database: Path, tmp_path: Path) -> None:
    """A real poller's first scan, polls and a restart; the platform goes on writing after the last one."""
    clock, storage = clock_at(NOW_S), tmp_path / "state"
    async with Polling(database, storage, clock, budgets=BUDGETS) as polling:
        for _ in range(3):
            await polling.stop()
            go_on(database, clock, 300)
            await polling.start()
            clock.advance(70.0)
            await polling.polled()
        series = exposed(series_text(polling.shown))
    go_on(database, clock, 200)

    explained = await Explained(settings_of(database, storage, budgets=BUDGETS, new_series_hold="0s")).load()

    assert any("of the checkpoint" in line for line in explained.origin)
    assert await explained.wrong(chosen(series)) == []


def series_text(shown: Shown) -> str:
    """The exposition again."""
    return "".join(f"{series} {value}\n" for series, value in shown.samples.items())
