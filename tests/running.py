"""The exporter run for real: as a process of its own, or its poller in this one on a clock that a test moves.

A platform writes in a process of its own, always: SQLite's locks on a file belong to a process, and are not there
between two connections of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import math
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from exporter import catalogue
from exporter.checkpoint import StateDirectory
from exporter.config import Settings
from exporter.demo.schema import TABLES
from exporter.exposition import Format, Publication
from exporter.poller import Poller
from exporter.source.sqlite import SqliteSource
from exporter.telemetry import OUTCOMES, Telemetry
from tests.realtools import NOT_RUN
from tests.sqlite_platform import PLATFORM, REPOSITORY, Child

MODES = ("wal", "delete")
DEADLINE_S = 90.0
LOOK_S = 0.02
NOBODY = 65534

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MONOTONE = ("_total", "_bucket", "_count", "_sum")
_PROCESS = ("process_", "python_", "orchestration_exporter_http_", "orchestration_exporter_polls_total")


# ── what is published ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Shown:
    """The samples of one exposition in the text format, by `name{labels}` as it is written there."""

    samples: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Shown:
        """Read an exposition. Escapes in label values are left as they are."""
        # a label value may have other line ends than this one
        lines = (line.rpartition(" ") for line in text.split("\n") if line and not line.startswith("#"))
        return cls({series: float(value) for series, _, value in lines})

    @functools.cached_property
    def _families(self) -> Mapping[str, Mapping[frozenset[tuple[str, str]], float]]:
        found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
        for series, value in self.samples.items():
            name, _, labels = series.partition("{")
            pairs = frozenset(pair for pair in _LABEL.findall(labels) if pair[0] != "source")
            found.setdefault(name, {})[pairs] = value
        return found

    def names(self) -> Collection[str]:
        """The names of all samples."""
        return self._families.keys()

    def by_labels(self, name: str) -> Mapping[frozenset[tuple[str, str]], float]:
        """The values of all series of that name by their labels, `source` left out."""
        return self._families.get(name, {})

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series of that name that have these labels."""
        wanted = labels.items()
        return math.fsum(value for found, value in self.by_labels(name).items() if wanted <= found)

    def falls(self, later: Shown) -> list[str]:
        """The counters (buckets, counts and sums too) that are lower in the later exposition, or gone from it."""
        return [
            f"{series}: {value} -> {later.samples.get(series)}"
            for series, value in self.samples.items()
            if series.partition("{")[0].endswith(_MONOTONE)
            and not series.startswith(_PROCESS)
            and not later.samples.get(series, float("-inf")) >= value
        ]


# ── the poller in this process ───────────────────────────────────────────────────────────────────────────────


class Clock:
    """Both clocks of a machine, further on by as much as a test likes."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def wall(self) -> float:
        """Unix time."""
        return time.time() + self.offset_s

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic() + self.offset_s

    def advance(self, seconds: float) -> None:
        """Let time pass, on both."""
        self.offset_s += seconds


class _Watched(Poller):
    """A poller whose every publication is looked at when it is swapped in."""

    _shown: Publication | None = None
    on_publish: Callable[[Publication], None] = staticmethod(lambda publication: None)

    @property  # type: ignore[override]
    def publication(self) -> Publication | None:
        return self._shown

    @publication.setter
    def publication(self, publication: Publication | None) -> None:
        self._shown = publication
        if publication is not None:
            self.on_publish(publication)


class Polling(AbstractAsyncContextManager["Polling"]):
    """An exporter's poller that polls as fast as it can for as long as the `async with` around it lasts.

    `falls` collects every counter that was lower in a publication than in the one before, restarts included.
    """

    def __init__(self, database: Path, storage: Path, clock: Clock | None = None, **settings: Any) -> None:
        self.database = database
        self.clock = clock or Clock()
        self.shown = Shown()
        self.falls: list[str] = []
        self.publications = 0
        given = {
            "sources": [{"name": "default", "database": str(database)}],
            "storage": {"path": str(storage)},
            "new_series_hold": 0.0,
            **settings,
        }
        # below what a user may set
        self._settings = Settings.model_validate(given).model_copy(update={"poll_interval": 0.002})
        self._directory = StateDirectory(storage)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, *, until_ready: bool = True) -> None:
        """Start, as after a restart of the process."""
        self.telemetry = Telemetry({"default": {}}, now=self.clock.wall())
        self.poller = _Watched(
            settings=self._settings,
            of=self._settings.sources[0],
            schema=catalogue.SCHEMA,
            directory=self._directory,
            source=SqliteSource(self.database, busy_timeout_s=0.2),
            telemetry=self.telemetry,
            wall=self.clock.wall,
            monotonic=self.clock.monotonic,
        )
        self.poller.on_publish = self._note  # type: ignore[method-assign]
        self._task = asyncio.create_task(self.poller.run())
        if until_ready:
            await self.until(lambda: self.poller.ready, "ready")

    async def stop(self) -> None:
        """Stop without a last poll, as a process does that is told to."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._directory.release()
        self._task = None

    async def restart(self) -> None:
        """Stop, start and be ready again."""
        await self.stop()
        await self.start()

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Return once that holds; fail at the deadline, and at once if the poller died."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert self._task is not None
            if self._task.done():
                self._task.result()
            assert time.monotonic() < deadline, f"not {what or 'so'} in {DEADLINE_S} s: {self.poller.status()}"
            await asyncio.sleep(0.001)

    def polls(self, *outcomes: str) -> float:
        """How many polls ended so, of all outcomes if none is named."""
        name, registry = "orchestration_exporter_polls_total", self.telemetry.registry
        found = (registry.get_sample_value(name, {"source": "default", "outcome": o}) for o in outcomes or OUTCOMES)
        return sum(value or 0.0 for value in found)

    async def polled(self) -> None:
        """Return after a poll that began after this call."""
        enough = self.polls() + 2
        await self.until(lambda: self.polls() >= enough, "polled")

    async def settled(self) -> Shown:
        """What is shown once all that was committed has been read, a changed past confirmed by a second reading.

        It takes six seconds of the clock, which a test moves.
        """
        await self.polled()
        self.clock.advance(6.0)
        await self.polled()
        assert self.poller.status().up, self.poller.status()
        return self.shown

    def _note(self, publication: Publication) -> None:
        shown = Shown.of(publication.answer(Format.TEXT, b"").decode())
        if self.poller.ready or self.publications == 0:
            self.falls += self.shown.falls(shown)
            self.shown = shown
        self.publications += 1


