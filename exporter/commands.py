"""The commands: what each takes beside the settings, what it does, and its exit code.

Modules that only one command needs are imported by it: a health check in a container starts every few seconds.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

from exporter import config, logs
from exporter.backfill import options as backfilling
from exporter.config import Settings, SourceSettings
from exporter.options import (
    DATABASE,
    LISTEN_ADDRESS,
    STORAGE_PATH,
    ConfigError,
    Flags,
    Layers,
    Model,
    OperationError,
    Option,
    of_command,
)
from exporter.settingtypes import DAY_S, Seconds, Url, moment, reachable
from exporter.shown import Shown
from exporter.spec import Schema

if TYPE_CHECKING:
    from exporter.exposition import Publication
    from exporter.fleet import Fleet
    from exporter.serving import Job
    from exporter.source.sqlite import SqliteSource
    from exporter.window import Windows

log = logs.get(__name__)

_HEALTH_TIMEOUT_S = 3.0
_PAGE_TIMEOUT_S = 1.0


class CommandError(OperationError):
    """A command could not do what it was asked for."""


# ── what they take ───────────────────────────────────────────────────────────────────────────────────────────


def _incidents(value: object) -> object:
    from exporter.demo import live_and_past, parse_incident

    texts = value if isinstance(value, list) else str(value).split(",")
    live_and_past(map(parse_incident, texts))
    return tuple(texts)


class OnceOptions(Model):
    """Options of `once`."""

    now: Annotated[float | None, BeforeValidator(moment)] = None


class CheckOptions(Model):
    """Options of `check`."""

    cardinality: bool = False


class ExplainOptions(Model):
    """Options of `explain`."""

    metric: str
    source: str | None = None
    now: Annotated[float | None, BeforeValidator(moment)] = None


class HealthOptions(Model):
    """Options of `health`."""

    url: Url = ""


class IndexesOptions(Model):
    """Options of `indexes`."""

    create: bool = False


class DemoOptions(Model):
    """Options of `demo`."""

    history: Annotated[float, Seconds(0.0, 3_660 * DAY_S)] = 30 * DAY_S
    speed: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    incident: Annotated[tuple[str, ...], BeforeValidator(_incidents)] = ()
    no_serve: bool = False


ONCE = (of_command(("once", "now"), "text", "--now", "TIME", "read as of this time, ISO 8601 or Unix seconds (now)"),)
CHECK = (
    of_command(
        ("check", "cardinality"), "bool", "--cardinality", "", "read everything, and forecast the samples of a scrape"
    ),
)
EXPLAIN_METRIC = Option(
    ("explain", "metric"), metavar="METRIC{…}", help="a series: its name, and its labels in braces", in_file=False
)
EXPLAIN = (
    of_command(("explain", "source"), "text", "--source", "NAME", "the source, where there are several"),
    of_command(("explain", "now"), "text", "--now", "TIME", "the time, where there is no checkpoint (now)"),
)
HEALTH = (of_command(("health", "url"), "text", "--url", "URL", "what to ask (/-/ready at the first listen address)"),)
INDEXES = (
    of_command(("indexes", "create"), "bool", "--create", "", "create what is missing: this writes the database"),
)
DEMO = (
    of_command(("demo", "history"), "text", "--history", "TIME", "the past to write first (30d)"),
    of_command(("demo", "speed"), "float", "--speed", "N", "divide the gaps between live events by this (1)"),
    of_command(("demo", "seed"), "int", "--seed", "N", "the same seed writes the same rows, but for times (1)"),
    of_command(
        ("demo", "incident"),
        "list",
        "--incident",
        "NAME[@FROM/TO]",
        "what goes wrong: model-outage, cost-spike, …; with FROM and TO as in 3d/2d20h in the past, repeatable",
    ),
    of_command(("demo", "no_serve"), "bool", "--no-serve", "", "simulate only, and print where"),
)
COMMAND_OPTIONS = (*ONCE, *CHECK, EXPLAIN_METRIC, *EXPLAIN, *HEALTH, *INDEXES, *DEMO, *backfilling.BACKFILL)

AnyOptions = TypeVar("AnyOptions", bound=Model)


@dataclass(frozen=True, slots=True)
class Call:
    """What a command is called with."""

    flags: Flags
    environ: Mapping[str, str]
    schema: Schema
    shown: tuple[Shown, ...] = ()

    def load(self, *, needs_source: bool = False) -> Settings:
        """The settings.

        Raises:
            ConfigError: something given is wrong, or there is no source and one is needed.
        """
        return config.load(
            flags=self.flags, environ=self.environ, metrics=self.schema.metrics, needs_source=needs_source
        )

    def settings(self, *, needs_source: bool = False) -> Settings:
        """The settings, by which logging is set up from now on. Raises: ConfigError, as `load` does."""
        settings = self.load(needs_source=needs_source)
        logs.configure(settings.log.level, settings.log.format)
        return settings

    def own(self, model: type[AnyOptions], options: tuple[Option, ...]) -> AnyOptions:
        """The command's own options. Raises: ConfigError, if one is wrong."""
        layers = Layers()
        for option in options:
            layers.add(option, flags=self.flags, environ=self.environ)
        return layers.validated(model, options[0].path[0])

    def with_flags(self, flags: Flags) -> Call:
        """The same call with some flags given otherwise."""
        return replace(self, flags={**self.flags, **flags})


