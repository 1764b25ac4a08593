"""The model: for any history, the totals equal those of a slow reference that keeps every row it ever saw.

``counting.md``, "Tests that hold it". The reference knows each physical row by a name of its own (the column ``uid``,
which the exporter does not read), so it needs no digests, no cursors, and recognises what a restore brought back.
"""

from __future__ import annotations

import pickle
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from math import inf
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.catalogue import SCHEMA
from exporter.series import Buckets
from exporter.state import State
from tests.model import (
    EPOCH,
    EVENTS,
    HANDOFFS,
    HOOKS,
    ROUTING,
    SESSIONS,
    SUBAGENTS,
    TASKS,
    Exporter,
    Platform,
    profile,
    settings,
    small,
)

IDLE_S, IN_FLIGHT_S, GRACE_S, WAIT_S, DAY_S = 3600.0, 21600.0, 60.0, 60.0, 86400.0
YOUNG_S, PATIENT_S, CONFIRM_S, SUSPEND_S = 600.0, 60.0, 5.0, 60.0
IDENTITY = {SESSIONS: ("session_id", "start_time")} | dict.fromkeys(EVENTS, ("session_id", "timestamp"))
TIME = {SESSIONS: "start_time"} | dict.fromkeys(EVENTS, "timestamp")
METRICS = {metric.name.removeprefix("orchestration_"): metric for metric in SCHEMA.metrics}
RESULT = {HANDOFFS: "success", ROUTING: "execution_success"}
BUCKETS = {name: metric.buckets for name, metric in METRICS.items() if metric.type == "histogram"}  # type: ignore[attr-defined]

UNAVAILABLE = '{"route_reason": "deepseek_unavailable"}'

Record = dict[str, Any]
"""A row of the database, by column."""


def time_of(text: object, at: float) -> float | None:
    """A time as the platform of these tests writes it; None where it is NULL or more than a day ahead."""
    if text is None:
        return None
    moment = datetime.fromisoformat(str(text))
    time = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return time if time <= at + DAY_S else None


def label(text: object) -> str:
    return str(text).strip() or "unknown" if text is not None else "unknown"


def outcome(flag: object) -> str:
    return {1: "success", 0: "failure"}.get(cast("int", flag), "unknown")


# ── the reference ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class Session:
    """An open session, or one that ended and is active again (``over``)."""

    row: Record
    project: str
    activity: float
    start: float | None = None
    end: float | None = None
    over: bool = False
    cost: float = 0.0
    handoffs: int = 0
    subagents: int = 0

    @property
    def deadline(self) -> float:
        return self.activity + IDLE_S if self.end is None else self.end + GRACE_S


@dataclass
class Flight:
    """A row that is not counted yet."""

    row: Record
    time: float
    first_read: float
    project: str | None

    @property
    def deadline(self) -> float:
        return self.first_read + WAIT_S if self.project is None else self.time + IN_FLIGHT_S


class Totals:
    """What was counted, by metric and labels."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.observed: dict[tuple[str, tuple[str, ...]], list[float]] = defaultdict(list)

    def add(self, metric: str, *labels: str, amount: float = 1) -> None:
        self.counts[metric, labels] += amount  # type: ignore[assignment]

    def observe(self, metric: str, *labels: str, value: float | None) -> None:
        if value is not None and value >= 0:
            self.observed[metric, labels].append(value)


@dataclass
class Past:
    """What was read of one table: each physical row's name, and per id the names and identities it had."""

    seen: set[str] = field(default_factory=set)
    names: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    identities: dict[int, set[tuple[object, ...]]] = field(default_factory=lambda: defaultdict(set))
    cursor: float = -inf