# ── a platform, and its ledger ───────────────────────────────────────────────────────────────────────────────


class Ledger:
    """What the metrics made from rows must come to: entered when a row is committed, never taken back."""

    METRICS = (
        "orchestration_sessions_started_total",
        "orchestration_handoffs_total",
        "orchestration_handoff_routes_total",
        "orchestration_handoff_task_types_total",
        "orchestration_handoff_tokens_total",
        "orchestration_handoff_duration_seconds_count",
        "orchestration_handoff_duration_seconds_sum",
        "orchestration_cost_usd_total",
        "orchestration_baseline_cost_usd_total",
        "orchestration_subagent_invocations_total",
        "orchestration_mcp_tool_calls_total",
        "orchestration_tasks_total",
        "orchestration_task_cost_usd_total",
        "orchestration_task_errors_total",
    )

    def __init__(self) -> None:
        self.totals: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def add(self, metric: str, amount: float = 1.0, **labels: str) -> None:
        """Enter an amount."""
        key = (f"orchestration_{metric}", frozenset(labels.items()))
        self.totals[key] = self.totals.get(key, 0.0) + amount

    def without(self, *marks: str) -> None:
        """Strike out what comes from a table that is not read: metrics that begin so, and that component."""
        self.totals = {
            (metric, labels): amount
            for (metric, labels), amount in self.totals.items()
            if not metric.startswith(marks) and not any(label in marks for _, label in labels)
        }

    def differences(self, shown: Shown) -> list[str]:
        """Every series of these metrics that is not what was entered; what was not entered must be 0 or absent."""
        found = []
        for metric in self.METRICS:
            wanted = {labels: value for (name, labels), value in self.totals.items() if name == metric}
            published = shown.by_labels(metric)
            for labels in wanted.keys() | published.keys():
                one, other = wanted.get(labels, 0.0), published.get(labels, 0.0)
                if abs(one - other) > 1e-9 * max(abs(one), abs(other)):
                    found.append(f"{metric} {dict(labels)}: committed {one}, published {other}")
        return sorted(found)


def literal(value: object) -> str:
    """A value as SQL writes it."""
    if value is None:
        return "NULL"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


