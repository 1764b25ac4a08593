"""Killed at any moment, the exporter has lost nothing, counted nothing twice, and taken nothing back.

A real `serve` process follows the real demo platform. And what it shows was on the disk before: strace is the witness.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from exporter.demo.schema import TABLES
from tests.processes import Demo, Serving, of_rows, until
from tests.running import DEADLINE_S, Shown
from tests.sqlite_platform import PLATFORM, Child, running

pytestmark = pytest.mark.bulk

# ── what the platform has committed, by plain SQL ────────────────────────────────────────────────────────────

_OUTCOME = "CASE success WHEN 1 THEN 'success' WHEN 0 THEN 'failure' ELSE 'unknown' END"
_DONE = "FROM handoff_events WHERE success IS NOT NULL"
_AGENTS = "FROM subagent_invocations WHERE agent_type IS NOT 'mcp_tool'"
_TOOLS = "FROM subagent_invocations WHERE agent_type = 'mcp_tool'"
_SPENT = "CASE agent_type WHEN 'mcp_tool' THEN 'tool' ELSE 'subagent' END"
_EVENTS = ("handoff_events", "subagent_invocations", "task_outcomes", "routing_decisions", "claude_code_hooks")
_TABLES = ("orchestration_sessions", *_EVENTS, "model_performance", "live_activities")
COMMITTED: Mapping[tuple[str, tuple[str, ...]], str] = {
    ("orchestration_sessions_started_total", ("project",)): "SELECT project_name, count(*) FROM orchestration_sessions",
    ("orchestration_handoffs_total", ("model", "outcome")): f"SELECT target_model, {_OUTCOME}, count(*) {_DONE}",
    ("orchestration_handoff_routes_total", ("source_model", "reason", "outcome")): (
        f"SELECT source_model, json_extract(metadata, '$.route_reason'), {_OUTCOME}, count(*) {_DONE}"
    ),
    ("orchestration_handoff_task_types_total", ("task_type", "model")): (
        f"SELECT task_type, target_model, count(*) {_DONE}"
    ),
    ("orchestration_handoff_tokens_total", ("model",)): f"SELECT target_model, sum(tokens_used) {_DONE}",
    ("orchestration_handoff_duration_seconds_count", ("model", "outcome")): (
        f"SELECT target_model, {_OUTCOME}, count(response_time) {_DONE}"
    ),
    ("orchestration_handoff_duration_seconds_sum", ("model",)): f"SELECT target_model, sum(response_time) {_DONE}",
    ("orchestration_cost_usd_total", ("component",)): (
        f"SELECT component, sum(cost) FROM (SELECT 'handoff' AS component, cost {_DONE} "
        f"UNION ALL SELECT {_SPENT}, cost FROM subagent_invocations)"
    ),
    ("orchestration_baseline_cost_usd_total", ("component",)): (
        f"SELECT component, sum(cost) FROM (SELECT 'handoff' AS component, cost + coalesce(savings, 0) AS cost {_DONE} "
        f"UNION ALL SELECT {_SPENT}, cost FROM subagent_invocations)"
    ),
    ("orchestration_subagent_invocations_total", ("agent", "outcome")): (
        f"SELECT agent_name, {_OUTCOME}, count(*) {_AGENTS}"
    ),
    ("orchestration_subagent_tokens_total", ("agent",)): f"SELECT agent_name, sum(tokens_used) {_AGENTS}",
    ("orchestration_mcp_tool_calls_total", ("server", "tool", "outcome")): (
        "SELECT json_extract(metadata, '$.mcp_server_name'), json_extract(metadata, '$.mcp_tool_name'), "
        f"{_OUTCOME}, count(*) {_TOOLS}"
    ),
    ("orchestration_tasks_total", ("model", "outcome")): f"SELECT model_used, {_OUTCOME}, count(*) FROM task_outcomes",
    ("orchestration_task_errors_total", ("error_type",)): (
        "SELECT error_type, count(*) FROM task_outcomes WHERE success = 0"
    ),
    ("orchestration_task_cost_usd_total", ("model",)): "SELECT model_used, sum(cost) FROM task_outcomes",
    ("orchestration_subagent_spawns_total", ("parent", "agent")): (
        f"SELECT coalesce(parent_agent, 'unknown'), agent_name, count(*) {_AGENTS}"
    ),
    ("orchestration_routing_decisions_total", ("model", "complexity")): (
        "SELECT selected_model, task_complexity, count(*) FROM routing_decisions"
    ),
    ("orchestration_model_calls_total", ("model", "task_type")): (
        "SELECT model_name, task_type, count(*) FROM model_performance"
    ),
    ("orchestration_model_call_errors_total", ("model",)): "SELECT model_name, sum(error_count) FROM model_performance",
    ("orchestration_hook_executions_total", ("hook", "outcome")): (
        f"SELECT hook_type, {_OUTCOME}, count(*) FROM claude_code_hooks"
    ),
    ("orchestration_activities_total", ("event",)): "SELECT event_type, count(*) FROM live_activities",
    ("orchestration_exporter_rows_read_total", ("table",)): " UNION ALL ".join(
        f"SELECT '{table}', count(*) FROM {table}" for table in _TABLES
    ),
}
"""Metrics by labels (the others added up), and the SQL of what they must be when all was read, labels first."""


def committed(database: Path) -> dict[str, dict[tuple[str, ...], float]]:
    """What the metrics must come to. Only for a file that this process may open: no exporter runs in it."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for (metric, labels), sql in COMMITTED.items():
            groups = "" if "rows_read" in metric else f" GROUP BY {', '.join(map(str, range(1, len(labels) + 1)))}"
            rows = connection.execute(sql + groups).fetchall()
            found[metric] = {tuple(_escaped(key) for key in keys): float(value or 0) for *keys, value in rows}
    return found


