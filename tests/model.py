"""The real poller over a platform's database in memory: any history, any poll, a crash at any point, in milliseconds.

Real are the SQL, the reader, the engine, the state, its written form, the poller's order and the bytes it publishes.
Made up are the file (a database in memory), the clocks, and the disk of the checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast
from unittest.mock import patch

import hypothesis
import pytest

from exporter import ledger as ledger_module
from exporter import poller as poller_module
from exporter import reader as reader_module
from exporter import rules as rules_module
from exporter import scan as scan_module
from exporter.catalogue import SCHEMA
from exporter.checkpoint import CheckpointError, Loaded
from exporter.config import Settings, SourceSettings
from exporter.context import Rules
from exporter.exposition import Format, Publication
from exporter.once import read_once
from exporter.poller import Poller
from exporter.source import Look, Row, Snapshot, TableInfo
from exporter.source.sqlite import SqliteSnapshot
from exporter.spec import Metric
from exporter.state import State

EPOCH = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
SESSIONS, HANDOFFS, SUBAGENTS = "orchestration_sessions", "handoff_events", "subagent_invocations"
TASKS, ROUTING, HOOKS = "task_outcomes", "routing_decisions", "claude_code_hooks"
EVENTS = (HANDOFFS, SUBAGENTS, TASKS, ROUTING, HOOKS)
CALLS, ACTIVITIES = "model_performance", "live_activities"
BUDGETS, CAPACITIES = "token_budgets", "model_capacity_thresholds"
ACCOUNTS, PATTERNS = "claude_account_analysis", "pattern_analysis"

# `uid` names the physical row for the reference: the exporter does not read it.
_EVENT = "id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT, session_id TEXT, timestamp TEXT"
_DDL = f"""
CREATE TABLE {SESSIONS} (id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT, session_id TEXT UNIQUE, start_time TEXT,
    end_time TEXT, project_name TEXT, completed_tasks INTEGER, failed_tasks INTEGER);
CREATE TABLE {HANDOFFS} ({_EVENT}, task_type TEXT, source_model TEXT, target_model TEXT, metadata TEXT, success,
    confidence_score REAL, tokens_used INTEGER, cost REAL, savings REAL, response_time REAL);
CREATE TABLE {SUBAGENTS} ({_EVENT}, agent_type TEXT, agent_name TEXT, parent_agent TEXT, mcp_server_name TEXT,
    mcp_tool_name TEXT, metadata TEXT, success, execution_time REAL, tokens_used INTEGER, cost REAL);
CREATE TABLE {TASKS} ({_EVENT}, task_type TEXT, model_used TEXT, error_type TEXT, success, execution_time REAL,
    cost REAL, quality_score REAL);
CREATE TABLE {ROUTING} ({_EVENT}, selected_model TEXT, selected_vendor TEXT, task_complexity TEXT,
    confidence_score REAL, execution_success, actual_cost REAL, actual_tokens INTEGER, actual_duration REAL);
CREATE TABLE {HOOKS} ({_EVENT}, hook_type TEXT, success, processing_time REAL);
CREATE TABLE {CALLS} (id INTEGER PRIMARY KEY AUTOINCREMENT, model_name TEXT, vendor TEXT, task_type TEXT,
    timestamp TEXT, response_time REAL, quality_score REAL, error_count INTEGER, retry_count INTEGER);
CREATE TABLE {BUDGETS} (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, initial_budget INTEGER,
    claude_tokens_used INTEGER, deepseek_tokens_used INTEGER, other_tokens_used INTEGER, budget_exhausted,
    priority_level TEXT);
CREATE TABLE {CAPACITIES} (id INTEGER PRIMARY KEY AUTOINCREMENT, model_name TEXT, vendor TEXT, capacity_threshold REAL,
    cost_per_token REAL, availability_score REAL, last_updated TEXT);
CREATE TABLE {ACCOUNTS} (id INTEGER PRIMARY KEY AUTOINCREMENT, period_type TEXT, current_tier TEXT,
    recommended_tier TEXT, claude_cost_actual REAL, claude_cost_if_pro REAL, deepseek_cost_actual REAL,
    projected_savings REAL, transition_confidence REAL);
CREATE TABLE {PATTERNS} (id INTEGER PRIMARY KEY AUTOINCREMENT, pattern_type TEXT, pattern_name TEXT, frequency INTEGER,
    impact_score REAL);
CREATE TABLE {ACTIVITIES} (id INTEGER PRIMARY KEY AUTOINCREMENT, event_type TEXT, session_id TEXT, timestamp TEXT);
"""


def _empty() -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_DDL)
        return connection.serialize()


EMPTY = _empty()
"""A database with the platform's tables, as bytes."""


