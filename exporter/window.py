"""Through which pages look at a source: however many viewers there are, it is read seldom and never waited for long.

A read is shared by all who want it while it runs and for two seconds after it ended; reads of a source take turns.
While the source cannot be read, what was seen last is given, and when that was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from exporter.recent import Eyes
from exporter.source import Snapshot, Source, SourceError
from exporter.view import Lately, Seen, Timeline

T = TypeVar("T")
Read = Callable[[Snapshot, float], Awaitable[T | None]]

EVERY_S = 2.0
WAIT_S = 1.5
MOST_SESSIONS = 32
"""Sessions whose timelines are kept; while so many are being read, no further one is."""


@dataclass(slots=True, eq=False)
class _Look(Generic[T]):
    """One thing to look at: the read that runs or ran last, when that ended, and what was seen."""

    value: T | None = None
    fresh: bool = False
    task: asyncio.Task[None] | None = None
    ended_at: float = float("-inf")

    @property
    def runs(self) -> bool:
        """Whether it is being read now."""
        return self.task is not None and not self.task.done()


class Window:
    """What pages see of one source."""

    def __init__(
        self,
        *,
        source: Source,
        eyes: Eyes,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        wait_s: float = WAIT_S,
    ) -> None:
        self.name = source.name
        self._source = source
        self._eyes = eyes
        self._wall = wall
        self._monotonic = monotonic
        self._wait_s = wait_s
        self._turn = asyncio.Lock()
        self._lately: _Look[Lately] = _Look()
        self._sessions: dict[str, _Look[Timeline]] = {}

    async def lately(self) -> Seen[Lately]:
        """The source's newest rows, at most a few seconds old while it can be read."""
        return await self._see(self._lately, self._eyes.lately)

    async def timeline(self, session: str) -> Seen[Timeline]:
        """The session of that id; a fresh None where the source has none."""
        look = self._look_at(session)
        if look is None:
            return Seen(None, fresh=False)
        return await self._see(look, lambda snapshot, now: self._eyes.timeline(snapshot, session, now))

    async def close(self) -> None:
        """End what is being read."""
        begun = [self._lately.task, *(look.task for look in self._sessions.values())]
        tasks = [task for task in begun if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look_at(self, session: str) -> _Look[Timeline] | None:
        """The session's look, as the newest one; None where too many are being read."""
        look = self._sessions.pop(session, None)
        if look is None and len(self._sessions) >= MOST_SESSIONS:
            idle = next((key for key, kept in self._sessions.items() if not kept.runs), None)
            if idle is None:
                return None
            del self._sessions[idle]
        return self._sessions.setdefault(session, look or _Look())

    async def _see(self, look: _Look[T], read: Read[T]) -> Seen[T]:
        if not look.runs and self._monotonic() - look.ended_at >= EVERY_S:
            look.task = asyncio.create_task(self._read(look, read))
        assert look.task is not None  # noqa: S101 - begun now or before
        await asyncio.wait([look.task], timeout=self._wait_s)
        if look.task.done():
            look.task.result()  # a bug in the reading is that of whoever asked
        return Seen(look.value, fresh=look.fresh and not look.runs)

    async def _read(self, look: _Look[T], read: Read[T]) -> None:
        """Look once. The poller tells people and logs why a source cannot be read; here it only is not fresh."""
        try:
            async with self._turn, self._source.snapshot() as snapshot:
                value = await read(snapshot, self._wall())
            look.value, look.fresh = value, True
        except SourceError:
            look.fresh = False
        finally:
            look.ended_at = self._monotonic()


class Windows:
    """The windows on all sources, opened anew when what ``made_by`` gives, the settings, is another object."""

    def __init__(self, made_by: Callable[[], object], opened: Callable[[], Iterable[Window]]) -> None:
        self._made_by = made_by
        self._opened = opened
        self._of: object = None
        self._windows: tuple[Window, ...] = ()

    async def of_sources(self) -> Sequence[Window]:
        """One for each source, in the order of the configuration."""
        if (settings := self._made_by()) is not self._of:
            before = self._windows
            self._of, self._windows = settings, tuple(self._opened())
            await _close(before)
        return self._windows

    async def close(self) -> None:
        """End what is being read."""
        await _close(self._windows)


async def _close(windows: Sequence[Window]) -> None:
    await asyncio.gather(*(window.close() for window in windows))
