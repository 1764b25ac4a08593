"""The requests for pages: what they look at, which page answers them, and under which headers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from aiohttp import web

from exporter.config import WebSettings
from exporter.spec import Metric
from exporter.view import Lately, Seen, SourceStatus, Timeline
from exporter.web import docs, frame, overview, timeline
from exporter.web.connections import sent
from exporter.web.security import source_of


class Window(Protocol):
    """Through which a source's rows are seen; it answers within a moment, whatever the source does."""

    @property
    def name(self) -> str:
        """The source's name."""

    async def lately(self) -> Seen[Lately]:
        """Its newest rows."""

    async def timeline(self, session: str) -> Seen[Timeline]:
        """A session; a fresh None where it has none of that id."""


class Windows(Protocol):
    """The windows on all sources there are now."""

    async def of_sources(self) -> Sequence[Window]:
        """One for each source, in the order of the configuration."""

    async def close(self) -> None:
        """End what is being read."""


class Pages:
    """What answers requests for pages."""

    def __init__(
        self,
        *,
        settings: WebSettings,
        statuses: Callable[[], Sequence[SourceStatus]],
        windows: Windows | None,
        metrics: Sequence[Metric],
    ) -> None:
        self._settings = settings
        self._statuses = statuses
        self._windows = windows
        self._metrics = metrics

    async def overview(self, request: web.Request) -> web.StreamResponse:
        """The page at `/`. With `?refresh=off` it stays as it is."""
        only = source_of(request)
        windows = await self._of_sources(only)
        seen = await asyncio.gather(*(window.lately() for window in windows))
        refreshes = request.query.get("refresh") != "off"
        text = overview.page(
            [status for status in self._statuses() if only in ("", status.name)],
            seen=dict(zip((window.name for window in windows), seen, strict=True)),
            now=time.time(),
            links=self._links(),
            refreshes=refreshes,
        )
        return await _answer(request, 200, text, **({"Refresh": str(overview.REFRESH_S)} if refreshes else {}))

    async def session(self, request: web.Request) -> web.StreamResponse:
        """The page of one session, of the source that `?source=` names or of whichever has it."""
        key, source = request.match_info["id"], request.query.get("source")
        windows = [window for window in await self._of_sources(source_of(request)) if source in (None, window.name)]
        return await _answer(request, *await self._found(key, windows, source))

    async def _found(self, key: str, windows: Sequence[Window], source: str | None) -> tuple[int, str]:
        """The code and the page of a session, as these windows see it."""
        if not windows:
            return 404, self._absent("No such source", f"There is no source called {source}.")
        seen = await asyncio.gather(*(window.timeline(key) for window in windows))
        for window, found in zip(windows, seen, strict=True):
            if found.value is not None:
                return 200, self._timeline(found.value, window.name)
        if all(found.fresh for found in seen):
            return 404, self._absent("No such session", "Nothing in the tables names a session of this id.")
        return 503, self._absent("Cannot look now", "A source that may have this session cannot be read now.")

    async def docs(self, request: web.Request) -> web.StreamResponse:
        """The page of what the metrics mean."""
        links = self._links(self._home)
        return await _answer(request, 200, docs.page(self._metrics, now=time.time(), home=self._home, links=links))

    async def close(self, _app: web.Application) -> None:
        """End what is being read for pages."""
        if self._windows is not None:
            await self._windows.close()

    async def _of_sources(self, only: str) -> Sequence[Window]:
        found = () if self._windows is None else await self._windows.of_sources()
        return [window for window in found if only in ("", window.name)]

    def _timeline(self, found: Timeline, source: str) -> str:
        return timeline.page(found, source=source, now=time.time(), home=self._home, links=self._links(self._home))

    def _absent(self, title: str, said: str) -> str:
        links = self._links(self._home)
        return timeline.absent(title=title, said=said, home=self._home, links=links, now=time.time())

    @property
    def _home(self) -> str:
        """The overview's address."""
        return f"{self._settings.prefix}/"

    def _links(self, home: str = "") -> list[tuple[str, str]]:
        """What else is served; addresses relative to the overview, or below ``home``."""
        own = [
            ("Metrics", self._settings.telemetry_path.removeprefix("/")),
            ("Docs", "docs"),
            ("Health", "-/healthy"),
            ("Readiness", "-/ready"),
        ]
        outside = [("Grafana", self._settings.grafana_url)] if self._settings.grafana_url else []
        return [*((name, f"{home}{path}") for name, path in own), *outside]


async def _answer(request: web.Request, code: int, text: str, **headers: str) -> web.StreamResponse:
    body = text.encode()
    answer = web.Response(
        status=code,
        headers={
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": frame.SECURITY_POLICY,
            "Cache-Control": "no-store",
            **headers,
        },
    )
    if request.method == "GET":
        await sent(request, answer, body[:-1], body[-1:])
    return answer
