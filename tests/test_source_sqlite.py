"""The SQLite source leaves the platform alone: real files, and a process of its own as the platform."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from exporter.source import SourceDiscarded, SourceError
from exporter.source.sqlite import SqliteSource, inspect
from tests.realtools import NOT_RUN
from tests.sqlite_platform import (
    COUNTING,
    INSERT,
    MODES,
    READER,
    REPOSITORY,
    Child,
    Platform,
    background,
    count,
    descriptors_of,
    files,
    made,
    names,
    running,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter, but not write to."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "orchestration.db"


@pytest.fixture(scope="session")
def another_user() -> tuple[str, ...]:
    """What to put before a command that another user shall run."""
    change = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    works = [sys.executable, "-c", "import exporter.source.sqlite"]
    for prefix in (change, ("unshare", "--map-root-user", "--map-auto", *change)):
        with contextlib.suppress(FileNotFoundError):
            done = subprocess.run([*prefix, *works], capture_output=True, cwd=REPOSITORY, check=False)
            if not done.returncode:
                return prefix
    pytest.skip(f"{NOT_RUN}setpriv, root or newuidmap, and a Python that others may run")


# --- looking ---


@pytest.mark.parametrize("mode", MODES)
def test_a_look_notices_each_of_a_thousand_commits(path: Path, mode: str) -> None:
    """Every commit gives another token than the one before it; no commit, the same."""
    source = SqliteSource(path)
    with running(Platform(path, mode)) as platform:
        tokens = [source.look()]
        for _ in range(1000):
            platform.sql(INSERT)
            tokens.append(source.look())

        assert all(before != after for before, after in pairwise(tokens))
        assert source.look() == tokens[-1]


def test_a_look_opens_no_connection_and_leaves_no_descriptor(path: Path) -> None:
    """Python tells its audit hooks of each sqlite3.connect: a thousand looks make none, a snapshot one."""
    code = """
import asyncio, os, sys
from exporter.source.sqlite import SqliteSource
connections = []
sys.addaudithook(lambda event, _: connections.append(event) if event == "sqlite3.connect" else None)
source = SqliteSource(sys.argv[1])
async def main():
    async with source.snapshot():
        pass
before = os.listdir("/proc/self/fd")
for _ in range(1000):
    source.look()
