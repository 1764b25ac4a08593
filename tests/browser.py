"""A real Chromium without a window, spoken to by its DevTools protocol: how pages look, and what they ask for."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp

from tests.realserver import stop
from tests.realtools import Missing
from tools.bring import axe_file, cache_folder

START_TIMEOUT_S = 60.0
LOAD_TIMEOUT_S = 60.0
LOOK_S = 0.05
_QUIET = (
    *("--headless", "--disable-gpu", "--no-first-run", "--no-default-browser-check", "--disable-sync", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-breakpad"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0"),
    # it asks nobody for anything but what is on this machine
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@dataclass(frozen=True, slots=True)
class Browser:
    """A Chromium, and axe-core, which finds what keeps people from using a page."""

    chromium: Path
    axe: Path

    def __str__(self) -> str:
        return "chromium"


def wanted_browser() -> list[Browser | Missing]:
    """What a test with a real browser runs on."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    axe = axe_file(cache_folder())
    missing = [*([] if program else ["Chromium"]), *([] if axe.is_file() else ["axe-core"])]
    return [Missing(" and ".join(missing))] if missing else [Browser(Path(str(program)), axe)]


@dataclass(slots=True)
class Page:
    """One tab; ``requests`` are the addresses it asked for."""

    socket: aiohttp.ClientWebSocketResponse
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have something done; returns its result. Raises: RuntimeError with what the browser says."""
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(LOAD_TIMEOUT_S):
            while (message := await self._message()).get("id") != number:
                pass
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        result: dict[str, Any] = message["result"]
        return result

    async def show(self, address: str, *, width: int, height: int = 900, scheme: Literal["light", "dark"]) -> None:
        """Load the address in a window of that size and colour scheme; returns when it is loaded."""
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self.command(f"{domain}.enable")
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.command("Emulation.setEmulatedMedia", features=features)
        self.requests.clear()
        await self.command("Page.navigate", url=address)
        async with asyncio.timeout(LOAD_TIMEOUT_S):
            while (await self._message()).get("method") != "Page.loadEventFired":
                pass

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression (or what it promises) in the page, which the page's policy allows us."""
        result = await self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    async def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        taken = await self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    async def _message(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.socket.receive_json()
        parameters = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif message.get("method") == "Log.entryAdded":
            self.console.append(parameters["entry"]["text"])
        return message


@contextlib.asynccontextmanager
async def open_browser(browser: Browser, folder: Path) -> AsyncIterator[Page]:
    """Start it with a profile in ``folder``, give its one tab, and end it."""
    command = [str(browser.chromium), *_QUIET, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    command += ["--no-sandbox"] if os.geteuid() == 0 else []
    process = _start(command, folder)
    try:
        port = await _port(process, folder)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tabs = json.loads(await answer.text())
            address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        await stop(process)


def _start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "chromium.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


async def _port(process: subprocess.Popen[bytes], folder: Path) -> int:
    """The port it listens on, which it writes into its profile."""
    told = folder / "profile" / "DevToolsActivePort"
    deadline = time.monotonic() + START_TIMEOUT_S
    while not told.is_file() or len(lines := told.read_text().splitlines()) < 2:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Chromium did not start:\n{(folder / 'chromium.log').read_text()[-3000:]}")
        await asyncio.sleep(LOOK_S)
    return int(lines[0])