class Reference:
    """Counts every row committed at some poll once, by the rules of ``counting.md`` taken one after the other."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.pasts = {table: Past() for table in (SESSIONS, *EVENTS)}
        self.sessions: dict[str, Session] = {}
        self.started: set[str] = set()
        self.flights: dict[str, dict[str, Flight]] = {table: {} for table in EVENTS}
        self.first = True

    # ── a changed past ───────────────────────────────────────────────────────────────────────────────────────

    def changed(self, table: str, platform: Platform) -> bool:
        """Whether a row that was read is another one now, or ids were given back."""
        past = self.pasts[table]
        return highest_id(platform, table) < past.cursor or bool(self._others(table, platform.all(table)))

    def _others(self, table: str, rows: Iterable[Record]) -> list[Record]:
        past = self.pasts[table]
        read = [row for row in rows if row["id"] <= past.cursor and row["id"] in past.names]
        return [row for row in read if row["uid"] not in past.names[row["id"]]]

    def known_to(self, table: str, rows: Iterable[Record]) -> float:
        """The newest id whose row is one that was read."""
        past = self.pasts[table]
        return max(
            (row["id"] for row in rows if row["id"] <= past.cursor and row["uid"] in past.names[row["id"]]),
            default=-inf,
        )

    def looks_edited(self, table: str, platform: Platform) -> bool:
        """Whether a restore cannot be told from an edit: the new rows agree with the old ones in one column."""
        past, rows = self.pasts[table], platform.all(table)
        known = self.known_to(table, rows)
        above = [row for row in rows if known < row["id"] <= past.cursor and row["id"] in past.names]
        return highest_id(platform, table) >= past.cursor and bool(above) and self.agree(table, above)

    def agree(self, table: str, above: list[Record]) -> bool:
        """Whether nine of ten rows agree with what was read under their ids in one and the same column."""
        return any(sum(self._agrees(table, row, place) for row in above) >= 0.9 * len(above) for place in (0, 1))

    def _agrees(self, table: str, row: Record, place: int) -> bool:
        value = row[IDENTITY[table][place]]
        return value is not None and any(found[place] == value for found in self.pasts[table].identities[row["id"]])

    def _revise(self, table: str, rows: list[Record], platform: Platform, at: float) -> None:
        """Rows in flight that are not there any more end like rows that vanished."""
        past = self.pasts[table]
        known = self.known_to(table, rows)
        there = {row["uid"] for row in rows}
        if table == SESSIONS:
            for name in [name for name, session in self.sessions.items() if session.row["id"] > known]:
                assert name not in there
                self._end_session(name, "lost")
        else:
            for name in [name for name, flight in self.flights[table].items() if flight.row["id"] > known]:
                assert name not in there
                self._vanish(table, name)
        past.cursor = known
        self.totals.add("exporter_source_rewinds_total")

    # ── a poll ───────────────────────────────────────────────────────────────────────────────────────────────

    def poll(self, platform: Platform, at: float, *, patient: bool) -> None:
        """Take in the database as it is at a poll; ``patient``: what is older than ten minutes is read again, too."""
        content = {table: platform.all(table) for table in (SESSIONS, *EVENTS)}
        for table, rows in content.items():
            if self.changed(table, platform):
                self._revise(table, rows, platform, at)
        by_key = {row["session_id"]: row for row in content[SESSIONS] if row["session_id"] is not None}
        self._read_sessions(content[SESSIONS], at, patient)
        for table in EVENTS:
            self._read_flights(table, content[table], by_key, at, patient)
            self._read_events(table, self._new(table, content[table]), by_key, at)
        self.first = False

    def _new(self, table: str, rows: list[Record]) -> list[Record]:
        past = self.pasts[table]
        fresh = [row for row in rows if row["uid"] not in past.seen]
        for row in rows:
            past.names[row["id"]].add(row["uid"])
            past.seen.add(row["uid"])
            past.identities[row["id"]].add(tuple(row[name] for name in IDENTITY[table]))
            past.cursor = max(past.cursor, row["id"])
        self.totals.add("exporter_rows_read_total", table, amount=len(fresh))
        return fresh

    # ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────

    def _read_sessions(self, rows: list[Record], at: float, patient: bool) -> None:
        there = {row["uid"]: row for row in rows}
        asked = [
            name
            for name, session in self.sessions.items()
            if patient or at - session.activity < YOUNG_S or session.deadline <= at
        ]
        for name in set(asked) & set(there):
            self._update(self.sessions[name], there[name], at)
        for row in self._new(SESSIONS, rows):
            self._start(row, at)
        for name in set(asked) - set(there):
            if name in self.sessions:
                self._end_session(name, "lost")
        self.started |= {row["session_id"] for row in rows if row["session_id"]}

    def _start(self, row: Record, at: float) -> None:
        key = row["session_id"]
        before = self._open(key)
        if before is not None:
            del self.sessions[before.row["uid"]]
            self.sessions[row["uid"]] = before
            self._update(before, row, at)
        elif key is None or key not in self.started:
            session = self.sessions[row["uid"]] = Session(row, "", at)
            self._update(session, row, at)
            session.activity = at if session.start is None else session.start
            self.totals.add("sessions_started_total", session.project)
        if key is not None:
            self.started.add(key)

    def _open(self, key: object) -> Session | None:
        """The open session of that id."""
        if not key:
            return None
        return next((found for found in self.sessions.values() if found.row["session_id"] == key), None)

    def _update(self, session: Session, row: Record, at: float) -> None:
        session.row = row
        session.project = label(row["project_name"])
        start = time_of(row["start_time"], at)
        session.start = None if start is None else min(start, at)
        session.end = time_of(row["end_time"], at)

    def _end_session(self, name: str, how: str) -> None:
        session = self.sessions.pop(name)
        if session.over:
            return
        done, failed = session.row["completed_tasks"] or 0, session.row["failed_tasks"] or 0
        result = "completed" if not failed else "partial" if done else "failed"
        self.totals.add("sessions_ended_total", session.project, result, how)
        end = session.end if how == "closed" else session.activity
        assert end is not None
        duration = None if session.start is None else end - session.start
        self.totals.observe("session_duration_seconds", session.project, value=duration)
        self.totals.observe("session_cost_usd", session.project, value=session.cost)
        self.totals.observe("session_handoffs", session.project, value=session.handoffs)
        self.totals.observe("session_subagents", session.project, value=session.subagents)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────

    def _project(self, row: Record, by_key: Mapping[str, Record]) -> str | None:
        """The project of the row's session; None where that has no row."""
        key = row["session_id"]
        if not key:
            return "unknown"
        session = self._open(key)
        if session is not None:
            return session.project
        return label(by_key[key]["project_name"]) if key in by_key else None

    def _touch(self, row: Record, time: float, by_key: Mapping[str, Record], at: float) -> None:
        """An event is its session's activity; one of a session that is over may take it up again."""
        key = row["session_id"]
        session = self._open(key)
        if session is None and key and key in by_key and time + IDLE_S > at and not self.first:
            again = Session(by_key[key], "", at, over=True)
            self._update(again, by_key[key], at)
            again.activity = at if again.start is None else again.start
            if again.end is None or again.end + GRACE_S > at:
                session = self.sessions[by_key[key]["uid"]] = again
        if session is not None:
            session.activity = max(session.activity, time)

    def _read_flights(
        self, table: str, rows: list[Record], by_key: Mapping[str, Record], at: float, patient: bool
    ) -> None:
        there = {row["uid"]: row for row in rows}
        for name, flight in list(self.flights[table].items()):
            due = flight.deadline <= at
            if not (patient or at - flight.first_read < YOUNG_S or due):
                continue
            if name not in there:
                self._vanish(table, name)
                continue
            flight.row = there[name]
            if flight.project is None:
                self._touch(flight.row, flight.time, by_key, at)
                flight.project = self._project(flight.row, by_key)
            elif (session := self._open(flight.row["session_id"])) is not None:
                flight.project = session.project
            if flight.project is not None and is_final(table, flight.row):
                self._count(table, self.flights[table].pop(name))

    def _vanish(self, table: str, name: str) -> None:
        """Count a row that is gone as unknown; one that only waited for its session keeps its result."""
        flight = self.flights[table].pop(name)
        if flight.project is not None and table in RESULT:
            flight.row = flight.row | {RESULT[table]: None}
        self._count(table, flight)

    def _read_events(self, table: str, rows: list[Record], by_key: Mapping[str, Record], at: float) -> None:
        for row in rows:
            found = time_of(row["timestamp"], at)
            time = at if found is None else min(found, at)
            self._touch(row, time, by_key, at)
            project = self._project(row, by_key)
            if project is None and self.first and time <= at - WAIT_S:
                project = "unknown"
            if table == ROUTING:
                self.totals.add("routing_decisions_total", label(row["selected_model"]), label(row["task_complexity"]))
            flight = Flight(row, time, at, project)
            if project is not None and is_final(table, row):
                self._count(table, flight)
            else:
                self.flights[table][row["uid"]] = flight

    def _count(self, table: str, flight: Flight, *, deadline: float | None = None) -> None:
        """Count a row, and add it to its session if that is open and not over by its row."""
        row, project = flight.row, flight.project or "unknown"
        counts = {HANDOFFS: self._count_handoff, SUBAGENTS: self._count_subagent, TASKS: self._count_task}
        counts |= {ROUTING: self._count_routing, HOOKS: self._count_hook}
        counts[table](row, project)
        session = self._open(row["session_id"])
        if table not in (HANDOFFS, SUBAGENTS) or session is None:
            return
        last = session.deadline if session.end is not None or deadline is not None else inf
        if (flight.time if deadline is None else deadline) > last:
            return
        session.cost += row["cost"] or 0
        session.handoffs += table == HANDOFFS
        session.subagents += table == SUBAGENTS and row["agent_type"] != "mcp_tool"

    def _count_handoff(self, row: Record, project: str) -> None:
        model, result, totals = label(row["target_model"]), outcome(row["success"]), self.totals
        totals.add("handoffs_total", project, model, result)
        totals.add("handoff_tokens_total", project, model, amount=row["tokens_used"] or 0)
        totals.add("cost_usd_total", project, "handoff", model, result, amount=row["cost"] or 0)
        baseline = (row["cost"] or 0) + (row["savings"] or 0)
        totals.add("baseline_cost_usd_total", project, "handoff", model, result, amount=baseline)
        totals.observe("handoff_duration_seconds", model, result, value=row["response_time"])
        if row["metadata"] == UNAVAILABLE and model == "claude":
            totals.add("handoff_escalations_total", project, "unavailable")
        self._count_unpriced(row, "handoff", model)

    def _count_unpriced(self, row: Record, component: str, model: str) -> None:
        if row["cost"] is None and row["tokens_used"]:
            self.totals.add("unpriced_events_total", component, model)

    def _count_subagent(self, row: Record, project: str) -> None:
        result, totals, is_tool = outcome(row["success"]), self.totals, row["agent_type"] == "mcp_tool"
        component = "tool" if is_tool else "subagent"
        for metric in ("cost_usd_total", "baseline_cost_usd_total"):
            totals.add(metric, project, component, "unknown", result, amount=row["cost"] or 0)
        if is_tool:
            server, tool = row["agent_name"].split(".")
            totals.add("mcp_tool_calls_total", server, tool, result)
        else:
            totals.add("subagent_invocations_total", project, label(row["agent_name"]), result)
            totals.add("subagent_spawns_total", label(row["parent_agent"]), label(row["agent_name"]))
            self._count_unpriced(row, component, "unknown")

    def _count_task(self, row: Record, project: str) -> None:
        self.totals.add("tasks_total", project, label(row["model_used"]), outcome(row["success"]))
        self.totals.add("task_cost_usd_total", project, label(row["model_used"]), amount=row["cost"] or 0)

    def _count_routing(self, row: Record, project: str) -> None:
        model, result = label(row["selected_model"]), outcome(row["execution_success"])
        self.totals.add("routing_results_total", model, label(row["task_complexity"]), result)
        self.totals.add("routing_cost_usd_total", model, amount=row["actual_cost"] or 0)

    def _count_hook(self, row: Record, project: str) -> None:
        self.totals.add("hook_executions_total", label(row["hook_type"]), outcome(row["success"]))

    # ── what ends by time ────────────────────────────────────────────────────────────────────────────────────

    def end(self, at: float, *, suspended_from: float | None) -> None:
        """End what is due, in the order of the deadlines, but for what was read before ``suspended_from``.

        No session ends by idleness then, and none before a suspended row of its own.
        """
        due: list[tuple[float, int, str, str]] = []
        later: list[Session | None] = []
        for table in EVENTS:
            for name, flight in self.flights[table].items():
                if suspended_from is None or flight.first_read >= suspended_from:
                    due.append((flight.deadline, 0, table, name))
                elif flight.deadline <= at:
                    later.append(self._open(flight.row["session_id"]))
        for name, session in self.sessions.items():
            if session not in later and (suspended_from is None or session.end is not None):
                due.append((session.deadline, 1, SESSIONS, name))
        for deadline, _, table, name in sorted(item for item in due if item[0] <= at):
            if table == SESSIONS:
                self._end_session(name, "idle" if self.sessions[name].end is None else "closed")
            else:
                self._time_out(table, name, deadline, at)

    def _time_out(self, table: str, name: str, deadline: float, at: float) -> None:
        flight = self.flights[table][name]
        if flight.project is None:
            flight.project = "unknown"
            if not is_final(table, flight.row):
                if flight.deadline <= at:
                    self._time_out(table, name, flight.deadline, at)
                return
            deadline = flight.time
        self._count(table, self.flights[table].pop(name), deadline=deadline)


