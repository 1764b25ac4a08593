"""`check` names each thing that is wrong in one line and fails where it should; `indexes` makes what is missing."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from exporter import check as checking
from exporter import cli, config, demo
from exporter import indexes as indexing
from exporter.catalogue import SCHEMA
from exporter.options import DATABASE
from exporter.source import Row, Snapshot, Source, SourceDiscarded, SourceError, again
from exporter.source.sqlite import SqliteSource
from tests.sqlite_platform import REPOSITORY, Platform, running

pytestmark = pytest.mark.usefixtures("logs_as_before")

TABLES = tuple(table.name for table in SCHEMA.tables)
MUTABLE = tuple(table.name for table in (*SCHEMA.newest, *SCHEMA.of_sessions))
ROWS = (
    "INSERT INTO orchestration_sessions (session_id, start_time) VALUES ('s', '2026-11-21 09:00:00')",
    "INSERT INTO handoff_events (session_id, timestamp, success) VALUES ('s', '2026-11-21 10:00:00', 1)",
    "INSERT INTO handoff_events (session_id, timestamp, success) VALUES ('s', '2026-11-21T11:00:00+01:00', NULL)",
    "INSERT INTO task_outcomes (session_id, timestamp) VALUES ('s', 'yesterday')",
)


def made(path: Path, *statements: str, mode: str = "wal") -> Path:
    """A platform's database with a few rows and these changes, which nobody has open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        demo.create_schema(connection)
        for statement in (f"PRAGMA journal_mode = {mode}", *ROWS, *statements):
            connection.execute(statement)
    os.utime(path, (1e9, 1e9))
    return path


def sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def settings(path: Path) -> config.Settings:
    return config.load(flags={DATABASE.path: str(path)}, environ={}, metrics=SCHEMA.metrics)


async def checked(path: Path, source: Source | None = None) -> tuple[list[str], bool]:
    chosen = settings(path)
    return await checking.check(
        settings=chosen, of=chosen.sources[0], schema=SCHEMA, source=source or SqliteSource(path)
    )


async def problems(path: Path, source: Source | None = None) -> list[str]:
    """The lines that are neither fine nor the verdict, each of which must be one line."""
    lines, ok = await checked(path, source)
    assert not [line for line in lines if "\n" in line]
    assert ok is not any(line.startswith("error") for line in lines)
    assert lines[-1].startswith("check passed" if ok else "check failed")
    return [line for line in lines[:-1] if not line.startswith("ok ")]


def without_column(table: str, column: str) -> tuple[str, ...]:
    """Statements that rebuild a table without one of its columns, and without its indexes."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        demo.create_schema(connection)
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] not in ("id", column)]
    key = "" if column == "id" else "id INTEGER PRIMARY KEY AUTOINCREMENT, "
    return (f"DROP TABLE {table}", f"CREATE TABLE {table} ({key}{', '.join(names)})")


# ── check ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["wal", "delete"])
async def test_a_whole_database_passes(tmp_path: Path, mode: str) -> None:
    """The file with its journal mode, each table with its rows, its newest time and every query's; nothing else."""
    path = made(tmp_path / "platform.db", mode=mode)

    lines, ok = await checked(path)

    assert ok
    assert lines[0].startswith(f"ok      {path}: journal mode {mode}, on ")
    assert lines[0].endswith(", in use by nobody now")
    assert lines[-1] == "check passed: 0 errors, 0 warnings"
    assert [line.split()[1].rstrip(":") for line in lines[1:-1]] == [*TABLES, *MUTABLE]
    tables = dict(zip(TABLES, lines[1:-1], strict=False))
    assert ": 1 row, newest 2026-11-21 09:00:00 UTC; queries: " in tables["orchestration_sessions"]
    assert ": 2 rows, newest 2026-11-21 10:00:00 UTC; queries: " in tables["handoff_events"]
    assert ": 1 row, newest without a usable time; queries: " in tables["task_outcomes"]
    assert ": 0 rows, newest no row; queries: " in tables["claude_code_hooks"]
    for line in tables.values():
        assert line.count(" ms") == (8 if "orchestration_sessions" in line else 7)
    for line in lines[1 + len(TABLES) : -1]:
        assert line.count(" ms") == (2 if "token_budgets" in line else 1)


