"""The platform never notices the exporter: it stops, is restored, writes as another user and under hot polling.

Each check is shown to fail with a reader that does what everybody does: keep a connection, or open the file `mode=ro`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.source.sqlite import inspect
from tests.cases import later
from tests.running import MODES, Books, Clock, Exporter, Polling, another_user, until
from tests.sqlite_platform import REPOSITORY, Child, names, running

ROUNDS = 8
HOT_S = 2.0
REWINDS = "orchestration_exporter_source_rewinds_total"
HANDOFFS = "orchestration_handoffs_total"

# Writes as fast as it can, with the five seconds of patience that sqlite3 has; its last line is what it committed.
WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
rows, end = 0, time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    connection.execute("INSERT INTO handoff_events (target_model, success) VALUES ('m', 1)")
    rows += 1
connection.close()
print(rows)
"""

# What everybody does. It is told how to open the file, then keeps its snapshot until it gets a line.
NAIVE = """
import sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?{sys.argv[2]}", uri=True, isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM handoff_events").fetchall()
print("ready", flush=True)
for line in sys.stdin:
    print("again", flush=True)
"""

CONTENTS = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
found = {"integrity": connection.execute("PRAGMA integrity_check").fetchall()}
for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
    found[table] = connection.execute(f"SELECT * FROM {table}").fetchall()
