"""What a snapshot of a SQLite file gives: one moment or an error, in time, whatever the rows hold."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.source import ColumnInfo, Row, Source, SourceDiscarded, SourceError, TableInfo
from exporter.source.sqlite import SqliteSnapshot, SqliteSource, inspect, journal_mode, quote
from exporter.source.sqlite_file import DatabaseFile
from tests.sqlite_platform import (
    COUNTING,
    INSERT,
    MODES,
    Platform,
    background,
    count,
    descriptors_of,
    made,
    running,
)

ENDLESS = f"{COUNTING} SELECT max(i) FROM n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestration.db"


def altered(path: Path, *statements: str, mode: str = "delete") -> SqliteSource:
    """Make a database with what the statements put in."""
    made(path, mode)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return SqliteSource(path)


# --- one moment ---


@pytest.mark.parametrize("mode", MODES)
async def test_a_snapshot_is_of_one_moment(path: Path, mode: str) -> None:
    """What is committed after it began is in the next one."""
    source: Source = SqliteSource(path)
    with running(Platform(path, mode)) as platform:
        platform.sql(INSERT)
        async with source.snapshot() as snapshot:
            writing = asyncio.create_task(asyncio.to_thread(platform.sql, INSERT))
            for _ in range(20):
                assert await snapshot.fetch("SELECT count(*) FROM t") == [(1,)]
        await writing
        assert await count(source) == 2


async def test_snapshots_of_one_file_take_turns(path: Path) -> None:
    """Two sources on one file never hold it together: the first to close would drop the other's locks."""
    made(path)
    path.with_name("link.db").symlink_to(path)
    held = 0

    async def hold(source: Source) -> None:
        nonlocal held
        async with source.snapshot() as snapshot:
            held += 1
            assert held == 1
            await snapshot.fetch("SELECT * FROM t")
            held -= 1

    async with asyncio.TaskGroup() as tasks:
        for name in ("orchestration.db", "link.db") * 5:
            tasks.create_task(hold(SqliteSource(path.with_name(name))))


async def read(path: Path, *, during: Callable[[], object], sql: str = "SELECT count(*) FROM t") -> list[Row]:
    """Let something happen while a snapshot is open."""
    async with SqliteSource(path).snapshot() as snapshot:
        during()
        return await snapshot.fetch(sql)


def write(path: Path, mode: str = "wal") -> None:
    with running(Platform(path, mode)) as platform:
        platform.sql(INSERT)


async def test_the_platform_wakes_while_its_file_is_read_as_unchanging(path: Path) -> None:
    """An immutable read is discarded when a -wal has appeared, or the file has changed."""
    made(path)
    platforms: list[Platform] = []
    with pytest.raises(SourceDiscarded, match="opened by the platform"):
        await read(path, during=lambda: platforms.append(Platform(path)))
    platforms[0].close()

    os.utime(path, (1e9, 1e9))
    with pytest.raises(SourceDiscarded, match="changed while it was being read"):
        await read(path, during=lambda: write(path))
    assert await count(SqliteSource(path)) == 11