async def test_nothing_is_left_behind_or_changed(tmp_path: Path) -> None:
    """A WAL database that nobody has open stays alone in its folder, byte for byte."""
    path = made(tmp_path / "platform.db")
    before = path.read_bytes()

    await checked(path)
    await indexing.indexes(path, create=False)

    assert [found.name for found in tmp_path.iterdir()] == ["platform.db"]
    assert path.read_bytes() == before


async def test_rows_are_counted_in_short_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of three, with a batch that is just full at the end, and ids below 0, seven rows are seven."""
    monkeypatch.setattr(checking, "_COUNTED_ROWS", 3)
    inserts = [f"INSERT INTO claude_code_hooks (id) VALUES ({id_})" for id_ in (-7, 1, 2, 50, 51, 99)]
    path = made(tmp_path / "platform.db", *inserts)

    lines, _ = await checked(path)
    sql(path, "INSERT INTO claude_code_hooks DEFAULT VALUES")
    more, _ = await checked(path)

    assert any("claude_code_hooks: 6 rows" in line for line in lines)
    assert any("claude_code_hooks: 7 rows" in line for line in more)


async def test_a_platform_that_writes_is_no_problem(tmp_path: Path) -> None:
    """With the database open elsewhere, its -wal and -shm are in use, not left behind."""
    path = made(tmp_path / "platform.db")
    with running(Platform(path)) as platform:
        platform.sql("INSERT INTO claude_code_hooks (timestamp) VALUES (1)")
        lines, ok = await checked(path)

    assert ok
    assert lines[0].endswith("in use by another process")
    assert lines[-1] == "check passed: 0 errors, 0 warnings"
    assert any("claude_code_hooks: 1 row," in line for line in lines)


async def test_names_are_found_in_any_case(tmp_path: Path) -> None:
    """As SQLite finds them: a table written otherwise is the same table."""
    rename = "ALTER TABLE task_outcomes RENAME COLUMN"
    path = made(tmp_path / "platform.db", f"{rename} timestamp TO TimeStamp", f"{rename} cost TO COST")

    assert await problems(path) == []


async def test_a_missing_table_is_a_warning_with_what_goes_with_it(tmp_path: Path) -> None:
    """Metrics made of that table alone are left out, those made of others too have less."""
    path = made(tmp_path / "platform.db", "DROP TABLE subagent_invocations")

    (line,) = await problems(path)

    assert line.startswith("warning subagent_invocations: left out: no such table; left out with it: ")
    gone, less = line.split("; ")[1:]
    assert "orchestration_mcp_tool_calls_total" in gone
    assert "orchestration_cost_usd_total" not in gone
    less_in = ("cost_usd_total", "baseline_cost_usd_total", "unpriced_events_total")
    assert less == f"less in: {', '.join(f'orchestration_{name}' for name in less_in)}"


async def test_without_both_tables_a_metric_of_both_is_left_out(tmp_path: Path) -> None:
    """Money comes from hand-offs and sub-agents: without either there is none."""
    path = made(tmp_path / "platform.db", "DROP TABLE subagent_invocations", "DROP TABLE handoff_events")

    lines = await problems(path)

    assert [line.split()[1] for line in lines] == ["handoff_events:", "subagent_invocations:"]
    assert all("orchestration_cost_usd_total" in line for line in lines)
    assert not any("less in" in line for line in lines)


async def test_without_the_sessions_projects_are_unknown(tmp_path: Path) -> None:
    """The sessions table gives all others their project."""
    (line,) = await problems(made(tmp_path / "platform.db", "DROP TABLE orchestration_sessions"))

    assert "left out with it: orchestration_sessions_started_total, " in line
    assert line.endswith("; every project is unknown")


@pytest.mark.bulk
@pytest.mark.parametrize(
    "table, column, effect",
    [
        ("handoff_events", "savings", "adds nothing to orchestration_baseline_cost_usd_total"),
        ("handoff_events", "response_time", "no values in orchestration_handoff_duration_seconds"),
        ("handoff_events", "tokens_used", "no values in orchestration_handoff_tokens_total"),
        ("handoff_events", "metadata", "unknown in orchestration_handoff_routes_total"),
        ("handoff_events", "success", "; rows count as unknown, and only at in_flight_timeout"),
        ("handoff_events", "target_model", "orchestration_handoffs_in_flight"),
        ("subagent_invocations", "agent_type", "unknown in orchestration_cost_usd_total"),
        ("task_outcomes", "quality_score", "no values in orchestration_task_quality_score"),
        ("orchestration_sessions", "project_name", "unknown in orchestration_sessions_started_total"),
        ("orchestration_sessions", "end_time", "sessions end by idleness only"),
        ("orchestration_sessions", "completed_tasks", "no session that ends is partial"),
        ("orchestration_sessions", "failed_tasks", "all sessions that end are completed"),
    ],
)
async def test_a_missing_column_is_a_warning_with_its_effect(
    tmp_path: Path, table: str, column: str, effect: str
) -> None:
    """It reads as NULL, and the line says to which metrics that matters."""
    path = made(tmp_path / "platform.db", *without_column(table, column))

    lines = [line for line in await problems(path) if not line.startswith("note")]

    assert len(lines) == 1
    assert lines[0].startswith(f"warning {table}: no column {column}, read as NULL: ")
    assert effect in lines[0]


@pytest.mark.parametrize(
    "statements, table, why",
    [
        (without_column("task_outcomes", "timestamp"), "task_outcomes", "no column timestamp, by which rows are known"),
        (without_column("task_outcomes", "id"), "task_outcomes", "no column id, by which rows are known"),
        (
            ("ALTER TABLE task_outcomes RENAME TO old", "CREATE VIEW task_outcomes AS SELECT * FROM old"),
            "task_outcomes",
            "its id is no INTEGER PRIMARY KEY AUTOINCREMENT: ids may be given twice",
        ),
        (
            (
                "DROP TABLE handoff_events",
                "CREATE TABLE handoff_events (id INTEGER PRIMARY KEY, session_id TEXT, timestamp TEXT)",
            ),
            "handoff_events",
            "its id is no INTEGER PRIMARY KEY AUTOINCREMENT: ids may be given twice",
        ),
    ],
)
async def test_a_table_that_cannot_be_counted_is_an_error(
    tmp_path: Path, statements: tuple[str, ...], table: str, why: str
) -> None:
    """Without ids given once, or what rows are known by, a table is left out whole, and check fails."""
    path = made(tmp_path / "platform.db", *statements)

    lines = [line for line in await problems(path) if not line.startswith("note")]

    assert len(lines) == 1
    assert lines[0].startswith(f"error   {table}: left out: {why}; left out with it: ")
    assert not (await checked(path))[1]


def nothing(path: Path) -> None:
    """No file."""


def a_folder(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.touch()


def no_database(path: Path) -> None:
    path.write_bytes(b"PK" * 5_000)


def none_of_the_tables(path: Path) -> None:
    sql(path, "CREATE TABLE other (id INTEGER PRIMARY KEY)")


def wal_without_shm(path: Path) -> None:
    made(path)
    path.with_name(f"{path.name}-wal").write_bytes(b"")


@pytest.mark.parametrize(
    "cause, message",
    [
        (nothing, "no such file or directory"),
        (a_folder, "is a directory or a device, not a database file"),
        (empty, "is empty"),
        (no_database, "not a SQLite database"),
        (none_of_the_tables, f"none of the tables it should have: {', '.join(TABLES)}"),
        (wal_without_shm, "has a -wal but no -shm"),
    ],
)
async def test_what_cannot_be_read_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: object, message: str
) -> None:
    """Whatever the file is, one line says what is wrong with it."""
    monkeypatch.setattr(again, "_AGAIN_S", 0.0)
    path = tmp_path / "platform.db"
    assert callable(cause)
    cause(path)

    errors = [
        line for line in await problems(path, SqliteSource(path, busy_timeout_s=0.05)) if line.startswith("error")
    ]

    assert len(errors) == 1
    assert message in errors[0]


async def test_a_locked_database_is_an_error(tmp_path: Path) -> None:
    """A platform that keeps the file to itself for longer than the busy timeout."""
    path = made(tmp_path / "platform.db", mode="delete")
    with running(Platform(path, "delete")) as platform:
        platform.sql("BEGIN EXCLUSIVE")
        (line,) = await problems(path, SqliteSource(path, busy_timeout_s=0.05))

    assert "locked by another process for too long" in line


async def test_a_damaged_table_is_an_error_and_the_others_are_checked(tmp_path: Path) -> None:
    """A page that is no b-tree page breaks the queries of its table alone."""
    path = made(tmp_path / "platform.db")
    ((root, size),) = sql(
        path, "SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = 'handoff_events'"
    )
    with path.open("r+b") as file:
        file.seek((root - 1) * size)  # type: ignore[operator]
        file.write(b"\xff" * size)  # type: ignore[operator]
    os.utime(path, (1e9, 1e9))

    lines, ok = await checked(path)

    assert not ok
    assert [line.split()[1] for line in lines if line.startswith("error")] == ["handoff_events:"]
    assert sum(line.startswith("ok ") for line in lines) == len(TABLES) + len(MUTABLE)


async def test_what_a_killed_platform_left_is_named(tmp_path: Path) -> None:
    """-wal and -shm without anybody: a backup copied over the database would be mixed with them."""
    path = made(tmp_path / "platform.db")
    with running(Platform(path)) as platform:
        platform.sql("INSERT INTO claude_code_hooks (timestamp) VALUES (1)")
        platform.kill()

    lines = await problems(path)

    assert [line.split()[1] for line in lines] == [f"{path}-wal:", f"{path}-shm:"]
    assert all(line.startswith("warning") and "before a backup is copied over" in line for line in lines)


async def test_a_hot_journal_is_named(tmp_path: Path) -> None:
    """A crash inside a transaction: the platform has to roll it back, and the exporter waits for that."""
    path = made(tmp_path / "platform.db", mode="delete")
    with running(Platform(path, "delete")) as platform:
        platform.sql("PRAGMA cache_size = 1")
        platform.sql("BEGIN")
        platform.sql("INSERT INTO claude_code_hooks (hook_data) VALUES (zeroblob(1000000))")
        platform.kill()

    lines = await problems(path, SqliteSource(path, busy_timeout_s=0.05))

    assert lines[0].startswith(f"warning {path}-journal: a crash left an unfinished transaction")
    assert lines[1].startswith("error")


async def test_a_user_who_may_write_without_need_is_warned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is enough: another user's write permission only invites harm."""
    path = made(tmp_path / "platform.db")
    owner = path.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)

    (line,) = await problems(path)

    assert line.startswith(f"warning {path}: belongs to user {owner}; user {owner + 1}, as whom the exporter runs")