def _escaped(label: object) -> str:
    return str(label).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def differences(expected: Mapping[str, Mapping[tuple[str, ...], float]], shown: Shown) -> list[str]:
    """Every sum that is not what the SQL says."""
    lines = []
    for metric, labels in COMMITTED:
        totals: Counter[tuple[str, ...]] = Counter()
        for found, value in shown.by_labels(metric).items():
            named = dict(found)
            totals[tuple(named[label] for label in labels)] += value  # type: ignore[assignment]
        for key in totals.keys() | expected[metric].keys():
            wanted, value = expected[metric].get(key, 0.0), totals[key]
            if abs(wanted - value) > 1e-9 * max(wanted, value):
                lines.append(f"{metric} {key}: SQL says {wanted}, published is {value}")
    return sorted(lines)


def test_the_comparison_sees_what_is_wrong(tmp_path: Path) -> None:
    """A row too few, one too many, and a cost that is off are all told; the right numbers are not."""
    database = tmp_path / "platform.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.executescript(TABLES)
        connection.execute("INSERT INTO handoff_events (target_model, success, cost) VALUES ('m', 1, 0.5)")
    expected = committed(database)
    right = (
        'orchestration_handoffs_total{model="m",outcome="success"} 1\n'
        'orchestration_handoff_routes_total{outcome="success",reason="None",source_model="None"} 1\n'
        'orchestration_handoff_task_types_total{model="m",task_type="None"} 1\n'
        'orchestration_cost_usd_total{component="handoff"} 0.5\n'
        'orchestration_baseline_cost_usd_total{component="handoff"} 0.5\n'
        'orchestration_exporter_rows_read_total{table="handoff_events"} 1\n'
    )

    assert differences(expected, of_rows(right)) == []
    assert len(differences(expected, of_rows(right.replace('"success"} 1', '"success"} 2', 1)))) == 1
    assert len(differences(expected, of_rows(right.replace('"handoff"} 0.5', '"handoff"} 0.25', 1)))) == 1
    assert len(differences(expected, of_rows(right.replace('="handoff_events"} 1', '="task_outcomes"} 1')))) == 2


# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────────────────────

# `serve`, that notes in a byte of shared memory what it is about: what stands there when it dies is what was hit.
MARKED = """
import asyncio, functools, mmap, os, sys
mark = mmap.mmap(os.open(sys.argv.pop(1), os.O_RDWR), 1)
from exporter.__main__ import main
from exporter.advance import Engine
from exporter.checkpoint import Checkpoint
from exporter.publisher import Publisher
from exporter.reader import Reader

stack = ["starting"]
PHASES = %(phases)r

def note():
    mark[0] = PHASES.index(stack[-1])

def enter(phase):
    stack.append(phase)
    note()

def leave(phase):
    stack.remove(phase)
    if phase.startswith("save"):
        stack[0] = "idle"
    note()

def marked(owner, name, phase):
    inner = getattr(owner, name)
    if asyncio.iscoroutinefunction(inner):
        @functools.wraps(inner)
        async def outer(*args, **kwargs):
            enter(phase)
            try:
                return await inner(*args, **kwargs)
            finally:
                leave(phase)
    else:
        @functools.wraps(inner)
        def outer(*args, **kwargs):
            enter(phase)
            try:
                return inner(*args, **kwargs)
            finally:
                leave(phase)
    setattr(owner, name, outer)

for owner, name, phase in [
    (Checkpoint, "load", "load"), (Reader, "scan", "first scan"), (Reader, "look", "read"),
    (Engine, "advance", "count"), (Checkpoint, "save_snapshot", "save snapshot"),
    (Checkpoint, "save_delta", "save delta"), (Publisher, "publish", "publish"),
]:
    marked(owner, name, phase)
sys.exit(main())
"""
PHASES = ("starting", "load", "first scan", "read", "count", "save snapshot", "save delta", "publish", "idle")
POLL = {"read", "count", "publish"}
SAVE = {"save snapshot", "save delta"}
KILLS = 50
SCANS, SNAPSHOTS = 6, 2
"""So many of them in the first scan and in the saving at its end; until that is done, there is nothing else to hit."""
AIM_S = 3.0