# ── what they do ─────────────────────────────────────────────────────────────────────────────────────────────


def serve(call: Call) -> int:
    """Serve until told to stop, at a lower priority than the platform has."""
    from exporter.serving import give_way

    settings = call.settings(needs_source=True)
    give_way()
    asyncio.run(_serve(call, settings))
    return 0


async def _serve(
    call: Call, settings: Settings, *, announce: Callable[[str], None] = lambda url: None, beside: Job | None = None
) -> None:
    from exporter import serving
    from exporter.fleet import Fleet
    from exporter.telemetry import Telemetry

    telemetry = Telemetry({of.name: of.labels for of in settings.sources}, now=time.time())
    fleet = Fleet(settings=settings, schema=call.schema, open_source=_source, telemetry=telemetry)
    load = lambda: call.load(needs_source=True)  # noqa: E731
    await serving.serve(
        settings=settings,
        poller=fleet,
        telemetry=telemetry,
        load=load,
        windows=_windows(call, fleet),
        metrics=call.schema.metrics,
        announce=announce,
        beside=beside,
    )


def _windows(call: Call, fleet: Fleet) -> Windows:
    """What the pages look through: it gives up soon, so that no poller waits for a page."""
    from exporter.recent import Eyes
    from exporter.rules import rules_of
    from exporter.source.sqlite import SqliteSource
    from exporter.window import Window, Windows

    def opened() -> Iterator[Window]:
        settings = fleet.settings
        timeout_s = min(_PAGE_TIMEOUT_S, settings.query_timeout)
        for of in settings.sources:
            source = SqliteSource(of.database, name=of.name, query_timeout_s=timeout_s, busy_timeout_s=_PAGE_TIMEOUT_S)
            yield Window(source=source, eyes=Eyes(call.shown, call.schema.sessions, rules_of(settings, of)))

    return Windows(lambda: fleet.settings, opened)


def once(call: Call) -> int:
    """One full read, the exposition on stdout."""
    from exporter.exposition import Format, merged

    settings, options = call.settings(needs_source=True), call.own(OnceOptions, ONCE)
    publications = asyncio.run(_read_once(settings, call.schema, options.now))
    sys.stdout.buffer.write(merged(publications).answer(Format.TEXT, b"", gzip=False))
    return 0


async def _read_once(settings: Settings, schema: Schema, now: float | None) -> list[Publication]:
    from exporter.once import read_once

    return [
        await read_once(settings=settings, of=of, schema=schema, source=_source(of, settings), now=now)
        for of in sorted(settings.sources, key=lambda of: of.name)
    ]


def explain(call: Call) -> int:
    """Print the SQL that proves a number, its result, and the number; exit code 1 where they differ."""
    from exporter import explain as explaining

    settings = call.settings(needs_source=True)
    options = call.own(ExplainOptions, (EXPLAIN_METRIC, *EXPLAIN))
    of = explaining.source_of(settings, call.schema, options.metric, options.source)
    source = _source(of, settings)
    explanation = asyncio.run(
        explaining.explain(
            settings=settings, of=of, schema=call.schema, source=source, selector=options.metric, now=options.now
        )
    )
    _print(*explanation.lines)
    return 0 if explanation.agrees else 1


