"""The command `backfill`: which source, where to, and what is said of it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from exporter.backfill.files import CREATE_BLOCKS, PromtoolError
from exporter.backfill.options import BackfillOptions
from exporter.backfill.progress import Progress
from exporter.backfill.run import STDOUT, BackfillError, Wanted, Written, backfill
from exporter.config import Settings, SourceSettings
from exporter.options import ConfigError
from exporter.source import Source
from exporter.spec import Schema

_LOOK_BACK_S = 240.0
NEXT = (
    f"--promtool makes blocks day by day; of files, each one: promtool {' '.join(CREATE_BLOCKS)} FILE BLOCKS",
    "move them into Prometheus's data folder only while that is new, or where they end before its metric "
    "prometheus_tsdb_head_min_time_seconds: otherwise its next restart loses what its log holds of ALL jobs before "
    "their end. Prometheus deletes what is beyond its retention, 15 days by default. docs/backfill.md has more.",
)


def run(
    settings: Settings, schema: Schema, options: BackfillOptions, *, open_source: Callable[[SourceSettings], Source]
) -> int:
    """Write the past of one source; what is said goes to stderr.

    Raises:
        ConfigError: an option is wrong, or the output exists.
        SourceError, BackfillError: the source cannot be read, or the output not be written.
    """
    progress = Progress(sys.stderr)
    wanted = _wanted(options)
    if options.step > _LOOK_BACK_S:
        progress.say("warning: a --step over 4m leaves gaps: a query looks back five minutes at most")
    of = _source(settings, options.source)
    try:
        written = asyncio.run(
            backfill(settings=settings, of=of, schema=schema, source=open_source(of), wanted=wanted, progress=progress)
        )
    except BrokenPipeError:
        raise
    except PromtoolError as exc:
        raise BackfillError(str(exc)) from exc
    except (OSError, sqlite3.Error) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise BackfillError(f"--output {options.output}: cannot be written: {reason}") from exc
    for line in (*_told(written), *(NEXT if wanted.output != STDOUT else ())):
        progress.say(line)
    return 0


def _wanted(options: BackfillOptions) -> Wanted:
    if not options.output:
        raise ConfigError("--output", options.output, "needs a folder, or - for stdout")
    if options.start is not None and options.to is not None and options.start >= options.to:
        raise ConfigError("--from", options.start, f"must be earlier than --to, {_utc(options.to)}")
    output = Path(options.output)
    if output == STDOUT and options.promtool:
        raise ConfigError("--promtool", options.promtool, "needs a folder as --output")
    if output != STDOUT:
        if output.exists() and not output.is_dir():
            raise ConfigError("--output", output, "must be a folder, or - for stdout")
        if output.is_dir() and any(output.iterdir()):
            raise ConfigError("--output", output, "exists, and is not empty")
        if not output.parent.is_dir():
            raise ConfigError("--output", output, "the folder it is to be in does not exist")
    return Wanted(
        output=output,
        start=options.start,
        to=options.to,
        step_s=options.step,
        metric=options.metric,
        job=options.job,
        instance=options.instance,
        outages=options.outage,
        promtool=options.promtool,
    )


def _source(settings: Settings, name: str | None) -> SourceSettings:
    names = {of.name: of for of in settings.sources}
    if name is None and len(names) > 1:
        raise ConfigError("--source", "", f"there are several, name one: {', '.join(sorted(names))}")
    if name is not None and name not in names:
        raise ConfigError("--source", name, f"no such source: they are {', '.join(sorted(names))}")
    return settings.sources[0] if name is None else names[name]


def _told(written: Written) -> tuple[str, ...]:
    lines = [
        f"{written.rows:,} rows, {written.samples:,} samples from {_utc(written.start)} to {_utc(written.to)}: "
        f"{written.size:,} bytes in {len(written.files) or 1} file(s)"
    ]
    if written.beyond:
        lines.append(f"{written.beyond:,} rows are later than --to, and left out")
    return tuple(lines)


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
