"""What pages read of a source's rows: from real SQLite files that a platform wrote, hostile ones among them."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exporter import recent
from exporter.catalogue import SCHEMA, SHOWN
from exporter.catalogue.tables import HANDOFFS, SESSION_ENDS, SESSIONS
from exporter.context import Rules
from exporter.demo.schema import INDEXES
from exporter.demo.schema import TABLES as PLATFORM_TABLES
from exporter.models import Models
from exporter.recent import Eyes
from exporter.shown import Shown
from exporter.source import queries
from exporter.source.sqlite import SqliteSource
from exporter.spec import Col, SpecError
from exporter.view import Event, Lately, Timeline

NOW = datetime(2026, 11, 21, 17, 40, tzinfo=UTC).timestamp()
TABLES = (SESSIONS, *{shown.table.name: shown.table for shown in SHOWN}.values())
EYES = Eyes(SHOWN, SCHEMA.sessions, Rules())
TYPED = "typed by a person"


def at(seconds_ago: float) -> str:
    """A time as the platform writes it."""
    return datetime.fromtimestamp(NOW - seconds_ago, UTC).strftime("%Y-%m-%d %H:%M:%S")


class Database:
    """A platform's database that nobody has open but while a row is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.opened() as connection:
            connection.executescript(PLATFORM_TABLES)

    @contextlib.contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection, committed and closed at the end."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            yield connection

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        """Insert rows."""
        with self.opened() as connection:
            for row in rows:
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))

    async def lately(self, eyes: Eyes = EYES) -> Lately:
        """Look at the newest."""
        async with SqliteSource(self.path).snapshot() as snapshot:
            return await eyes.lately(snapshot, NOW)

    async def timeline(self, session: str, eyes: Eyes = EYES) -> Timeline | None:
        """Look at a session."""
        async with SqliteSource(self.path).snapshot() as snapshot:
            return await eyes.timeline(snapshot, session, NOW)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Give an empty one."""
    return Database(tmp_path / "p.db")


def handoff(session: str | None = "s", seconds_ago: float = 60.0, **values: Any) -> dict[str, Any]:
    """A hand-off that went well."""
    row = {"session_id": session, "timestamp": at(seconds_ago), "task_type": "code", "target_model": "deepseek-coder"}
    return {**row, "success": 1, "response_time": 2.0, "cost": 0.25, **values}


def session(name: str = "s", **values: Any) -> dict[str, Any]:
    """A session that runs."""
    return {"session_id": name, "start_time": at(600), "project_name": "shop", **values}


# ── the newest ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_empty_database_has_nothing_and_no_hand_offs(database: Database) -> None:
    """No events, and an hour without hand-offs."""
    found = await database.lately()

    assert (found.events, found.hour and found.hour.handoffs, found.at) == ((), 0, NOW)


async def test_every_kind_is_shown_by_its_labels(database: Database) -> None:
    """Who, what, outcome, kind of failure, duration, money, and the project of the session."""
    when = {"session_id": "s", "timestamp": at(5)}
    tool = {"agent_type": "mcp_tool", "agent_name": "files.read", "execution_time": 0.03, "success": 0}
    database.add("orchestration_sessions", session())
    database.add("handoff_events", handoff(seconds_ago=1))
    database.add("subagent_invocations", {**when, "agent_name": "tester", "cost": 0.5}, {**when, **tool})
    database.add("task_outcomes", {**when, "model_used": "opus", "success": 0, "error_type": "timeout", "cost": 9.0})
    database.add("routing_decisions", when)
    database.add("claude_code_hooks", when)

    found = {event.kind: event for event in (await database.lately()).events}

    assert set(found) == {shown.kind for shown in SHOWN}
    assert found["hand-off"] == Event(
        kind="hand-off",
        at=NOW - 1,
        session="s",
        project="shop",
        who="deepseek-coder",
        what="code",
        result="success",
        error="",
        duration_s=2.0,
        cost_usd=0.25,
    )
    assert (found["sub-agent"].who, found["sub-agent"].result, found["sub-agent"].cost_usd) == (
        "tester",
        "unknown",
        0.5,
    )
    assert (found["tool call"].who, found["tool call"].result) == ("files / read", "failure")
    assert (found["task"].who, found["task"].error, found["task"].cost_usd) == ("opus", "timeout", None)
    assert {event.project for event in found.values()} == {"shop"}


async def test_the_newest_twenty_of_all_tables_are_in_the_order_of_their_times(database: Database) -> None:
    """Newest first; of each table only its newest ids are looked at."""
    database.add("handoff_events", *(handoff(seconds_ago=100 - 2 * n) for n in range(40)))
    database.add("task_outcomes", *({"session_id": "s", "timestamp": at(101 - 2 * n)} for n in range(40)))

    times = [event.at for event in (await database.lately()).events]

    assert times == [NOW - 22 - n for n in range(20)]


async def test_the_last_hour_counts_what_began_in_it(database: Database) -> None:
    """By outcome, with the durations that are usable."""
    database.add(
        "handoff_events",
        handoff(seconds_ago=3_601),
        handoff(seconds_ago=3_599, success=0, response_time=7.0),
        handoff(seconds_ago=30, response_time=-1.0),
        handoff(seconds_ago=20, success=None, response_time=None),
        handoff(seconds_ago=10, success="x"),
    )

    hour = (await database.lately()).hour

    assert hour is not None
    assert (hour.handoffs, hour.succeeded, hour.failed, hour.in_flight, hour.capped) == (4, 1, 1, 1, False)
    assert sorted(hour.durations_s) == [2.0, 7.0]


async def test_a_busy_hour_is_looked_at_up_to_a_limit(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunk by chunk, until one has nothing of the hour, or there are too many."""
    monkeypatch.setattr(recent, "_CHUNK", 10)
    monkeypatch.setattr(recent, "MOST_HANDOFFS", 40)
    database.add("handoff_events", *(handoff(seconds_ago=9_000) for _ in range(25)), *(handoff() for _ in range(35)))
    below = (await database.lately()).hour
    database.add("handoff_events", *(handoff() for _ in range(10)))
    above = (await database.lately()).hour

    assert below is not None
    assert above is not None
    assert (below.handoffs, below.capped) == (35, False)
    assert (above.handoffs, above.capped) == (40, True)