print(len(connections), os.listdir("/proc/self/fd") == before)
asyncio.run(main())
print(len(connections))
"""
    with running(Platform(path)):
        done = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, cwd=REPOSITORY, check=True
        )

    assert done.stdout.split() == ["0", "True", "1"]


def test_a_look_sees_a_replacement_and_a_touch(path: Path) -> None:
    """A file renamed over it is another inode; one written in place has another time."""
    source = SqliteSource(made(path))
    first = source.look()
    made(path.with_name("other.db")).replace(path)
    second = source.look()
    os.utime(path)

    assert len({first, second, source.look()}) == 3


async def test_a_look_during_a_snapshot_does_not_drop_its_locks(path: Path) -> None:
    """Closing a descriptor would let the platform delete the -wal that is being read."""
    source = SqliteSource(path)
    with running(Platform(path)) as platform:
        full = source.look()
        async with source.snapshot() as snapshot:
            assert source.look() != full
            with pytest.raises(RuntimeError, match="locks of an open snapshot"):
                inspect(path)
            platform.sql(INSERT)
            platform.close()

            assert names(path) == {"", "-wal", "-shm"}
            assert await snapshot.fetch("SELECT * FROM t") == []


# --- what cannot be read ---


def directory(path: Path) -> None:
    path.mkdir()


def half(path: Path) -> None:
    contents = made(path, "delete", rows=1000).read_bytes()
    path.write_bytes(contents[: len(contents) // 2])


def wal_without_shm(path: Path) -> None:
    made(path).with_name(path.name + "-wal").write_bytes(b"")


def shm_without_wal(path: Path) -> None:
    made(path).with_name(path.name + "-shm").write_bytes(b"")


def hot_journal(path: Path) -> None:
    platform = Platform(path, "delete")
    for statement in (
        "PRAGMA cache_size = 5",
        f"INSERT INTO t (v) {COUNTING} SELECT hex(zeroblob(500)) FROM n LIMIT 1000",
        "BEGIN",
        "UPDATE t SET v = v || 'y'",
    ):
        platform.sql(statement)
    platform.kill()


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "directory": (directory, "is a directory or a device"),
    "fifo": (os.mkfifo, "is a directory or a device"),
    "loop": (lambda path: path.symlink_to(path), "too many levels of symbolic links"),
    "empty": (Path.touch, "is empty"),
    "text": (lambda path: path.write_text("no database" * 100), "not a SQLite database"),
    "no header": (
        lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096),
        "not a SQLite database",
    ),
    "half": (half, "malformed"),
    "wal without shm": (wal_without_shm, "has a -wal but no -shm"),
    "shm without wal": (shm_without_wal, "has a -shm but no -wal"),
    "hot journal": (hot_journal, "a crash left an unfinished transaction in its -journal"),
}


SPECIAL = ("directory", "fifo", "loop")


@pytest.mark.parametrize("case", BROKEN)
async def test_what_cannot_be_read_is_one_line_and_touches_nothing(path: Path, case: str) -> None:
    """Snapshot and look name the file and what is wrong, and leave the folder as it was."""
    make, cause = BROKEN[case]
    make(path)
    before = {} if case in SPECIAL else files(path)
    source = SqliteSource(path, busy_timeout_s=0.05)

    with pytest.raises(SourceError, match=cause) as told:
        await count(source)
    with contextlib.suppress(SourceError):
        source.look()

    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)
    assert descriptors_of(path) == []
    assert before == ({} if case in SPECIAL else files(path))


async def test_a_wal_without_shm_is_read_when_the_platform_has_it_open(path: Path) -> None:
    """A copy of a live database is down only until then."""
    wal_without_shm(path)
    with running(Platform(path)):
        assert await count(SqliteSource(path)) == 10


def test_without_permission_it_says_whose_is_missing(path: Path, another_user: tuple[str, ...]) -> None:
    """A file its user may not read names the user's id."""
    made(path).chmod(0o600)
    with running(Child(READER, path, 1, prefix=another_user)) as reader:
        answer = reader.ask()

    assert answer.startswith(f"{path}: permission denied")
    assert "65534" in answer


async def test_a_locked_database_is_waited_for_then_named(path: Path) -> None:
    """A writer that keeps its lock is waited for as long as told; then it is one line."""
    made(path, "delete")
    with running(Platform(path, "delete")) as platform:
        platform.sql("BEGIN EXCLUSIVE")
        with pytest.raises(SourceError, match="locked by another process"):
            await count(SqliteSource(path, busy_timeout_s=0.05))

        reading = asyncio.create_task(count(SqliteSource(path, busy_timeout_s=30)))
        await asyncio.sleep(0)
        platform.sql("COMMIT")
        assert await reading == 10


# --- how the platform is left alone ---


async def test_the_platform_stops_between_two_reads_and_nothing_stays(path: Path) -> None:
    """Polled while it opens, writes and stops, it deletes its -wal and -shm as if it were alone."""
    source = SqliteSource(path)
    for round_ in range(1, 11):
        with running(Platform(path)) as platform:
            platform.sql(INSERT)
            assert await count(source) == round_
        assert names(path) == {""}
        assert await count(source) == round_
        assert names(path) == {""}