def is_final(table: str, row: Record) -> bool:
    return table not in RESULT or row[RESULT[table]] is not None


def highest_id(platform: Platform, table: str) -> float:
    """The highest id the database has given for the table."""
    ((found,),) = platform.connection.execute(
        f"SELECT max(id) FROM (SELECT max(id) AS id FROM {table} UNION SELECT seq FROM sqlite_sequence WHERE name = ?)",
        (table,),
    )
    return -inf if found is None else cast("int", found)


def project_of(key: str) -> str | None:
    """The project of the session of that id."""
    return ("a", "b", " a ", None)[len(key) * 7 % 4 if key[-1] in "0369" else int(key[-1]) % 4]


# ── a life ──────────────────────────────────────────────────────────────────────────────────────────────────


class Life:
    """A platform that does anything it may, its exporter, and the reference beside it.

    What is left out, because the rules themselves cannot tell what happened or leave it open:

    - an edit of rows that no poll saw before it, or that no poll sees before the past changes otherwise, or whose rows
      are NULL in the other identity column in more than a tenth of the cases, or that misses the newest; of sessions,
      not while the clock is behind, for a start that lies ahead reads differently each time (``edit``);
    - a poll while a restored and regrown table looks like an edited one (``looks_edited``);
    - with the memory large enough, ids that no poll ever saw (``replace_row``, ``other_database``), for a row under
      such an id is judged by its time;
    - an end_time before events of the session that were read already (``end_session``);
    - a session whose project changes: which one counts for a row in flight when the session is over is left open;
    - a session's row more than a minute after an event in flight that names it (``late_session``);
    - escalations by a retry, for which hand-off came before is another one after a restore: no model is local.
    """

    def __init__(self, *, hold_s: float = 0.0) -> None:
        self.platform = Platform()
        self.exporter = Exporter(self.platform, settings(new_series_hold=hold_s))
        self.reference = Reference()
        self.saved = pickle.dumps(self.reference)
        self.copies: list[bytes] = []
        self.ghosts: dict[str, float] = {}
        self.without_time: set[tuple[str, str | None]] = set()
        self.number = 0
        self.latest = EPOCH
        self.last_patient = self.suspended_from = self.suspended_until = -inf
        self.drift: float | None = None
        self.problems: list[str] = []

    def do(self, kind: str, seed: int) -> None:
        """Let something of that kind happen."""
        getattr(self, kind)(random.Random(seed))

    @property
    def now(self) -> float:
        return self.exporter.wall

    def unique(self) -> int:
        self.number += 1
        return self.number

    def written(self, time: float) -> str:
        """A time that no other row has."""
        moment = datetime.fromtimestamp(int(time), UTC).replace(microsecond=self.unique())
        return moment.strftime("%Y-%m-%d %H:%M:%S.%f")

    def insert(self, table: str, **values: object) -> None:
        self.platform.insert(table, uid=f"r{self.unique()}", **values)

    # ── what a platform does ─────────────────────────────────────────────────────────────────────────────────

    def session(self, chance: random.Random, key: str | None = None) -> None:
        key = key or f"s{self.unique()}"
        start = self.written(self.now - chance.choice((0, 0, 0, 500, 3700)))
        self.insert(SESSIONS, session_id=key, start_time=start, project_name=project_of(key))

    def replace_row(self, chance: random.Random) -> None:
        """INSERT OR REPLACE of a session whose row was read: it has a new id, and the old row is gone."""
        read = pickle.loads(self.saved).pasts[SESSIONS].seen
        rows = [row for row in self.platform.all(SESSIONS) if row["uid"] in read]
        if rows:
            row = chance.choice(rows)
            self.platform.sql(
                f"INSERT OR REPLACE INTO {SESSIONS} (uid, session_id, start_time, project_name) VALUES (?, ?, ?, ?)",
                (f"r{self.unique()}", row["session_id"], self.written(self.now), row["project_name"]),
            )

    def late_session(self, chance: random.Random) -> None:
        """The row of a session that events named before."""
        for key, time in self.ghosts.items():
            if abs(self.now - time) < 50 and chance.random() < 0.7:
                del self.ghosts[key]
                self.session(chance, key)
                return

    def update_session(self, chance: random.Random) -> None:
        if rows := self.platform.all(SESSIONS):
            row = chance.choice(rows)
            column, value = chance.choice((("completed_tasks", 2), ("failed_tasks", 1), ("failed_tasks", 0)))
            self.platform.sql(f"UPDATE {SESSIONS} SET {column} = ? WHERE id = ?", (value, row["id"]))

    def end_session(self, chance: random.Random) -> None:
        if rows := self.platform.all(SESSIONS):
            row = chance.choice(rows[-3:])
            if row["end_time"] is None:
                end = self.written(max(self.now, self.latest) + 1)
                self.platform.sql(f"UPDATE {SESSIONS} SET end_time = ? WHERE id = ?", (end, row["id"]))

    def event(self, chance: random.Random) -> None:
        self._event(chance, chance.choice((HANDOFFS, HANDOFFS, SUBAGENTS, SUBAGENTS, *EVENTS)))

    def events(self, chance: random.Random) -> None:
        for _ in range(6):
            self.event(chance)

    def burst(self, chance: random.Random) -> None:
        """More rows than one read compares."""
        if chance.random() < 0.3:
            table = chance.choice((HANDOFFS, SUBAGENTS))
            for _ in range(70):
                self._event(chance, table)

    def _event(self, chance: random.Random, table: str) -> None:
        key = self._session_of_event(chance)
        time: str | None = self.written(self.now - chance.choice((0, 0, 0, 0, 30, 700, 4000, 25000)))
        if chance.random() < 0.08 and (table, key) not in self.without_time:
            self.without_time.add((table, key))
            time = None
        cost, tokens = chance.choice((None, 0, 0.25, 2.5)), chance.choice((None, 0, 100))
        columns: dict[str, object] = {}
        if table == HANDOFFS:
            columns = {
                "target_model": chance.choice(("m", "claude", None)),
                "metadata": chance.choice((None, UNAVAILABLE)),
                "success": chance.choice((None, None, 1, 0)),
                "savings": chance.choice((None, 0.5)),
                "response_time": chance.choice((None, 0.5, 8)),
                "tokens_used": tokens,
                "cost": cost,
            }
        elif table == SUBAGENTS:
            is_tool = chance.random() < 0.3
            columns = {
                "agent_type": "mcp_tool" if is_tool else "agent",
                "agent_name": "server.tool" if is_tool else chance.choice(("x", "y", None)),
                "parent_agent": chance.choice(("x", None)),
                "success": chance.choice((None, 1, 0)),
                "tokens_used": tokens,
                "cost": cost,
            }
        elif table == TASKS:
            columns = {"model_used": chance.choice(("m", "n")), "success": chance.choice((1, 0)), "cost": cost}
        elif table == ROUTING:
            columns = {
                "selected_model": chance.choice(("m", None)),
                "task_complexity": chance.choice(("low", None)),
                "execution_success": chance.choice((None, None, 1, 0)),
                "actual_cost": cost,
            }
        elif table == HOOKS:
            columns = {"hook_type": chance.choice(("Stop", None)), "success": chance.choice((None, 1, 0))}
        self.insert(table, session_id=key, timestamp=time, **columns)

    def _session_of_event(self, chance: random.Random) -> str | None:
        """One of the newest sessions mostly; none, any, or one that has no row (yet)."""
        keys = [row["session_id"] for row in self.platform.all(SESSIONS)]
        draw = chance.random()
        if draw < 0.06:
            return None
        if draw < 0.16 or not keys:
            ghost = f"g{self.unique()}"
            self.ghosts[ghost] = self.now
            return ghost
        return cast("str", chance.choice(keys if draw < 0.35 else keys[-3:]))

    def result(self, chance: random.Random) -> None:
        """A hand-off gets its result, or a routing decision."""
        if chance.random() < 0.3:
            if open_ := [row for row in self.platform.all(ROUTING) if row["execution_success"] is None]:
                self.platform.sql(
                    f"UPDATE {ROUTING} SET execution_success = ?, actual_cost = ? WHERE id = ?",
                    (chance.choice((0, 1)), 0.5, chance.choice(open_)["id"]),
                )
        elif open_ := [row for row in self.platform.all(HANDOFFS) if row["success"] is None]:
            self.platform.sql(
                f"UPDATE {HANDOFFS} SET success = ?, response_time = ?, cost = ? WHERE id = ?",
                (chance.choice((0, 1)), chance.choice((None, 2)), 0.5, chance.choice(open_)["id"]),
            )

    # ── what is done to its database ─────────────────────────────────────────────────────────────────────────

    def delete(self, chance: random.Random) -> None:
        """Retention: the oldest rows of a table, as far as they were read (and that was saved)."""
        table = chance.choice((SESSIONS, HANDOFFS, SUBAGENTS))
        read = pickle.loads(self.saved).pasts[table].seen
        for number, row in enumerate(self.platform.all(table)):
            if row["uid"] not in read or number >= 8:
                return
            if number < chance.choice((1, 3, 8)):
                self.platform.sql(f"DELETE FROM {table} WHERE id = ?", (row["id"],))

    def back_up(self, chance: random.Random) -> None:
        self.copies.append(self.platform.copy())

    def restore(self, chance: random.Random) -> None:
        if self.copies:
            self.platform.put_back(chance.choice(self.copies[-3:]))

    def other_database(self, chance: random.Random) -> None:
        """Another platform's, whose oldest rows may be deleted already."""
        cursors = {table: past.cursor for table, past in pickle.loads(self.saved).pasts.items()}
        empty = Platform().copy()
        self.platform.put_back(empty)
        for table, cursor in cursors.items():
            if cursor > 0:
                first = chance.choice((0, 0, 1, chance.randrange(int(cursor) + 1)))
                self.platform.sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, first))
        for _ in range(chance.randrange(4)):
            self.session(chance)
        for _ in range(chance.randrange(12)):
            self.event(chance)

    def edit(self, chance: random.Random) -> None:
        """One column of many rows is changed, and that is seen before anything else happens."""
        table = chance.choice((SESSIONS, HANDOFFS, HANDOFFS, SUBAGENTS))
        self.settle()
        ids = [row["id"] for row in self.platform.all(table)]
        if not ids or not self._is_quiet() or (table == SESSIONS and self.now < self.latest):
            return
        some = chance.choice(ids)
        rows = chance.choice(("1", "1", f"id >= {some}", f"id <= {some}", f"id % 2 = {some % 2}", f"id = {some}"))
        time = TIME[table]
        label_edited = {SESSIONS: "failed_tasks = 1", HANDOFFS: "target_model = 'o'", SUBAGENTS: "agent_type = 'z'"}
        change = chance.choice(
            (
                f"{time} = replace({time}, ' ', 'T')",
                f"{time} = {time} || 'Z'",
                f"{time} = replace({time}, 'T', ' ')",
                "session_id = 'x' || session_id",
                label_edited[table],
            )
        )
        if change == f"{time} = {time} || 'Z'":
            rows += f" AND {time} NOT LIKE '%Z'"
        self.platform.sql("SAVEPOINT edit")
        self.platform.sql(f"UPDATE {table} SET {change} WHERE {rows}")
        if not self._can_be_told(table):
            self.platform.sql("ROLLBACK TO edit")
            return
        self.platform.sql("RELEASE edit")
        if chance.random() < 0.2:
            self.poll(chance.choice(("before saving", "after saving")))
        self.settle()

    def _is_quiet(self) -> bool:
        """Whether the exporter has seen all that was done to the past."""
        if any(self.reference.changed(table, self.platform) for table in (SESSIONS, *EVENTS)):
            return False
        rows = {table: {row["id"]: row["uid"] for row in self.platform.all(table)} for table in (SESSIONS, *EVENTS)}
        flights = [
            (table, flight.row) for table, found in self.reference.flights.items() for flight in found.values()
        ] + [(SESSIONS, session.row) for session in self.reference.sessions.values()]
        return all(rows[table].get(row["id"], row["uid"]) == row["uid"] for table, row in flights)

    def _can_be_told(self, table: str) -> bool:
        """Whether the rules make an edit of what was just done to a table."""
        past = self.reference.pasts[table]
        read = [row for row in self.platform.all(table) if row["uid"] in past.seen]
        now = {row["id"]: tuple(row[name] for name in IDENTITY[table]) for row in read}
        changed = [id_ for id_, identity in now.items() if identity not in past.identities[id_]]
        if not changed:
            return True
        known = max((id_ for id_ in now if id_ not in changed), default=-inf)
        above = [row for row in read if row["id"] > known]
        if above and not self.reference.agree(table, above):
            return False
        return bool(max(changed) > sorted(past.names)[-30:][0])

    # ── time, and the exporter ───────────────────────────────────────────────────────────────────────────────

    def tick(self, chance: random.Random) -> None:
        self.exporter.tick(chance.choice((1, 5, 6, 20, 30, 61, 61, 400, 601, 1800, 3601, 21601)))
        self.latest = max(self.latest, self.now)

    def jump(self, chance: random.Random) -> None:
        """The clock is set."""
        self.exporter.tick(1, jump=chance.choice((-1, 1)) * chance.choice((30, 120, 4000, 2 * DAY_S)))
        self.latest = max(self.latest, self.now)

    def scrape(self, chance: random.Random) -> None:
        if self.exporter.poller.publication is not None:
            self.exporter.poller.note_served(self.exporter.poller.publication)

    def restart(self, chance: random.Random) -> None:
        self.exporter.start()
        self._begin()
        self.check("a restart")

    def poll_it(self, chance: random.Random) -> None:
        self.poll(chance.choice(("", "", "", "before saving", "after saving", "fails")))

    def poll(self, how: str = "") -> str:
        """One poll by the exporter and by the reference, unless nobody could tell what it sees."""
        self.exporter.tick(1)
        self.latest = max(self.latest, self.now)
        if any(self._looks_edited(table) for table in (SESSIONS, *EVENTS)):
            return "left out"
        self.exporter.disk.crashes = how if how.endswith("saving") else ""
        self.exporter.disk.fails = how == "fails"
        poller = self.exporter.poller
        suspended = self._suspended()
        outcome = self.exporter.poll()
        self.exporter.disk.crashes, self.exporter.disk.fails = "", False
        if outcome in ("success", "unsaved", "saved"):
            if poller._connected_at == self.exporter.monotonic:
                self._read()
            self.reference.end(self.now, suspended_from=suspended)
        if outcome in ("success", "saved"):
            self.saved = pickle.dumps(self.reference)
        if outcome in ("crashed", "saved"):
            self._begin()
        self.check(f"a poll ({outcome})")
        return outcome

    def _looks_edited(self, table: str) -> bool:
        return self.reference.changed(table, self.platform) and self.reference.looks_edited(table, self.platform)

    def _read(self) -> None:
        patient = self.exporter.monotonic - self.last_patient >= PATIENT_S
        if patient:
            self.last_patient = self.exporter.monotonic
        self.reference.poll(self.platform, self.now, patient=patient)

    def _suspended(self) -> float | None:
        """Since when rows do not end by time: for a minute after a start, and after the clock was set."""
        drift = self.exporter.wall - self.exporter.monotonic
        if self.drift is not None and abs(drift - self.drift) > SUSPEND_S:
            self._suspend()
        self.drift = drift
        return self.suspended_from if self.exporter.monotonic < self.suspended_until else None

    def _suspend(self) -> None:
        self.suspended_from, self.suspended_until = self.now, self.exporter.monotonic + SUSPEND_S

    def _begin(self) -> None:
        """A new process, which knows what was saved."""
        self.reference = pickle.loads(self.saved)
        self.drift, self.last_patient, self.suspended_until = None, -inf, -inf
        if self.exporter.disk.records:
            self._suspend()

    def settle_it(self, chance: random.Random) -> None:
        self.settle()

    def settle(self) -> None:
        """Poll until a poll succeeds: a changed past takes two."""
        for _ in range(4):
            outcome = self.poll()
            if outcome in ("success", "left out"):
                return
            self.exporter.tick(6)
        self.problems.append("does not settle")

    def check(self, when: str) -> None:
        self.problems += [f"after {when}: {found}" for found in self.differences()]

    def differences(self) -> list[str]:
        return differences(self.exporter.state, self.reference)