async def test_a_hand_off_without_a_result_is_in_flight_until_it_times_out(database: Database) -> None:
    """As it is counted: unknown after `in_flight_timeout`."""
    database.add("handoff_events", handoff(seconds_ago=50, success=None), handoff(seconds_ago=90, success=None))

    found = await database.lately(replace(EYES, rules=Rules(in_flight_timeout_s=60)))

    assert [event.result for event in found.events] == ["in flight", "unknown"]


@pytest.mark.parametrize(
    "key", [None, "", ".", "..", "x" * 600, b"\xff\xfe", 7, "a\udc80b".encode("utf-8", "surrogatepass")]
)
async def test_an_id_that_cannot_be_asked_for_is_no_link(database: Database, key: object) -> None:
    """Neither NULL, nor a blob, nor what an address turns into another one; numbers are text to the column."""
    database.add("handoff_events", {**handoff(), "session_id": key})

    (event,) = (await database.lately()).events

    assert event.session == ("7" if key == 7 else None)
    assert event.project == "unknown"


async def test_a_model_is_shown_under_the_name_it_is_counted_under(database: Database) -> None:
    """Spellings that the configuration joins are one name; what is no model keeps its own."""
    database.add("handoff_events", handoff(target_model="opus-4"))
    database.add("subagent_invocations", {"session_id": "s", "timestamp": at(5), "agent_name": "opus-4"})

    found = await database.lately(replace(EYES, rules=Rules(models=Models(aliases={"opus-4": "claude-opus"}))))

    assert [event.who for event in found.events] == ["opus-4", "claude-opus"]


async def test_a_routing_decision_without_a_result_says_nothing_of_it(database: Database) -> None:
    """The platform never fills it in: neither does anything wait for it."""
    when = {"session_id": "s", "timestamp": at(5), "selected_model": "opus", "task_complexity": "high"}
    database.add("routing_decisions", when, {**when, "execution_success": 0})

    found = await database.lately()

    assert [(event.who, event.what, event.result) for event in found.events] == [
        ("opus", "high", "failure"),
        ("opus", "high", ""),
    ]