@dataclass
class Victim:
    """An exporter that is killed again and again, and what was seen of it."""

    serving: Serving
    mark: mmap.mmap
    rng: random.Random
    seen: Shown = field(default_factory=Shown)
    falls: list[str] = field(default_factory=list)
    hit: Counter[str] = field(default_factory=Counter)
    scrapes: int = 0

    @property
    def phase(self) -> str:
        """What it is about, or was when it died."""
        return PHASES[self.mark[0]]

    def scrape(self) -> None:
        """Scrape it; nothing may be lower than it was."""
        shown = self.serving.scrape()
        assert shown.samples, self.serving.log
        self.falls += self.seen.falls(shown)
        self.seen = shown
        self.scrapes += 1

    def live(self, aim: str, after_s: float) -> None:
        """Live until that phase and so much longer, and be killed."""
        self.mark[0] = PHASES.index("starting")
        self.serving.launch()
        if aim in ("first scan", "save snapshot"):
            self._wait(aim, "idle", most_s=DEADLINE_S)
        elif aim != "starting":
            self._scraped()
            self._wait(aim)
        wait(after_s)
        if aim == "idle":
            self.scrape()
        assert self.serving.process is not None
        assert self.serving.process.poll() is None, self.serving.log
        assert self.serving.end(signal.SIGKILL) == -signal.SIGKILL
        self.hit[self.phase] += 1

    def catch_up(self, expected: Mapping[str, Mapping[tuple[str, ...], float]]) -> None:
        """Return when it shows what was committed."""
        with contextlib.suppress(AssertionError):
            until(lambda: not differences(expected, self.serving.scrape()), "caught up")
        self.scrape()
        assert differences(expected, self.seen) == []

    def _scraped(self) -> None:
        self.serving.listens()
        self.serving.until(self.serving.is_ready, "ready")
        self.scrape()
        if self.rng.random() < 0.5:
            time.sleep(self.rng.uniform(0.0, 0.3))
            self.scrape()

    def _wait(self, *phases: str, most_s: float = AIM_S) -> None:
        """Return in one of these phases, or when none came for long enough."""
        deadline = time.monotonic() + most_s
        while self.phase not in phases and time.monotonic() < deadline:
            time.sleep(0)


def wait(seconds: float) -> None:
    """Wait to the microsecond, as a sleep does not."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        time.sleep(0)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[mmap.mmap]:
    """A byte of memory that outlives the process that writes it."""
    path = tmp_path / "mark"
    path.write_bytes(b"\0")
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 1) as shared:
        yield shared


def aims(rng: random.Random, kills: int) -> Iterator[tuple[str, float]]:
    """What to hit, and how long after it began; most of them at no particular moment."""
    for _ in range(SCANS):
        yield "first scan", rng.uniform(0.0, 0.1)
    for _ in range(SNAPSHOTS):
        yield "save snapshot", rng.uniform(0.0, 0.01)
    chosen = [("idle", 0.3)] * 5 + [("starting", 1.0), ("read", 0.003), ("count", 0.001), ("publish", 0.002)]
    chosen += [("save delta", 0.002)] * 4
    for _ in range(kills - SCANS - SNAPSHOTS):
        aim, most_s = rng.choice(chosen)
        yield aim, rng.uniform(0.0, most_s)


@pytest.mark.slow
def test_fifty_kills(tmp_path: Path, mark: mmap.mmap, capsys: pytest.CaptureFixture[str]) -> None:
    """At random moments while the platform writes: at the end the totals are the rows', and nothing ever fell."""
    database, rng = tmp_path / "platform.db", random.Random(9)
    settings = {"poll_interval": 0.1, "new_series_hold": 0.3, "in_flight_timeout": "366d"}
    serving = Serving(tmp_path / "exporter", database, settings)
    serving.command = [sys.executable, "-c", MARKED % {"phases": PHASES}, str(tmp_path / "mark")]
    victim = Victim(serving, mark, rng)
    began = time.monotonic()
    with Demo(database, "--history", "5d", "--speed", "200") as demo, serving:
        for aim, after_s in aims(rng, KILLS):
            victim.live(aim, after_s)
        assert demo.runs
        demo.stop()
        late_rows(database)
        serving.start()
        expected = committed(database)
        victim.catch_up(expected)
        # and once more from what was saved
        assert serving.end() == 0
        serving.start()
        victim.scrape()

    assert differences(expected, victim.seen) == []
    assert victim.falls == []
    assert victim.hit.total() == KILLS
    assert victim.hit["first scan"] >= SCANS / 2
    assert sum(victim.hit[phase] for phase in POLL) >= 3
    assert sum(victim.hit[phase] for phase in SAVE) >= 3
    with capsys.disabled():
        print(f"\n{KILLS} kills in {time.monotonic() - began:.0f} s, {victim.scrapes} scrapes: {dict(victim.hit)}")


