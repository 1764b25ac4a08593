"""What can be wrong with the database or the state directory: said in one line, served as `up 0`, over by itself.

Each cause is there when the exporter starts, goes, and comes back while it runs.
"""

from __future__ import annotations

import contextlib
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cases import first, later
from tests.running import (
    MODES,
    Books,
    Clock,
    Exporter,
    another_user,
    assert_exact,
    inside,
    mount_again,
    until,
    with_mounts,
)
from tests.sqlite_platform import REPOSITORY

READ = (
    "orchestration_sessions",
    "handoff_events",
    "subagent_invocations",
    "task_outcomes",
    "routing_decisions",
    "claude_code_hooks",
)
UNREAD = (
    "token_budgets",
    "model_capacity_thresholds",
    "model_performance",
    "live_activities",
    "cost_metrics",
    "claude_account_analysis",
    "pattern_analysis",
)
FAILURES = "orchestration_exporter_checkpoint_failures_total"
TMPFS = 'mkdir "$1"; mount -t tmpfs -o size=4m tmpfs "$1"'
READ_ONLY = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter."""
    path = Path(tempfile.mkdtemp(prefix="failures-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def books(folder: Path, request: pytest.FixtureRequest) -> Books:
    """A platform that has written some rows, all in the past, and is stopped."""
    clock = Clock()
    clock.advance(-1000.0)
    mode = request.node.callspec.params.get("mode", "wal") if hasattr(request.node, "callspec") else "wal"
    books = Books(folder / "platform" / "orchestration.db", clock, mode=mode)
    async with books:
        await books.traffic()
    return books


def assert_said(lines: list[str], said: str) -> None:
    """One line tells of it, an error, and nothing else does."""
    assert len(lines) == 1, lines
    assert re.search(said, lines[0]), lines


def test_two_lines_or_a_traceback_would_be_noticed() -> None:
    """The check above fails with them."""
    good = 'ts=x level=error msg="source cannot be read" error="a.db: missing"'
    assert_said([good], "a.db: missing")
    for lines in ([], [good, good], ["Traceback (most recent call last):"]):
        with pytest.raises(AssertionError):
            assert_said(lines, "a.db: missing")


def page(exporter: Exporter) -> str:
    """What the page says to a person."""
    return html.unescape(exporter.get("/")[1])


# ── the database ─────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def locked(books: Books) -> AsyncIterator[None]:
    """Another program holds the file for itself."""
    async with books:
        await books.sql("PRAGMA locking_mode = EXCLUSIVE")
        await books.sql("CREATE TABLE IF NOT EXISTS held (id INTEGER PRIMARY KEY)")
        await books.sql("INSERT INTO held DEFAULT VALUES")
        yield


@contextlib.asynccontextmanager
async def missing(books: Books) -> AsyncIterator[None]:
    """The file was moved away."""
    aside = books.path.rename(books.path.with_name("aside"))
    yield
    aside.rename(books.path)


@contextlib.asynccontextmanager
async def folder_missing(books: Books) -> AsyncIterator[None]:
    """Its folder was moved away."""
    aside = books.path.parent.rename(books.path.parent.with_name("aside"))
    yield
    aside.rename(books.path.parent)


@contextlib.asynccontextmanager
async def replaced(books: Books, other: Path) -> AsyncIterator[None]:
    """Another file is in its place; the exporter sees one or the other, at any moment."""
    aside = books.path.with_name("aside")
    aside.hardlink_to(books.path)
    other.replace(books.path)
    yield
    aside.replace(books.path)


@contextlib.asynccontextmanager
async def no_database(books: Books) -> AsyncIterator[None]:
    """It is something else."""
    other = books.path.with_name("other")
    other.write_text("Dear diary, today I was no database. " * 1000)
    async with replaced(books, other):
        yield


@contextlib.asynccontextmanager
async def half_copied(books: Books) -> AsyncIterator[None]:
    """It is the first half of itself."""
    whole, half = books.path.read_bytes(), books.path.with_name("half")
    half.write_bytes(whole[: len(whole) // 2])
    async with replaced(books, half):
        yield


@contextlib.asynccontextmanager
async def forbidden(books: Books) -> AsyncIterator[None]:
    """The exporter's user may not read it."""
    books.path.chmod(0)
    yield
    books.path.chmod(0o644)