async def test_values_that_nobody_can_use_are_left_out(database: Database) -> None:
    """Text and infinity in numbers, blobs in times and labels: the row is shown with what is left."""
    database.add(
        "handoff_events",
        handoff(cost="a lot", response_time=float("inf"), timestamp=b"\x00", target_model=b"\xff", task_type=""),
        handoff(timestamp="2999-01-01", cost=1e300, metadata="{broken"),
    )

    found = await database.lately()

    assert {event.at for event in found.events} == {None}
    assert {event.cost_usd for event in found.events} == {None}
    assert "\ufffd" in {event.who for event in found.events}
    assert found.hour is not None
    assert found.hour.handoffs == 0


@pytest.mark.parametrize("table", [table.name for table in TABLES])
async def test_an_older_platform_lacks_a_table(database: Database, table: str) -> None:
    """Whichever it is: the rest is shown."""
    database.add("orchestration_sessions", session())
    database.add("handoff_events", handoff())
    database.add("task_outcomes", {"session_id": "s", "timestamp": at(5)})
    with database.opened() as connection:
        connection.execute(f"DROP TABLE {table}")

    found, told = await database.lately(), await database.timeline("s")

    assert (found.hour is None) == (table == "handoff_events")
    assert len(found.events) == 2 - (table in ("handoff_events", "task_outcomes"))
    assert told is not None


async def test_a_table_without_a_needed_column_is_not_shown(database: Database) -> None:
    """Nor a view in its place, which could take for ever."""
    with database.opened() as connection:
        connection.executescript(
            "DROP TABLE handoff_events; CREATE TABLE handoff_events (id INTEGER PRIMARY KEY, cost REAL);"
            "INSERT INTO handoff_events VALUES (1, 2); DROP TABLE task_outcomes;"
            "CREATE VIEW task_outcomes AS SELECT id, 's' AS session_id, '' AS timestamp FROM handoff_events;"
        )

    assert (await database.lately()).events == ()


# ── a session ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_has_its_events_in_order_and_its_money_once(database: Database) -> None:
    """Hand-offs and sub-agents are its money; a task's cost is that of a hand-off."""
    database.add("orchestration_sessions", session(end_time=at(10)), session("other"))
    database.add("handoff_events", handoff(seconds_ago=50), handoff("other"), handoff(seconds_ago=30, cost=0.5))
    database.add("task_outcomes", {"session_id": "s", "timestamp": at(40), "cost": 0.25})
    database.add("subagent_invocations", {"session_id": "s", "timestamp": at(45), "agent_name": "a", "cost": 1.0})

    found = await database.timeline("s")

    assert found is not None
    assert [event.kind for event in found.events] == ["hand-off", "sub-agent", "task", "hand-off"]
    assert (found.project, found.state, found.started, found.ended) == ("shop", "closed", NOW - 600, NOW - 10)
    assert found.cost_usd == 1.75
    assert dict(found.counts) == {**{shown.kind: 0 for shown in SHOWN}, "hand-off": 2, "sub-agent": 1, "task": 1}
    assert {event.project for event in found.events} == {"shop"}


@pytest.mark.parametrize("idle_s, state", [(70.0, "open"), (50.0, "idle")])
async def test_a_session_without_an_end_is_open_while_something_happens(
    database: Database, idle_s: float, state: str
) -> None:
    """Its last activity is that of its newest event."""
    database.add("orchestration_sessions", session())
    database.add("handoff_events", handoff(seconds_ago=60))

    found = await database.timeline("s", replace(EYES, rules=Rules(idle_timeout_s=idle_s)))

    assert found is not None
    assert (found.state, found.last_activity, found.ended) == (state, NOW - 60, None)


async def test_a_session_that_only_its_events_name_is_shown(database: Database) -> None:
    """It begins with the first of them; one that nothing names is None."""
    database.add("handoff_events", handoff("ghost", 90), handoff("ghost", 60))

    found = await database.timeline("ghost")

    assert found is not None
    assert (found.project, found.started, len(found.events)) == ("unknown", NOW - 90, 2)
    assert await database.timeline("nobody") is None