MODELLED = (
    *("sessions_started_total", "sessions_ended_total", "exporter_rows_read_total", "exporter_source_rewinds_total"),
    *("handoffs_total", "handoff_tokens_total", "cost_usd_total", "baseline_cost_usd_total"),
    *("subagent_invocations_total", "mcp_tool_calls_total", "tasks_total", "task_cost_usd_total"),
    *("session_duration_seconds", "session_cost_usd", "session_handoffs", "session_subagents"),
    *("handoff_duration_seconds", "handoff_escalations_total", "unpriced_events_total", "subagent_spawns_total"),
    *("routing_decisions_total", "routing_results_total", "routing_cost_usd_total", "hook_executions_total"),
)


def differences(state: State, reference: Reference) -> list[str]:
    """Where totals, or what is open and in flight, differ from the reference's."""
    found, expected_of = [], by_metric(reference.totals)
    for name in MODELLED:
        series = state.series.get(f"orchestration_{name}", {})
        counted = {labels: read_off(cell) for labels, cell in series.items()}
        wanted = expected_of[name]
        found += [
            f"{name}{labels}: {counted.get(labels, 0)}, the reference has {wanted.get(labels, 0)}"
            for labels in sorted(counted.keys() | wanted.keys())
            if not equal(counted.get(labels, 0), wanted.get(labels, 0))
        ]
    flights = {(name, id_) for name, table in state.tables.items() for id_ in table.flights}
    expected = {(name, flight.row["id"]) for name, flights in reference.flights.items() for flight in flights.values()}
    if flights != expected:
        found.append(f"in flight: {sorted(flights)}, the reference has {sorted(expected)}")
    open_ = sorted(state.sessions.id[slot] for slot in state.sessions.slots())
    active = sorted(session.row["id"] for session in reference.sessions.values())
    if open_ != active:
        found.append(f"open sessions: {open_}, the reference has {active}")
    return found