@contextlib.asynccontextmanager
async def folder_forbidden(books: Books) -> AsyncIterator[None]:
    """The exporter's user may not enter its folder."""
    books.path.parent.chmod(0o600)
    yield
    books.path.parent.chmod(0o755)


@contextlib.asynccontextmanager
async def without_tables(books: Books) -> AsyncIterator[None]:
    """It is the database of something else."""
    other = Books(books.path.with_name("other"), books.clock, mode=books.mode)
    async with other:
        for table in (*READ, *UNREAD):
            await other.sql(f"DROP TABLE {table}")
        await other.sql("CREATE TABLE recipes (id INTEGER PRIMARY KEY AUTOINCREMENT)")
    async with replaced(books, other.path):
        yield


Cause = Callable[[Books], AbstractAsyncContextManager[None]]
CAUSES: dict[str, tuple[Cause, str]] = {
    "locked": (locked, "locked by another process|has a -wal but no -shm"),
    "missing": (missing, "orchestration.db: no such file or directory"),
    "folder missing": (folder_missing, "orchestration.db: no such file or directory"),
    "not a database": (no_database, "orchestration.db: not a SQLite database"),
    "half copied": (half_copied, "orchestration.db: malformed: half copied or damaged"),
    "without permission": (forbidden, r"orchestration.db: permission denied: the exporter's user \(id \d+\)"),
    "folder without permission": (folder_forbidden, r"orchestration.db(-wal)?: permission denied: the exporter's user"),
    "none of its tables": (without_tables, "none of the tables it should have: orchestration_sessions, "),
}


def stranger(cause: str) -> tuple[str, ...]:
    """For what root may and nobody else: another user. Who is not root is kept out himself."""
    return another_user() if "permission" in cause and os.geteuid() == 0 else ()


@pytest.mark.bulk
@pytest.mark.parametrize(
    "cause,mode",
    [
        *((cause, "wal") for cause in CAUSES),
        ("locked", "delete"),
        *(pytest.param(cause, "delete", marks=pytest.mark.slow) for cause in ("half copied", "missing")),
    ],
)
async def test_a_database_that_cannot_be_read_is_down_until_it_can(
    books: Books, folder: Path, cause: str, mode: str
) -> None:
    """At the start there is nothing to serve; later the last totals are. Rows written meanwhile are not lost."""
    broken, said = CAUSES[cause]
    state = folder / "state"
    state.mkdir()
    state.chmod(0o777)
    exporter = Exporter(books.path, state / "exporter", prefix=stranger(cause), log=folder / "log")
    async with broken(books):
        with contextlib.ExitStack() as stack:
            stack.enter_context(exporter)
            until(lambda: exporter.lines("error"))
            assert exporter.up() == 0.0
            assert exporter.get("/-/ready")[0] == 503
            assert exporter.get("/-/healthy")[0] == 200
            assert exporter.shown().by_labels("orchestration_handoffs_total") == {}
            assert_said(exporter.lines("error", "critical", "warning"), said)
            assert re.search(said, page(exporter))
            running = stack.pop_all()
    with running:
        exporter.until_exact(books)
        async with books:
            await books.traffic()
        exporter.until_exact(books)

        told = len(exporter.lines("error", "critical", "warning"))
        async with broken(books):
            exporter.until_up(0.0)
            assert_exact(exporter.shown(), books)
            assert exporter.get("/-/ready")[0] == 200
            assert_said(exporter.lines("error", "critical", "warning")[told:], said)
        async with books:
            await books.traffic()
        exporter.until_exact(books)
        assert len(exporter.lines("error", "critical", "warning")) == told + 1


# ── the state directory ──────────────────────────────────────────────────────────────────────────────────────


