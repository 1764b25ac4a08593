"""`explain` proves the exporter's numbers with SQL made from the declarations, and names why one cannot be proved."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from exporter import cli, demo
from exporter.catalogue import SCHEMA
from exporter.checkpoint import Checkpoint, CheckpointError, StateDirectory
from exporter.config import ConfigError, Settings
from exporter.context import Rules
from exporter.demo.settings import DAY_S
from exporter.explain import Explanation, known, prove, understood
from exporter.explain.numbers import is_explained, shown
from exporter.explain.peek import peek
from exporter.explain.selector import Selector, SelectorError, parse
from exporter.explain.sql import Facts, Query, parsed_time, untimely
from exporter.explain.zones import add_zone
from exporter.exposition import Format
from exporter.gauges import read_state
from exporter.once import read_once
from exporter.rules import zone_of
from exporter.source.sqlite import SqliteSource
from exporter.spec import Metric
from exporter.state import State
from exporter.values import parse_time
from tests.demoruns import NOW_S, written_history
from tests.running import Clock, Polling, Shown
from tests.test_once_sample import SAMPLE

NOW = "2026-11-21T17:40:00Z"
SAMPLE_NOW_S = 1795282800.0
SEED = 20261125
BUDGETS = [
    {"name": "all", "limit_usd": 100, "period": "month", "scope": "all"},
    {"name": "claude", "limit_usd": 20, "period": "week", "scope": {"model": "claude-sonnet"}},
]
_SERIES = re.compile(r"(\w+)(\{.*\})? \S+")


pytestmark = pytest.mark.usefixtures("logs_as_before")


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


@pytest.mark.bulk
@pytest.mark.parametrize("naive", ["UTC", "Europe/Berlin"])
async def test_random_series_of_the_sample_agree(sample: Path, tmp_path: Path, naive: str) -> None:
    """Without a checkpoint the number is that of one full read, by the clock that was given; of every family."""
    zones = {"time_zone": "Europe/Berlin", "naive_time_zone": naive}
    settings = settings_of(sample, tmp_path / "none", budgets=BUDGETS, **zones)
    of = settings.sources[0]
    read = await read_once(settings=settings, of=of, schema=SCHEMA, source=SqliteSource(sample), now=SAMPLE_NOW_S)
    series = exposed(read.answer(Format.TEXT, b"").decode())

    explained = await Explained(settings, SAMPLE_NOW_S).load()

    picked = chosen(series) if naive == "UTC" else random.Random(SEED).sample(series, 20)
    assert await explained.wrong(picked) == []


async def test_times_of_all_forms_are_proved(sample: Path, tmp_path: Path) -> None:
    """One column has them all; where it has one form alone the SQL is shorter."""
    before = await Explained(settings_of(sample, tmp_path / "none"), SAMPLE_NOW_S).load()
    short = await before.of_selector("orchestration_session_handoffs_sum")
    change(
        sample,
        "UPDATE handoff_events SET timestamp = replace(timestamp, ' ', 'T') || '.25Z' WHERE id % 4 = 0",
        "UPDATE handoff_events SET timestamp = CAST(strftime('%s', timestamp) AS INTEGER) WHERE id % 4 = 1",
        "UPDATE handoff_events SET timestamp = strftime('%s', timestamp) * 1000 WHERE id % 4 = 2",
        "UPDATE subagent_invocations SET timestamp = NULL WHERE id % 7 = 0",
    )
    explained = await Explained(settings_of(sample, tmp_path / "none"), SAMPLE_NOW_S).load()
    ledger = explained.facts.state.ledger.projects()

    told = await explained.of_selector("orchestration_session_handoffs_sum")

    assert short.agrees
    assert "typeof(e.timestamp)" not in "\n".join(short.lines)
    assert told.agrees
    assert "typeof(e.timestamp)" in "\n".join(told.lines)
    days = [f'orchestration_ledger_handoffs{{period="previous_week",project={json.dumps(one)}}}' for one in ledger]
    assert await explained.wrong([*days, "orchestration_session_cost_usd_sum"]) == []


async def test_rows_too_many_to_name_are_told_by_their_times(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in flight and which sessions are open: nothing is named by its id."""
    monkeypatch.setattr("exporter.explain.rows.MOST_IDS", 0)
    monkeypatch.setattr("exporter.explain.gauges.MOST_IDS", 0)
    explained = await Explained(settings_of(history, tmp_path / "none"), NOW_S).load()
    wanted = ("sessions", "handoffs", "active_session", "token_budget", "session_")
    families = [metric for metric in SCHEMA.metrics if metric.name.removeprefix("orchestration_").startswith(wanted)]
    series = [
        shown(metric, dict(zip(metric.label_names, labels, strict=True)), "_sum" if metric.type == "histogram" else "")
        for metric in families
        for labels in [*explained.facts.state.series.get(metric.name, {}), *read(explained.facts, metric)]
    ]

    picked = random.Random(SEED).sample(series, 40)
    proofs = [await explained.of_selector(one) for one in picked]

    assert [proof.lines for proof in proofs if not proof.agrees] == []
    assert not [proof.lines for proof in proofs if re.search(r"\bid (NOT )?IN \(\d", "\n".join(proof.lines))]
    assert any("last_at" in "\n".join(proof.lines) for proof in proofs)