# ── sources that fail ────────────────────────────────────────────────────────────────────────────────────────


class Troubled:
    """A source whose queries that contain a word fail, and whose first snapshots are discarded."""

    name = "default"

    def __init__(self, path: Path, *, word: str = "no query has this", discards: int = 0) -> None:
        self.source = SqliteSource(path)
        self.word = word
        self.discards = discards

    def look(self) -> object:
        return self.source.look()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        async with self.source.snapshot() as snapshot:
            fetch = snapshot.fetch

            async def failing(sql: str, parameters: Mapping[str, object] = {}, *, label: str = "") -> list[Row]:
                if self.word in sql:
                    raise SourceError("exceeded 10 s")
                return await fetch(sql, parameters, label=label)

            snapshot.fetch = failing  # type: ignore[method-assign]
            yield snapshot
        if self.discards:
            self.discards -= 1
            raise SourceDiscarded("was changed while it was being read")


async def test_a_query_that_fails_is_named_with_its_table(tmp_path: Path) -> None:
    """The others of the same table are tried nevertheless."""
    path = made(tmp_path / "platform.db")

    lines = await problems(path, Troubled(path, word="OFFSET :skipped"))

    assert len(lines) == 2 * len(TABLES)
    assert lines[0] == "error   orchestration_sessions: the query for the newest id failed: exceeded 10 s"