async def test_a_session_of_very_many_events_is_cut(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each table the first rows; it says so."""
    monkeypatch.setattr(recent, "MOST_EVENTS", 5)
    database.add("handoff_events", *(handoff() for _ in range(5)))
    whole = await database.timeline("s")
    database.add("handoff_events", handoff())
    cut = await database.timeline("s")

    assert whole is not None
    assert cut is not None
    assert (len(whole.events), whole.capped) == (5, False)
    assert (len(cut.events), cut.capped) == (5, True)


@pytest.mark.parametrize(
    "key", ["it's", 'a"b', "a%_b", "[]", "\u202eabc", "'; DROP TABLE handoff_events; --", "ü", "\x1b"]
)
async def test_a_session_is_found_by_any_id(database: Database, key: str) -> None:
    """It is a parameter, never a part of the SQL, and no pattern."""
    database.add("handoff_events", handoff(key), handoff("abc"), handoff("a1b"))

    found = await database.timeline(key)

    assert found is not None
    assert [event.session for event in found.events] == [key]


# ── no text a person typed ─────────────────────────────────────────────────────────────────────────────────────


def columns_of_text(connection: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table in which text may stand."""
    return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})") if str(row[2]).upper() == "TEXT"]


LABELS = frozenset(
    (
        *("session_id", "project_name", "task_type", "source_model", "target_model", "agent_type", "agent_name"),
        *(
            "mcp_tool_name",
            "mcp_server_name",
            "model_used",
            "error_type",
            "selected_model",
            "selected_vendor",
            "hook_type",
            "task_complexity",
        ),
    )
)


async def test_no_text_that_a_person_typed_is_read(database: Database) -> None:
    """Every column of text but the labels holds some: neither the newest rows nor the session show any of it."""
    with database.opened() as connection:
        for table in TABLES:
            texts = [name for name in columns_of_text(connection, table.name) if name not in LABELS]
            names = ["session_id", table.time, *texts]
            values = ["s", at(5), *[TYPED] * len(texts)]
            connection.execute(
                f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", values
            )

    found, told = await database.lately(), await database.timeline("s")

    assert told is not None
    assert len(found.events) == len(told.events) == len(TABLES) - 1
    assert TYPED not in repr((found, told))


def test_what_is_shown_names_no_column_in_which_people_write() -> None:
    """The declarations themselves: labels, and nothing else that is text."""
    named = {
        column for shown in SHOWN for value in (*shown.who, shown.what, shown.error) for column in re_columns(value)
    }

    assert named <= LABELS | {"metadata_server", "metadata_tool"}


def re_columns(value: object) -> Iterator[str]:
    """The names of all columns in a label's declaration."""
    if isinstance(value, Col):
        yield value.column
    elif isinstance(value, tuple):
        for each in value:
            yield from re_columns(each)
    elif hasattr(value, "__dataclass_fields__"):
        for each in fields(value):  # type: ignore[arg-type]
            found = getattr(value, each.name)
            yield from [found] if each.name == "column" else re_columns(found)


def test_a_declaration_of_what_is_not_there_is_refused() -> None:
    """A column that its table has not, and a table whose rows belong to no session."""
    with pytest.raises(SpecError, match="handoff_events has no column handoff_reason"):
        Shown(HANDOFFS, "hand-off", who=(Col("handoff_reason"),))
    with pytest.raises(SpecError, match="end: rows of session_ends belong to no session"):
        Shown(SESSION_ENDS, "end")


# ── what it costs ──────────────────────────────────────────────────────────────────────────────────────────────


def plan(connection: sqlite3.Connection, sql: str) -> str:
    """How SQLite would go about it."""
    parameters = {"limit": 1, "below": 5, "keys": '["s"]'}
    return " / ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))


@pytest.mark.parametrize("table", TABLES[1:], ids=lambda table: table.name)
def test_rows_are_found_by_key(database: Database, table: Any) -> None:
    """The newest by the primary key, without sorting; a session's by the platform's own index."""
    with database.opened() as connection:
        connection.executescript(INDEXES)
        present = {str(row[1]).lower() for row in connection.execute(f"PRAGMA table_info({table.name})")}
        newest = [plan(connection, queries.newest(table, present, below=below)) for below in (False, True)]
        of_table = "SELECT group_concat(sql) FROM sqlite_master WHERE type = 'index' AND tbl_name = ?"
        indexed = "session_id" in str(connection.execute(of_table, [table.name]).fetchone())
        by_session = plan(connection, f"{queries.by_sessions(table, present)} LIMIT :limit")

    assert "TEMP B-TREE" not in "".join(newest)
    assert "INTEGER PRIMARY KEY" in newest[1]
    assert not indexed or re.search("USING (COVERING )?INDEX", by_session)
