"""The HTTP face: routes, answers, and what each request costs.

A scrape sends bytes that are there already, and appends the process's own metrics.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from exporter import logs
from exporter.config import WebSettings
from exporter.exposition import Format, Publication
from exporter.negotiation import accepts_gzip, negotiate
from exporter.spec import Metric
from exporter.telemetry import Telemetry
from exporter.view import SourceStatus
from exporter.web.connections import Connection, sent
from exporter.web.pages import Pages, Windows
from exporter.web.security import NOTHING_FROM_ELSEWHERE, PRINCIPAL, Guard, source_of

log = logs.get(__name__)

_PLAIN = "text/plain; charset=utf-8"
_OTHER = "other"
_BODY_BYTES = 1024
_SHORT_BYTES = 256 * 1024
"""Up to this, copying a body costs less than a second write [20 µs against 60, of TLS and of who waits for it]."""
_KEPT = ("Allow", "Location", "WWW-Authenticate", "Retry-After")


class Edition(Protocol):
    """What a scrape is sent."""

    @property
    def publication(self) -> Publication:
        """The series of all sources, or of one."""

    def note_served(self) -> None:
        """Take note that a client was sent all of it."""


class Polled(Protocol):
    """What the routes need of the pollers."""

    @property
    def sources(self) -> Sequence[str]:
        """The names of the sources."""

    @property
    def ready(self) -> bool:
        """Whether a complete publication was shown."""

    def edition(self, source: str | None = None) -> Edition | None:
        """What is to be shown now, of all sources or of one of `sources`; None before anything can be."""

    def statuses(self) -> Sequence[SourceStatus]:
        """How the sources are doing, for people."""


Reload = Callable[[], str]
"""Reads the configuration again; returns the error, or nothing."""

POLLER: web.AppKey[Polled] = web.AppKey("poller")
TELEMETRY: web.AppKey[Telemetry] = web.AppKey("telemetry")
SETTINGS: web.AppKey[WebSettings] = web.AppKey("settings")
RELOAD: web.AppKey[Reload] = web.AppKey("reload")
ROUTES: web.AppKey[Mapping[str, str]] = web.AppKey("routes")
GUARD: web.AppKey[Guard] = web.AppKey("guard")
MAKER: web.AppKey[_Maker] = web.AppKey("maker")


def make_app(
    *,
    settings: WebSettings,
    poller: Polled,
    telemetry: Telemetry,
    reload: Reload,
    windows: Windows | None = None,
    metrics: Sequence[Metric] = (),
    guard: Guard | None = None,
) -> web.Application:
    """The application; only the pages look at sources, through their windows, and not for longer than a moment.

    Without a ``guard`` everybody may have everything, within the limits there always are.
    ``metrics`` are those that `/docs` explains.
    """
    app = web.Application(middlewares=[_account], client_max_size=_BODY_BYTES)
    app[POLLER], app[TELEMETRY], app[SETTINGS], app[RELOAD] = poller, telemetry, settings, reload
    app[GUARD] = guard or Guard(None, telemetry=telemetry)
    app[MAKER] = _Maker()
    app.on_response_prepare.append(_add_headers)
    pages = Pages(settings=settings, statuses=poller.statuses, windows=windows, metrics=metrics)
    app.on_cleanup.append(pages.close)
    app.on_cleanup.append(_end_guard)
    prefix = settings.prefix
    gets = {
        "/": pages.overview,
        "/docs": pages.docs,
        "/sessions/{id:[^/]+}": pages.session,
        settings.telemetry_path: _metrics,
        **dict.fromkeys(("/-/healthy", "/healthz"), _healthy),
        **dict.fromkeys(("/-/ready", "/readyz"), _ready),
    }
    for path, handler in gets.items():
        app.router.add_get(prefix + path, handler)
    app.router.add_post(f"{prefix}/-/reload", _reload)
    if prefix:
        app.router.add_get("/", _to_prefix)
        app.router.add_get(prefix, _to_prefix)
    app[ROUTES] = {prefix + path: path for path in (*(_canonical(path) for path in gets), "/-/reload")}
    return app


def _canonical(path: str) -> str:
    """The path as aiohttp names its route: a variable part without its pattern."""
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", path)


# ── every request ───────────────────────────────────────────────────────────────────────────────────────

_process_id = secrets.token_hex(4)
_ids = (f"{_process_id}-{number}" for number in itertools.count(1))


@web.middleware
async def _account(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer, whatever happens; count it; log it when that is wanted."""
    if isinstance(request.protocol, Connection):
        request.protocol.begun()
    began = time.perf_counter()
    resource = request.match_info.route.resource
    route = request.app[ROUTES].get(resource.canonical, _OTHER) if resource else _OTHER
    response = await _answered(request, handler, route)
    duration_s = time.perf_counter() - began
    request.app[TELEMETRY].requested(route, response.status, duration_s=duration_s)
    if logging.getLogger(__name__).isEnabledFor(logging.DEBUG):
        log.debug(
            "request answered",
            request_id=next(_ids),
            method=request.method,
            path=request.path,
            code=response.status,
            duration_ms=round(duration_s * 1e3, 3),
        )
    return response