async def test_rows_that_cannot_be_counted_are_an_error(tmp_path: Path) -> None:
    """A table whose count fails has one line, and the rest of the tables theirs."""
    path = made(tmp_path / "platform.db")

    lines = await problems(path, Troubled(path, word="count(*)"))

    assert lines == [f"error   {table}: exceeded 10 s" for table in (*TABLES, *MUTABLE)]


@pytest.mark.parametrize("discards, errors", [(4, 0), (5, 1)])
async def test_a_snapshot_that_is_discarded_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, discards: int, errors: int
) -> None:
    """Four times nothing is said; after the fifth it is an error."""
    monkeypatch.setattr(again, "_AGAIN_S", 0.0)
    path = made(tmp_path / "platform.db")

    lines = await problems(path, Troubled(path, discards=discards))

    assert lines == ["error   was changed while it was being read"] * errors


# ── mutable tables ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", MUTABLE)
async def test_a_mutable_table_that_is_missing_is_a_warning(tmp_path: Path, table: str) -> None:
    """Its gauges are left out, and nothing else."""
    (line,) = [
        one for one in await problems(made(tmp_path / "platform.db", f"DROP TABLE {table}")) if "note" not in one
    ]

    assert line.startswith(f"warning {table}: left out: no such table; left out with it: orchestration_")
    assert "less in" not in line


