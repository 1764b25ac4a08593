"""One full read, without a checkpoint: what ``once`` prints."""

from __future__ import annotations

import time
from dataclasses import dataclass

from exporter import logs
from exporter.advance import Engine
from exporter.config import Settings, SourceSettings
from exporter.context import Rules
from exporter.exposition import Publication
from exporter.gauges import Health
from exporter.layout import Layout
from exporter.publisher import Publisher, be_born
from exporter.reader import Reader
from exporter.rules import rules_of, schema_of
from exporter.source import Source
from exporter.spec import Schema
from exporter.state import State

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class FullRead:
    """All that is in one source, as of Unix time ``at``; ``lag`` are the rows that came meanwhile."""

    state: State
    schema: Schema
    rules: Rules
    at: float
    lag: int


async def read_once(
    *, settings: Settings, of: SourceSettings, schema: Schema, source: Source, now: float | None
) -> Publication:
    """Read all that is in one source, hold nothing, and say what that makes as of ``now`` (None: the present).

    Raises:
        SourceError: the source cannot be read.
    """
    read = await read_all(settings=settings, of=of, schema=schema, source=source, now=now)
    publisher = Publisher(read.schema, read.rules, source.name, of.labels)
    publisher.note(read.state)
    publisher.show(read.state, read.at)
    return publisher.publish(Health(True, read.at, read.lag))


async def read_all(
    *, settings: Settings, of: SourceSettings, schema: Schema, source: Source, now: float | None
) -> FullRead:
    """Read all that is in one source, and what it comes to as of ``now`` (None: the present).

    Raises:
        SourceError: the source cannot be read.
    """
    schema = schema_of(settings, schema, of.name)
    rules = rules_of(settings, of, patient=False)
    state = State(schema.tables)
    engine = Engine(state, schema, rules)
    clock = time.time if now is None else lambda: now
    reader = Reader(source, engine, schema, rules, clock)
    await reader.scan(schema.counted, first=True)
    be_born(state, schema, engine)
    layout: Layout | None = None
    while True:
        look = await reader.look()
        for table, reason in look.layout.newly_left_out(layout):
            log.error("own table is left out", source=source.name, table=table, error=reason)
        layout = look.layout
        if look.batch is not None:
            engine.advance(look.batch)
        if not look.more:
            break
    at = clock()
    engine.end(at)
    state.counting_since = at
    return FullRead(state, schema, rules, at, look.lag)