def read(facts: Facts, metric: Metric) -> Iterable[tuple[str, ...]]:
    """The labels of a gauge's series."""
    return read_state(facts.state, facts.schema.only([metric]), facts.rules).get(metric.name, {})


TIMES = (
    *("2026-11-21 17:40:00", "2026-11-21T17:40:00", "2026-11-21 17:40", "2026-11-21 17:40:00.123456"),
    *(
        "2026-11-21T17:40:00Z",
        "2026-11-21T17:40:00.9999996Z",
        "2026-11-21T17:40:00.5+02:00",
        "2026-11-21 17:40:00-05:30",
    ),
    *(1795282800, 1795282800.25, 1795282800123, 1795282800123456, 1795282800123456789),
    *("2026-03-29 01:59:59", "2026-03-29 02:30:00", "2026-03-29 03:00:00", "2026-10-25 01:59:59"),
    *("2026-10-25 02:30:00", "2026-10-25 02:59:59", "2026-10-25 03:00:00", "2011-07-01 00:00:00"),
    *("yesterday", "", None, 12, "1999-01-01 00:00:00 x", "2026-11-23 00:00:00"),
)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_every_form_of_a_time_is_read_as_the_exporter_reads_it(zone: str) -> None:
    """Text with and without a zone, fractions, epoch numbers of four sizes; hours that come twice, or never."""
    table, rules = SCHEMA.tables[1], Rules(zone=zone_of(zone))
    columns = frozenset({"id", table.time})
    facts = Facts(SCHEMA, rules, State(SCHEMA.tables), SAMPLE_NOW_S, {table.name: columns})
    query = Query(final=f"SELECT {parsed_time(facts, table, table.time, 'e')}, {untimely(facts, table, 'e')}")
    query.final += f" FROM {table.name} AS e ORDER BY id"
    add_zone(facts, query)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE {table.name} (id INTEGER PRIMARY KEY, {table.time})")
        connection.executemany(f"INSERT INTO {table.name} ({table.time}) VALUES (?)", [(time,) for time in TIMES])
        found = connection.execute(str(query)).fetchall()

    for text, (found_at, is_untimely) in zip(TIMES, found, strict=True):
        expected = parse_time(text, now=SAMPLE_NOW_S, zone=rules.zone)
        assert bool(is_untimely) is (expected is None), text
        assert expected is None or found_at == pytest.approx(expected, abs=1e-6), text