async def test_the_platform_stops_inside_a_read_and_check_can_tell(path: Path) -> None:
    """Then both files stay, ours to name, the platform's to remove; nothing is lost."""
    source = SqliteSource(path)
    platform = Platform(path)
    platform.sql(INSERT)
    assert inspect(path).connected
    assert inspect(path).left_behind == ()
    async with source.snapshot():
        platform.close()

    assert inspect(path).left_behind == (f"{path}-wal", f"{path}-shm")
    assert await count(source) == 1
    with running(Platform(path)) as again:
        assert again.sql("SELECT count(*) FROM t") == [[1]]
    assert names(path) == {""}


async def test_at_rest_a_wal_database_is_read_without_creating_anything(path: Path) -> None:
    """Neither in a folder that we may write to."""
    made(path)
    before = files(path)
    source = SqliteSource(path)
    async with source.snapshot() as snapshot:
        assert await snapshot.fetch("SELECT count(*) FROM t") == [(10,)]
        assert files(path) == before
    assert files(path) == before


def test_another_user_creates_nothing_and_the_platform_still_writes(path: Path, another_user: tuple[str, ...]) -> None:
    """Not while it stops and starts all the time, either: the files never become the exporter's."""
    made(path)
    path.parent.chmod(0o777)
    before = files(path)
    with running(Child(READER, path, 5, prefix=another_user)) as reader:
        assert reader.ask() == "10"
        assert files(path) == before

        busy = "import sqlite3, sys, time\nend = time.monotonic() + 2\nwhile time.monotonic() < end:\n" + (
            "  c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); c.close()\n"
        )
        answers = set()
        with background(busy, path, INSERT) as writer:
            while writer.poll() is None:
                answers.add(reader.ask())
                assert {uid for uid, _ in files_there(path)} == {os.geteuid()}

    assert writer.returncode == 0
    assert len(answers) > 5
    assert [answer for answer in answers if not (answer.isdecimal() or "while it was being read" in answer)] == []


def files_there(path: Path) -> list[tuple[int, str]]:
    """Owners and names, of files that may go at any time."""
    found = []
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.with_name(name).stat().st_uid, name))
    return found


def test_another_user_reads_a_live_database_in_a_folder_it_cannot_write(
    path: Path, another_user: tuple[str, ...]
) -> None:
    """Every commit at once, though -shm is read-only to it; and it leaves the files as they are."""
    with running(Platform(path)) as platform, running(Child(READER, path, 1, prefix=another_user)) as reader:
        for rows in range(1, 6):
            platform.sql(INSERT)
            before = files(path)
            assert reader.ask() == str(rows)
            assert files(path) == before


@pytest.mark.parametrize("who", ["the same user", "another user"])
def test_a_killed_platform_loses_nothing(path: Path, who: str, request: pytest.FixtureRequest) -> None:
    """What was committed is read from the -wal, of which, as of -shm, not a byte changes."""
    prefix = request.getfixturevalue("another_user") if who == "another user" else ()
    platform = Platform(path)
    for _ in range(5):
        platform.sql(INSERT)
    platform.kill()
    before = files(path)

    with running(Child(READER, path, 1, prefix=prefix)) as reader:
        assert reader.ask() == "5"
        assert files(path) == before
        with running(Platform(path)) as again:
            again.sql(INSERT)
            assert reader.ask() == "6"
    assert names(path) == {""}


@pytest.mark.bulk
@pytest.mark.parametrize("mode", MODES)
async def test_a_writer_is_never_locked_out(path: Path, mode: str) -> None:
    """Under a reader that never pauses, a writer that waits 5 s, as sqlite3 does, sees no error; nor do we."""
    writes = "import sqlite3, sys, time\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n" + (
        "end = time.monotonic() + 2\nwhile time.monotonic() < end: c.execute(sys.argv[2])\n"
    )
    made(path, mode)
    source = SqliteSource(path, busy_timeout_s=30)
    reads = set()
    with background(writes, path, INSERT) as writer:
        while writer.poll() is None:
            with contextlib.suppress(SourceDiscarded):  # as it opens the file
                reads.add(await count(source))

    assert writer.returncode == 0
    assert len(reads) > 1