def late_rows(database: Path) -> None:
    """The platform commits the rows of sessions that had none yet: their events wait for them, up to a minute."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        events = " UNION ".join(f"SELECT session_id FROM {table}" for table in _EVENTS)
        connection.execute(
            "INSERT INTO orchestration_sessions (session_id, project_name) "
            f"SELECT session_id, 'late' FROM ({events}) "
            "WHERE session_id NOT IN (SELECT session_id FROM orchestration_sessions)"
        )


# ── the disk first, then the network ─────────────────────────────────────────────────────────────────────────

STRACE = shutil.which("strace") or "/usr/bin/strace"
_CALLS = "fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg"
_LINE = re.compile(r"(\d+) +(?:[\d:.]+) (?:<\.\.\. (\w+) resumed>|(\w+)\((\d+)<([^>]*)>)(.*)")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call: when it began and ended, counted in lines of the trace; `result` is -1 where it failed."""

    name: str
    path: str
    data: str
    began: int
    ended: float
    result: int


def calls(trace: str) -> list[Call]:
    """The system calls of a trace by strace with -f and -y; one that did not end has ended at infinity."""
    open_: dict[str, tuple[str, str, str, int]] = {}
    found = []
    for number, line in enumerate(trace.splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        pid, resumed, name, _, path, rest = match.groups()
        if resumed:
            name, path, data, began = open_.pop(pid, (resumed, "", "", number))
        else:
            data, began = rest, number
        if rest.endswith("<unfinished ...>"):
            open_[pid] = (name, path, data, began)
            continue
        result = re.search(r"= (-?\d+)(?: [A-Z].*)?$", rest)
        found.append(Call(name, path, data, began, number, int(result[1]) if result else -1))
    return found + [Call(name, path, data, began, float("inf"), -1) for name, path, data, began in open_.values()]


def shown_too_early(trace: str, *, state: Path, saved: str, shown: str) -> str:
    """Why the trace does not prove that what matches `saved` was on the disk before `shown` was sent; else nothing."""
    found = calls(trace)
    sends = [call for call in found if "socket" in call.path or "TCP" in call.path]
    sent = min((call.began for call in sends if re.search(shown, call.data)), default=None)
    if sent is None:
        return "the value was never sent"
    ours = re.compile(rf"{re.escape(str(state))}/default-\d+\.(sqlite(-wal)?|tmp)")
    on_disk = [call for call in found if ours.search(call.path)]
    writes = [call for call in on_disk if "write" in call.name and re.search(saved, call.data) and call.began < sent]
    if not writes:
        return "the value was sent before it was written"
    write = writes[0]
    syncs = [call for call in on_disk if call.name in ("fsync", "fdatasync") and call.path == write.path]
    if not any(write.ended < sync.began and sync.ended < sent and sync.result == 0 for sync in syncs):
        return f"the value was sent before {write.path} was synced"
    return ""


ROW = """INSERT INTO handoff_events (session_id, timestamp, target_model, success, tokens_used, cost)
VALUES ('s', datetime('now'), '{model}', 1, {tokens}, 0.5)"""


def marks(model: str, tokens: int) -> dict[str, str]:
    """What of a row is to be found in the checkpoint, and in an answer, as strace writes it."""
    return {"saved": model, "shown": rf'handoff_tokens_total\{{model=\\"{model}\\"[^}}]*\}} {tokens}\.0'}


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A trace of `serve` while rows are committed that it shows; and its state's folder."""
    assert os.access(STRACE, os.X_OK), f"{STRACE} is needed to see what is synced before what is sent"
    folder = tmp_path_factory.mktemp("traced")
    database, trace = folder / "platform.db", folder / "trace"
    # -D: the process started is the exporter, so that signals reach it; strace ends with it
    prefix = [STRACE, "-D", "-f", "-y", "-tt", "-s", "10000000", "-e", f"trace={_CALLS}", "-o", str(trace)]
    settings = {"poll_interval": 0.1, "new_series_hold": 0}
    with running(Child(PLATFORM, database, "wal", "SELECT 1")) as platform:
        for table in filter(str.strip, TABLES.split(";")):
            platform.ask(" ".join(table.split()))
        platform.ask("INSERT INTO orchestration_sessions (session_id, project_name) VALUES ('s', 'p')")
        with Serving(folder / "exporter", database, settings, prefix=prefix) as serving:
            serving.start()
            for model, tokens in WITNESSES.items():
                assert json.loads(platform.ask(" ".join(ROW.format(model=model, tokens=tokens).split()))) == []
                serving.shows(f'model="{model}"')
            assert serving.end() == 0
    until(lambda: "+++ exited with 0 +++" in trace.read_text(errors="replace").splitlines()[-1], "traced to its end")
    return folder / "exporter" / "state", trace.read_text(errors="replace")


WITNESSES = {"witness-one": 1001, "witness-two": 2002, "witness-three": 3003}


@pytest.mark.parametrize("model, tokens", WITNESSES.items())
def test_what_is_shown_is_on_the_disk(traced: tuple[Path, str], model: str, tokens: int) -> None:
    """The checkpoint is written and synced before the first byte of an answer that has the new value."""
    state, trace = traced

    assert shown_too_early(trace, state=state, **marks(model, tokens)) == ""


def test_the_order_is_judged(traced: tuple[Path, str]) -> None:
    """Without the sync, with a failed one, or with one that comes too late or for another file, the check fails."""
    state, trace = traced
    lines, wanted = trace.splitlines(), marks("witness-two", 2002)
    sent = next(n for n, line in enumerate(lines) if re.search(wanted["shown"], line))
    written = next(n for n, line in enumerate(lines) if "witness-two" in line and "default-" in line)
    syncs = [n for n in range(written, sent) if "sync(" in lines[n] and "default-" in lines[n]]
    assert syncs
    ends = [n for n in range(written, sent) if "sync resumed>" in lines[n]]  # of syncs that took turns with other calls

    def verdict(doctored: list[str]) -> str:
        return shown_too_early("\n".join(doctored), state=state, **wanted)

    def changed(change: str, into: str) -> list[str]:
        return [re.sub(change, into, line) if n in (*syncs, *ends) else line for n, line in enumerate(lines)]

    without = [line for n, line in enumerate(lines) if n not in syncs]
    late = [*lines[:written], lines[sent], *lines[written:]]
    assert verdict(lines) == ""
    assert "before" in verdict(without)
    assert verdict(late) == "the value was sent before it was written"
    assert "was synced" in verdict([*lines[: written + 1], lines[sent], *lines[written + 1 :]])
    assert "was synced" in verdict(changed(r"= 0$", "= -1 EIO (Input/output error)"))
    assert "was synced" in verdict(changed(r"default-\d+", "default.tip"))
    assert verdict(lines[:sent]) == "the value was never sent"


def test_calls_that_take_turns_are_told_apart() -> None:
    """A sync that had begun but not ended when another thread sent is no sync before it."""
    state = Path("/state")
    begun = [
        '7 10:00:00.1 pwrite64(3</state/default-00000001.sqlite-wal>, "..value..", 9, 0) = 9',
        "7 10:00:00.2 fdatasync(3</state/default-00000001.sqlite-wal> <unfinished ...>",
    ]
    ended, send = "7 10:00:00.4 <... fdatasync resumed>) = 0", '8 10:00:00.3 sendto(5<TCP:[1->2]>, "..value..", 9) = 9'

    def verdict(*lines: str) -> str:
        return shown_too_early("\n".join(lines), state=state, saved="value", shown="value")

    assert verdict(*begun, ended, send) == ""
    assert "was synced" in verdict(*begun, send, ended)
    assert "was synced" in verdict(*begun, send)