@pytest.mark.parametrize(
    "table, column, effect",
    [
        ("model_capacity_thresholds", "cost_per_token", "no values in orchestration_model_cost_per_token_usd"),
        ("claude_account_analysis", "current_tier", "unknown in orchestration_account_cost_usd"),
        ("pattern_analysis", "impact_score", "no values in orchestration_pattern_impact_score"),
        ("token_budgets", "other_tokens_used", "adds nothing to orchestration_token_budget_used_tokens"),
        ("token_budgets", "priority_level", "unknown in orchestration_token_budget_tokens"),
    ],
)
async def test_a_column_that_a_mutable_table_lacks_has_its_effect_told(
    tmp_path: Path, table: str, column: str, effect: str
) -> None:
    """As of the tables that are counted."""
    path = made(tmp_path / "platform.db", *without_column(table, column))

    (line,) = [one for one in await problems(path) if "note" not in one]

    assert line.startswith(f"warning {table}: no column {column}, read as NULL: ")
    assert effect in line


@pytest.mark.parametrize("table, column", [("pattern_analysis", "id"), ("token_budgets", "session_id")])
async def test_a_mutable_table_that_cannot_be_read_is_an_error(tmp_path: Path, table: str, column: str) -> None:
    """Without what its rows are found by."""
    path = made(tmp_path / "platform.db", *without_column(table, column))

    (line,) = [one for one in await problems(path) if one.startswith("error")]

    assert line.startswith(f"error   {table}: left out: no column {column}, by which rows are read; left out with it: ")


