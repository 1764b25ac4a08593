"""What pages ask of a source's own rows: its newest events, its last hour, and one session.

Everything is read by primary key or by session, and bounded, so that it costs the same however large the tables are.
Only declared columns are read, and none in which people write is declared.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from exporter.context import Rules
from exporter.labels import holds, label_value
from exporter.shown import Shown
from exporter.source import Row, Snapshot, queries
from exporter.spec import UNKNOWN, LabelValue, Number, Table
from exporter.values import label_text, numbers, parse_time
from exporter.view import Event, LastHour, Lately, Result, Timeline

NEWEST_EVENTS = 20
HOUR_S = 3600.0
MOST_HANDOFFS = 5_000
_CHUNK = 500
MOST_EVENTS = 2_000
"""Of one table, on a session's page."""

_PROJECT, _START, _END = "project_name", "start_time", "end_time"
Raw = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Eyes:
    """By which declarations and rules rows are looked at; ``sessions`` is the sessions table, where there is one."""

    shown: tuple[Shown, ...]
    sessions: Table | None
    rules: Rules

    # ── the newest ───────────────────────────────────────────────────────────────────────────────────────────────

    async def lately(self, snapshot: Snapshot, now: float) -> Lately:
        """The newest events of all tables by their time, and the hand-offs of the last hour. Raises: SourceError."""
        found: list[Event] = []
        hour: LastHour | None = None
        for table, kinds in self._tables():
            if present := await _present(snapshot, table):
                if _has_handoffs(table):
                    rows, hour = await self._last_hour(snapshot, kinds[0], present, now)
                else:
                    rows = await snapshot.fetch(queries.newest(table, present), {"limit": NEWEST_EVENTS})
                found += self._events(kinds, rows[:NEWEST_EVENTS], now)
        found.sort(key=lambda event: event.at or 0.0, reverse=True)
        projects = await self._projects(snapshot, (event.session for event in found[:NEWEST_EVENTS]))
        events = (replace(event, project=projects.get(event.session, UNKNOWN)) for event in found[:NEWEST_EVENTS])
        return Lately(now, tuple(events), hour)

    async def _last_hour(
        self, snapshot: Snapshot, shown: Shown, present: Collection[str], now: float
    ) -> tuple[list[Row], LastHour]:
        """The newest hand-offs as far as they were needed, and the last hour: back to 500 in a row that are older."""
        rows: list[Row] = []
        events: list[Event] = []
        while True:
            sql = queries.newest(shown.table, present, below=bool(rows))
            below = rows[-1][0] if rows else None
            chunk = await snapshot.fetch(sql, {"limit": _CHUNK, "below": below})
            began = self._events((shown,), chunk, now)
            recent = [event for event in began if event.at is not None and event.at > now - HOUR_S]
            rows, events = rows + chunk, events + recent
            more = len(chunk) == _CHUNK == len(recent)
            if len(chunk) < _CHUNK or not recent or len(rows) >= MOST_HANDOFFS:
                return rows, _hour(events, capped=more)

    async def _projects(self, snapshot: Snapshot, sessions: Iterable[str | None]) -> dict[str | None, str]:
        rows = await self._session_rows(snapshot, {key for key in sessions if key is not None})
        return {str(raw[self._session_key()]): label_text(raw.get(_PROJECT))[0] for raw in rows}

    # ── one session ──────────────────────────────────────────────────────────────────────────────────────────────

    async def timeline(self, snapshot: Snapshot, key: str, now: float) -> Timeline | None:
        """The session of that id and its events; None where nothing names it. Raises: SourceError."""
        events: list[Event] = []
        cost, capped = 0.0, False
        for table, kinds in self._tables():
            if present := await _present(snapshot, table):
                sql = f"{queries.by_sessions(table, present)} LIMIT :limit"
                rows = await snapshot.fetch(sql, {"keys": json.dumps([key]), "limit": MOST_EVENTS + 1})
                capped |= len(rows) > MOST_EVENTS
                found = self._events(kinds, rows[:MOST_EVENTS], now)
                cost += sum(event.cost_usd or 0.0 for event in found if table.tally is not None)
                events += found
        session = next(iter(await self._session_rows(snapshot, {key})), None)
        if session is None and not events:
            return None
        return self._told(key, session or {}, events, cost, capped=capped, now=now)

    def _told(
        self, key: str, session: Raw, events: list[Event], cost_usd: float, *, capped: bool, now: float
    ) -> Timeline:
        project = label_text(session.get(_PROJECT))[0]
        times = sorted(event.at for event in events if event.at is not None)
        started, ended = self._time(session.get(_START), now), self._time(session.get(_END), now)
        last = max((at for at in (started, *times[-1:]) if at is not None), default=None)
        idle = last is None or now - last > self.rules.idle_timeout_s
        counts = {shown.kind: 0 for shown in self.shown}
        for event in events:
            counts[event.kind] += 1
        return Timeline(
            at=now,
            session=key,
            project=project,
            state="closed" if ended is not None else "idle" if idle else "open",
            started=started if started is not None else next(iter(times), None),
            ended=ended,
            last_activity=last,
            cost_usd=cost_usd,
            counts=tuple(counts.items()),
            events=tuple(
                replace(event, project=project) for event in sorted(events, key=lambda event: event.at or 0.0)
            ),
            capped=capped,
        )

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tables(self) -> list[tuple[Table, tuple[Shown, ...]]]:
        return [(table, tuple(kinds)) for table, kinds in groupby(self.shown, key=lambda shown: shown.table)]

    def _session_key(self) -> str:
        return (self.sessions.session if self.sessions else None) or ""

    async def _session_rows(self, snapshot: Snapshot, keys: Collection[str]) -> list[Raw]:
        if self.sessions is None or not keys or not (present := await _present(snapshot, self.sessions)):
            return []
        sql = f"{queries.by_sessions(self.sessions, present)} LIMIT :limit"
        rows = await snapshot.fetch(sql, {"keys": json.dumps(sorted(keys)), "limit": len(keys)})
        return [_raw(self.sessions, row) for row in rows]

    def _events(self, kinds: Sequence[Shown], rows: Iterable[Row], now: float) -> list[Event]:
        raws = (_raw(kinds[0].table, row) for row in rows)
        return [
            self._event(shown, raw, now)
            for raw in raws
            for shown in kinds
            if shown.where is None or holds((shown.where,), raw)
        ]

    def _event(self, shown: Shown, raw: Raw, now: float) -> Event:
        at = self._time(raw[shown.table.time], now)
        return Event(
            kind=shown.kind,
            at=at,
            session=_linkable(raw[shown.table.session or ""]),
            project=UNKNOWN,
            who=self._who(shown, raw),
            what=_named(shown.what, raw),
            result=self._result(shown, raw, at, now),
            error=_named(shown.error, raw),
            duration_s=_number(shown.table, shown.duration, raw),
            cost_usd=_number(shown.table, shown.cost, raw),
        )

    def _who(self, shown: Shown, raw: Raw) -> str:
        named = " / ".join(dict.fromkeys(label_value(value, "", raw) for value in shown.who))
        return self.rules.models.name(named) if shown.is_model else named

    def _result(self, shown: Shown, raw: Raw, at: float | None, now: float) -> Result:
        if shown.outcome is None:
            return ""
        flag = raw[shown.outcome]
        if flag is None and shown.table.final_when == shown.outcome:
            timed_out = at is None or now - at >= self.rules.in_flight_timeout_s
            return "unknown" if timed_out else "in flight" if shown.waits else ""
        return "success" if flag == 1 else "failure" if flag == 0 else "unknown"

    def _time(self, value: object, now: float) -> float | None:
        at = parse_time(value, now=now, zone=self.rules.zone)
        return None if at is None else min(at, now)


