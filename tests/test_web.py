"""What is served over HTTP: real requests, on a port of the system's choosing, to a poller of ten lines."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import structlog
from aiohttp import ClientResponse, ClientSession, web

from exporter import logs
from exporter.config import WebSettings
from exporter.exposition import Exposition, Format, Publication
from exporter.spec import Counter, Label
from exporter.telemetry import Telemetry
from exporter.view import SourceStatus
from exporter.web import connections
from exporter.web.app import make_app

OURS = logging.getLogger("exporter")
HANDOFFS = Counter("orchestration_handoffs_total", "Hand-offs.", (Label("project"),))
HEALTHY = SourceStatus(
    name="default",
    location="/data/orchestration.db",
    up=True,
    error="",
    progress="",
    last_success=1_000.0,
    counting_since=900.0,
    lag_rows=12,
    rows_read={"handoff_events": 1_234_567},
    last_event={"handoff_events": 995.0},
    notes=(),
    checkpoint_error="",
    headlines=(("Hand-offs", "1,234"),),
)


def publication(series: int = 1) -> Publication:
    """Publish so many series."""
    exposition = Exposition([HANDOFFS], {"default": {"source": "default"}})
    for number in range(series):
        exposition.set("default", HANDOFFS.name, (f"project {number}",), float(number))
    return exposition.publish()


@dataclass(frozen=True, slots=True)
class Edition:
    """A publication that remembers when it was served."""

    publication: Publication
    served: list[Publication]

    def note_served(self) -> None:
        """Remember it."""
        self.served.append(self.publication)


@dataclass(slots=True)
class Poller:
    """A poller that has published, or not."""

    publication: Publication | None = field(default_factory=publication)
    ready: bool = True
    served: list[Publication] = field(default_factory=list)
    shown: SourceStatus | None = HEALTHY
    single: Mapping[str, Publication] = field(default_factory=dict)
    """What is shown of one source alone."""

    @property
    def sources(self) -> Sequence[str]:
        """The names of the sources."""
        return tuple(self.single)

    def edition(self, source: str | None = None) -> Edition | None:
        """Give what is to be sent."""
        publication = self.publication if source is None else self.single[source]
        return None if publication is None else Edition(publication, self.served)

    def statuses(self) -> Sequence[SourceStatus]:
        """Give what is to be shown; without it, fail as a bug would."""
        if self.shown is None:
            raise ZeroDivisionError("secret detail")
        return [self.shown]


@dataclass(frozen=True, slots=True)
class Site:
    """A server that is running, and a client of it."""

    client: ClientSession
    port: int
    poller: Poller
    telemetry: Telemetry

    async def get(
        self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> tuple[ClientResponse, bytes]:
        """Ask, and read the answer as it was sent."""
        wanted = {"Accept-Encoding": "identity", **(headers or {})}
        async with self.client.request(
            method, f"http://127.0.0.1:{self.port}{path}", headers=wanted, allow_redirects=False
        ) as answer:
            return answer, await answer.read()


@asynccontextmanager
async def site(
    poller: Poller | None = None,
    *,
    settings: WebSettings | None = None,
    reload: Callable[[], str] = lambda: "",
    sources: Sequence[str] = ("default",),
) -> AsyncIterator[Site]:
    """Serve, and end both sides afterwards."""
    poller, telemetry = poller or Poller(), Telemetry({name: {} for name in sources}, now=1.0)
    app = make_app(settings=settings or WebSettings(), poller=poller, telemetry=telemetry, reload=reload)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await connections.Site(runner, "127.0.0.1", 0, context=None, secured={}).start()
        async with ClientSession(auto_decompress=False) as client:
            yield Site(client, runner.addresses[0][1], poller, telemetry)
    finally:
        await runner.cleanup()


def requests(telemetry: Telemetry) -> dict[tuple[str, str], float]:
    """Return how many requests were counted, by route and code."""
    text = telemetry.render(Format.TEXT).decode()
    found = re.findall(r'http_requests_total\{code="(\d+)",route="([^"]+)"\} (\S+)', text)
    return {(route, code): float(value) for code, route, value in found}


# ── the metrics ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_scrape_gets_the_publication_and_the_process() -> None:
    """Text 0.0.4 by default, its charset in the header, the process's own metrics at the end."""
    async with site() as running:
        answer, body = await running.get("/metrics")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert "Content-Encoding" not in answer.headers
    assert int(answer.headers["Content-Length"]) == len(body)
    assert body.startswith(b"# HELP orchestration_handoffs_total Hand-offs.\n")
    assert b'\norchestration_exporter_polls_total{outcome="success",source="default"} 0.0\n' in body
    assert b"\nprocess_resident_memory_bytes " in body