class Books:
    """A platform in a process of its own that enters in a ledger what it commits; one second a row.

    It writes the real tables: sessions, hand-offs of which some get their result later, sub-agents, tools, tasks,
    hooks and routing decisions. Not to be used while another thread uses it.
    """

    def __init__(self, path: Path, clock: Clock, *, mode: str = "wal", name: str = "a") -> None:
        self.path = path
        self.clock = clock
        self.mode = mode
        self.name = name
        self.ledger = Ledger()
        self.in_flight: dict[int, dict[str, Any]] = {}
        self.sessions: list[tuple[str, str]] = []
        self.overrides: Mapping[str, Any] = {}
        """What an edit made of rows that are not counted yet."""
        self.absent: Mapping[str, Collection[str] | None] = {}
        """Columns that a table lacks; None where it is not written at all."""
        self._made = 0
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Start the platform; an empty database gets its tables."""
        self.path.parent.mkdir(exist_ok=True)
        self._child = await asyncio.to_thread(Child, PLATFORM, self.path, self.mode, "SELECT 1")
        if not await self.sql("SELECT 1 FROM sqlite_master"):
            await self.transaction([" ".join(table.split()) for table in TABLES.split(";") if table.strip()])

    async def close(self) -> None:
        """Stop the platform, as a program stops that closes its connections."""
        if self._child is not None:
            await asyncio.to_thread(self._child.close)
        self._child = None

    async def kill(self) -> None:
        """End it as `kill -9` does."""
        assert self._child is not None
        await asyncio.to_thread(self._child.kill)
        self._child = None

    async def sql(self, statement: str) -> Any:
        """Run one statement, in a line; the rows it gives."""
        assert self._child is not None, "the platform is stopped"
        # not in this thread: the platform may wait for a reader in this process
        answer = json.loads(await asyncio.to_thread(self._child.ask, statement))
        assert isinstance(answer, list), f"{statement[:200]}: {answer}"
        return answer

    async def transaction(self, statements: Sequence[str]) -> None:
        """Commit these together."""
        for statement in ("BEGIN IMMEDIATE", *statements, "COMMIT"):
            await self.sql(statement)

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────

    def now(self) -> str:
        """The next second, as the platform writes times."""
        self.clock.advance(1.0)
        return datetime.fromtimestamp(self.clock.wall(), UTC).strftime("%Y-%m-%d %H:%M:%S")

    async def insert(self, table: str, **values: object) -> int:
        """Commit a row; its id. 0 where the table is not written."""
        lacking = self.absent.get(table, ())
        if lacking is None:
            return 0
        values = {name: value for name, value in values.items() if name not in lacking}
        columns, literals = ", ".join(values), ", ".join(map(literal, values.values()))
        [[id_]] = await self.sql(f"INSERT INTO {table} ({columns}) VALUES ({literals}) RETURNING id")
        assert isinstance(id_, int)
        return id_

    async def session(self, project: str = "p1") -> str:
        """A session starts."""
        self._made += 1
        key = f"{self.name}-{self._made}"
        await self.insert("orchestration_sessions", session_id=key, start_time=self.now(), project_name=project)
        self.sessions.append((key, project))
        self.ledger.add("sessions_started_total", project=project)
        return key

    async def handoff(self, session: str, project: str, *, success: int | None = 1, number: int = 0) -> int:
        """A hand-off, in flight where `success` is None."""
        row: dict[str, Any] = {
            "session_id": session,
            "timestamp": self.now(),
            "task_type": f"type{number % 2}",
            "source_model": "claude",
            "target_model": f"model{number % 3}",
            "metadata": json.dumps({"route_reason": "simple_coding_task"}),
            "success": success,
            "tokens_used": 100 + number,
            "cost": 0.25 + number / 1000,
            "savings": 1.5 - number / 100,
            "response_time": 0.5 + number,
        }
        id_ = await self.insert("handoff_events", **row)
        if success is None:
            self.in_flight[id_] = {**row, "project": project}
        else:
            self.enter_handoff({**row, "project": project}, success)
        return id_

    def enter_handoff(self, row: Mapping[str, Any], success: int | None) -> None:
        """A hand-off has its result, or will never have one (None)."""
        row = {**row, **self.overrides}
        outcome = {1: "success", 0: "failure"}.get(success, "unknown")  # type: ignore[arg-type]
        project, model, ledger = row["project"], row["target_model"], self.ledger
        ledger.add("handoffs_total", project=project, model=model, outcome=outcome)
        route = {"source_model": row["source_model"], "reason": "simple_coding_task"}
        ledger.add("handoff_routes_total", model=model, outcome=outcome, **route)
        ledger.add("handoff_task_types_total", task_type=row["task_type"], model=model, outcome=outcome)
        ledger.add("handoff_tokens_total", row["tokens_used"], project=project, model=model)
        ledger.add("handoff_duration_seconds_count", model=model, outcome=outcome)
        ledger.add("handoff_duration_seconds_sum", row["response_time"], model=model, outcome=outcome)
        spent = {"project": project, "component": "handoff", "model": model, "outcome": outcome}
        ledger.add("cost_usd_total", row["cost"], **spent)
        ledger.add("baseline_cost_usd_total", row["cost"] + row["savings"], **spent)

    async def finish(self, id_: int, success: int = 1) -> None:
        """A hand-off in flight gets its result."""
        await self.sql(f"UPDATE handoff_events SET success = {success} WHERE id = {id_}")
        self.enter_handoff(self.in_flight.pop(id_), success)

    def vanish(self, above: int = 0) -> None:
        """The hand-offs in flight with ids above this one have no row any more."""
        for id_ in [id_ for id_ in self.in_flight if id_ > above]:
            self.enter_handoff(self.in_flight.pop(id_), None)

    async def subagent(self, session: str, project: str, *, tool: bool = False) -> None:
        """A sub-agent or an MCP tool is invoked."""
        project = self.overrides.get("project", project)
        kind = {"agent_type": "mcp_tool", "agent_name": "files.read"} if tool else {"agent_name": "reviewer"}
        await self.insert("subagent_invocations", session_id=session, timestamp=self.now(), cost=0.125, **kind)
        if tool:
            self.ledger.add("mcp_tool_calls_total", server="files", tool="read", outcome="unknown")
        else:
            self.ledger.add("subagent_invocations_total", project=project, agent="reviewer", outcome="unknown")
        spent = {"project": project, "component": "tool" if tool else "subagent", "model": "unknown"}
        self.ledger.add("cost_usd_total", 0.125, outcome="unknown", **spent)
        self.ledger.add("baseline_cost_usd_total", 0.125, outcome="unknown", **spent)

    async def task(self, session: str, project: str, *, success: int = 1) -> None:
        """A task has an outcome."""
        row = {"model_used": "model1", "success": success, "error_type": "timeout", "cost": 0.0625}
        await self.insert("task_outcomes", session_id=session, timestamp=self.now(), **row)
        outcome, project = "success" if success else "failure", self.overrides.get("project", project)
        self.ledger.add("tasks_total", project=project, model="model1", outcome=outcome)
        self.ledger.add("task_cost_usd_total", 0.0625, project=project, model="model1")
        if not success:
            self.ledger.add("task_errors_total", model="model1", error_type="timeout")

    async def traffic(self, sessions: int = 3, *, in_flight: int = 1) -> None:
        """Some of everything; `in_flight` hand-offs of the last session have no result yet."""
        for _ in range(sessions):
            project = f"p{self._made % 2}"
            key = await self.session(project)
            for number in range(4):
                await self.handoff(key, project, success=number % 2, number=number)
            await self.subagent(key, project)
            await self.subagent(key, project, tool=True)
            await self.task(key, project, success=self._made % 2)
            await self.insert("claude_code_hooks", session_id=key, timestamp=self.now())
            await self.insert("routing_decisions", session_id=key, timestamp=self.now())
        for number in range(in_flight):
            await self.handoff(*self.sessions[-1], success=None, number=number)


def assert_exact(shown: Shown, *ledgers: Books) -> None:
    """What is shown is what was committed: nothing is lost, nothing counted twice, no label wrong."""
    whole = Ledger()
    for books in ledgers:
        for (metric, labels), amount in books.ledger.totals.items():
            whole.add(metric.removeprefix("orchestration_"), amount, **dict(labels))
    differences = whole.differences(shown)
    assert not differences, "\n".join(differences)


# ── the exporter as a process ────────────────────────────────────────────────────────────────────────────────


class Exporter(AbstractContextManager["Exporter"]):
    """`python -m exporter serve` on a port of its own for as long as the `with` around it lasts; it polls every 0.1 s.

    `prefix` stands before the command: what enters a namespace or becomes another user, and then executes the rest.
    Its log is `log`, a file of its own; on leaving it must have stopped well within its five seconds.
    """

    def __init__(
        self,
        database: Path,
        storage: Path,
        *flags: str,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.log = log or storage.with_name(f"{storage.name}.log")
        self.command = [*prefix, sys.executable, "-m", "exporter", "serve", "--database", str(database)]
        self.command += ["--storage.path", str(storage), "--web.listen-address", "127.0.0.1:0", *flags]
        own = "ORCHESTRATION_EXPORTER_"
        self.env = {**os.environ, f"{own}POLL_INTERVAL": "0.1", f"{own}NEW_SERIES_HOLD": "0", **(env or {})}
        self.falls: list[str] = []
        self._seen = Shown()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.stop(check=error is None)

    def start(self) -> None:
        """Start it, and return when it listens."""
        began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=REPOSITORY, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            until(lambda: self._address(began), self._said)
        except BaseException:
            self.kill()
            raise
        self.url = f"http://{self._address(began)}"

    def stop(self, *, check: bool = True) -> None:
        """Stop it as a service manager does."""
        began = time.monotonic()
        self.process.terminate()
        try:
            code = self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            self.process.wait()
        if check:
            assert code == 0, self._said()
            assert time.monotonic() - began < 5.0, self._said()
            assert "Traceback" not in self._said()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def get(self, path: str) -> tuple[int, str]:
        """The status code and the body of a GET."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    def shown(self) -> Shown:
        """A scrape, which notes every counter that is lower than in the one before."""
        code, text = self.get("/metrics")
        assert code == 200, text
        shown = Shown.of(text)
        if self.get("/-/ready")[0] == 200:
            self.falls += self._seen.falls(shown)
            self._seen = shown
        return shown

    def up(self) -> float:
        """`orchestration_up`, as scraped."""
        return self.shown().total("orchestration_up")

    def until_up(self, value: float = 1.0) -> Shown:
        """Return what is shown once `orchestration_up` has that value."""
        until(lambda: self.up() == value, self._said)
        return self.shown()

    def until_total(self, name: str, value: float) -> Shown:
        """Return what is shown once it is up, and that metric comes to that value."""
        until(lambda: self.shown().total(name) == value and self.up(), lambda: f"{self.shown().by_labels(name)}")
        return self.shown()

    def until_exact(self, *ledgers: Books) -> Shown:
        """Return what is shown once it is up, and is what was committed."""

        def is_exact() -> bool:
            try:
                assert_exact(self.shown(), *ledgers)
            except AssertionError:
                return False
            return self.up() == 1.0

        with contextlib.suppress(TimeoutError):
            until(is_exact, self._said)
        assert self.up() == 1.0, self._said()
        shown = self.shown()
        assert_exact(shown, *ledgers)
        assert self.falls == []
        return shown

    def lines(self, *levels: str) -> list[str]:
        """The lines of the log, of these levels if any are named; each is one record."""
        found = self.log.read_text(errors="replace").splitlines()
        return [line for line in found if not levels or re.search(rf" level=({'|'.join(levels)}) ", line)]

    def _address(self, began: int) -> str | None:
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}: {self._said()}")
        found = re.search(r'msg="listening" address=(\S+)', self.log.read_bytes()[began:].decode(errors="replace"))
        return found[1] if found else None

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


