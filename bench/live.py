"""The exporter on a platform that is at work: what a poll costs by the table's size, and how much memory it takes."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Hashable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

from bench.databases import Platform, database, folder
from bench.figure import Figure, spread
from bench.processes import Running, exporter, in_fresh_process, memory_mb
from bench.scale import Scale
from exporter import logs
from exporter.catalogue import SCHEMA
from exporter.checkpoint import StateDirectory
from exporter.config import load
from exporter.poller import Poller
from exporter.source.sqlite import SqliteSource
from exporter.telemetry import Telemetry

PROMETHEUS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
_POLL_S = 0.25


def measure(scale: Scale) -> Iterator[Figure]:
    """One exporter on each database, side by side; rows are written to either in turns."""
    many_path = database(scale.many_rows, scale.many_sessions)
    with TemporaryDirectory(dir=folder()) as name:
        place = Path(name)
        few_path = place / "few.db"
        shutil.copy(database(scale.few_rows, scale.few_sessions), few_path)
        with closing(Platform(many_path)) as writer, closing(Platform(few_path)) as small_writer:
            writer.forget(scale.many_rows, scale.many_sessions)
            for platform in (writer, small_writer):
                platform.begin_everywhere()
            print(f"reading {scale.many_rows:,} hand-offs for the first time (two minutes for ten million)", flush=True)
            began = time.monotonic()
            with (
                exporter(few_path, place / "few", poll_interval=str(_POLL_S)) as few,
                exporter(many_path, place / "many", poll_interval=str(_POLL_S)) as many,
            ):
                took_s = time.monotonic() - began
                memory = [_memory(many)]
                yield _polls(scale, (writer, many), (small_writer, few))
                memory.append(_memory(many))
                yield _memory_figure(scale, many, memory, took_s)
            writer.forget(scale.many_rows, scale.many_sessions)


# ── polls ────────────────────────────────────────────────────────────────────────────────────────────────────


def _polls(scale: Scale, many: tuple[Platform, Running], few: tuple[Platform, Running]) -> Figure:
    took: dict[int, list[float]] = {0: [], 1: []}
    for number in range(scale.warm_polls + scale.polls):
        for which, (platform, running) in ((0, many), (1, few))[:: (-1) ** number]:
            poll_s = _poll_s(platform, running, scale.new_rows)
            if number >= scale.warm_polls:
                took[which].append(poll_s)
    sizes = f"table of {scale.many_rows:,} / of {scale.few_rows:,} rows"
    return Figure(
        "live",
        f"a poll that finds {scale.new_rows:,} new rows and a new session, {sizes}",
        median(took[0]) / median(took[1]),
        1.2,
        detail=f"{spread(took[0], scale=1e3, unit='ms')} / {spread(took[1], scale=1e3, unit='ms')}; "
        f"by means {fmean(took[0]) / fmean(took[1]):.2f}, by minima {min(took[0]) / min(took[1]):.2f}",
    )


def _poll_s(platform: Platform, running: Running, rows: int) -> float:
    """The seconds of the one poll that finds so many rows just committed, as the exporter itself measures it.

    Raises:
        RuntimeError: ten times it took other than one poll.
    """
    for _ in range(10):
        time.sleep(3 * _POLL_S)
        polls, before_s, read = _polled(running)
        platform.commit(rows, session=True)
        time.sleep(3 * _POLL_S)
        polls_after, after_s, read_after = _polled(running)
        if (polls_after - polls, read_after - read) == (1, rows):
            return after_s - before_s
    raise RuntimeError(f"no single poll found {rows} rows")


def _polled(running: Running) -> tuple[float, float, float]:
    """Polls that connected so far, their seconds, and the hand-offs read."""
    samples = running.samples()
    name = 'orchestration_exporter_poll_duration_seconds_{}{{source="default"}}'
    rows = 'orchestration_exporter_rows_read_total{source="default",table="handoff_events"}'
    return samples[name.format("count")], samples[name.format("sum")], samples[rows]


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────


def _memory(running: Running) -> float:
    """What the exporter occupies after it was scraped as Prometheus scrapes, and in every other form there is."""
    with running.client() as client:
        for accept in (PROMETHEUS, "text/plain"):
            for encoding in ("gzip", "identity"):
                client.get("/metrics", accept, encoding)
    return memory_mb(running.pid)


def _memory_figure(scale: Scale, running: Running, memory: list[float], took_s: float) -> Figure:
    what = f"{scale.many_rows:,} rows in {scale.many_sessions:,} sessions read, {len(running.samples()):,} samples"
    after = f"{memory[0]:.1f} MB after the first scan and a scrape in each form, {memory[1]:.1f} after the polls"
    peak = f"at most {memory_mb(running.pid, 'VmHWM'):.1f}; ready after {took_s:.0f} s"
    return Figure("live", f"resident memory, {what}", max(memory), 90.0, unit="MB", detail=f"{after}, {peak}")


# ── idle ─────────────────────────────────────────────────────────────────────────────────────────────────────


def measure_idle(scale: Scale) -> Iterator[Figure]:
    """Count the connections to a database that somebody has open and nobody writes."""
    path = database(scale.few_rows, scale.few_sessions)
    with TemporaryDirectory(dir=folder()) as name, closing(Platform(path)) as platform:
        platform.begin_session()
        looks, connections = in_fresh_process(idle, path, Path(name), scale.idle_s)
        platform.forget(scale.few_rows, scale.few_sessions)
    yield Figure("idle", f"connections opened by {looks} looks at an idle database", connections, 0.0, unit="")


def idle(path: Path, state: Path, idle_s: float) -> tuple[int, int]:
    """How often the poller looked once it had read everything, and how often it then opened the database by SQLite."""
    opened: list[str] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "sqlite3.connect" and path.name in str(arguments[0]):
            opened.append(str(arguments[0]))

    sys.addaudithook(note)
    logs.configure("error", "logfmt")
    environ = {"DATABASE": str(path), "STORAGE_PATH": str(state)}
    variables = {f"ORCHESTRATION_EXPORTER_{name}": value for name, value in environ.items()}
    settings = load(flags={}, environ=variables, metrics=SCHEMA.metrics)
    settings = settings.model_copy(update={"poll_interval": 0.1})
    source = _Counted(path)
    telemetry = Telemetry({source.name: {}}, now=time.time())
    poller = Poller(
        settings=settings,
        of=settings.sources[0],
        schema=SCHEMA,
        source=source,
        directory=StateDirectory(state),
        telemetry=telemetry,
    )
    looks, connections = asyncio.run(_idle(poller, source, opened, idle_s))
    if not opened:
        raise RuntimeError("no connection was seen where there must be one")
    return looks, connections


async def _idle(poller: Poller, source: _Counted, opened: list[str], idle_s: float) -> tuple[int, int]:
    async with asyncio.TaskGroup() as group:
        polling = group.create_task(poller.run())
        while not poller.ready:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(_POLL_S)
        await asyncio.sleep(_POLL_S)
        looks, connections = source.looks, len(opened)
        await asyncio.sleep(idle_s)
        polling.cancel()
        return source.looks - looks, len(opened) - connections


class _Counted(SqliteSource):
    """Counts its looks."""

    looks = 0

    def look(self) -> Hashable:
        """Look, and count."""
        self.looks += 1
        return super().look()
