"""What need not be in memory: it comes back as it was, its file stays small and unseen, a disk that fails is told."""

from __future__ import annotations

import errno
import gc
import os
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import spill
from exporter.catalogue import SCHEMA
from exporter.catalogue.tables import HANDOFFS
from exporter.checkpoint import StateDirectory
from exporter.demo.schema import TABLES
from exporter.localtime import WHOLE, hour_of
from exporter.source.sqlite import SqliteSnapshot
from exporter.spill import Spill, Spilled, SpillError
from exporter.state import State
from tests.running import DEADLINE_S, Exporter, Polling
from tests.sqlite_platform import descriptors_of

SLACK = 1000


def sizes(below: Path) -> list[int]:
    """The lengths of the files that this process has open below a folder."""
    return [link.stat().st_size for link in descriptors_of(below)]


def put(pieces: Spill, data: bytes) -> Spilled:
    """Put the bytes into the file, which takes them."""
    piece = pieces.put(data)
    assert isinstance(piece, Spilled)
    return piece


def test_what_is_put_aside_comes_back_from_a_file_that_nobody_sees(tmp_path: Path) -> None:
    """Bytes of any length, none included; the file is made for the first, and closed when nobody needs it."""
    aside = Spill(tmp_path)
    assert sizes(tmp_path) == []

    pieces = [put(aside, data) for data in (b"one", b"", bytes(range(256)) * 1000)]

    assert [piece.read() for piece in pieces] == [b"one", b"", bytes(range(256)) * 1000]
    assert sizes(tmp_path) == [256_003]
    assert list(tmp_path.iterdir()) == []
    del aside
    assert pieces[0].read() == b"one", "a piece keeps its file"
    pieces.clear()
    gc.collect()
    assert sizes(tmp_path) == []


@pytest.mark.bulk
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9)), max_size=120))
def test_the_file_stays_small_however_often_things_are_put_aside(
    tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[int, int]]
) -> None:
    """Ten things, each put aside anew from time to time: all are as they were last, and the file has about twice that
    and what may be of no use.
    """
    folder, draw = tmp_path_factory.mktemp("spill"), random.Random(1)
    aside = Spill(folder, slack_bytes=SLACK)
    wanted: dict[int, tuple[bytes, Spilled]] = {}
    for size, key in puts:
        data = draw.randbytes(size)
        wanted[key] = data, put(aside, data)

        assert all(piece.read() == data for data, piece in wanted.values())
        longest = 2 * 400 * len(wanted) + SLACK + 400
        assert sum(sizes(folder)) <= longest


def test_a_file_that_is_never_made_anew_would_be_noticed(tmp_path: Path) -> None:
    """What bounds the file is that it is made anew: with more slack it grows."""
    aside = Spill(tmp_path, slack_bytes=10 * SLACK)
    for _ in range(9):
        piece = put(aside, bytes(SLACK))
    assert sizes(tmp_path) == [9 * SLACK]

    for _ in range(9):
        piece = put(aside, bytes(SLACK))

    assert sizes(tmp_path)[0] < 10 * SLACK
    assert piece.read() == bytes(SLACK)


def test_without_a_place_to_put_them_things_stay_as_they_are(tmp_path: Path) -> None:
    """A folder that is not there yet: the bytes themselves; once it is there they go to the disk."""
    folder = tmp_path / "later"
    aside = Spill(folder)

    assert aside.put(b"one") == b"one"

    folder.mkdir()
    assert put(aside, b"two").read() == b"two"


@pytest.mark.parametrize("written", [0, 3], ids=["nothing", "a part"])
def test_what_a_full_disk_does_not_take_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Written in part or not at all: what was there before can be read, and what comes later, too."""
    aside, pwrite = Spill(tmp_path), os.pwrite
    before = put(aside, b"before")

    def full(file: int, data: bytes, offset: int) -> int:
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(file, data[:written], offset)

    with monkeypatch.context() as patch:
        patch.setattr(spill.os, "pwrite", full)
        assert aside.put(b"meanwhile") == b"meanwhile"

    after = put(aside, b"after")
    assert (before.read(), after.read()) == (b"before", b"after")


def test_a_new_file_that_a_full_disk_does_not_take_is_not_tried_at_each_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one goes on, whole, until as much again was put into it; no file is left open for each try."""
    aside, tries = Spill(tmp_path, slack_bytes=SLACK), []
    kept = put(aside, b"kept")

    def no_room(*args: object, **kwargs: object) -> object:
        tries.append(args)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(spill.tempfile, "TemporaryFile", no_room)
        refused = sum(isinstance(aside.put(bytes(100)), bytes) for _ in range(60))

    assert len(tries) == refused == 5
    assert kept.read() == b"kept"
    assert len(sizes(tmp_path)) == 1
    piece = put(aside, bytes(2 * SLACK))
    assert put(aside, b"new").read() == b"new"
    assert (kept.read(), piece.read()) == (b"kept", bytes(2 * SLACK))
    assert sizes(tmp_path)[0] < 3 * SLACK, "it was made anew"