async def test_a_table_read_by_session_without_an_index_is_named(tmp_path: Path) -> None:
    """Every poll would read all of it; `indexes` makes it."""
    path = made(tmp_path / "platform.db", "DROP INDEX idx_token_budgets_session")
    statement = "CREATE INDEX IF NOT EXISTS idx_token_budgets_session ON token_budgets(session_id);"

    (line,) = await problems(path)

    assert line.startswith("note    token_budgets: the exporter reads it by session")
    assert line.endswith(statement)
    assert statement in await indexing.indexes(path, create=False)
    assert len(await indexing.indexes(path, create=True)) == 1
    assert await problems(path) == []


# ── cardinality ──────────────────────────────────────────────────────────────────────────────────────────────


def forecast_of(path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, tuple[int, int, str]]:
    """What the command says of each metric: samples, label sets, and what was capped."""
    code = cli.run(["check", "--cardinality", "--database", str(path), *more], {}, SCHEMA)
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    table = lines[lines.index("   samples label sets  metric") + 1 :]
    found = [re.fullmatch(r" *([\d,]+) +([\d,]+)  (\w+|all of source default)(?: \((.*)\))?", line) for line in table]
    return {row[3]: (_whole(row[1]), _whole(row[2]), row[4] or "") for row in found if row}