connection.close()
print(json.dumps(found, sort_keys=True))
"""

BACKUP = """
import sqlite3, sys
source, target = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2])
source.backup(target)
source.close()
target.close()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter."""
    path = Path(tempfile.mkdtemp(prefix="unharmed-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def platform(folder: Path, mode: str = "wal") -> Books:
    """A platform whose rows are in the past."""
    clock = Clock()
    clock.advance(-5000.0)
    return Books(folder / "platform" / "orchestration.db", clock, mode=mode)


def python(code: str, *arguments: object, prefix: tuple[str, ...] = ()) -> str:
    """What a Python process prints that comes to a good end."""
    command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


# ── it stops ─────────────────────────────────────────────────────────────────────────────────────────────────


def unnamed(path: Path) -> set[str]:
    """What lies beside the database and `check` does not name, though nobody has it open."""
    left = {f"{path}{end}" for end in names(path) - {""}}
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "check", "--database", str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {file for file in left if not re.search(rf"^warning +{re.escape(file)}: left behind", done.stdout, re.M)}


@pytest.mark.bulk
async def test_the_platform_stops_and_nothing_of_ours_stays(folder: Path) -> None:
    """Neither -wal nor -shm, except where it stopped inside one of our reads: then `check` names both."""
    clean = 0
    books = platform(folder)
    async with books:
        await books.traffic()
    with Exporter(books.path, folder / "state") as exporter:
        for round_ in range(ROUNDS):
            async with books:
                await books.traffic(1)
                if round_ % 2:
                    exporter.until_exact(books)
            if names(books.path) == {""}:
                clean += 1
            else:
                until(lambda: not unnamed(books.path))  # at the moment it looks, the exporter may be reading again
                async with books:
                    pass
        exporter.until_exact(books)
        assert exporter.lines("error", "warning") == []
    assert clean >= ROUNDS / 2


async def test_a_connection_that_is_kept_would_leave_files(folder: Path) -> None:
    """The check above fails with it; as long as it lives the file is in use, and `check` has nothing to name."""
    books = platform(folder)
    await books.open()
    await books.traffic()
    with running(Child(NAIVE, books.path, "mode=ro")):
        await books.close()
        assert unnamed(books.path) == {f"{books.path}-wal", f"{books.path}-shm"}


# ── it is restored ───────────────────────────────────────────────────────────────────────────────────────────


async def stopped(books: Books) -> None:
    """Stop the platform, again if that was inside a read of ours."""
    until_s = time.monotonic() + 30
    await books.close()
    while names(books.path) != {""}:
        assert time.monotonic() < until_s
        async with books:
            pass


@pytest.mark.bulk
@pytest.mark.parametrize("mode", ["wal", *later("delete")])
async def test_restored_from_a_backup_the_platform_sees_exactly_that(folder: Path, mode: str) -> None:
    """An online backup copied over the file while the exporter runs on; which counts on, in real time."""
    books, backup = platform(folder, mode), folder / "backup.db"
    async with books:
        await books.traffic()
        python(BACKUP, books.path, backup)
        [[top]] = await books.sql("SELECT max(id) FROM handoff_events")
        with Exporter(books.path, folder / "state") as exporter:
            await books.traffic()
            exporter.until_exact(books)
            # Read, not only committed: what is gone before it could be read is counted by nobody.
            exporter.until_total("orchestration_handoffs_in_flight", len(books.in_flight))
            await stopped(books)
            subprocess.run(["cp", backup, books.path], check=True)  # noqa: ASYNC221
            assert python(CONTENTS, books.path) == python(CONTENTS, backup)

            books.vanish(above=top)
            await books.open()
            assert await books.sql("PRAGMA integrity_check") == [["ok"]]
            await books.traffic()
            began = time.monotonic()
            shown = exporter.until_exact(books)
            assert time.monotonic() - began < 15.0
            assert shown.total(REWINDS) > 0
            await stopped(books)
            assert '"integrity": [["ok"]]' in python(CONTENTS, books.path)
            exporter.until_exact(books)


async def test_a_connection_that_is_kept_would_bring_lost_rows_back(folder: Path) -> None:
    """The -wal that it keeps alive is read into the backup: the check above fails with it."""
    books, backup = platform(folder), folder / "backup.db"
    await books.open()
    await books.traffic()
    python(BACKUP, books.path, backup)
    with running(Child(NAIVE, books.path, "mode=ro")):
        await books.traffic()
        await books.close()
        subprocess.run(["cp", backup, books.path], check=True)  # noqa: ASYNC221
        with contextlib.suppress(subprocess.CalledProcessError):  # malformed, at times
            assert python(CONTENTS, books.path) != python(CONTENTS, backup)


# ── another user ─────────────────────────────────────────────────────────────────────────────────────────────


def owners(path: Path) -> set[int]:
    """Whose the database is and what lies beside it."""
    found = set()
    for file in path.parent.glob(f"{path.name}*"):
        with contextlib.suppress(FileNotFoundError):
            found.add(file.stat().st_uid)
    return found


@pytest.mark.bulk
@pytest.mark.parametrize("mode", MODES)
async def test_beside_an_exporter_of_another_user_the_platform_writes(folder: Path, mode: str) -> None:
    """Started and stopped again and again, in a folder where that user may write, too."""
    books = platform(folder, mode)
    async with books:
        await books.traffic()
    books.path.parent.chmod(0o777)
    (folder / "state").mkdir()
    (folder / "state").chmod(0o777)
    with Exporter(books.path, folder / "state", prefix=another_user(), log=folder / "log") as exporter:
        exporter.until_exact(books)
        for _ in range(ROUNDS // 2):
            async with books:
                await books.traffic(1)
                exporter.until_exact(books)
                assert owners(books.path) == {os.geteuid()}
            assert owners(books.path) == {os.geteuid()}
        exporter.until_exact(books)
    assert names(books.path) == {""} or inspect(books.path).left_behind


async def test_opened_read_only_by_another_user_it_would_lock_the_platform_out(folder: Path) -> None:
    """`mode=ro` creates -wal and -shm under that user: the check above fails with it."""
    books = platform(folder)
    async with books:
        await books.traffic()
    books.path.parent.chmod(0o777)
    with running(Child(NAIVE, books.path, "mode=ro", prefix=another_user())):
        assert owners(books.path) != {os.geteuid()}


# ── it writes as fast as it can ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.bulk
@pytest.mark.parametrize("mode", MODES)
async def test_under_hot_polling_a_writer_is_never_locked_out(folder: Path, mode: str) -> None:
    """Polled every few milliseconds it sees no "database is locked", and every row it commits is counted."""
    async with platform(folder, mode) as books:
        pass
    async with Polling(books.path, folder / "state") as polling:
        with (folder / "writer").open("w+") as said:
            writer = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-c", WRITER, books.path, str(HOT_S)], stdout=said, stderr=said
            )
            await polling.until(lambda: writer.poll() is not None, "done")
            said.seek(0)
            answer = said.read()
        assert writer.returncode == 0, answer
        shown = await polling.settled()
        assert shown.total(HANDOFFS) == int(answer) > 10
        assert shown.total(REWINDS) == 0
        assert polling.falls == []
        assert polling.polls("success") > 2


async def test_under_a_reader_that_takes_its_time_a_writer_would_be_locked_out(folder: Path) -> None:
    """In rollback mode, after five seconds: the check above fails with it."""
    async with platform(folder, "delete") as books:
        pass
    code = WRITER.replace("isolation_level=None", "isolation_level=None, timeout=0.2")
    with running(Child(NAIVE, books.path, "mode=ro")):
        writer = subprocess.run(  # noqa: ASYNC221
            [sys.executable, "-c", code, books.path, "1"], capture_output=True, text=True, timeout=60
        )
    assert "database is locked" in writer.stderr
