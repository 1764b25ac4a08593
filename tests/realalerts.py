"""A real Alertmanager to run as long as a test needs it, and stand-ins for whom it tells: by HTTP and by mail."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import json
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.realserver import POLL_S, RealServer
from tests.realtools import WAIT_TIMEOUT_S, AlertTools

EXTERNAL_URL = "http://alerts.example.com"
Labels = Mapping[str, str]


class Alertmanager(RealServer):
    """A real Alertmanager on a folder with its configuration, that lives as long as the `async with` around it.

    ``env`` is added to its environment.

    Raises: RuntimeError with the end of its log if it does not start; TimeoutError.
    """

    def __init__(
        self, tools: AlertTools, config: Path, folder: Path, *, env: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        # in its own folder: tools.bring has Debian's look for its templates beside itself
        super().__init__(str(tools), tools.alertmanager, folder, run_in=tools.alertmanager.parent, env=env)
        self.tools = tools
        self._config = config

    async def post(self, *alerts: Labels, annotations: Labels | None = None, resolved: bool = False) -> None:
        """Tell it of alerts by their labels, as a Prometheus does; `resolved`: that they ended just now."""
        # not in the past: a group does not wait for the others of an alert that is older than its wait
        now = datetime.now(UTC)
        times = {"startsAt": now.isoformat()}
        times |= {"endsAt": (now if resolved else now + timedelta(hours=1)).isoformat()}
        body = [
            {
                "labels": dict(labels),
                "annotations": dict(annotations or {}),
                "generatorURL": "http://prom.example.com/graph?g0.expr=up",
                **times,
            }
            for labels in alerts
        ]
        async with self._client().post(f"{self.url}/api/v2/alerts", json=body) as response:
            assert response.status == 200, await response.text()

    async def states(self, *matchers: str) -> dict[frozenset[tuple[str, str]], str]:
        """The state of each alert that matches, `active` or `suppressed`, by its labels."""
        filters = [("filter", matcher) for matcher in matchers]
        async with self._client().get(f"{self.url}/api/v2/alerts", params=filters) as response:
            found = await response.json()
            assert response.status == 200, found
        return {frozenset(each["labels"].items()): each["status"]["state"] for each in found}

    def _arguments(self) -> list[str]:
        return [
            f"--config.file={self._config}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.external-url={EXTERNAL_URL}",
            "--web.route-prefix=/",
            "--cluster.listen-address=",
            "--log.level=debug",
        ]


@dataclass
class Told(AbstractAsyncContextManager["Told"]):
    """An HTTP server that keeps what it is told: (path, JSON, headers), in the order in which it came."""

    requests: list[tuple[str, Any, dict[str, str]]] = field(default_factory=list)
    server: TestServer | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        self.server = TestServer(app)
        await self.server.start_server()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.server is not None
        await self.server.close()

    def url(self, path: str) -> str:
        """Where it is told."""
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.port}{path}"

    def at(self, path: str) -> list[Any]:
        """What came to one path."""
        return [body for where, body, _ in self.requests if where == path]

    async def _take(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, json.loads(await request.text()), dict(request.headers)))
        return web.Response(text="ok")


@dataclass
class Mailbox(AbstractAsyncContextManager["Mailbox"]):
    """As much of a mail server as a client needs. It keeps what is sent; with ``tls``, only after STARTTLS and AUTH."""

    tls: ssl.SSLContext | None = None
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.server is not None
        self.server.close()
        await self.server.wait_closed()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        assert self.server is not None
        return f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        try:
            while line := (await reader.readline()).decode().strip():
                await self._answer(line, reader, writer)
                await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()

    async def _answer(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        verb, _, rest = line.partition(" ")
        if verb.upper() == "EHLO" and self.tls:
            is_safe = writer.get_extra_info("ssl_object") is not None
            writer.write(b"250-here\r\n250 AUTH PLAIN\r\n" if is_safe else b"250-here\r\n250 STARTTLS\r\n")
        elif verb.upper() == "STARTTLS" and self.tls:
            writer.write(b"220 go on\r\n")
            await writer.start_tls(self.tls)
        elif verb.upper() == "AUTH":
            self.logins.append(base64.b64decode(rest.rpartition(" ")[2]).decode())
            writer.write(b"235 welcome\r\n")
        elif self.tls and not self.logins:
            writer.write(b"530 who are you\r\n")
        elif verb.upper() == "DATA":
            writer.write(b"354 go on\r\n")
            self._keep(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"250 ok\r\n")
        else:
            if verb.upper() == "RCPT":
                self.recipients.append(rest.partition("<")[2].rstrip(">"))
            writer.write(b"221 bye\r\n" if verb.upper() == "QUIT" else b"250 ok\r\n")

    def _keep(self, raw: bytes) -> None:
        text = raw.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
        mail = email.message_from_bytes(text, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)


async def until(condition: Callable[[], object], what: str, *, timeout_s: float = WAIT_TIMEOUT_S) -> None:
    """Return once the condition holds.

    Raises: TimeoutError.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not {what} in {timeout_s} s")
        await asyncio.sleep(POLL_S)


def amtool(program: Path, *arguments: str | Path) -> tuple[int, str]:
    """The exit code of amtool and what it said."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def receivers_of(program: Path, config: Path, labels: Sequence[str]) -> list[str]:
    """Who is told of an alert with such labels, as amtool reads the configuration."""
    code, said = amtool(program, "config", "routes", "test", f"--config.file={config}", *labels)
    assert code == 0, said
    # Debian's amtool knows an Alertmanager's address, and warns that it asks a file instead
    return said.splitlines()[0].split(",")