class Platform:
    """The platform's database, of which copies can be taken and put back."""

    def __init__(self) -> None:
        self.version = 0
        self._read: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self.connection: sqlite3.Connection
        self.put_back(EMPTY)

    def sql(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement, committed at once."""
        self.version += 1
        return self.connection.execute(statement, values)

    def insert(self, table: str, **values: object) -> int:
        """Add a row; its id."""
        marks = ", ".join("?" * len(values))
        added = self.sql(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
        return cast("int", added.lastrowid)

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        """What a SELECT finds."""
        found = self.connection.execute(statement, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def all(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table, by id; read once for each version."""
        version, found = self._read.get(table, (-1, []))
        if version != self.version:
            found = self.rows(f"SELECT * FROM {table} ORDER BY id")
            self._read[table] = self.version, found
        return found

    def copy(self) -> bytes:
        """The whole file."""
        return self.connection.serialize()

    def put_back(self, content: bytes) -> None:
        """Make the database what it was when ``content`` was taken (or another one's)."""
        self.version += 1
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.deserialize(content)


class _Connection:
    """As much of an aiosqlite connection as a snapshot uses."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def text_factory(self) -> Any:
        return self._connection.text_factory

    @text_factory.setter
    def text_factory(self, factory: Any) -> None:
        self._connection.text_factory = factory

    async def execute_fetchall(self, sql: str, parameters: Mapping[str, object]) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()


class _Snapshot(SqliteSnapshot):
    """The real one, but that what the schema says is asked once and for all."""

    known: dict[str, TableInfo | None] = {}  # noqa: RUF012 - the one schema there is

    async def table(self, name: str) -> TableInfo | None:
        if name not in self.known:
            self.known[name] = await super().table(name)
        return self.known[name]


class Crash(Exception):  # noqa: N818 - not an error of ours
    """The process ends here."""


class MemorySource:
    """A platform's database as a source (an ``exporter.source.Source``)."""

    name = "default"

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.before_snapshot: Callable[[], None] = lambda: None

    def look(self) -> Look:
        return self.platform.version

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        self.before_snapshot()
        connection, file = _Connection(self.platform.connection), SimpleNamespace(deadline=0.0, path="memory")
        yield cast("Snapshot", _Snapshot(cast("Any", connection), cast("Any", file), {}, query_timeout_s=1e9))


@dataclass
class Disk:
    """A checkpoint that keeps its records in memory; ``fails`` and ``crashes`` say what the next save does."""

    records: list[bytes] = field(default_factory=list)
    compact_after: int = 5
    fails: bool = False
    crashes: str = ""
    saves: int = 0
    size_bytes = 0

    @property
    def wants_snapshot(self) -> bool:
        return not self.records or len(self.records) > self.compact_after

    def load(self) -> Loaded:
        return Loaded(tuple(self.records))

    def save_snapshot(self, records: Iterable[bytes]) -> None:
        self._save(list(records))

    def save_delta(self, record: bytes) -> None:
        self._save([*self.records, record])

    def _save(self, records: list[bytes]) -> None:
        if self.fails:
            raise CheckpointError(Path("state"), "no space")
        if self.crashes == "before saving":
            raise Crash
        self.records = records
        self.saves += 1
        if self.crashes == "after saving":
            raise Crash

    def acquire(self) -> None:
        """The lock, which nobody else wants."""

    def close(self) -> None:
        """Nothing is held."""

    def spill(self) -> Self:
        """The place for what need not be in memory."""
        return self

    def put(self, data: bytes) -> SimpleNamespace:
        """Put something aside, to be read again."""
        return SimpleNamespace(read=lambda: data)


class _Silent:
    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self


def now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run to its end a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("something waited")


_fingerprint = rules_module.fingerprint
_fingerprints: dict[tuple[str, Rules, str], str] = {}


def fingerprint(metric: Metric, rules: Rules, *others: Any) -> str:
    """The poller's, worked out once: a start takes a third of the time."""
    key = metric.name, rules, rules.calendar.name
    if key not in _fingerprints:
        _fingerprints[key] = _fingerprint(metric, rules, *others)
    return _fingerprints[key]


def settings(**values: Any) -> Settings:
    """Settings for one source."""
    source = SourceSettings(name="default", database=Path("memory"))
    return Settings(sources=(source,), **values)


class Exporter:
    """The poller on that platform, which can crash and start again from what it saved.

    ``wall`` and ``monotonic`` are its clocks.
    """

    def __init__(self, platform: Platform, chosen: Settings, *, wall: float = EPOCH) -> None:
        self.source = MemorySource(platform)
        self.settings = chosen
        self.wall = wall
        self.monotonic = 1000.0
        self.disk = Disk()
        self.shown: frozenset[bytes] = frozenset()
        """The lines of the last publication."""
        self.falls: list[str] = []
        self.poller: Poller
        self.start()

    def start(self) -> None:
        """A new process: what was not saved is lost."""
        self.source.before_snapshot = lambda: None
        self.disk.crashes, self.disk.fails = "", False
        made = Poller(
            settings=self.settings,
            of=self.settings.sources[0],
            schema=SCHEMA,
            source=self.source,
            directory=cast("Any", self.disk),
            telemetry=cast("Any", _Silent()),
            wall=lambda: self.wall,
            monotonic=lambda: self.monotonic,
        )
        made.checkpoint = cast("Any", self.disk)
        made._load(cast("Any", self.disk))
        self.poller = made

    def tick(self, seconds: float, *, jump: float = 0.0) -> None:
        """Let time pass; with ``jump`` the wall clock is set, too."""
        self.wall += seconds + jump
        self.monotonic += seconds

    def poll(self) -> str:
        """One poll: ``success``, ``discarded`` or ``failure``; ``unsaved`` or ``crashed`` where it was told to."""
        saved = self.disk.saves
        try:
            outcome = now(self.poller._poll())
        except Crash:
            self.start()
            return "saved" if self.disk.saves > saved else "crashed"
        if outcome == "success" and self.disk.fails:
            outcome = "unsaved"
        self._watch()
        return cast("str", outcome)

    def _watch(self) -> None:
        """Note what fell since the publication before."""
        if not self.poller.ready:
            return  # started, and nothing could be saved yet: no series is shown at all
        publication = self.poller.publication
        assert publication is not None
        shown = frozenset(publication.body(Format.TEXT).splitlines())
        if gone := values_of(self.shown - shown, may_not_fall):
            come = values_of(shown - self.shown, may_not_fall)
            for series, before in sorted(gone.items()):
                after = come.get(series, -1.0)
                if after < before:
                    self.falls.append(f"{series.decode()} fell from {before} to {after}")
        self.shown = shown

    @property
    def state(self) -> State:
        return self.poller.state


def published(publication: Publication | None, wanted: Callable[[bytes], bool]) -> dict[bytes, float]:
    """Series with their values, as published in the text format."""
    return {} if publication is None else values_of(publication.body(Format.TEXT).splitlines(), wanted)


def values_of(lines: Iterable[bytes], wanted: Callable[[bytes], bool]) -> dict[bytes, float]:
    """Series with their values, of the metrics whose names are wanted."""
    found = (line.rpartition(b" ") for line in lines if line[:1] != b"#")
    return {series: float(value) for series, _, value in found if wanted(series.partition(b"{")[0])}


def may_not_fall(name: bytes) -> bool:
    """Whether the metric of that name is a counter, or counts as one."""
    return name.endswith((b"_total", b"_bucket", b"_count"))


def once(platform: Platform, chosen: Settings, wall: float) -> Publication:
    """What a single scan makes of the database as of ``wall``."""
    source = MemorySource(platform)
    made = now(read_once(settings=chosen, of=chosen.sources[0], schema=SCHEMA, source=cast("Any", source), now=wall))
    return cast("Publication", made)


@contextlib.contextmanager
def small(*, rows: int | None = None, newest: int | None = None, every: int | None = None) -> Iterator[None]:
    """Make transactions and memory small: so many rows of a read, newest remembered rows, and each so manyth."""
    with contextlib.ExitStack() as patches:
        patches.enter_context(patch.object(poller_module, "log", _Silent()))
        patches.enter_context(patch.object(poller_module, "_INLINE_ROWS", 10**9))
        patches.enter_context(patch.object(ledger_module, "_OPEN_PAGES", 2))
        patches.enter_context(patch.object(poller_module, "fingerprint", fingerprint))
        if rows is not None:
            patches.enter_context(patch.object(reader_module, "ROWS", rows))
        if newest is not None and every is not None:
            patches.enter_context(patch.object(poller_module, "State", partial(State, newest=newest, every=every)))
            patches.enter_context(patch.object(reader_module, "NEWEST", newest))
            patches.enter_context(patch.object(scan_module, "EVERY", every))
        yield


EXAMPLES = "MODEL_EXAMPLES"
"""The environment variable that makes the property tests run that many examples, at random."""


def profile(examples: int) -> Callable[[Any], Any]:
    """So many examples, the same ones every time; where ``MODEL_EXAMPLES`` is set, that many, and others every time.

    The test is marked as one that computes: see the Makefile.
    """
    wanted = os.environ.get(EXAMPLES)
    chosen = hypothesis.settings(
        max_examples=int(wanted or examples),
        derandomize=wanted is None,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=wanted is not None,
    )
    return lambda test: pytest.mark.bulk(chosen(test))
