"""How often pages look at a source, and how long they wait for it: on a source that a test holds up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from exporter.catalogue import SCHEMA, SHOWN
from exporter.context import Rules
from exporter.demo.schema import TABLES
from exporter.recent import Eyes
from exporter.source import Look, Snapshot, Source, SourceDiscarded, SourceError
from exporter.source.sqlite import SqliteSource
from exporter.view import Lately, Timeline
from exporter.window import EVERY_S, MOST_SESSIONS, Window, Windows
from tests.sqlite_platform import Platform, running


class Held:
    """A source whose snapshots last until they are let go, and fail when told to."""

    name = "held"

    def __init__(self) -> None:
        self.reads = 0
        self.now = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: SourceError | None = None

    def look(self) -> Look:
        """Nobody looks."""
        return 0

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """One read transaction."""
        self.reads += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
            yield cast("Snapshot", None)
            if self.error is not None:
                raise self.error
        finally:
            self.now -= 1


class Blink(Eyes):
    """Sees nothing but when it looked."""

    async def lately(self, snapshot: Snapshot, now: float) -> Lately:
        """Nothing happened."""
        return Lately(now, (), None)

    async def timeline(self, snapshot: Snapshot, key: str, now: float) -> Timeline | None:
        """No session is there, and one is a bug."""
        if key == "bug":
            raise ZeroDivisionError
        return None


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@contextlib.asynccontextmanager
async def opened(source: Source, clock: Clock, *, wait_s: float = 0.05) -> AsyncIterator[Window]:
    """A window on it, closed at the end."""
    eyes = Blink((), None, Rules())
    window = Window(source=source, eyes=eyes, wall=clock, monotonic=clock, wait_s=wait_s)
    try:
        yield window
    finally:
        await window.close()


async def test_however_many_look_it_is_read_once_in_two_seconds() -> None:
    """All who come while it is read, or shortly after, share what was seen."""
    source, clock = Held(), Clock()
    async with opened(source, clock) as window:
        await asyncio.gather(*(window.lately() for _ in range(50)))
        clock.at += EVERY_S - 0.1
        await window.lately()
        assert source.reads == 1

        clock.at += 0.2
        found = await window.lately()

    assert source.reads == 2
    assert (found.fresh, found.value) == (True, Lately(clock.at, (), None))


async def test_nobody_waits_long_for_a_source_that_is_held_up() -> None:
    """What was seen last is given; the read goes on, and what it sees is there for the next."""
    source, clock = Held(), Clock()
    async with opened(source, clock) as window:
        first = await window.lately()
        source.gate.clear()
        clock.at += EVERY_S
        held = await window.lately()
        assert (held.fresh, held.value) == (False, first.value)

        source.gate.set()
        assert (await window.lately()).fresh

    assert source.reads == 2


async def test_what_was_never_seen_is_none() -> None:
    """A source that cannot be read from the start."""
    source, clock = Held(), Clock()
    source.error = SourceError("locked")
    async with opened(source, clock) as window:
        found = await window.lately()

    assert (found.value, found.fresh) == (None, False)


async def test_what_was_not_of_one_moment_is_not_shown() -> None:
    """What a snapshot read that had to be discarded never appears; the last that was whole does."""
    source, clock = Held(), Clock()
    async with opened(source, clock) as window:
        whole = await window.lately()
        source.error = SourceDiscarded("changed meanwhile")
        clock.at += EVERY_S
        found = await window.lately()

    assert (found.value, found.fresh) == (whole.value, False)


async def test_looks_at_a_source_take_turns() -> None:
    """However many sessions are asked for, one snapshot is open at a time."""
    source, clock = Held(), Clock()
    async with opened(source, clock) as window:
        await asyncio.gather(*(window.timeline(str(n)) for n in range(20)), window.lately())

    assert (source.reads, source.most) == (21, 1)


async def test_only_so_many_sessions_are_waited_for() -> None:
    """Beyond them nobody is told that a session is not there; when they are done, others have their turn."""
    source, clock = Held(), Clock()
    source.gate.clear()
    async with opened(source, clock) as window:
        await asyncio.gather(*(window.timeline(str(n)) for n in range(MOST_SESSIONS)))
        assert not (await window.timeline("one more")).fresh

        source.gate.set()
        async with asyncio.timeout(10):
            while not (await window.timeline(str(MOST_SESSIONS - 1))).fresh:
                pass
        assert (await window.timeline("one more")).fresh


async def test_an_unknown_session_is_a_fresh_nothing() -> None:
    """Seen not to be there."""
    async with opened(Held(), Clock()) as window:
        found = await window.timeline("nobody")

    assert (found.value, found.fresh) == (None, True)


async def test_a_bug_reaches_who_asked() -> None:
    """It is no source that cannot be read."""
    async with opened(Held(), Clock()) as window:
        with pytest.raises(ZeroDivisionError):
            await window.timeline("bug")


async def test_closing_ends_what_is_read() -> None:
    """No snapshot stays open."""
    source = Held()
    source.gate.clear()
    async with opened(source, Clock()) as window:
        await window.lately()
        assert source.now == 1

    assert source.now == 0


async def test_windows_are_those_of_the_sources_there_are() -> None:
    """The same ones until the settings are others; then what the old ones read is ended."""
    settings: list[object] = [object()]
    source, clock = Held(), Clock()
    eyes = Blink((), None, Rules())
    windows = Windows(
        lambda: settings[0], lambda: [Window(source=source, eyes=eyes, monotonic=clock, wait_s=0.01) for _ in range(2)]
    )
    before = await windows.of_sources()
    assert await windows.of_sources() is before
    source.gate.clear()
    await before[0].lately()
    settings[0] = object()
    after = await windows.of_sources()
    await windows.close()

    assert len(before) == len(after) == 2
    assert not set(before) & set(after)
    assert source.now == 0


async def test_a_locked_database_is_answered_for_at_once(tmp_path: Path) -> None:
    """A writer holds all of it: the rows seen before are shown meanwhile, and the new ones afterwards."""
    path = tmp_path / "p.db"
    with running(Platform(path, "delete")) as platform:
        for statement in TABLES.split(";"):
            platform.sql(" ".join(statement.split()))
        source = SqliteSource(path, query_timeout_s=1.0, busy_timeout_s=0.3)
        clock = Clock()
        window = Window(source=source, eyes=Eyes(SHOWN, SCHEMA.sessions, Rules()), monotonic=clock, wait_s=5.0)
        before = await window.lately()
        platform.sql("BEGIN EXCLUSIVE")
        platform.sql("INSERT INTO handoff_events (session_id, timestamp) VALUES ('s', CURRENT_TIMESTAMP)")
        clock.at += EVERY_S
        locked = await window.lately()
        platform.sql("COMMIT")
        clock.at += EVERY_S
        after = await window.lately()
        await window.close()

    assert (before.fresh, locked.fresh, after.fresh) == (True, False, True)
    assert locked.value == before.value
    assert after.value is not None
    assert [event.kind for event in after.value.events] == ["hand-off"]