@pytest.mark.parametrize("sql", ["SELECT count(*) FROM t", "SELECT nonsense"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_file_overwritten_in_place_is_discarded(path: Path, mode: str, sql: str) -> None:
    """A backup copied over the file without SQLite's locks gives no half result, error or not."""
    made(path, mode)
    backup = made(path.with_name("backup.db"), mode, rows=20)

    with pytest.raises(SourceDiscarded, match="changed while it was being read"):
        await read(path, during=lambda: shutil.copyfile(backup, path), sql=sql)
    assert await count(SqliteSource(path)) == 20


@pytest.mark.bulk
@pytest.mark.parametrize("mode", MODES)
async def test_while_backups_are_copied_over_it_nothing_crashes(path: Path, mode: str) -> None:
    """Two databases copied in turn over the file: a count of either, or an error of ours."""
    for name, rows in (("a.db", 2000), ("b.db", 3000)):
        made(path.with_name(name), mode, rows=rows)
    shutil.copyfile(path.with_name("a.db"), path)
    code = (
        "import shutil, sys, time\nend = time.monotonic() + 1.5\n"
        "while time.monotonic() < end:\n  for name in sys.argv[2:]: shutil.copyfile(name, sys.argv[1])\n"
    )
    backups = [str(path.with_name(name)) for name in ("a.db", "b.db")]
    source = SqliteSource(path, busy_timeout_s=0.05)
    with background(code, path, *backups) as copier:
        while copier.poll() is None:
            with contextlib.suppress(SourceError):
                source.look()
                assert await count(source) in (2000, 3000)

    assert copier.returncode == 0
    os.utime(path, (1e9, 1e9))
    assert await count(source) == 3000


@pytest.mark.parametrize("mode", MODES)
async def test_a_file_replaced_by_rename_is_read_anew(path: Path, mode: str) -> None:
    """The read that is under way keeps the old one, whole; the look differs, and the next reads the new."""
    source = SqliteSource(made(path, mode))
    look = source.look()
    async with source.snapshot() as snapshot:
        made(path.with_name("new.db"), mode, rows=20).replace(path)
        assert await snapshot.fetch("SELECT count(*) FROM t") == [(10,)]

    assert source.look() != look
    assert await count(source) == 20


@pytest.mark.parametrize("mode", MODES)
def test_a_file_replaced_while_it_is_opened_is_discarded(path: Path, mode: str) -> None:
    """Locks and guards would be on one file, and SQLite on the other."""
    with contextlib.closing(DatabaseFile(made(path, mode), busy_timeout_s=1)) as file:
        made(path.with_name("new.db"), mode).replace(path)
        with pytest.raises(SourceDiscarded, match="replaced while it was being opened"):
            file.connect()


@pytest.mark.parametrize("mode", MODES)
def test_a_file_deleted_while_it_is_opened_is_missing(path: Path, mode: str) -> None:
    """As any time else."""
    with contextlib.closing(DatabaseFile(made(path, mode), busy_timeout_s=0.05)) as file:
        path.unlink()
        with pytest.raises(SourceError, match=r"no such file|cannot open"):
            file.connect()
        assert not path.exists()


async def test_a_file_written_just_now_is_left_to_settle(path: Path) -> None:
    """A change within the same tick of the file system's clock would not show."""
    made(path)
    os.utime(path)
    async with SqliteSource(path).snapshot():
        assert time.time_ns() - path.stat().st_mtime_ns > 20_000_000


# --- deadline, cancellation, errors ---


async def fetch(source: Source, sql: str, *, label: str) -> list[Row]:
    async with source.snapshot() as snapshot:
        return await snapshot.fetch(sql, label=label)


async def test_a_query_is_cut_off_at_its_deadline_and_lets_go(path: Path) -> None:
    """Its error says which query; the file is closed though the exception is kept, and its chain with it."""
    made(path)
    with running(Platform(path)):
        source = SqliteSource(path, query_timeout_s=0.2)
        started = time.monotonic()
        with pytest.raises(SourceError, match=r"the query on handoff_events exceeded 0\.2 s") as told:
            await fetch(source, ENDLESS, label="handoff_events")

        assert 0.2 <= time.monotonic() - started < 2
        assert isinstance(told.value.__cause__, sqlite3.OperationalError)
        assert descriptors_of(path) == []


async def test_one_deadline_is_for_one_query(path: Path) -> None:
    """A query that was quick leaves the next one its whole time."""
    async with SqliteSource(made(path), query_timeout_s=0.5).snapshot() as snapshot:
        for _ in range(3):
            await asyncio.sleep(0.2)
            assert await snapshot.fetch(f"{COUNTING} SELECT count(*) FROM (SELECT i FROM n LIMIT 50000)")


async def test_a_cancelled_read_lets_go_at_once(path: Path) -> None:
    """Cancelled twice inside an endless query: that ends, the connection is closed, then it is cancelled."""
    made(path)
    source = SqliteSource(path, query_timeout_s=600)
    began = asyncio.Event()

    async def read() -> None:
        async with source.snapshot() as snapshot:
            began.set()
            await snapshot.fetch(ENDLESS)

    with running(Platform(path)):
        task = asyncio.create_task(read())
        await began.wait()
        started = time.monotonic()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert time.monotonic() - started < 2
        assert descriptors_of(path) == []
        assert await count(source) == 10


async def test_cancelled_at_any_step_it_lets_go(path: Path) -> None:
    """Wherever in opening, reading or closing it is cancelled, no descriptor and no turn stays taken."""
    made(path)
    source = SqliteSource(path)
    with running(Platform(path)):
        for steps in range(40):
            task = asyncio.create_task(count(source))
            for _ in range(steps):
                await asyncio.sleep(0.0001)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert descriptors_of(path) == []
        assert await count(source) == 10


@pytest.mark.parametrize(
    "sql,cause",
    [
        ("SELECT * FROM nowhere", "the query on t: no such table: nowhere"),
        ("SELECT nowhere FROM t", "the query on t: no such column: nowhere"),
        ("DELETE FROM t", "the query on t: attempt to write a readonly database"),
        ("SELECT json_extract('{', '$.a')", "the query on t: malformed JSON"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
async def test_what_sqlite_refuses_is_one_line(path: Path, mode: str, sql: str, cause: str) -> None:
    """It names the file, the query and the cause; reading goes on."""
    async with SqliteSource(made(path, mode)).snapshot() as snapshot:
        with pytest.raises(SourceError) as told:
            await snapshot.fetch(sql, label="t")
        assert str(told.value) == f"{path}: {cause}"
        assert await snapshot.fetch("SELECT count(*) FROM t") == [(10,)]


async def test_timings_are_those_of_labelled_queries(path: Path) -> None:
    """One for each, in their order, readable afterwards."""
    async with SqliteSource(made(path)).snapshot() as snapshot:
        await snapshot.fetch("SELECT 1", label="a")
        await snapshot.fetch("SELECT 1")
        with contextlib.suppress(SourceError):
            await snapshot.fetch("SELECT nowhere", label="b")
        await snapshot.fetch("SELECT 1", label="a")

    assert [(timing.label, timing.failed) for timing in snapshot.timings] == [
        ("a", False),
        ("b", True),
        ("a", False),
    ]
    assert all(0 < timing.duration_s < 5 for timing in snapshot.timings)


# --- what rows and schemas hold ---


async def test_text_that_is_not_utf_8_keeps_its_bytes_as_surrogates(path: Path) -> None:
    """Only the query that meets it is read tolerantly; the rest, and blobs, stay as they are."""
    source = altered(path, "DELETE FROM t", "INSERT INTO t VALUES (1, CAST(x'61ff62' AS TEXT)), (2, 'ü'), (3, x'ff')")
    async with source.snapshot() as snapshot:
        rows = await snapshot.fetch("SELECT id, v FROM t WHERE id < :below ORDER BY id", {"below": 9})
        again = await snapshot.fetch("SELECT v FROM t WHERE id = 2")

    assert rows == [(1, "a\udcffb"), (2, "ü"), (3, b"\xff")]
    assert again == [("ü",)]


@pytest.mark.parametrize("name", ["a b?c#d%41&mode=rwc.db", "größe.db", "'\".db", os.fsdecode(b"\xff.db")])
@pytest.mark.parametrize("mode", MODES)
async def test_any_file_name_will_do(tmp_path: Path, mode: str, name: str) -> None:
    """What means something in a URI is encoded."""
    made(path := tmp_path / "made.db", mode)
    path.rename(tmp_path / name)

    assert await count(SqliteSource(tmp_path / name)) == 10
    assert [file.name for file in tmp_path.iterdir()] == [name]


async def test_behind_a_symlink_the_real_file_counts(tmp_path: Path) -> None:
    """SQLite puts -wal and -shm beside the real file: looks and snapshots find them there."""
    real = tmp_path / "real" / "a.db"
    real.parent.mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(real)
    source = SqliteSource(link)
    with running(Platform(real)) as platform:
        before = source.look()
        platform.sql(INSERT)
        assert source.look() != before
        assert await count(source) == 1


@pytest.mark.parametrize(
    "create,autoincrement",
    [
        ("CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT)", True),
        ("create table [a] (id integer primary key /* ' */ autoincrement, x DEFAULT 'it''s')", True),
        ("CREATE TABLE a (id INTEGER PRIMARY KEY) -- AUTOINCREMENT", False),
        ("CREATE TABLE a (id INTEGER PRIMARY KEY, x DEFAULT ' AUTOINCREMENT ', \"AUTOINCREMENT\")", False),
        (
            "CREATE TABLE a (id INTEGER PRIMARY KEY, autoincrement_, [autoincrement] /* AUTOINCREMENT */)",
            False,
        ),
        ("CREATE TABLE a (id TEXT PRIMARY KEY) WITHOUT ROWID", False),
    ],
)
async def test_autoincrement_is_told_from_words_that_look_like_it(path: Path, create: str, autoincrement: bool) -> None:
    """Strings, comments and names may say AUTOINCREMENT without meaning it."""
    async with altered(path, create).snapshot() as snapshot:
        table = await snapshot.table("A")

    assert table
    assert (table.name, table.kind, table.primary_key) == ("a", "table", ("id",))
    assert table.autoincrement is autoincrement


async def test_a_table_is_described(path: Path) -> None:
    """Columns in their order with declared types, generated ones too; a view as a view; nothing as None."""
    source = altered(
        path,
        'CREATE TABLE "odd ""name" (id INTEGER PRIMARY KEY, "a b" REAL, c, d TEXT AS (c || c))',
        "CREATE VIEW seen AS SELECT id AS number FROM t",
    )
    async with source.snapshot() as snapshot:
        odd = await snapshot.table('ODD "NAME')
        view = await snapshot.table("seen")
        assert await snapshot.table("nothing") is None
        assert await snapshot.stable_max("nothing") is None
        assert await snapshot.fetch("SELECT * FROM " + quote('odd "name')) == []

    assert odd
    assert odd.columns == (
        ColumnInfo("id", "INTEGER"),
        ColumnInfo("a b", "REAL"),
        ColumnInfo("c", ""),
        ColumnInfo("d", "TEXT"),
    )
    assert view
    assert (view.kind, view.autoincrement, [column.name for column in view.columns]) == (
        "view",
        False,
        ["number"],
    )


@pytest.mark.parametrize(
    "statements,expected",
    [
        ([], 10),
        (["DELETE FROM t WHERE id > 5"], 10),
        (["DELETE FROM t"], 10),
        (["INSERT INTO t VALUES (500, 'given')"], 500),
        (["DELETE FROM sqlite_sequence"], 10),
        (["UPDATE sqlite_sequence SET seq = 3"], 10),
        (["UPDATE sqlite_sequence SET seq = '40'"], 40),
        (["DELETE FROM t", "DELETE FROM sqlite_sequence"], None),
        (["DELETE FROM t", "DELETE FROM sqlite_sequence", "INSERT INTO t VALUES (-5, 'low')"], 0),
    ],
)
async def test_stable_max_is_what_the_next_id_will_be_above(
    path: Path, statements: list[str], expected: int | None
) -> None:
    """By the sequence, which deleting rows does not lower, and by the rows where that was tampered with."""
    async with altered(path, *statements).snapshot() as snapshot:
        assert await snapshot.stable_max("T") == expected


async def test_stable_max_without_autoincrement_is_the_highest_id(path: Path) -> None:
    """Also where no table has a sequence."""
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO a VALUES (7)")
        connection.commit()
    async with SqliteSource(path).snapshot() as snapshot:
        assert await snapshot.stable_max("a") == 7


# --- what is known of tables ---

CHANGES = (
    "ALTER TABLE t ADD COLUMN x REAL",
    "ALTER TABLE t RENAME COLUMN v TO w",
    "ALTER TABLE t RENAME TO u",
    "ALTER TABLE u RENAME TO T",
    "DROP TABLE t",
    "DROP TABLE u",
    "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v)",
    "CREATE TABLE T (id INTEGER PRIMARY KEY, v)",
    "CREATE TABLE u (id INTEGER PRIMARY KEY, v) WITHOUT ROWID",
    "CREATE VIEW t AS SELECT * FROM u",
    "CREATE VIEW u AS SELECT 1 AS id",
    "DROP VIEW t",
    "DROP VIEW u",
    "CREATE VIRTUAL TABLE u USING rtree(id, low, high)",
    "CREATE INDEX i ON t (v)",
    "VACUUM",
)
NAMES = ("t", "T", "u", "none")


@pytest.mark.bulk
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.sampled_from(CHANGES), max_size=3), max_size=6))
def test_what_is_known_of_tables_is_what_they_are(
    tmp_path_factory: pytest.TempPathFactory, histories: list[list[str]]
) -> None:
    """However often they are changed in between, a source that has seen them before tells what a new one does."""
    path = made(tmp_path_factory.mktemp("tables") / "orchestration.db", "delete")
    source = SqliteSource(path)

    for changes in ([], *histories):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for change in changes:
                with contextlib.suppress(sqlite3.OperationalError):  # there is no such table, or there is one
                    connection.execute(change)

        assert asyncio.run(infos(source)) == asyncio.run(infos(SqliteSource(path)))


async def infos(source: Source) -> list[TableInfo | str | None]:
    """What a snapshot says of the tables; of a view without its table, the error."""
    found: list[TableInfo | str | None] = []
    async with source.snapshot() as snapshot:
        for name in NAMES:
            try:
                found.append(await snapshot.table(name))
            except SourceError as exc:
                found.append(str(exc))
    return found


async def test_what_is_known_is_not_asked_for_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One query for all of them; then two for the one that was changed."""
    source = altered(path, "CREATE TABLE u (id INTEGER PRIMARY KEY)")
    asked: list[str] = []
    fetch = SqliteSnapshot.fetch

    async def noted(self: SqliteSnapshot, sql: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(sql)
        return await fetch(self, sql, *args, **kwargs)

    monkeypatch.setattr(SqliteSnapshot, "fetch", noted)
    counts = []
    for change in ("", "", "ALTER TABLE u ADD COLUMN v"):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(change)
        asked.clear()
        found = await infos(source)
        counts.append(len(asked))

    assert counts == [7, 1, 3]
    assert isinstance(found[2], TableInfo)
    assert [column.name for column in found[2].columns] == ["id", "v"]


async def test_another_database_of_the_same_version_is_told(path: Path) -> None:
    """Copied over the file: as many changes were made to its schema, by which SQLite knows one, but other ones."""
    source = altered(path, "CREATE TABLE u (id INTEGER PRIMARY KEY, v)")
    await infos(source)
    other = altered(path.with_name("other.db"), "CREATE TABLE u (id INTEGER PRIMARY KEY, w)")
    with contextlib.closing(sqlite3.connect(other.path)) as connection:
        version = connection.execute("PRAGMA schema_version").fetchone()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA schema_version").fetchone() == version

    shutil.copyfile(other.path, path)

    assert await infos(source) == await infos(other)


async def test_a_read_that_is_discarded_teaches_nothing(path: Path) -> None:
    """A backup is copied over the file between the table's text and its columns: what was found may be of both."""
    source = altered(path)
    backup = altered(path.with_name("backup.db"), CHANGES[0])
    fetch = SqliteSnapshot.fetch
    asked: list[str] = []

    async def meddled(self: SqliteSnapshot, sql: str, *args: Any, **kwargs: Any) -> Any:
        found = await fetch(self, sql, *args, **kwargs)
        asked.append(sql)
        if len(asked) == 1:
            shutil.copyfile(backup.path, path)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteSnapshot, "fetch", meddled)
        with pytest.raises(SourceDiscarded):
            await infos(source)

    assert source._known == {}
    assert await infos(source) == await infos(SqliteSource(path))


async def test_a_table_that_is_taken_for_what_it_was_would_be_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison with a new source fails where what was found once is never looked at again."""

    async def recall(self: SqliteSnapshot) -> None:
        self._tables |= {name: known.info for name, known in self._known.items()}

    monkeypatch.setattr(SqliteSnapshot, "_recall", recall)
    source = altered(path)
    await infos(source)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(CHANGES[0])

    assert await infos(source) != await infos(SqliteSource(path))


@pytest.mark.parametrize("mode", MODES)
def test_inspect_tells_what_check_needs(path: Path, mode: str) -> None:
    """Mode, owner, file system; a -journal that is only kept for the next use is not left behind."""
    made(path, mode)
    path.with_name(path.name + "-journal").write_bytes(bytes(512))
    found = inspect(path)

    assert found.journal_mode == journal_mode(path) == mode
    assert (found.owner_uid, found.our_uid) == (path.stat().st_uid, os.geteuid())
    assert found.filesystem
    assert found.refusal is None
    assert not found.connected
    assert found.left_behind == ()
