"""The pages in a real Chromium: wide and narrow, light and dark, over a database with hostile names in it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from aiohttp import web

from exporter.catalogue import SCHEMA, SHOWN
from exporter.config import WebSettings
from exporter.context import Rules
from exporter.recent import Eyes
from exporter.source.sqlite import SqliteSource
from exporter.telemetry import Telemetry
from exporter.view import BudgetLine, DaySpend, Lately, Seen, SourceStatus, Spending
from exporter.web import frame, overview
from exporter.web.app import make_app
from exporter.window import Window
from tests.browser import Browser, Page, open_browser
from tests.test_recent import NOW, TYPED, Database, at, handoff, session

Scheme = Literal["light", "dark"]
WIDTHS = (1280, 390)
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PATHS = ("/", "/several", "/sessions/s", "/sessions/nobody", "/docs")
CHECKS = '["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]'
AXE = f"""axe.run(document, {{runOnly: {CHECKS}}}).then(found => found.violations.map(
    each => each.id + ": " + each.nodes.map(node => node.target + " " + node.failureSummary).join("; ")))"""
LONG = "a-name-without-any-place-where-it-could-be-broken-" * 2
EVIL = "<script>alert(1)</script><img src=https://example.invalid/x onerror=alert(1)>\u202e'\""


def well(name: str = "default", **changes: object) -> SourceStatus:
    """A source that is well, with money, and budgets of every state."""
    today, now = datetime.now(UTC).date(), time.time()
    days = tuple(DaySpend(today - timedelta(29 - n), 1.0 + n % 7, 5.0 - n % 9) for n in range(30))
    budgets = [BudgetLine(f"b{n}", LONG, "month", 100.0, n * 50.0, n * 60.0, now + 9e5) for n in range(4)]
    status = SourceStatus(
        name=name,
        location=f"/data/{LONG}",
        up=True,
        error="",
        progress="",
        last_success=now,
        counting_since=now - 1e6,
        lag_rows=0,
        rows_read={"handoff_events": 1_234_567},
        last_event={"handoff_events": now},
        notes=("task_outcomes has no quality_score",),
        checkpoint_error="",
        headlines=(("Hand-offs", "1,234,567"), ("Spend (USD)", "1,234.56")),
        active_sessions=3,
        in_flight=2,
        spending=Spending(today=days[-1].cost_usd, week=20.5, month=1_234.56, days=days),
        budgets=tuple(budgets),
    )
    return replace(status, **changes)  # type: ignore[arg-type]


class Polled:
    """Pollers of one source, which is well."""

    sources = ("default",)
    ready = True

    def edition(self, source: str | None = None) -> None:
        """Nobody asks."""

    def statuses(self) -> Sequence[SourceStatus]:
        """Say how it is."""
        return [well()]


class House:
    """The window on it."""

    def __init__(self, window: Window) -> None:
        self.window = window

    async def of_sources(self) -> Sequence[Window]:
        """Always the same."""
        return [self.window]

    async def close(self) -> None:
        """Close it."""
        await self.window.close()


def fill(database: Database) -> None:
    """Every kind of event, with names that are long, or markup, or both."""
    when = {"session_id": "s", "timestamp": at(5), "success": 0}
    database.add("orchestration_sessions", session(project_name=EVIL, task_description=TYPED))
    database.add("handoff_events", handoff(success=None), handoff(target_model=EVIL, handoff_reason=TYPED))
    database.add("handoff_events", handoff(f"{EVIL}/{LONG}", target_model=LONG, task_type=LONG))
    database.add("subagent_invocations", {**when, "agent_name": LONG, "trigger_phrase": TYPED, "error_message": TYPED})
    database.add("subagent_invocations", {**when, "agent_type": "mcp_tool", "agent_name": f"{EVIL}.read"})
    database.add("task_outcomes", {**when, "model_used": "opus", "error_type": LONG, "user_feedback": TYPED})
    database.add("routing_decisions", {"session_id": "s", "timestamp": at(5), "task_description": TYPED})
    database.add("claude_code_hooks", {"session_id": "s", "timestamp": at(5), "hook_data": TYPED})


async def several(request: web.Request) -> web.Response:
    """The overview of several sources, some of them in trouble."""
    seen = await request.app[SEEN].lately()
    statuses = (
        well(),
        well("down", up=False, error=f"x.db: {LONG}", checkpoint_error="no space left", lag_rows=1_200, spending=None),
        well("starting", up=False, progress="handoff_events: 40%", last_success=None, spending=None, budgets=()),
    )
    shown = {"default": seen, "down": Seen(Lately(NOW, seen.value.events if seen.value else (), None), fresh=False)}
    text = overview.page(statuses, seen=shown, now=time.time(), links=[("Metrics", "metrics")], refreshes=False)
    headers = {"Content-Security-Policy": frame.SECURITY_POLICY}
    return web.Response(text=text, content_type="text/html", headers=headers)


async def leaky(_request: web.Request) -> web.Response:
    """A page that breaks every rule it is held to."""
    text = '<img src="/pixel"><p style="width: 3000px; color: #aaa; background: #fff">pale</p>'
    lax = {"Content-Security-Policy": "default-src * 'unsafe-inline'"}  # else nothing of it would be allowed
    return web.Response(text=text, content_type="text/html", headers=lax)


SEEN: web.AppKey[Window] = web.AppKey("seen")


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[str]:
    """The address of a site over a database that was just filled."""
    database = Database(folder / "p.db")
    fill(database)
    eyes = Eyes(SHOWN, SCHEMA.sessions, Rules())
    window = Window(source=SqliteSource(database.path), eyes=eyes, wall=lambda: NOW, wait_s=30.0)
    app = make_app(
        settings=WebSettings(grafana_url="https://grafana.example/"),
        poller=Polled(),
        telemetry=Telemetry({"default": {}}, now=1.0),
        reload=lambda: "",
        windows=House(window),
        metrics=SCHEMA.metrics,
    )
    app[SEEN] = window
    app.router.add_get("/several", several)
    app.router.add_get("/leaky", leaky)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def faults(page: Page, browser: Browser, address: str, *, width: int, scheme: Scheme) -> list[str]:
    """Load a page and return what is wrong with it."""
    await page.show(address, width=width, scheme=scheme)
    found = [f"asks for {asked}" for asked in page.requests if asked != address]
    wide = await page.evaluate("document.documentElement.scrollWidth")
    found += [f"is {wide} wide"] if wide > width else []
    await page.evaluate(f"{browser.axe.read_text()};0")
    return [*found, *await page.evaluate(AXE)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_pages_are_usable_by_everybody(tmp_path: Path, browser: Browser, width: int, scheme: Scheme) -> None:
    """axe-core finds nothing, nothing is wider than the window, and nothing but the page itself is asked for."""
    async with served(tmp_path) as site, open_browser(browser, tmp_path) as page:
        for path in PATHS:
            assert await faults(page, browser, site + path, width=width, scheme=scheme) == [], path
            text = await page.evaluate("document.body.innerText")
            assert TYPED not in text
            assert (EVIL[:20] in text) == (path in ("/", "/several", "/sessions/s"))
            made = "document.querySelectorAll('body script, body img, [onerror]').length"
            assert await page.evaluate(made) == 0
            ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert ground == {"light": "rgb(244, 245, 247)", "dark": "rgb(16, 19, 23)"}[scheme]


async def test_where_the_keyboard_is_can_be_seen(tmp_path: Path, browser: Browser) -> None:
    """Each stop of the Tab key has an outline; the first leads past the head of the page."""
    async with served(tmp_path) as site, open_browser(browser, tmp_path) as page:
        await page.show(f"{site}/", width=1280, scheme="light")
        stops = []
        for _ in range(10):
            for kind in ("keyDown", "keyUp"):
                await page.command("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
            style = "getComputedStyle(document.activeElement).outlineStyle"
            stops.append(await page.evaluate(f"[document.activeElement.innerText.slice(0, 20), {style}]"))

    assert stops[0][0] == "Skip to content"
    assert [stop for stop in stops if stop[1] == "none"] == []
    assert len({stop[0] for stop in stops}) >= 8


async def test_what_is_wrong_with_a_page_is_found(tmp_path: Path, browser: Browser) -> None:
    """A page that loads something, is too wide, has no language and pale text is told so, each."""
    async with served(tmp_path) as site, open_browser(browser, tmp_path) as page:
        found = "\n".join(await faults(page, browser, f"{site}/leaky", width=390, scheme="light"))

    for part in (f"asks for {site}/pixel", "is 3", "html-has-lang", "color-contrast", "image-alt"):
        assert part in found
