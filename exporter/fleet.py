"""All sources: a poller for each, what they publish as one, and another configuration while they run.

Each poller has its own reader, state and failure, and waits for none of the others. A bug in one ends them all, and
the process: old numbers must not be served as new. One thread, the event loop's, uses all of this.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from exporter.checkpoint import StateDirectory
from exporter.config import Settings, SourceSettings
from exporter.exposition import Publication, merged
from exporter.poller import STALE_S, Poller
from exporter.source import Source
from exporter.spec import Schema
from exporter.telemetry import Telemetry
from exporter.tenants import Tenants
from exporter.view import SourceStatus

_NOT_OF_POLLERS = ("sources", "web", "storage", "log")

_THREADS_PER_SOURCE = 3  # of a poller that was cancelled, one may still be at work; and a page may look
_THREADS = 4  # for the bytes of scrapes, and what else there is

OpenSource = Callable[[SourceSettings, Settings], Source]
"""Makes what reads a database; connects to nothing yet."""


@dataclass(frozen=True, slots=True)
class Edition:
    """What a scrape is sent, and by which pollers it was published."""

    publication: Publication
    members: tuple[tuple[Poller, Publication], ...]

    def note_served(self) -> None:
        """A client was sent all of it."""
        for poller, publication in self.members:
            poller.note_served(publication)


class _Seat:
    """A source's place: its poller, and the one it replaced for as long as that one's publication is shown."""

    def __init__(self, poller: Poller, replaced: Poller | None = None) -> None:
        self.poller = poller
        self._replaced = replaced
        self._since = poller.monotonic()

    def shown(self) -> Poller:
        """Whose publication is served: the new one's when it knows how the source is, and has all metrics.

        The old one's totals were saved, and are right. That they are not current is told when the source cannot be
        read, or when it takes longer than `STALE_S`.
        """
        before, told = self._replaced, self.poller.has_told
        if before is None or (told and (self.poller.is_complete or not before.ready)):
            self._replaced = None
            return self.poller
        if told or self.poller.monotonic() - self._since > STALE_S:
            before.outlive()
        return before

    def status(self) -> SourceStatus:
        """How what is served stands, and what its poller is doing, or cannot do, now."""
        shown, now = self.shown().status(), self.poller.status()
        return replace(shown, error=now.error, checkpoint_error=now.checkpoint_error, progress=now.progress)


class Fleet:
    """The sources of the settings, polled for as long as ``run`` runs.

    The state directory is the process's: its lock is taken by whichever poller first needs it, and given back when
    all have ended.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        schema: Schema,
        open_source: OpenSource,
        telemetry: Telemetry,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clocks = (wall, monotonic)
        self._settings = settings
        self._schema = schema
        self._open_source = open_source
        self._telemetry = telemetry
        self._directory = StateDirectory(settings.storage.path)
        self._seats = {of.name: _Seat(self._poller(of, settings)) for of in settings.sources}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._threads_for = 0
        self._tenants = Tenants(settings, schema)
        self._was_ready = False
        self._of: Sequence[Publication] = ()
        self._merged: Publication | None = None

    def _poller(self, of: SourceSettings, settings: Settings) -> Poller:
        return Poller(
            settings=settings,
            of=of,
            schema=self._schema,
            source=self._open_source(of, settings),
            directory=self._directory,
            telemetry=self._telemetry,
            wall=self._clocks[0],
            monotonic=self._clocks[1],
        )

    # ── what others see ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def settings(self) -> Settings:
        """The settings by which they are polled now."""
        return self._settings

    @property
    def sources(self) -> Sequence[str]:
        """The names of the sources."""
        return tuple(self._seats)

    def edition(self, source: str | None = None) -> Edition | None:
        """What is to be shown now, of all sources or of one; None before there is anything.

        Raises:
            KeyError: there is no such source.
        """
        names = sorted(self._seats) if source is None else [source]
        pollers = [self._seats[name].shown() for name in names]
        members = tuple((poller, poller.publication) for poller in pollers if poller.publication is not None)
        if not members:
            return None
        publications = [publication for _, publication in members]
        if source is None and (of_tenants := self._tenants.publish(pollers)) is not None:
            publications.append(of_tenants)
        return Edition(publications[0] if len(publications) == 1 else self._as_one(publications), members)

    def _as_one(self, publications: Sequence[Publication]) -> Publication:
        """All merged; the same object, with the bytes that were made of it, until one of them changes."""
        pairs = zip(self._of, publications, strict=False)
        same = len(self._of) == len(publications) and all(one.shows_the_same(other) for one, other in pairs)
        if self._merged is None or not same:
            self._of, self._merged = publications, merged(publications)
        return self._merged

    @property
    def ready(self) -> bool:
        """Whether a source was shown complete, and none is in its first scan; once that was so, it stays.

        One that cannot be read does not keep the others unready.
        """
        pollers = [seat.shown() for seat in self._seats.values()]
        if any(poller.ready for poller in pollers) and all(poller.ready or poller.has_told for poller in pollers):
            self._was_ready = True
        return self._was_ready

    def statuses(self) -> Sequence[SourceStatus]:
        """How the sources are doing, in the order of the configuration."""
        return [seat.status() for seat in self._seats.values()]

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Poll until cancelled.

        Raises:
            ExceptionGroup: a bug in one of the pollers; the process should end.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    self._begin(self._seats)
                    await asyncio.Event().wait()
                finally:
                    self._group = None
        finally:
            self._directory.release()

    def _begin(self, names: Iterable[str]) -> None:
        if self._group is None:
            return  # `run` will
        self._provide_threads()
        for name in names:
            leaving = [task for task in self._tasks.get(name, ()) if not task.done()]
            running = self._group.create_task(_run(self._seats[name].poller, leaving), name=f"poll {name}")
            self._tasks[name] = [*leaving, running]

    def _provide_threads(self) -> None:
        """No source waits for a thread that another holds: one opens its file, or counts what was read."""
        if self._threads_for >= len(self._seats):
            return
        self._threads_for = len(self._seats)
        before, self._threads = self._threads, ThreadPoolExecutor(_THREADS_PER_SOURCE * self._threads_for + _THREADS)
        asyncio.get_running_loop().set_default_executor(self._threads)
        if before is not None:
            before.shutdown(wait=False)

    # ── another configuration ────────────────────────────────────────────────────────────────────────────────

    def apply(self, settings: Settings) -> None:
        """Poll by these settings from now on; where storage, log and web differ, nothing is done.

        Pollers that nothing changes for go on. The others are cancelled, and new ones go on from what was saved,
        which is all that was ever shown; until they have told how their source is, what was shown last is.
        """
        alike = _of_pollers(settings) == _of_pollers(self._settings)
        kept = {of.name for of in settings.sources if alike and self._has(of)}
        made = {of.name: self._poller(of, settings) for of in settings.sources if of.name not in kept}
        for name in self._seats.keys() - kept:
            for task in self._tasks.get(name, ()):
                task.cancel()
        before, self._settings = self._seats, settings
        self._tenants = Tenants(settings, self._schema)
        self._seats = {
            of.name: before[of.name] if of.name in kept else _succeeding(before.get(of.name), made[of.name])
            for of in settings.sources
        }
        self._telemetry.follow({of.name: of.labels for of in settings.sources})
        self._begin(made)

    def _has(self, of: SourceSettings) -> bool:
        seat = self._seats.get(of.name)
        return seat is not None and seat.poller.of == of


def _of_pollers(settings: Settings) -> dict[str, object]:
    """The settings that every poller goes by."""
    return {name: getattr(settings, name) for name in type(settings).model_fields if name not in _NOT_OF_POLLERS}


def _succeeding(seat: _Seat | None, poller: Poller) -> _Seat:
    return _Seat(poller, seat.shown() if seat is not None else None)


async def _run(poller: Poller, leaving: Sequence[asyncio.Task[None]]) -> None:
    """Run it once those before it have let go of their checkpoint."""
    if leaving:
        await asyncio.wait(leaving)
    await poller.run()