def read_off(cell: object) -> Any:
    if isinstance(cell, Buckets):
        return (*cell.counts, cell.sum) if any(cell.counts) else 0
    return cell.value  # type: ignore[attr-defined]


def by_metric(totals: Totals) -> dict[str, dict[tuple[str, ...], Any]]:
    """What was counted and observed, as the state has it."""
    found: dict[str, dict[tuple[str, ...], Any]] = defaultdict(dict)
    for (metric, labels), value in totals.counts.items():
        found[metric][labels] = value
    for (metric, labels), values in totals.observed.items():
        found[metric][labels] = distribution(metric, values)
    return found


def distribution(name: str, values: list[float]) -> tuple[float, ...]:
    bounds = (-inf, *BUCKETS[name], inf)
    counts = [sum(low < value <= high for value in values) for low, high in pairwise(bounds)]
    return (*counts, sum(values))


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return all(map(equal, one, other))
    if isinstance(one, tuple) or isinstance(other, tuple):
        return False
    return cast("bool", abs(one - other) <= 1e-9 * max(abs(one), abs(other)))


PLATFORM = (
    *("session", "session", "event", "event", "event", "event", "events", "events", "result", "result", "result"),
    *("update_session", "end_session", "late_session", "burst"),
)
PAST = (
    *("replace_row", "delete", "back_up", "back_up", "restore", "restore", "other_database"),
    *("edit", "edit"),
)
TIME_PASSES = ("tick", "tick", "tick", "tick", "jump", "scrape")
EXPORTER = ("poll_it", "poll_it", "poll_it", "settle_it", "settle_it", "restart")
STEPS = st.tuples(
    st.one_of(*map(st.sampled_from, (PLATFORM, PLATFORM, PLATFORM, PAST, TIME_PASSES, EXPORTER, EXPORTER))),
    st.integers(0, 10_000),
)
LIVES = st.integers(0, 50).flatmap(lambda least: st.lists(STEPS, min_size=least, max_size=least + 20))