def _whole(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_forecast_is_what_once_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Samples by metric, the most first, and their sum."""
    ended = "INSERT INTO orchestration_sessions (session_id, start_time) VALUES ('t', '2026-11-21 09:00:00')"
    path = made(tmp_path / "platform.db", ended)

    rows = forecast_of(path, capsys)
    cli.run(["once", "--database", str(path)], {}, SCHEMA)

    printed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    total = rows.pop("all of source default")
    assert total[:2] == (len(printed), sum(sets for _, sets, _ in rows.values()))
    assert [samples for samples, _, _ in rows.values()] == sorted((r[0] for r in rows.values()), reverse=True)
    histogram = "orchestration_session_duration_seconds"
    assert rows[histogram][0] == sum(line.startswith(f"{histogram}_") for line in printed)
    assert rows[histogram][0] == 16 * rows[histogram][1]


def test_caps_that_are_reached_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of values and of series; a vocabulary that is just full, too."""
    insert = "INSERT INTO claude_code_hooks (hook_type) VALUES"
    path = made(tmp_path / "platform.db", *(f"{insert} ('{name}')" for name in "abc"))

    few = tmp_path / "few.yml"
    few.write_text("max_label_values: 2\n")
    values = forecast_of(path, capsys, "--config.file", str(few))
    few.write_text("max_label_values: 3\nmax_series_per_metric: 6\n")
    series = forecast_of(path, capsys, "--config.file", str(few))
    few.write_text("max_label_values: 3\n")
    full = forecast_of(path, capsys, "--config.file", str(few))

    assert values["orchestration_hook_executions_total"][2] == "hook: more than its 2 values, 1 rows as __other__"
    assert series["orchestration_hook_executions_total"][2].startswith("max_series_per_metric 6 reached; hook: more")
    assert full["orchestration_hook_executions_total"][2] == "hook: has the 3 values it may have"


def test_what_cannot_be_read_has_no_forecast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only check's own lines, and its exit code."""
    code = cli.run(["check", "--cardinality", "--database", str(tmp_path / "none.db")], {}, SCHEMA)

    out = capsys.readouterr().out
    assert code == 1
    assert "samples" not in out


# ── indexes ──────────────────────────────────────────────────────────────────────────────────────────────────

STATEMENTS = (
    "CREATE INDEX IF NOT EXISTS idx_sessions_start_time_desc ON orchestration_sessions(start_time DESC);",
    "CREATE INDEX IF NOT EXISTS idx_sessions_project_time ON orchestration_sessions(project_name, start_time DESC);",
    "CREATE INDEX IF NOT EXISTS idx_handoffs_timestamp_desc ON handoff_events(timestamp DESC);",
    "CREATE INDEX IF NOT EXISTS idx_subagents_timestamp_desc ON subagent_invocations(timestamp DESC);",
)
DROPS = (
    "DROP INDEX idx_sessions_time",
    "DROP INDEX idx_handoffs_time",
    *(f"DROP INDEX {name}" for name in ("idx_sessions_start_time_desc", "idx_sessions_project_time")),
    *(f"DROP INDEX {name}" for name in ("idx_handoffs_timestamp_desc", "idx_subagents_timestamp_desc")),
)


async def test_missing_indexes_are_printed_and_noted(tmp_path: Path) -> None:
    """All four where there is none; `check` has a note for each, and passes."""
    path = made(tmp_path / "platform.db", *DROPS)

    printed = await indexing.indexes(path, create=False)
    notes = await problems(path)

    assert printed[0].startswith("-- while an index is built")
    assert tuple(printed[1:]) == STATEMENTS
    assert [line.startswith("note ") and line.endswith(found) for line, found in zip(notes, STATEMENTS, strict=True)]


async def test_what_is_printed_runs(tmp_path: Path) -> None:
    """The statements are good SQL, and afterwards none is missing."""
    path = made(tmp_path / "platform.db", *DROPS)

    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("\n".join(await indexing.indexes(path, create=False)))

    assert await indexing.indexes(path, create=False) == ["-- no index is missing"]


@pytest.mark.parametrize(
    "existing, is_missing",
    [
        ("CREATE INDEX i ON handoff_events(timestamp)", False),
        ("CREATE INDEX i ON handoff_events(TIMESTAMP DESC, session_id)", False),
        ("CREATE UNIQUE INDEX i ON handoff_events(timestamp)", False),
        ("CREATE INDEX i ON handoff_events(session_id, timestamp)", True),
        ("CREATE INDEX i ON handoff_events(timestamp) WHERE success", True),
        ("CREATE INDEX i ON handoff_events(date(timestamp))", True),
        ("CREATE INDEX i ON task_outcomes(timestamp DESC)", True),
    ],
)
async def test_an_index_that_serves_is_not_missed(tmp_path: Path, existing: str, is_missing: bool) -> None:
    """In either direction, with more columns behind, under any name; not a partial one, nor of other columns."""
    path = made(
        tmp_path / "platform.db", "DROP INDEX idx_handoffs_time", "DROP INDEX idx_handoffs_timestamp_desc", existing
    )

    printed = await indexing.indexes(path, create=False)

    assert (STATEMENTS[2] in printed) is is_missing


@pytest.mark.parametrize(
    "columns, is_missing",
    [
        ("project_name, start_time DESC", False),
        ("project_name DESC, start_time", False),
        ("project_name, start_time", True),
        ("project_name", True),
        ("start_time DESC, project_name", True),
    ],
)
async def test_the_order_of_two_columns_matters(tmp_path: Path, columns: str, is_missing: bool) -> None:
    """An index that is read backwards as a whole serves; one with another mixture does not."""
    path = made(tmp_path / "platform.db", *DROPS, f"CREATE INDEX i ON orchestration_sessions({columns})")

    printed = await indexing.indexes(path, create=False)

    assert (STATEMENTS[1] in printed) is is_missing


@pytest.mark.parametrize("mode", ["wal", "delete"])
async def test_missing_indexes_are_created(tmp_path: Path, mode: str) -> None:
    """They are there and used, nothing stays beside the database, and a second time there is nothing to do."""
    path = made(tmp_path / "platform.db", *DROPS, mode=mode)

    lines = await indexing.indexes(path, create=True)

    assert [line.split(" -- ")[0] for line in lines] == list(STATEMENTS)
    assert all(line.rsplit("-- ", 1)[1].startswith("created in ") for line in lines)
    assert [found.name for found in tmp_path.iterdir()] == ["platform.db"]
    plan = sql(path, "EXPLAIN QUERY PLAN SELECT id FROM handoff_events ORDER BY timestamp DESC LIMIT 10")
    assert "idx_handoffs_timestamp_desc" in str(plan)
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]
    assert await indexing.indexes(path, create=True) == ["-- no index is missing"]


