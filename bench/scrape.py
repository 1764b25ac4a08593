"""A scrape over real HTTP, against the same bytes from a handler that does nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from aiohttp import web

from bench.client import TEXT, Client, content_length, request
from bench.figure import Figure, percentile, spread
from bench.processes import companion
from bench.scale import Scale
from bench.series import filled
from exporter.catalogue import SCHEMA
from exporter.config import WebSettings
from exporter.context import Rules
from exporter.exposition import Publication
from exporter.gauges import Health
from exporter.publisher import Publisher
from exporter.telemetry import Telemetry
from exporter.view import SourceStatus
from exporter.web import tls, webconfig
from exporter.web.app import make_app
from exporter.web.connections import LIMITS, Site
from exporter.web.security import Guard

_PATH = "/metrics"


def measure(scale: Scale) -> Iterator[Figure]:
    """Two servers, each in a process of its own, asked in turns; the client is in this one."""
    with ExitStack() as stack:
        ours = stack.enter_context(companion(serve_exporter, scale.samples)).recv()
        with closing(Client(ours)) as client:
            body = client.get(_PATH).body
        bare = stack.enter_context(companion(serve_bare, body)).recv()
        samples = sum(not line.startswith(b"#") for line in body.splitlines())
        yield _one_at_a_time(ours, bare, scale.scrapes, samples)
        yield from _crowds(ours, bare, scale)


def _one_at_a_time(ours: int, bare: int, scrapes: int, samples: int) -> Figure:
    times: dict[int, list[float]] = {ours: [], bare: []}
    with closing(Client(ours)) as our_client, closing(Client(bare)) as bare_client:
        for number in range(scrapes + 10):
            for port, client in ((ours, our_client), (bare, bare_client)):
                began = time.perf_counter()
                client.get(_PATH)
                if number >= 10:
                    times[port].append(time.perf_counter() - began)
    return Figure(
        "scrape",
        f"p50 of a scrape of {samples:,} samples / the same bytes from a bare aiohttp handler",
        median(times[ours]) / median(times[bare]),
        1.2,
        detail=" / ".join(spread(times[port], scale=1e3, unit="ms") for port in (ours, bare)),
    )


def _crowds(ours: int, bare: int, scale: Scale) -> Iterator[Figure]:
    times: dict[int, list[float]] = {ours: [], bare: []}
    errors = 0
    for _ in range(scale.crowds):
        for port in (ours, bare):
            took, failed = asyncio.run(_crowd(port, scale.scrapers, scale.scrapes_each))
            times[port] += took
            errors += failed if port == ours else 0
    p99 = {port: percentile(took, 0.99) if took else float("nan") for port, took in times.items()}
    who = f"{scale.scrapers} concurrent scrapers"
    detail = f"{p99[ours] * 1e3:.4g} ms / {p99[bare] * 1e3:.4g} ms, {len(times[ours])} scrapes of either"
    yield Figure("scrape", f"p99 with {who} / the bare handler's", p99[ours] / p99[bare], 3.0, detail=detail)
    yield Figure("scrape", f"errors with {who}", errors, 0.0, unit="")


# ── the scrapers ─────────────────────────────────────────────────────────────────────────────────────────────


class _Scraper(asyncio.BufferedProtocol):
    """Asks, counts the answer's bytes, and asks again."""

    def __init__(self, port: int, scrapes: int, took: list[float]) -> None:
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._question = request(port, _PATH, TEXT)
        self._left, self._took = scrapes, took
        self._buffer = memoryview(bytearray(1 << 18))
        self._missing = self._began = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._missing, self._began = 0, time.perf_counter()
        self._transport.write(self._question)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._missing:
            self._missing = self._length(bytes(self._buffer[:nbytes]))
        self._missing -= nbytes
        if self._missing <= 0:
            self._took.append(time.perf_counter() - self._began)
            self._left -= 1
            if self._left:
                self._ask()
            else:
                self._end(well=True)

    def _length(self, start: bytes) -> int:
        """The whole answer's length: the headers come in one piece."""
        head, separator, _ = start.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200") or not separator:
            self._end(well=False)
            return 1 << 62
        return len(head) + len(separator) + content_length(head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(well=False)

    def _end(self, *, well: bool) -> None:
        if not self.done.done():
            self.done.set_result(well)
        if self._transport is not None:
            self._transport.close()


async def _crowd(port: int, scrapers: int, scrapes: int) -> tuple[list[float], int]:
    """The seconds of every scrape of all scrapers at once, and how many scrapers failed."""
    took: list[float] = []
    loop = asyncio.get_running_loop()
    made = [loop.create_connection(lambda: _Scraper(port, scrapes, took), "127.0.0.1", port) for _ in range(scrapers)]
    found = await asyncio.gather(*made, return_exceptions=True)
    connected = [pair[1] for pair in found if not isinstance(pair, BaseException)]
    well = await asyncio.gather(*(scraper.done for scraper in connected))
    return took, scrapers - sum(well)


# ── the servers ──────────────────────────────────────────────────────────────────────────────────────────────


class _Stub:
    """Stands in for pollers that have published once, and for what they published."""

    ready = True
    sources = ("default",)

    def __init__(self, publication: Publication) -> None:
        self.publication = publication

    def edition(self, source: str | None = None) -> _Stub:
        return self

    def note_served(self) -> None:
        pass

    def statuses(self) -> Sequence[SourceStatus]:
        raise NotImplementedError


def serve_exporter(connection: Connection, samples: int) -> None:
    """The real application over a real publication of so many samples, until the connection closes."""
    asyncio.run(_serve_exporter(connection, samples, None))


def serve_guarded(connection: Connection, samples: int, config_file: Path) -> None:
    """The same, with this web configuration."""
    asyncio.run(_serve_exporter(connection, samples, config_file))


async def _serve_exporter(connection: Connection, samples: int, config_file: Path | None) -> None:
    state = filled(samples)
    publisher = Publisher(SCHEMA, Rules(), "default", {})
    publisher.note(state)
    publisher.show(state, 1.7e9)
    stub = _Stub(publisher.publish(Health(True, time.time(), 0)))
    telemetry = Telemetry({"default": {}}, now=time.time())
    guard = Guard(config_file, telemetry=telemetry)
    app = make_app(settings=WebSettings(), poller=stub, telemetry=telemetry, reload=lambda: "", guard=guard)
    runner = web.AppRunner(app, **LIMITS)
    await runner.setup()
    site = Site(runner, "127.0.0.1", 0, context=guard.context(), secured=guard.headers())
    await _serve(runner, site, connection)


def serve_bare(connection: Connection, body: bytes, config_file: Path | None = None) -> None:
    """An application that answers with these bytes, until the connection closes; over the TLS of that file, if any."""
    asyncio.run(_serve_bare(connection, body, config_file))


async def _serve_bare(connection: Connection, body: bytes, config_file: Path | None) -> None:
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    headers |= {"Content-Encoding": "gzip"} if body.startswith(b"\x1f\x8b") else {}

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.router.add_get(_PATH, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    wanted = webconfig.read(config_file).tls_server_config if config_file else None
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024, ssl_context=tls.context(wanted) if wanted else None)
    await _serve(runner, site, connection)


async def _serve(runner: web.AppRunner, site: web.BaseSite, connection: Connection) -> None:
    await site.start()
    connection.send(runner.addresses[0][1])
    await asyncio.to_thread(connection.poll, None)
    await runner.cleanup()