def fill(path: Path) -> None:
    """Leave no byte free."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1024))


async def test_a_full_state_directory_shows_nothing_newer_until_there_is_space(books: Books, folder: Path) -> None:
    """At the start nothing; later the last totals that are saved, with `up 0`."""
    disk = folder / "disk"
    filled = f'{TMPFS}; head -c 9m /dev/zero > "$1/filler" 2> /dev/null || true'
    with Exporter(books.path, disk / "state", prefix=with_mounts(filled, disk), log=folder / "log") as exporter:
        filler = inside(exporter.process, disk / "filler")
        until(lambda: exporter.lines("error"))
        assert exporter.up() == 0.0
        assert exporter.get("/-/ready")[0] == 503
        assert exporter.shown().by_labels("orchestration_handoffs_total") == {}
        assert_said(exporter.lines("error", "warning"), "state cannot be saved.*no space is left on its disk")
        assert "no space is left" in page(exporter)
        filler.unlink()
        before = exporter.until_exact(books)

        fill(filler)
        async with books:
            await books.traffic()
        shown = exporter.until_up(0.0)
        name = "orchestration_handoffs_total"
        assert shown.by_labels(name) == before.by_labels(name)
        assert shown.total(FAILURES) > before.total(FAILURES)
        assert_said(exporter.lines("error", "warning")[1:], "state cannot be saved.*no space is left on its disk")
        assert exporter.get("/-/ready")[0] == 200
        filler.unlink()
        exporter.until_exact(books)

        exporter.stop()
        assert exporter.falls == []


async def test_a_read_only_state_directory_is_waited_for(books: Books, folder: Path) -> None:
    """A mount without writing: `up 0`, until it is mounted writable."""
    disk = folder / "disk"
    prefix = with_mounts(f'{TMPFS}; mount -o remount,bind,ro "$1"', disk)
    with Exporter(books.path, disk / "state", prefix=prefix, log=folder / "log") as exporter:
        until(lambda: exporter.lines("error"))
        assert exporter.up() == 0.0
        assert exporter.get("/-/ready")[0] == 503
        assert_said(exporter.lines("error", "warning"), "state cannot be .*read-only file system")
        mount_again(exporter.process, "-o", "remount,bind,rw", str(disk))
        exporter.until_exact(books)


async def test_a_state_directory_of_somebody_else_is_waited_for(books: Books, folder: Path) -> None:
    """Without permission to write: `up 0`, until it is there."""
    state = folder / "state"
    state.mkdir(mode=0o555)
    prefix = another_user() if os.geteuid() == 0 else ()
    with Exporter(books.path, state, prefix=prefix, log=folder / "log") as exporter:
        until(lambda: exporter.lines("error"))
        assert exporter.up() == 0.0
        assert_said(exporter.lines("error", "warning"), "state cannot be .*permission denied")
        state.chmod(0o777)
        exporter.until_exact(books)


@pytest.mark.parametrize("end", ["kill", *later("stop")])
async def test_a_state_directory_in_use_is_waited_for(books: Books, folder: Path, end: str) -> None:
    """A second exporter serves nothing until the first is gone; then it counts on from there."""
    first = Exporter(books.path, folder / "state", log=folder / "first.log")
    second = Exporter(books.path, folder / "state", log=folder / "second.log")
    with first, second:
        first.until_exact(books)
        until(lambda: second.lines("error"))
        assert second.up() == 0.0
        assert second.get("/-/ready")[0] == 503
        said = rf"state cannot be .*in use by another process \(pid {first.process.pid}\)"
        assert_said(second.lines("error", "warning"), said)
        assert second.shown().by_labels("orchestration_handoffs_total") == {}
        async with books:
            await books.traffic()
        first.until_exact(books)

        since = first.shown().total("orchestration_counting_since_timestamp_seconds")
        getattr(first, end)()
        shown = second.until_exact(books)
        assert shown.total("orchestration_counting_since_timestamp_seconds") == since


# ── what is no failure ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
async def test_a_database_on_a_read_only_mount_is_exact(books: Books, folder: Path, mode: str) -> None:
    """The exporter sees its folder through a mount without writing, at rest and while the platform writes."""
    prefix = with_mounts(READ_ONLY, books.path.parent)
    with Exporter(books.path, folder / "state", prefix=prefix) as exporter:
        exporter.until_exact(books)
        async with books:
            await books.traffic()
            exporter.until_exact(books)
        exporter.until_exact(books)
        assert exporter.lines("error", "warning") == []


def check(database: Path, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
    """The exit code of `check`, and what it says."""
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "exporter", "check", "--database", str(database)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@dataclass(frozen=True, slots=True)
class Lack:
    """What a database lacks: how it came to lack it, what that leaves out, and what `check` says of it.

    `absent` are the columns (None: the whole table) that the platform writes no more; `out` is what the ledger has
    no longer, `overrides` what hand-offs count with.
    """

    statements: tuple[str, ...]
    said: str
    code: int = 0
    absent: Mapping[str, Collection[str] | None] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    out: tuple[str, ...] = ()


HANDOFFS = ("orchestration_handoff", "handoff")
COLUMNS = "session_id, timestamp, task_type, source_model, target_model, success, cost, tokens_used"


def rebuilt(columns: str, end: str = "") -> Lack:
    """Hand-offs are in a table of another form, from which nothing is to be read."""
    copied = columns.replace(" INTEGER PRIMARY KEY AUTOINCREMENT", "").replace(" INTEGER PRIMARY KEY", "")
    return Lack(
        (
            f"CREATE TABLE rebuilt ({columns}){end}",
            f"INSERT INTO rebuilt SELECT {copied} FROM handoff_events",
            "DROP TABLE handoff_events",
            "ALTER TABLE rebuilt RENAME TO handoff_events",
        ),
        "handoff_events: left out: ",
        code=1,
        absent={"handoff_events": None},
        out=HANDOFFS,
    )


LACKS = {
    "a table": Lack(
        ("DROP TABLE task_outcomes",),
        "task_outcomes: left out: no such table",
        absent={"task_outcomes": None},
        out=("orchestration_task",),
    ),
    "the sessions": Lack(
        ("DROP TABLE orchestration_sessions",),
        "orchestration_sessions: left out: no such table",
        absent={"orchestration_sessions": None},
        out=("orchestration_sessions",),
    ),
    "a number": Lack(
        ("ALTER TABLE handoff_events DROP COLUMN savings",),
        "handoff_events: no column savings, read as NULL",
        absent={"handoff_events": ("savings",)},
        overrides={"savings": 0.0},
    ),
    "a label": Lack(
        ("ALTER TABLE handoff_events DROP COLUMN target_model",),
        "handoff_events: no column target_model, read as NULL",
        absent={"handoff_events": ("target_model",)},
        overrides={"target_model": "unknown"},
    ),
    "an id": rebuilt(COLUMNS),
    "an identity column": rebuilt("id INTEGER PRIMARY KEY AUTOINCREMENT, " + COLUMNS.replace("timestamp, ", "")),
    "autoincrement": rebuilt(f"id INTEGER PRIMARY KEY, {COLUMNS}"),
    "a rowid": rebuilt(f"id INTEGER PRIMARY KEY, {COLUMNS}", " WITHOUT ROWID"),
}


ALIKE = ("an identity column", "autoincrement", "a rowid")
"""Left out whole for other reasons, by the same lines as without an id."""


@pytest.mark.bulk
@pytest.mark.parametrize("lack", first(LACKS, rest=ALIKE))
async def test_a_database_that_lacks_something_is_up_and_exact_in_the_rest(
    books: Books, folder: Path, lack: str
) -> None:
    """What is missing reads as NULL; a table without what its rows are known by is left out whole; `check` says it."""
    lacking = LACKS[lack]
    async with Books(folder / "lacking.db", books.clock) as books:
        books.overrides = lacking.overrides
        if lack == "the sessions":
            books.overrides = {"project": "unknown"}
        await books.traffic()
        for statement in lacking.statements:
            for [index] in await books.sql("SELECT name FROM sqlite_master WHERE type = 'index' AND sql NOT NULL"):
                await books.sql(f"DROP INDEX {index}")
            await books.sql(statement)
    books.absent = lacking.absent
    books.ledger.without(*lacking.out)

    code, said = check(books.path)
    assert code == lacking.code, said
    assert re.search(rf"^(warning|error) +{re.escape(lacking.said)}", said, re.MULTILINE), said
    with Exporter(books.path, folder / "state") as exporter:
        exporter.until_exact(books)
        async with books:
            await books.traffic(in_flight=0)
        books.ledger.without(*lacking.out)
        exporter.until_exact(books)
        assert exporter.lines("error", "critical") == []
        if lack != "a number" and lack != "a label":
            assert lacking.said.partition(":")[0] in page(exporter)


async def test_check_is_content_with_a_whole_database(books: Books) -> None:
    """The tests above would find a word too many."""
    code, said = check(books.path)
    assert code == 0
    assert "left out" not in said
    assert "read as NULL" not in said