def test_the_command_prints_what_sqlite_can_run(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


@pytest.mark.slow
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
    of_activities = [one for one in series if one.startswith("orchestration_activities_total")]
    assert await explained.wrong(chosen([one for one in series if one not in of_activities])) == []
    gone = await explained.wrong(of_activities)  # what is older than seven days the platform deletes
    assert gone
    assert all("rows are gone since they were read" in proof for proof in gone)


def series_text(shown: Shown) -> str:
    """The exposition again."""
    return "".join(f"{series} {value}\n" for series, value in shown.samples.items())


# ── where they differ ────────────────────────────────────────────────────────────────────────────────────────


async def polled(database: Path, storage: Path, clock: Clock, **settings: Any) -> Shown:
    """What a poller shows that starts, polls and stops."""
    async with Polling(database, storage, clock, **settings) as polling:
        clock.advance(70.0)
        return await polling.settled()


def change(database: Path, *statements: str) -> None:
    """Do something to the rows."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


async def test_rows_that_are_gone_are_counted_and_named(database: Path, tmp_path: Path) -> None:
    """How many of how many, and which ids there were."""
    await polled(database, tmp_path / "state", clock_at(NOW_S))
    with closing(sqlite3.connect(database)) as connection:
        ((rows,),) = connection.execute("SELECT count(*) FROM handoff_events")
    change(database, "DELETE FROM handoff_events WHERE id <= 100")

    explained = await Explained(settings_of(database, tmp_path / "state")).load()
    proof = await explained.of_selector("orchestration_handoffs_total")

    assert not proof.agrees
    (line,) = [line for line in proof.lines if "are gone" in line]
    assert line == (
        f"-- - handoff_events: 100 of {rows:,} rows are gone since they were read "
        "(the first remembered one had id 1, the oldest there is 101)"
    )
    assert "-- they differ by 100:" in proof.lines


async def test_an_edit_leaves_no_trace_and_that_is_said(database: Path, tmp_path: Path) -> None:
    """Nothing else is known to be wrong: the one line that is always true."""
    await polled(database, tmp_path / "state", clock_at(NOW_S))
    change(database, "UPDATE handoff_events SET success = 0 WHERE success = 1 AND id <= 10")

    explained = await Explained(settings_of(database, tmp_path / "state")).load()
    proof = await explained.of_selector('orchestration_handoffs_total{outcome="success"}')

    assert not proof.agrees
    assert proof.lines[-1].startswith("-- - rows were changed after they were counted (edited, ")


@pytest.mark.bulk
async def test_what_a_cap_of_values_folded_is_proved_and_one_of_series_named(database: Path, tmp_path: Path) -> None:
    """`__other__` is what has none of the admitted values; what a metric's cap folded, no row tells."""
    few = {"max_label_values": 3, "max_series_per_metric": 40}
    shown_ = await polled(database, tmp_path / "state", clock_at(NOW_S), **few)
    others = [one for one in exposed(series_text(shown_)) if "__other__" in one and "_total" in one]
    series = random.Random(SEED).sample(others, 60)

    explained = await Explained(settings_of(database, tmp_path / "state", **few)).load()
    proofs = {one: await explained.of_selector(one) for one in series}

    overflown = {
        labels[0]
        for labels, cell in explained.facts.state.series["orchestration_exporter_label_overflow_total"].items()
        if cell.value  # type: ignore[union-attr]
    }
    full = {name for name in overflown if len(explained.facts.state.series[name]) >= 40}
    wrong = [one for one, proof in proofs.items() if not proof.agrees]
    assert len(series) - len(wrong) > 20
    assert wrong
    assert {re.sub("_(bucket|sum|count)$", "", one.partition("{")[0]) for one in wrong} <= full
    for one in wrong:
        assert any("max_series_per_metric" in line for line in proofs[one].lines)


async def test_a_value_that_was_not_admitted_is_told_where_it_is_counted(database: Path, tmp_path: Path) -> None:
    """The error says that the vocabulary is full."""
    await polled(database, tmp_path / "state", clock_at(NOW_S), max_label_values=3)
    explained = await Explained(settings_of(database, tmp_path / "state", max_label_values=3)).load()

    with pytest.raises(ConfigError, match="no such series: project has its 3 values, others are counted as __other__"):
        await explained.of_selector('orchestration_handoffs_total{project="nobody"}')


@pytest.mark.bulk
async def test_what_was_judged_by_time_is_named(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restore, with a memory of few rows."""
    monkeypatch.setattr("exporter.poller.State", partial(State, newest=64, every=64))
    clock, backup = clock_at(NOW_S), tmp_path / "backup.db"
    shutil.copy(database, backup)
    go_on(database, clock, 1500)
    await polled(database, tmp_path / "state", clock)
    shutil.copy(backup, database)
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    ticks = count(clock.wall(), 0.1)
    live = demo.Settings(history_s=0, speed=1e9, max_rows=1000, seed=7)
    demo.run(database, live, threading.Event(), lambda: next(ticks))
    await polled(database, tmp_path / "state", clock)

    explained = await Explained(settings_of(database, tmp_path / "state")).load()
    proof = await explained.of_selector("orchestration_handoffs_total")

    assert not proof.agrees
    told = "\n".join(proof.lines)
    assert re.search(r"- the source's past changed \d+ times", told)
    assert re.search(r"- \d+ rows were judged by their time alone after a rewind", told)


# ── another process's checkpoint ─────────────────────────────────────────────────────────────────────────────


def traces(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file of a folder with its inode, time of change and content, and the folder's own time."""
    found = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    return {**found, ".": (folder.stat().st_ino, folder.stat().st_mtime_ns, b"")}


@pytest.mark.bulk
async def test_a_checkpoint_in_use_is_read_without_a_trace(database: Path, tmp_path: Path) -> None:
    """Its writer has the lock and the file open; nothing in its folder is another afterwards."""
    storage = tmp_path / "state"
    async with Polling(database, storage, clock_at(NOW_S)) as polling:
        await polling.polled()
        before = traces(storage)

        done = await asyncio.to_thread(told_by_process, "orchestration_tasks_total", database, storage)

        assert traces(storage) == before
        assert polling.falls == []
    assert "they agree" in done.stdout, done.stderr
    assert "of the checkpoint" in done.stdout


def told_by_process(selector: str, database: Path, storage: Path) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "exporter", "explain", selector]
    flags = ["--database", str(database), "--storage.path", str(storage)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRATION_")}
    return subprocess.run([*command, *flags], capture_output=True, text=True, check=False, env=environment)


def test_a_checkpoint_is_whole_at_every_moment_of_its_writing(tmp_path: Path) -> None:
    """Thousands of records and many generations, read all the while: each time all records up to one."""
    directory = StateDirectory(tmp_path)
    checkpoint: Checkpoint = directory.checkpoint("default")
    checkpoint.load()
    checkpoint.save_snapshot([b"0" * 3000])
    stop, counted = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            counted[0] += 1
            record = str(counted[0]).encode() * 1000
            if counted[0] % 150 == 0:
                checkpoint.save_snapshot([record])
            else:
                checkpoint.save_delta(record)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        looks = [peek(tmp_path, "default") for _ in range(60)]
    finally:
        stop.set()
        writer.join()
        checkpoint.close()
        directory.release()

    assert all(looks)
    assert len({look.records for look in looks if look}) > 10
    assert len({look.path for look in looks if look}) > 1


def test_a_damaged_generation_is_passed_over_and_named(tmp_path: Path) -> None:
    """The older one is exact, for its time."""
    directory = StateDirectory(tmp_path)
    checkpoint = directory.checkpoint("default")
    checkpoint.load()
    checkpoint.save_snapshot([b"old"])
    checkpoint.save_snapshot([b"new"])
    checkpoint.close()
    directory.release()
    newest = max(tmp_path.glob("*.sqlite"))
    newest.write_bytes(newest.read_bytes()[:4096])

    look = peek(tmp_path, "default")

    assert look is not None
    assert (look.records, look.skipped) == ((b"old",), (newest,))


def test_without_a_checkpoint_there_is_none(tmp_path: Path) -> None:
    """Neither without the folder, nor in one of other sources."""
    (tmp_path / "other-00000001.sqlite").touch()

    assert peek(tmp_path / "none", "default") is None
    assert peek(tmp_path, "default") is None


def test_checkpoints_that_all_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    """One line that names the file."""
    (tmp_path / "default-00000001.sqlite").write_bytes(b"nothing of the kind")

    with pytest.raises(CheckpointError, match=r"default-00000001\.sqlite: "):
        peek(tmp_path, "default")


# ── selectors ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text, labels",
    [
        ("a_total", {}),
        ("a_total{}", {}),
        (" a_total { b = \"c\" , d='e', } ", {"b": "c", "d": "e"}),
        (r'a_total{b="q\"\\\n\x41\u00e9\U0001F600\101"}', {"b": 'q"\\\nA\u00e9\U0001f600A'}),
        (r"a_total{b=`\n'}`}", {"b": r"\n'}"}),
        ('a_total{b="x}y,z={"}', {"b": "x}y,z={"}),
    ],
)
def test_a_selector_is_read_as_prometheus_does(text: str, labels: dict[str, str]) -> None:
    """Quotes of three kinds, escapes, space, a comma at the end."""
    assert parse(text) == Selector("a_total", labels)


@pytest.mark.parametrize(
    "text, rule",
    [
        ("", "must begin with the name"),
        ("{a='b'}", "must begin with the name"),
        ("a[5m]", "must go on with {"),
        ("a{", "must end with }"),
        ('a{b="c"', "must have a comma or }"),
        ('a{b="c"} 1', "must end with }, not with"),
        ('a{b!="c"}', "must have = after label b"),
        ('a{b=~"c"}', "must have = after label b"),
        ("a{b=c}", "must have a value in quotes"),
        ('a{b="c}', "must have a value in quotes"),
        (r'a{b="\q"}', "known escape"),
        (r'a{b="\UFFFFFFFF"}', "character's number"),
        ('a{b="c",b="d"}', "must give label b once"),
        ('a{"b"="c"}', "must have a label's name"),
    ],
)
def test_what_is_no_selector_says_where(text: str, rule: str) -> None:
    """One rule for each way to be wrong."""
    with pytest.raises(SelectorError, match=re.escape(rule)):
        parse(text)


# ── what cannot be explained ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "selector, code, told",
    [
        ("", 2, "must begin with the name"),
        ("orchestration_handoff_total", 2, "no such metric; did you mean orchestration_handoffs_total?"),
        ('orchestration_handoffs_total{modell="x"}', 2, "no such label; did you mean model?"),
        ('orchestration_handoffs_total{agent="x"}', 2, "no such label: it has project, model, outcome"),
        ('orchestration_handoffs_total{outcome="ok"}', 2, "must be one of success, failure, unknown"),
        ('orchestration_handoffs_total{source="x"}', 2, "no such source: they are default"),
        ('orchestration_handoffs_total{project="Acme-We"}', 2, "no such series"),
        ("orchestration_handoff_duration_seconds", 2, "name one of its lines"),
        ("orchestration_handoff_duration_seconds_bucket", 2, "must be one of 0.01, 0.02"),
        ('orchestration_handoff_duration_seconds_bucket{le="0.03"}', 2, "must be one of 0.01, 0.02"),
        ("orchestration_sessions_active", 2, "must name one series, and"),
        ("orchestration_exporter_rows_read_total", 1, "no SQL tells it"),
        ("orchestration_up", 1, "no SQL tells it"),
        ("orchestration_budget_spend_usd_total", 1, "no SQL tells it"),
        ("orchestration_exporter_polls_total", 1, "no SQL tells it"),
        ("process_cpu_seconds_total", 1, "no SQL tells it"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    sample: Path, tmp_path: Path, selector: str, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong input ends with 2, a number without SQL with 1."""
    flags = ["--database", str(sample), "--storage.path", str(tmp_path / "none"), "--now", NOW]

    ended = cli.run(["explain", selector, *flags], {}, SCHEMA)

    out, err = capsys.readouterr()
    assert (ended, out) == (code, "")
    assert err.count("\n") == 1
    assert told in err


def test_of_several_sources_one_is_named(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a label, by a constant label or by the flag; else the error names them."""
    config = tmp_path / "c.yml"
    sources = "".join(f"- {{name: {n}, database: {sample}, labels: {{tenant: {n}{n}}}}}\n" for n in "ab")
    config.write_text(f"storage: {{path: {tmp_path / 'none'}}}\nsources:\n{sources}")
    flags = ["--config.file", str(config), "--now", NOW]

    codes = [
        cli.run(["explain", selector, *more, *flags], {}, SCHEMA)
        for selector, more in [
            ('orchestration_tasks_total{source="b"}', []),
            ('orchestration_tasks_total{tenant="bb"}', []),
            ("orchestration_tasks_total", ["--source", "b"]),
            ("orchestration_tasks_total", []),
            ('orchestration_tasks_total{source="a"}', ["--source", "b"]),
        ]
    ]

    out, err = capsys.readouterr()
    assert codes == [0, 0, 0, 2, 2]
    assert out.count('-- orchestration_tasks_total{source="b",tenant="bb"}\n') == 3
    assert 'must be named, with --source or source="NAME": they are a, b' in err
    assert "the selector names another one, a" in err
