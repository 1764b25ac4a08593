"""A backfill from the source to the files."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from math import floor
from pathlib import Path

from exporter import gauges
from exporter.advance import Engine
from exporter.backfill.files import Sink, Stream, blocks_by, days
from exporter.backfill.lines import Lines, stamped
from exporter.backfill.progress import Progress
from exporter.backfill.replay import Replay, ticks
from exporter.backfill.timeline import Timeline
from exporter.budgets import standing
from exporter.checkpoint import CheckpointError
from exporter.config import Settings, SourceSettings
from exporter.explain.peek import peek
from exporter.gauges import OF_BUDGETS, Health, Readings
from exporter.once import read_all
from exporter.options import OperationError
from exporter.publisher import be_born
from exporter.reader import Reader
from exporter.rules import rules_of, schema_of
from exporter.source import Source
from exporter.spec import Gauge, Metric, Schema
from exporter.state import State, StateError

_CALENDAR = {"ledger", "ledger_median", "period_start", "period_end", *OF_BUDGETS}
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


async def backfill(
    *, settings: Settings, of: SourceSettings, schema: Schema, source: Source, wanted: Wanted, progress: Progress
) -> Written:
    """Write the past of one source.

    Raises:
        SourceError: the source cannot be read.
        BackfillError: the checkpoint cannot be read, or the range is empty.
        OSError, sqlite3.Error: the output cannot be written; nothing half-written keeps its final name.
    """
    now = time.time()
    schema = schema_of(settings, schema, of.name)
    known = _checkpoint(settings, of, schema)
    to = _end(wanted, known, now)
    if wanted.start is not None and wanted.start >= to:
        raise BackfillError(f"--from {wanted.start:.0f}: must be before --to, {to:.0f}")
    if known is None:
        read = await read_all(settings=settings, of=of, schema=schema, source=source, now=to)
        known = read.state
    engine = _engine(settings, of, schema, known, to)
    with ExitStack() as stack:
        beside = wanted.output.parent if wanted.output != STDOUT else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".backfill-", dir=beside)))
        timeline = stack.enter_context(closing(Timeline(folder / "rows", engine.context, to=to, now=now)))
        layout = await Reader(source, engine, schema, engine.rules, lambda: now).seen()
        await timeline.fill(source, layout, progress.sorted)
        replay = Replay(engine, timeline)
        start = wanted.start
        if start is None and replay.first is not None:
            start = floor(replay.first / wanted.step_s) * wanted.step_s  # before the first row: all is born at 0
        if start is None or start >= to:
            raise BackfillError("there is nothing to write: no row lies before --to")
        return _write(replay, of, replace(wanted, start=start, to=to), progress)


def _checkpoint(settings: Settings, of: SourceSettings, schema: Schema) -> State | None:
    """The exporter's own state, read without its lock; None where there is none."""
    try:
        peeked = peek(settings.storage.path, of.name)
        if peeked is None:
            return None
        state = State(schema.tables)
        state.load(peeked.records, {metric.name: metric for metric in schema.metrics})
    except (CheckpointError, StateError) as exc:
        raise BackfillError(str(exc)) from exc
    return state


def _end(wanted: Wanted, known: State | None, now: float) -> float:
    """Where the live series begin: a block that ends ahead of now makes Prometheus drop every scrape until then."""
    if wanted.to is not None:
        if wanted.to > now:
            raise BackfillError(f"--to {wanted.to:.0f}: must not be later than now: Prometheus would drop every scrape")
        return wanted.to
    return now if known is None or known.first_publish is None else known.first_publish


def _engine(settings: Settings, of: SourceSettings, schema: Schema, known: State, to: float) -> Engine:
    """An engine without rows, that admits the label values that the live exporter does."""
    rules = rules_of(settings, of, patient=False)
    state = State(schema.tables)
    state.admitted = {pool: dict(values) for pool, values in known.admitted.items()}
    state.counting_since = to if known.counting_since is None else known.counting_since
    engine = Engine(state, schema, rules)
    engine.context.keeper.spend = None  # what is booked against a budget begins with its declaration
    be_born(state, schema, engine)
    return engine


def _chosen(schema: Schema, wanted: Wanted) -> tuple[Metric, ...]:
    """The metrics whose past can be known, those that are asked for."""
    return tuple(
        metric
        for metric in schema.metrics
        if (wanted.metric is None or wanted.metric.fullmatch(metric.name))
        and not (isinstance(metric, Gauge) and metric.reading in _UNKNOWABLE)
    )


class Scrapes:
    """What a scrape would have shown at each tick."""

    def __init__(self, engine: Engine, metrics: tuple[Metric, ...], constants: Mapping[str, str]) -> None:
        self._engine = engine
        self._gauges = tuple(metric for metric in metrics if isinstance(metric, Gauge))
        self._calendar = any(metric.reading in _CALENDAR for metric in self._gauges)
        self._schema = replace(engine.schema, metrics=self._gauges)
        self.lines = Lines(metrics, constants)

    def bear(self) -> None:
        """Let what is new stand at 0, before the step that ends here is written."""
        self.lines.bear(self._engine.state.changed_series)

    def take(self, at: float, *, moved: bool) -> None:
        """Show what is known at Unix time ``at``."""
        state, schema, rules = self._engine.state, self._schema, self._engine.rules
        self.lines.count(state.changed_series)
        readings: Readings = {}
        if moved or state.changed_sessions or state.changed_flights or state.changed_series:
            readings = gauges.read_state(state, schema, rules)
        readings |= gauges.read_health(self._gauges, Health(True, at, 0))
        if self._calendar:
            standings = {budget.name: standing(budget, state.ledger, rules.calendar, at) for budget in rules.budgets}
            readings |= gauges.read_calendar(state, schema, rules, standings, at)
        self.lines.read(readings)
        state.forget_changes()


def _write(replay: Replay, of: SourceSettings, wanted: Wanted, progress: Progress) -> Written:
    assert wanted.start is not None and wanted.to is not None  # noqa: PT018, S101 - the caller's
    engine, start, to = replay.engine, wanted.start, wanted.to
    scrape = {name: text for name, text in (("job", wanted.job), ("instance", wanted.instance)) if text}
    metrics = _chosen(engine.schema, wanted)
    if not metrics:
        raise BackfillError(f"--metric {wanted.metric.pattern if wanted.metric else ''}: no metric has such a name")
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
        shown = b"" if down else scrapes.lines.step(at)
        marks = stamped([f"{name} {0 if down else 1}".encode() for name in up], at)
        sink.write(at, marks + shown)
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