def outcome_of(steps: list[tuple[str, int]], *, hold_s: float = 0.0) -> list[str]:
    """Live through these steps, and say what went wrong."""
    with small():
        return lived(Life(hold_s=hold_s), steps)


def lived(life: Life, steps: list[tuple[str, int]]) -> list[str]:
    for step in steps:
        life.do(*step)
        if life.problems:
            break
    life.settle()
    return life.problems + life.exporter.falls


@profile(500)
@given(LIVES, st.sampled_from((0.0, 60.0)))
def test_any_history_is_counted_as_by_a_reference_that_keeps_every_row(
    steps: list[tuple[str, int]], hold_s: float
) -> None:
    """Totals after every poll and start; and nothing that was published ever falls."""
    assert outcome_of(steps, hold_s=hold_s) == []


# ── a small memory ──────────────────────────────────────────────────────────────────────────────────────────


class ForgetfulLife(Life):
    """Without edits and replaced session rows: what is forgotten cannot be told from what never was, by any rule."""

    def edit(self, chance: random.Random) -> None:
        """Nothing."""

    def replace_row(self, chance: random.Random) -> None:
        """Nothing."""

    def _looks_edited(self, table: str) -> bool:
        """Stricter: of the rows remembered, which are a few of those read, none may agree."""
        past, rows = self.reference.pasts[table], self.platform.all(table)
        if highest_id(self.platform, table) < past.cursor or not self.reference.changed(table, self.platform):
            return False
        above = [row for row in rows if self.reference.known_to(table, rows) < row["id"] <= past.cursor]
        return any(self.reference.agree(table, [row]) for row in above)

    def differences(self) -> list[str]:
        series = self.exporter.state.series
        slack = sum(
            read_off(cell) for cell in series.get("orchestration_exporter_rewind_uncertain_rows_total", {}).values()
        )
        found, expected_of = [], by_metric(self.reference.totals)
        for name in ROWS_COUNTED:
            counted = {labels: read_off(cell) for labels, cell in series.get(f"orchestration_{name}", {}).items()}
            wanted = expected_of[name]
            found += [
                f"{name}{labels}: {counted.get(labels, 0)}, the reference {wanted.get(labels, 0)}, {slack} uncertain"
                for labels in counted.keys() | wanted.keys()
                if abs(counted.get(labels, 0) - wanted.get(labels, 0)) > slack
            ]
        return found


