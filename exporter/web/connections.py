"""What a connection may take: so many at once, so long for a request and to read an answer, so much in its headers."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

MAX_CONNECTIONS = 1_000
HANDSHAKE_S = 10.0
REQUEST_S = 10.0
"""How long a client may take to send a request line and headers."""
SEND_S = 60.0
"""How long a client may take to read an answer of any size."""
KEPT_ALIVE_S = 180.0
LIMITS: Mapping[str, Any] = {
    "max_line_size": 8_190,
    "max_field_size": 8_190,
    "max_headers": 64,
    "lingering_time": 2.0,
    "keepalive_timeout": KEPT_ALIVE_S,
    "access_log": None,
    "logger": logging.getLogger("exporter.web.refused"),
}
logging.getLogger("exporter.web.refused").setLevel(logging.CRITICAL)  # what strangers send is no news


class Connection(RequestHandler):
    """A connection that is closed when its client takes too long to say what it wants, or to read what it gets."""

    __slots__ = ("_deadline", "_open", "_secured", "_unread")

    def __init__(self, server: Any, opened: set[Connection], headers: Mapping[str, str]) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **LIMITS)
        self._open, self._secured = opened, headers
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it, or close it if there are too many."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.WriteTransport):
            # writing then waits for the last byte; asyncio's TLS would wait for ever at a limit of 0, which it is at
            transport.set_write_buffer_limits(1 if transport.get_extra_info("sslcontext") else 0, 0)
        self._open.add(self)
        if len(self._open) > MAX_CONNECTIONS and self.transport is not None:
            self.transport.abort()
        self._arm()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._open.discard(self)
        self.begun()
        self._read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to read what was sent, for so long."""
        super().pause_writing()
        self._unread = asyncio.get_running_loop().call_later(SEND_S, self._end)

    def resume_writing(self) -> None:
        """It has read all of it."""
        self._read()
        super().resume_writing()

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def data_received(self, data: bytes) -> None:
        """Give a request so long from its first byte; the middleware says when it is whole."""
        if self._deadline is None and not self._current_request:
            self._arm()
        super().data_received(data)

    def _arm(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(REQUEST_S, self._end)

    def begun(self) -> None:
        """The headers are there."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no request, without a word of it."""
        answer = super().handle_error(request, status, exc, None)
        answer.headers.update(self._secured)
        if isinstance(answer, web.Response):
            answer.content_type, answer.text = "text/plain", "no request that can be answered\n"
        return answer


async def sent(request: web.Request, response: web.StreamResponse, *pieces: bytes) -> bool:
    """Send an answer; whether the system took all of it while the client was still there.

    A piece that is long goes as it is: joining it to anything copies it, which takes as long as sending it. So the
    headers of a `web.Response`, which aiohttp joins to the first piece, are for shorter ones. asyncio's TLS takes a
    piece of any length without waiting, and waits for what is left of it with the next one.
    """
    try:
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        return False
    return request.transport is not None and not request.transport.is_closing()


class Site(web.TCPSite):
    """An address that is listened on, with these limits."""

    def __init__(
        self,
        runner: web.AppRunner,
        host: str | None,
        port: int,
        *,
        context: ssl.SSLContext | None,
        secured: Mapping[str, str],
    ) -> None:
        super().__init__(runner, host, port, ssl_context=context)
        self._secured = secured
        self._opened: set[Connection] = set()

    async def start(self) -> None:
        """Listen."""
        await web.BaseSite.start(self)
        server = self._runner.server
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(server, self._opened, self._secured),
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=HANDSHAKE_S if self._ssl_context else None,
        )