async def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    """IF NOT EXISTS would otherwise create nothing, without a word."""
    path = made(
        tmp_path / "platform.db",
        *DROPS,
        "CREATE INDEX idx_handoffs_timestamp_desc ON handoff_events(cost)",
        "CREATE TABLE Idx_Handoffs_Timestamp_Desc_2 (id INTEGER PRIMARY KEY)",
    )

    await indexing.indexes(path, create=True)

    plan = sql(path, "EXPLAIN QUERY PLAN SELECT id FROM handoff_events ORDER BY timestamp DESC LIMIT 10")
    assert "idx_handoffs_timestamp_desc_3" in str(plan)


async def test_an_index_without_its_table_or_column_is_not_asked_for(tmp_path: Path) -> None:
    """A comment says why; what is possible is printed nevertheless."""
    path = made(
        tmp_path / "platform.db", *without_column("handoff_events", "timestamp"), "DROP TABLE subagent_invocations"
    )

    printed = await indexing.indexes(path, create=False)

    assert printed == [
        "-- handoff_events: no column timestamp, so no index idx_handoffs_timestamp_desc",
        "-- subagent_invocations: no such table, so no index idx_subagents_timestamp_desc",
        "-- no other index is missing",
    ]


async def test_only_the_owner_creates_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A -wal of another user would lock the platform out; the database is not touched."""
    path = made(tmp_path / "platform.db", *DROPS)
    before, owner = path.read_bytes(), path.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)

    with pytest.raises(SourceError, match=rf"belongs to user {owner}, and this is user {owner + 1}: run this as"):
        await indexing.indexes(path, create=True)

    assert path.read_bytes() == before
    assert len(await indexing.indexes(path, create=False)) == 5


async def test_what_is_read_only_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before SQLite opens it; root may write everything, so the answer of the system is given here."""
    path = made(tmp_path / "platform.db", *DROPS)
    monkeypatch.setattr(indexing, "may_write", lambda asked: asked != path)

    with pytest.raises(SourceError, match="cannot be written"):
        await indexing.indexes(path, create=True)


async def test_a_busy_database_is_an_error_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A platform inside a transaction keeps writers out; later it works."""
    monkeypatch.setattr(indexing, "_BUSY_TIMEOUT_S", 0.05)
    path = made(tmp_path / "platform.db", *DROPS)
    with running(Platform(path)) as platform:
        platform.sql("BEGIN IMMEDIATE")
        with pytest.raises(SourceError, match="idx_sessions_start_time_desc was not created: database is locked"):
            await indexing.indexes(path, create=True)
        platform.sql("COMMIT")

        assert len(await indexing.indexes(path, create=True)) == 4


# ── as commands ──────────────────────────────────────────────────────────────────────────────────────────────


def command(arguments: Iterable[object]) -> subprocess.CompletedProcess[str]:
    """Run one command of the exporter to its end."""
    words = [sys.executable, "-m", "exporter", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=REPOSITORY)


def test_the_commands_have_exit_codes(tmp_path: Path) -> None:
    """0 where all is well, 1 where something keeps the exporter from reading; no traceback."""
    path = made(tmp_path / "platform.db", *DROPS)

    good, bad = command(["check", "--database", path]), command(["check", "--database", tmp_path / "none.db"])
    printed = command(["indexes", "--database", path])
    created = command(["indexes", "--create", "--database", path])
    missing = command(["indexes", "--database", tmp_path / "none.db"])

    assert (good.returncode, good.stderr, good.stdout.count("\nnote ")) == (0, "", 4)
    assert (bad.returncode, bad.stderr) == (1, "")
    assert bad.stdout.splitlines()[-1] == "check failed: 1 error, 0 warnings"
    assert (printed.returncode, printed.stdout.splitlines()[1:]) == (0, list(STATEMENTS))
    assert (created.returncode, created.stdout.count("-- created in")) == (0, 4)
    assert (missing.returncode, missing.stdout, missing.stderr.count("\n")) == (1, "", 1)