def until(condition: Callable[[], object], said: Callable[[], str] = str, *, deadline_s: float = DEADLINE_S) -> None:
    """Return once that holds.

    Raises:
        TimeoutError: it never did; with what `said` says then.
    """
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {deadline_s} s: {said()}")
        time.sleep(LOOK_S)


# ── other users, other mounts ────────────────────────────────────────────────────────────────────────────────

_ROOT_OF_ITS_OWN = ("unshare", "--user", "--map-root-user", "--mount")
_BECOME_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@functools.cache
def another_user() -> tuple[str, ...]:
    """What to put before a command that user 65534 shall run.

    It takes root, or user ids that were delegated to this user. Where there are none, the test is listed as not run,
    which is an error in CI.
    """
    for prefix in (_BECOME_NOBODY, ("unshare", "--map-root-user", "--map-auto", *_BECOME_NOBODY)):
        if not _trial(prefix):
            return prefix
    pytest.skip(f"{NOT_RUN}another user (root, or newuidmap and a line in /etc/subuid)")


def with_mounts(script: str, *arguments: object) -> tuple[str, ...]:
    """What to put before a command that shall run after these mounts, which nobody else sees.

    `script` is for sh, its `$1` and so on are `arguments`; a test that cannot have the namespace fails.
    """
    if problem := _trial(_ROOT_OF_ITS_OWN):
        pytest.fail(f"mounts of one's own need user namespaces: {problem}")
    shifted = f'set -e; {script}; shift {len(arguments)}; exec "$@"'
    return (*_ROOT_OF_ITS_OWN, "sh", "-c", shifted, "sh", *map(str, arguments))


def mount_again(process: subprocess.Popen[Any], *arguments: str) -> None:
    """Run `mount` among the mounts of a process that was started `with_mounts`."""
    enter = ("nsenter", "--target", str(process.pid), "--user", "--mount", "--preserve-credentials")
    subprocess.run([*enter, "mount", *arguments], check=True, timeout=30)


def inside(process: subprocess.Popen[Any], path: Path) -> Path:
    """A path as that process sees it."""
    return Path(f"/proc/{process.pid}/root{path}")


@functools.cache
def _trial(prefix: tuple[str, ...]) -> str:
    try:
        done = subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True, text=True, timeout=30)
    except FileNotFoundError as exc:
        return str(exc)
    return done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""