def check(call: Call) -> int:
    """Parse, connect, run every query, and say what is missing."""
    from exporter import check as checking
    from exporter.cardinality import forecast

    settings, passed = call.settings(needs_source=True), True
    options = call.own(CheckOptions, CHECK)
    for of in settings.sources:
        looking = checking.check(settings=settings, of=of, schema=call.schema, source=_source(of, settings))
        lines, ok = asyncio.run(looking)
        if options.cardinality and ok:
            source = _source(of, settings)
            lines += asyncio.run(forecast(settings=settings, of=of, schema=call.schema, source=source))
        name = f"{of.name}: " if len(settings.sources) > 1 else ""
        _print(*(f"{name}{line}" for line in lines))
        passed &= ok
    return 0 if passed else 1


def backfill(call: Call) -> int:
    """Write the past as OpenMetrics with timestamps."""
    from exporter.backfill.command import run

    settings = call.settings(needs_source=True)
    options = call.own(backfilling.BackfillOptions, backfilling.BACKFILL)
    return run(settings, call.schema, options, open_source=lambda of: _source(of, settings))


def indexes(call: Call) -> int:
    """Print the indexes that are missing, or create them."""
    from exporter import indexes as indexing

    settings, options = call.settings(needs_source=True), call.own(IndexesOptions, INDEXES)
    for of in settings.sources:
        if len(settings.sources) > 1:
            _print(f"-- {of.name}: {of.database}")
        _print(*asyncio.run(indexing.indexes(of.database, create=options.create)))
    return 0


def reference(call: Call) -> int:
    """Print the reference of all metrics, with the labels that the settings leave."""
    from exporter.reference import render
    from exporter.rules import schema_of

    sys.stdout.write(render(schema_of(call.settings(), call.schema).metrics))
    return 0


def config_schema(call: Call) -> int:
    """Print the JSON Schema of the configuration file."""
    call.settings()
    _print(json.dumps(config.json_schema(), indent=2, sort_keys=True))
    return 0


def health(call: Call) -> int:
    """Ask a running exporter whether it is ready."""
    settings, options = call.settings(), call.own(HealthOptions, HEALTH)
    url, context = (options.url, None) if options.url else _own_address(settings)
    parts = urlsplit(url)
    host, port, timeout_s = parts.hostname or "", parts.port, _HEALTH_TIMEOUT_S
    connection = (
        http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=timeout_s)
    )
    try:
        connection.request("GET", parts.path if parts.path.strip("/") else "/-/ready")
        code = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        raise CommandError(f"{url}: no answer: {exc}") from exc
    finally:
        connection.close()
    if code != 200:
        raise CommandError(f"{url}: not ready: {code}")
    return 0


def _own_address(settings: Settings) -> tuple[str, ssl.SSLContext | None]:
    """Where and how a server with these settings is asked on its own machine."""
    from exporter.web import tls, webconfig

    address, file = settings.web.listen_address[0], settings.web.config_file
    if address.endswith(":0"):
        raise ConfigError(LISTEN_ADDRESS.flag, address, "only the server knows its port: give --url")
    wanted = webconfig.read(file).tls_server_config if file else None
    scheme, context = ("https", tls.asking(wanted)) if wanted else ("http", None)
    return f"{scheme}://{reachable(address)}{settings.web.prefix}/-/ready", context


def demo(call: Call) -> int:
    """Simulate a platform and serve its metrics."""
    from exporter import demonstration

    settings, options = call.settings(), call.own(DemoOptions, DEMO)
    storage = settings.storage.path if "storage" in settings.model_fields_set else None
    with demonstration.folder(storage) as (database, state):
        called = call.with_flags({DATABASE.path: str(database), STORAGE_PATH.path: str(state)})
        asyncio.run(_demo(called, database, options))
    return 0


async def _demo(call: Call, database: Path, options: DemoOptions) -> None:
    from exporter import demonstration

    arguments = [f"--history={options.history:.3f}s", f"--speed={options.speed}", f"--seed={options.seed}"]
    arguments += [f"--incident={incident}" for incident in options.incident]
    async with demonstration.platform(database, arguments) as platform:
        if options.no_serve:
            _print(f"A simulated platform writes {database} (Ctrl-C ends it)")
            await platform.runs()
        else:
            settings = call.load(needs_source=True)
            await _serve(call, settings, announce=_announcer(settings), beside=platform.runs)


def _announcer(settings: Settings) -> Callable[[str], None]:
    path = settings.web.telemetry_path.removeprefix("/")
    return lambda url: _print(f"A simulated platform and its metrics: {url} and {url}{path} (Ctrl-C ends them)")


def _source(of: SourceSettings, settings: Settings) -> SqliteSource:
    from exporter.source.sqlite import SqliteSource

    return SqliteSource(of.database, name=of.name, query_timeout_s=settings.query_timeout)


def _print(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