async def _present(snapshot: Snapshot, table: Table) -> frozenset[str]:
    """The columns the source has of that table; none where it cannot be shown by them."""
    info = await snapshot.table(table.name)
    if info is None or info.kind != "table":
        return frozenset()
    columns = frozenset(column.name.lower() for column in info.columns)
    return columns if {"id", table.time, table.session} <= columns else frozenset()


def _has_handoffs(table: Table) -> bool:
    return table.tally is not None and table.tally.counts == "handoffs"


def _hour(events: Sequence[Event], *, capped: bool) -> LastHour:
    results = [event.result for event in events]
    return LastHour(
        handoffs=len(events),
        succeeded=results.count("success"),
        failed=results.count("failure"),
        in_flight=results.count("in flight"),
        durations_s=tuple(event.duration_s for event in events if event.duration_s is not None),
        capped=capped,
    )


def _raw(table: Table, row: Row) -> Raw:
    return {column.name: row[1 + place] for place, column in enumerate(table.columns)}


def _linkable(key: object) -> str | None:
    """The id where it can be asked for as it is: text, whole, and nothing that an address cannot say."""
    if not isinstance(key, str) or key in ("", ".", "..") or len(key) >= queries.TEXT_LENGTH:
        return None
    return None if any("\ud800" <= character <= "\udfff" for character in key) else key


def _named(value: LabelValue | None, raw: Raw) -> str:
    """The label's text; empty where there is none."""
    text = UNKNOWN if value is None else label_value(value, "", raw)
    return "" if text == UNKNOWN else text


def _number(table: Table, name: str | None, raw: Raw) -> float | None:
    if name is None:
        return None
    column = table.column(name)
    assert isinstance(column, Number)  # noqa: S101 - held by the catalogue
    (found,), _ = numbers([raw[name]], minimum=column.minimum, maximum=column.maximum)
    return found