async def _answered(request: web.Request, handler: Handler, route: str) -> web.StreamResponse:
    try:
        if (length := request.content_length) and length > _BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(max_size=_BODY_BYTES, actual_size=length)
        scrapes = route == request.app[SETTINGS].telemetry_path
        request[PRINCIPAL] = await request.app[GUARD].admit(request, route=route, scrapes=scrapes)
        return await handler(request)
    except web.HTTPException as exc:
        kept = {name: exc.headers[name] for name in _KEPT if name in exc.headers}
        return _plain(exc.status, exc.reason, kept)
    except Exception:
        request_id = next(_ids)
        log.exception("request failed", request_id=request_id, method=request.method, path=request.path)
        return _plain(500, f"internal error, see the log for request {request_id}")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("Content-Security-Policy", NOTHING_FROM_ELSEWHERE)
    response.headers.update(request.app[GUARD].headers())


async def _end_guard(app: web.Application) -> None:
    app[GUARD].close()


def _plain(code: int, line: str = "", headers: Mapping[str, str] | None = None) -> web.Response:
    body = f"{line}\n" if line else ""
    return web.Response(status=code, text=body, headers={"Content-Type": _PLAIN, **(headers or {})})


# ── the metrics ─────────────────────────────────────────────────────────────────────────────────────────


class _Maker:
    """Makes what of a publication is not there to be sent in a thread, once; the requests for it wait here."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def have(self, publication: Publication, form: Format, *, gzip: bool) -> None:
        """Return when that form can be had at once."""
        if not publication.has(form, gzip=gzip):
            async with self._lock:
                if not publication.has(form, gzip=gzip):
                    await asyncio.to_thread(publication.parts, form, b"", gzip)


@functools.lru_cache(maxsize=128)
def _wanted(accept: str, encoding: str) -> tuple[Format, bool]:
    return negotiate(accept), accepts_gzip(encoding)


def _header(request: web.Request, name: str) -> str:
    """All fields of that name as one (RFC 9110, 5.3)."""
    return ", ".join(request.headers.getall(name, ()))


async def _metrics(request: web.Request) -> web.StreamResponse:
    app, source = request.app, _wanted_source(request)
    edition = app[POLLER].edition(source)
    if edition is None:
        return _plain(503, "nothing was read yet")
    form, gzip = _wanted(_header(request, "Accept"), _header(request, "Accept-Encoding"))
    await app[MAKER].have(edition.publication, form, gzip=gzip)
    telemetry = app[TELEMETRY]
    own = telemetry.render(form) if source is None else telemetry.render_source(form, source)
    body, tail = edition.publication.parts(form, own, gzip)
    headers = {
        "Content-Type": form.value,
        "Content-Length": str(len(body) + len(tail)),
        "Vary": "Accept, Accept-Encoding",
        **({"Content-Encoding": "gzip"} if gzip else {}),
    }
    short = len(body) <= _SHORT_BYTES
    response = web.Response(headers=headers) if short else web.StreamResponse(headers=headers)
    pieces = (body + tail,) if short else (body, tail)
    if request.method == "GET" and await sent(request, response, *pieces):
        edition.note_served()
    return response


def _wanted_source(request: web.Request) -> str | None:
    """The source that alone is asked for, or None for all.

    Raises:
        HTTPBadRequest: more than one is.
        HTTPNotFound: there is no such source.
    """
    wanted, known = request.query.getall("source", ()), request.app[POLLER].sources
    if only := source_of(request):
        wanted, known = wanted or [only], [name for name in known if name == only]
    if len(wanted) > 1:
        raise web.HTTPBadRequest(reason="source: can be given once")
    if wanted and wanted[0] not in known:
        raise web.HTTPNotFound(reason=f"no such source: there is {', '.join(known)}")
    return wanted[0] if wanted else None


# ── the rest ────────────────────────────────────────────────────────────────────────────────────────────


async def _healthy(_request: web.Request) -> web.Response:
    return _plain(200)


async def _ready(request: web.Request) -> web.Response:
    return _plain(200 if request.app[POLLER].ready else 503)


async def _reload(request: web.Request) -> web.Response:
    if not request.app[SETTINGS].enable_lifecycle:
        return _plain(403, "reload by HTTP is off: --web.enable-lifecycle turns it on")
    error = request.app[RELOAD]()
    return _plain(500, f"the old configuration stays: {error}") if error else _plain(200)


async def _to_prefix(request: web.Request) -> web.Response:
    raise web.HTTPFound(f"{request.app[SETTINGS].prefix}/")