ROWS_COUNTED = (
    *("sessions_started_total", "sessions_ended_total", "exporter_rows_read_total", "handoffs_total"),
    *("subagent_invocations_total", "mcp_tool_calls_total", "tasks_total"),
)


@pytest.mark.slow
@profile(200)
@given(LIVES)
def test_with_a_small_memory_totals_differ_by_no_more_than_the_rows_that_are_uncertain(
    steps: list[tuple[str, int]],
) -> None:
    """The newest 8 rows of a table are remembered, the first, and every fourth."""
    with small(newest=8, every=4):
        assert lived(ForgetfulLife(), steps) == []


# ── the check itself ────────────────────────────────────────────────────────────────────────────────────────


def restored_and_back() -> list[str]:
    """A restore of an older copy that grows differently, then of a newer one; all rows were read in between."""
    with small():
        life = Life()
        chance = random.Random(1)
        for _ in range(3):
            life.session(chance)
            life.events(chance)
            life.settle()
            life.back_up(chance)
        for copy, events in ((life.copies[0], 2), (life.copies[2], 12), (life.copies[1], 30)):
            life.platform.put_back(copy)
            for _ in range(events):
                life._event(chance, HANDOFFS)
            life.settle()
        life.exporter.tick(2 * IN_FLIGHT_S)
        life.settle()
        return life.problems + life.exporter.falls


def test_the_reference_agrees_on_a_restore_there_and_back() -> None:
    """What the planted mistakes below are found by."""
    assert restored_and_back() == []


@pytest.mark.bulk
@pytest.mark.parametrize(
    "name, mistake",
    [
        ("exporter.advance.Engine._was_counted", lambda *_: False),
        ("exporter.memory.Memory.differs", lambda *_: False),
        ("exporter.advance.Engine._time_out", lambda *_: None),
        ("exporter.memory.Memory._edited", lambda *_: True),
    ],
)
def test_a_planted_mistake_is_found(name: str, mistake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows counted again after a rewind; a change unseen; rows that stay in flight; a restore taken for an edit."""
    monkeypatch.setattr(name, mistake)

    found = restored_and_back()

    assert found