@pytest.mark.parametrize("how", ["shortened", "unreadable"])
def test_what_the_disk_does_not_give_back_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Never other bytes, nor fewer; nor are they left out of a new file without a word."""
    aside = Spill(tmp_path, slack_bytes=SLACK)
    piece = put(aside, bytes(SLACK))
    if how == "shortened":
        assert aside._file is not None
        aside._file.truncate(4)
    else:
        monkeypatch.setattr(spill.os, "pread", broken)

    for ask in (piece.read, lambda: aside.put(b"the next file")):
        with pytest.raises(SpillError, match=rf"^{tmp_path}: a file without a name cannot be read again: .*; look"):
            ask()
    assert len(sizes(tmp_path)) == 1


def broken(file: int, size: int, offset: int) -> bytes:
    """What reading is on a disk that is worn out."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


# ── the exporter ─────────────────────────────────────────────────────────────────────────────────────────────

HOURS, AT_A_TIME = 60, 5
HANDOFF = "INSERT INTO handoff_events (session_id, timestamp, target_model, cost, success) VALUES ('s', ?, 'm', ?, 1)"


def hours_ago(hours: int) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S")


def platform_of_hours(path: Path) -> sqlite3.Connection:
    """A platform with a hand-off in each of the last sixty hours, open."""
    platform = sqlite3.connect(path)
    platform.executescript(TABLES)
    platform.execute("INSERT INTO orchestration_sessions (session_id, project_name) VALUES ('s', 'p')")
    platform.executemany(HANDOFF, [(hours_ago(back), 0.25) for back in range(HOURS)])
    platform.commit()
    return platform


class Rows(list[Any]):
    """Rows of which one can tell whether anybody has them."""


async def test_a_scan_lets_go_of_rows_before_it_asks_for_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it held at once would be held for good: Python gives little of it back."""
    found: list[ref[Rows]] = []
    held: list[int] = []
    fetch = SqliteSnapshot.fetch

    async def watched(self: SqliteSnapshot, sql: str, *args: Any, label: str = "") -> Any:
        if label != HANDOFFS.label:
            return await fetch(self, sql, *args, label=label)
        held.append(sum(rows() is not None for rows in found))
        rows = Rows(await fetch(self, sql, *args, label=label))
        found.append(ref(rows))
        return rows

    monkeypatch.setattr(SqliteSnapshot, "fetch", watched)
    monkeypatch.setattr("exporter.reader.ROWS", AT_A_TIME)
    with closing(platform_of_hours(tmp_path / "platform.db")):
        async with Polling(tmp_path / "platform.db", tmp_path / "state") as polling:
            assert polling.shown.total("orchestration_handoffs_total") == HOURS

    assert len(held) > HOURS / AT_A_TIME
    assert held[: HOURS // AT_A_TIME] == [0] * (HOURS // AT_A_TIME)


def test_books_put_aside_end_with_the_exporter_and_come_again_with_it(tmp_path: Path) -> None:
    """A platform of sixty hours: most of its books are in a file that has no name. When that breaks, the exporter says
    so and ends before it shows anything; the next one has what was saved, and counts on.
    """
    database, storage = tmp_path / "platform.db", tmp_path / "state"
    with closing(platform_of_hours(database)) as platform:
        with Exporter(database, storage) as exporter:
            exporter.until_total("orchestration_handoffs_total", HOURS)
            is_open = descriptors_of(storage, pid=exporter.process.pid)
            (hidden,) = [link for link in is_open if str(link.readlink()).endswith("(deleted)")]
            names = {path.name for path in storage.iterdir()}
            os.truncate(hidden, 0)
            platform.execute(HANDOFF, (hours_ago(HOURS - 1), 0.5))
            platform.commit()

            assert exporter.process.wait(DEADLINE_S) == 1
        said = f"{storage}: a file without a name cannot be read again: it ends too early; look after its disk"
        assert exporter.log.read_text().splitlines()[-1] == f"orchestration-exporter: error: {said}"
        assert names <= {"default-00000001.sqlite", "default-00000001.sqlite-wal", "default.tip", "lock"}

    with Exporter(database, storage) as exporter:
        shown = exporter.until_total("orchestration_handoffs_total", HOURS + 1)
    assert shown.total("orchestration_cost_usd_total") == HOURS * 0.25 + 0.5
    directory, state = StateDirectory(storage), State(SCHEMA.tables)
    state.load(directory.checkpoint("default").load().records, {metric.name: metric for metric in SCHEMA.metrics})
    directory.release()
    by_hour = [place for place in state.ledger.places() if hour_of(place) != WHOLE]
    assert sum(entry[0] for at in by_hour for _, entry in state.ledger.entries(at)) == HOURS * 0.25 + 0.5
