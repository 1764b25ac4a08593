"""A backfill from the source to the files."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import chain
from math import floor
from pathlib import Path

from exporter.advance import Engine
from exporter.backfill.files import Sink, Stream, blocks_by, days
from exporter.backfill.lines import stamped
from exporter.backfill.needs import needed, tables
from exporter.backfill.progress import Progress
from exporter.backfill.replay import Replay, ticks
from exporter.backfill.scrapes import Scrapes
from exporter.backfill.timeline import Timeline
from exporter.checkpoint import CheckpointError
from exporter.config import Settings, SourceSettings
from exporter.explain.peek import peek_state
from exporter.once import read_all
from exporter.options import OperationError
from exporter.publisher import be_born
from exporter.reader import Reader
from exporter.rules import rules_of, schema_of
from exporter.source import Source
from exporter.spec import Gauge, Metric, Schema
from exporter.state import State

_UNKNOWABLE = {"current"}
"""Gauges of tables that are updated in place: what they said in the past is nowhere."""
STDOUT = Path("-")


class BackfillError(OperationError):
    """A backfill could not be made."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be written: times in Unix seconds, ``to`` None for the seam, ``start`` None for the first row."""

    output: Path
    start: float | None = None
    to: float | None = None
    step_s: float = 60.0
    metric: re.Pattern[str] | None = None
    job: str = ""
    instance: str = ""
    outages: tuple[tuple[float, float], ...] = ()
    promtool: str = ""
    """What makes blocks of each day at once, in place of its file; empty for the files."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    start: float
    to: float
    rows: int
    beyond: int
    samples: int
    size: int
    files: tuple[Path, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known before the past is read: the time it is now, the last sample's time, and of the live exporter the
    label values that it admits and since when it counts.
    """

    now: float
    to: float
    admitted: dict[str, dict[str, None]]
    counting_since: float


async def backfill(
    *, settings: Settings, of: SourceSettings, schema: Schema, source: Source, wanted: Wanted, progress: Progress
) -> Written:
    """Write the past of one source.

    Raises:
        SourceError: the source cannot be read.
        BackfillError: the checkpoint cannot be read, or the range is empty.
        OSError, sqlite3.Error: the output cannot be written; nothing half-written keeps its final name.
    """
    schema = schema_of(settings, schema, of.name)
    metrics = _chosen(schema, wanted)
    known = await _known(settings=settings, of=of, schema=schema, source=source, wanted=wanted)
    now, to = known.now, known.to
    schema = needed(schema, metrics)
    engine = _engine(settings, of, schema, known)
    with ExitStack() as stack:
        beside = wanted.output.parent if wanted.output != STDOUT else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".backfill-", dir=beside)))
        timeline = stack.enter_context(closing(Timeline(folder / "rows", engine.context, to=to, now=now)))
        layout = await Reader(source, engine, schema, engine.rules, lambda: now).seen()
        await timeline.fill(source, layout, tables(schema), progress.sorted)
        replay = Replay(engine, timeline)
        start = wanted.start
        if start is None and replay.first is not None:
            start = floor(replay.first / wanted.step_s) * wanted.step_s  # before the first row: all is born at 0
        if start is None or start >= to:
            raise BackfillError("there is nothing to write: no row lies before --to")
        return _write(replay, metrics, of, replace(wanted, start=start, to=to), progress)


async def _known(*, settings: Settings, of: SourceSettings, schema: Schema, source: Source, wanted: Wanted) -> _Known:
    """What the exporter's checkpoint says, read without its lock; where there is none, what one full read does.

    The full read is there for the vocabularies: which label values there is room for depends on all rows.
    """
    now = time.time()
    try:
        found = peek_state(settings.storage.path, of.name, schema)
    except CheckpointError as exc:
        raise BackfillError(str(exc)) from exc
    to = _end(wanted, found[0].first_publish if found else None, now)
    if wanted.start is not None and wanted.start >= to:
        raise BackfillError(f"--from {wanted.start:.0f}: must be before --to, {to:.0f}")
    if found is not None:
        state = found[0]
    else:
        state = (await read_all(settings=settings, of=of, schema=schema, source=source, now=to)).state
    since = to if found is None or state.counting_since is None else state.counting_since
    return _Known(now, to, {pool: dict(values) for pool, values in state.admitted.items()}, since)