async def test_openmetrics_is_sent_to_who_asks_for_it() -> None:
    """By Accept, however many fields it has; with one `# EOF`, at the end."""
    prometheus = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    async with site() as running:
        answer, body = await running.get("/metrics", headers={"Accept": prometheus})

    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert body.endswith(b"\n# EOF\n")
    assert body.count(b"# EOF") == 1


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"])
async def test_gzip_is_one_member_of_the_same_bytes(accept: str) -> None:
    """What is unpacked differs from the plain answer in nothing but what moves with every request."""
    async with site(Poller(publication(2_000))) as running:
        _, plain = await running.get("/metrics", headers={"Accept": accept})
        answer, packed = await running.get("/metrics", headers={"Accept": accept, "Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(packed) < len(plain) / 5
    unmoving = rb"(?m)^(?!orchestration_exporter_http|process_|# ).*\n"
    assert re.findall(unmoving, gzip.decompress(packed)) == re.findall(unmoving, plain)


async def test_what_was_served_whole_is_noted() -> None:
    """Each complete GET of the metrics, and nothing else: neither HEAD nor other paths."""
    async with site() as running:
        await running.get("/metrics", method="HEAD")
        await running.get("/")
        assert running.poller.served == []

        await running.get("/metrics")
        await running.get("/metrics", headers={"Accept-Encoding": "gzip"})

    assert running.poller.served == [running.poller.publication] * 2


@pytest.mark.bulk
async def test_a_client_that_leaves_midway_was_not_served() -> None:
    """A scrape that breaks off shows nothing: Prometheus throws it away."""
    poller = Poller(publication(80_000))  # 6 MB, beyond the buffers of both sides
    async with site(poller) as running:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.connect(("127.0.0.1", running.port))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.to_thread(client.recv, 1_000)

        async with asyncio.timeout(20):
            while ("/metrics", "200") not in requests(running.telemetry):  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.01)

    assert poller.served == []


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    """Length and type are those of the scrape."""
    async with site() as running:
        answer, body = await running.get("/metrics", method="HEAD")

    assert (answer.status, body) == (200, b"")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert int(answer.headers["Content-Length"]) > 1_000


async def test_before_anything_can_be_shown_a_scrape_fails_in_one_line() -> None:
    """An empty 200 would look as if all series had ended."""
    async with site(Poller(None, ready=False)) as running:
        answer, body = await running.get("/metrics")

    assert (answer.status, body) == (503, b"nothing was read yet\n")
    assert running.poller.served == []


async def test_a_swapped_publication_is_in_the_next_scrape() -> None:
    """Nothing that was made of the old one is sent as the new one."""
    async with site() as running:
        for number in (3, 5, 2):
            running.poller.publication = publication(number)
            for encoding in ("gzip", "identity"):
                _, body = await running.get("/metrics", headers={"Accept-Encoding": encoding})
                text = gzip.decompress(body) if encoding == "gzip" else body
                assert len(re.findall(rb"(?m)^orchestration_handoffs_total\{", text)) == number


@pytest.mark.bulk
async def test_many_scrapers_at_once_all_get_it_whole() -> None:
    """The bytes are made once, and a hundred clients are sent all of them."""
    async with site(Poller(publication(5_000))) as running:
        answers = await asyncio.gather(*(running.get("/metrics") for _ in range(100)))

    assert {answer.status for answer, _ in answers} == {200}
    assert {len(re.findall(rb"(?m)^orchestration_handoffs_total\{", body)) for _, body in answers} == {5_000}
    assert len(running.poller.served) == 100


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"])
async def test_one_source_alone(encoding: str, accept: str) -> None:
    """Its families, and of the process's own those that say `source`, with its series only; it alone was served."""
    poller = Poller(single={"a": publication(3), "b": publication(1)})
    async with site(poller, sources="ab") as running:
        answer, body = await running.get(
            "/metrics?source=a&x=1", headers={"Accept": accept, "Accept-Encoding": encoding}
        )
    text = gzip.decompress(body) if encoding == "gzip" else body

    assert answer.status == 200
    assert len(re.findall(rb"(?m)^orchestration_handoffs_total\{", text)) == 3
    assert b'_polls_total{outcome="success",source="a"} 0.0\n' in text
    assert not re.search(rb'(?m)^(?:process_|orchestration_exporter_http)|source="b"', text)
    assert (text.count(b"# EOF"), text.endswith(b"\n# EOF\n")) == ((1, True) if accept else (0, False))
    assert poller.served == [poller.single["a"]]


@pytest.mark.parametrize(
    "query, code, told",
    [
        ("source=c", 404, b"no such source: there is a, b\n"),
        ("source=", 404, b"no such source: there is a, b\n"),
        ("source=%3Cscript%3E%0Ax", 404, b"no such source: there is a, b\n"),
        ("source=a&source=b", 400, b"source: can be given once\n"),
        ("sources=c", 200, None),
    ],
)
async def test_a_source_that_is_none_is_told(query: str, code: int, told: bytes | None) -> None:
    """In one line of plain text that names those there are; other parameters mean nothing."""
    async with site(Poller(single={"a": publication(), "b": publication()}), sources="ab") as running:
        answer, body = await running.get(f"/metrics?{query}")

    assert answer.status == code
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert body == told or told is None


# ── routes ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/-/healthy", "/healthz", "/-/ready", "/readyz"])
@pytest.mark.parametrize("ready", [True, False])
async def test_health_and_readiness_say_nothing_but_the_code(path: str, ready: bool) -> None:
    """Healthy is always 200, ready is 503 until a complete publication was shown; without a word."""
    async with site(Poller(ready=ready)) as running:
        answer, body = await running.get(path)

    assert answer.status == (200 if ready or "health" in path else 503)
    assert body == b""


@pytest.mark.parametrize(
    "method, path, code",
    [
        ("GET", "/nothing", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/-/", 404),
        ("GET", "/../metrics", 200),
        ("POST", "/metrics", 405),
        ("PUT", "/", 405),
        ("DELETE", "/-/healthy", 405),
        ("OPTIONS", "/metrics", 405),
        ("TRACE", "/metrics", 405),
        ("GET", "/-/reload", 405),
    ],
)
async def test_what_is_not_served(method: str, path: str, code: int) -> None:
    """Unknown paths are 404, other methods 405 with the allowed ones; both as plain text, both counted."""
    async with site() as running:
        answer, body = await running.get(path, method=method)

    assert answer.status == code
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert ("Allow" in answer.headers) == (code == 405)
    assert code == 200 or body in (b"Not Found\n", b"Method Not Allowed\n")
    assert sum(requests(running.telemetry).values()) == 1


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/ready", "/nothing", "/-/reload"])
async def test_every_answer_has_the_careful_headers(path: str) -> None:
    """No sniffing, no frames, no referrer, no version of what we are made of."""
    async with site() as running:
        answer, _ = await running.get(path)

    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Server"] == "orchestration-exporter"


async def test_requests_are_counted_by_route() -> None:
    """What is not a route counts as `other`, whatever it is called."""
    async with site() as running:
        for path in ("/metrics", "/metrics?x=1", "/x", "/y", "/-/ready"):
            await running.get(path)

        counted = requests(running.telemetry)

    assert counted == {("/metrics", "200"): 2, ("other", "404"): 2, ("/-/ready", "200"): 1}


async def test_a_prefix_stands_before_every_route() -> None:
    """Nothing is served outside, but a way in; routes are counted by their own names."""
    settings = WebSettings(external_url="https://host/x/", telemetry_path="/m")
    async with site(settings=settings) as running:
        codes = {}
        for path in ("/x/m", "/x/-/ready", "/x/", "/m", "/metrics", "/x/metrics"):
            codes[path] = (await running.get(path))[0].status
        ways_in = [(await running.get(path))[0] for path in ("/", "/x")]
        _, page = await running.get("/x/")
        counted = requests(running.telemetry)

    assert codes == {"/x/m": 200, "/x/-/ready": 200, "/x/": 200, "/m": 404, "/metrics": 404, "/x/metrics": 404}
    assert [(answer.status, answer.headers["Location"]) for answer in ways_in] == [(302, "/x/")] * 2
    assert b'href="m"' in page
    assert counted[("/m", "200")] == 1


async def test_reload_needs_to_be_switched_on() -> None:
    """Otherwise it is 403, and nothing is read."""
    async with site(reload=lambda: pytest.fail("was read")) as running:
        answer, body = await running.get("/-/reload", method="POST")

    assert (answer.status, body) == (403, b"reload by HTTP is off: --web.enable-lifecycle turns it on\n")


@pytest.mark.parametrize(
    "error, code, told", [("", 200, b""), ("it is wrong", 500, b"the old configuration stays: it is wrong\n")]
)
async def test_reload_reads_the_configuration(error: str, code: int, told: bytes) -> None:
    """POST reads it again, and tells what is wrong with it."""
    read = []

    def reload() -> str:
        read.append(1)
        return error

    async with site(settings=WebSettings(enable_lifecycle=True), reload=reload) as running:
        answer, body = await running.get("/-/reload", method="POST")

    assert (answer.status, body, len(read)) == (code, told, 1)


class Log:
    """What is logged, as the exporter writes it."""

    def __init__(self, read: Callable[[], str]) -> None:
        self.read = read

    def begin(self, level: logs.Level) -> None:
        """Log from now on; in the test itself, for pytest puts handlers of its own before it."""
        logging.root.handlers.clear()
        logs.configure(level, "logfmt")


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    """Give a log that ends with the test."""
    handlers, levels = logging.root.handlers[:], [(each, each.level) for each in (logging.root, OURS)]
    yield Log(lambda: capsys.readouterr().err)
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    for logger, level in levels:
        logger.setLevel(level)


async def test_a_bug_is_told_in_the_log_and_not_in_the_answer(log: Log) -> None:
    """The answer has an id by which the traceback is found; the next request is served."""
    log.begin("info")
    async with site(Poller(shown=None)) as running:
        answer, body = await running.get("/")
        _, metrics = await running.get("/metrics")

    (request_id,) = re.findall(rb"^internal error, see the log for request ([0-9a-f]+-\d+)\n$", body)
    assert answer.status == 500
    assert b'route="/"} 1.0' in metrics
    (line,) = [line for line in log.read().splitlines() if "request failed" in line]
    assert f"request_id={request_id.decode()}" in line
    assert "ZeroDivisionError: secret detail" in line


async def test_requests_are_logged_at_debug_without_their_query(log: Log) -> None:
    """One line each, with an id, and none at info."""
    async with site() as running:
        log.begin("debug")
        await running.get("/metrics?token=secret")
        at_debug = log.read()
        log.begin("info")
        await running.get("/metrics?token=secret")

    answered = r'level=debug msg="request answered" request_id=\S+ method=GET path=/metrics code=200'
    assert re.search(answered, at_debug)
    assert "secret" not in at_debug
    assert "request answered" not in log.read()


async def test_broken_requests_do_not_break_the_server() -> None:
    """What is no HTTP gets 400 or nothing, and the next scrape is answered."""
    broken = [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost x\r\n\r\n"]
    async with site() as running:
        for sent in broken:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(sent)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 10)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
            writer.close()
        assert (await running.get("/metrics"))[0].status == 200


async def test_http_1_0_is_answered() -> None:
    """With a length, and the connection closed afterwards."""
    async with site() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK")
    assert f"Content-Length: {len(body)}".encode() in head