def _end(wanted: Wanted, first_publish: float | None, now: float) -> float:
    """Where the live series begin: a block that ends ahead of now makes Prometheus drop every scrape until then."""
    if wanted.to is not None:
        if wanted.to > now:
            raise BackfillError(f"--to {wanted.to:.0f}: must not be later than now: Prometheus would drop every scrape")
        return wanted.to
    return now if first_publish is None else first_publish


def _engine(settings: Settings, of: SourceSettings, schema: Schema, known: _Known) -> Engine:
    """An engine without rows, that admits the label values that the live exporter does."""
    rules = rules_of(settings, of, patient=False)
    state = State(schema.tables)
    state.admitted = known.admitted
    state.counting_since = known.counting_since
    engine = Engine(state, schema, rules)
    engine.context.keeper.spend = None  # what is booked against a budget begins with its declaration
    be_born(state, schema, engine)
    return engine


def _chosen(schema: Schema, wanted: Wanted) -> tuple[Metric, ...]:
    """The metrics whose past can be known, those that are asked for."""
    metrics = tuple(
        metric
        for metric in schema.metrics
        if (wanted.metric is None or wanted.metric.fullmatch(metric.name))
        and not (isinstance(metric, Gauge) and metric.reading in _UNKNOWABLE)
    )
    if not metrics:
        raise BackfillError(f"--metric {wanted.metric.pattern if wanted.metric else ''}: no metric has such a name")
    return metrics


def _write(
    replay: Replay, metrics: Sequence[Metric], of: SourceSettings, wanted: Wanted, progress: Progress
) -> Written:
    assert wanted.start is not None and wanted.to is not None  # noqa: PT018, S101 - the caller's
    engine, start, to = replay.engine, wanted.start, wanted.to
    scrape = {name: text for name, text in (("job", wanted.job), ("instance", wanted.instance)) if text}
    scrapes = Scrapes(engine, metrics, {"source": of.name, **of.labels, **scrape})
    replay.until(start, wanted.step_s)
    progress.begin()
    with ExitStack() as stack:
        if wanted.output == STDOUT:
            stream = Stream(sys.stdout.buffer, scrapes.lines.header)
            samples = _steps(replay, scrapes, wanted, stream, progress, scrape)
            stream.end()
            return Written(start, to, replay.rows, replay.timeline.beyond, samples, stream.size)
        wanted.output.mkdir(exist_ok=True)
        then = blocks_by(wanted.promtool, wanted.output) if wanted.promtool else None
        sink = stack.enter_context(days(wanted.output, scrapes.lines.header, then))
        samples = _steps(replay, scrapes, wanted, sink, progress, scrape)
        sink.end()
        return Written(start, to, replay.rows, replay.timeline.beyond, samples, sink.size, tuple(sink.written))


def _steps(
    replay: Replay, scrapes: Scrapes, wanted: Wanted, sink: Sink, progress: Progress, scrape: Mapping[str, str]
) -> int:
    """Write every step; how many samples. What is born in a step is in the one before, at 0."""
    assert wanted.start is not None and wanted.to is not None  # noqa: PT018, S101 - the caller's
    start, to = wanted.start, wanted.to
    pairs = ",".join(f'{name}="{text}"' for name, text in sorted(scrape.items()))
    up = [f"up{{{pairs}}}"] if scrape else []
    samples, before = 0, None

    def emit(at: float) -> int:
        down = any(first <= at < last for first, last in wanted.outages)
        marks = stamped([f"{name} {0 if down else 1}".encode() for name in up], at)
        sink.write(at, marks if down else chain(marks, scrapes.lines.step(at)))
        return len(up) + (0 if down else len(scrapes.lines))

    for at in ticks(start, to, wanted.step_s):
        moved = replay.advance(at)
        scrapes.bear()
        if before is not None:
            samples += emit(before)
        scrapes.take(at, moved=moved)
        progress.written((at - start) / (to - start), samples, sink.size)
        before = at
    return samples + (0 if before is None else emit(before))
