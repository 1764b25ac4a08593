"""The running server: it listens, polls, reloads, and stops within five seconds.

The pollers are owned by a TaskGroup: if one dies of a bug, the process ends, rather than serve old numbers as
new.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Protocol

from aiohttp import web

from exporter import logs
from exporter.config import ConfigError, Settings
from exporter.options import LISTEN_ADDRESS, Model, OperationError
from exporter.settingtypes import reachable
from exporter.spec import Metric
from exporter.telemetry import Telemetry
from exporter.web.app import Polled, make_app
from exporter.web.connections import LIMITS, Site
from exporter.web.pages import Windows
from exporter.web.security import Guard

log = logs.get(__name__)

# https://sourceware.org/glibc/manual/latest/html_node/Malloc-Tunable-Parameters.html
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 128 * 1024

_NICE = 10
_FINISH_REQUESTS_S = 3.0
_EXIT_S = 4.5


class ListenError(OperationError):
    """An address that cannot be listened on."""


Job = Callable[[], Coroutine[None, None, None]]
"""What runs for as long as the server does."""


class Running(Polled, Protocol):
    """Pollers that run until they are cancelled."""

    async def run(self) -> None:
        """Poll until cancelled; what it raises is a bug."""

    def apply(self, settings: Settings) -> None:
        """Poll by these settings from now on."""


_FIXED = ("web", "storage", "time_zone")
"""What is as it was at the start until the next one."""


class Reloader:
    """Reads the configuration again, and has it applied but for what only a start can change.

    ``settings`` are those the process was started by, ``load`` reads them anew, ``apply`` has pollers follow them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        load: Callable[[], Settings],
        apply: Callable[[Settings], None],
        telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._load = load
        self._apply = apply
        self._telemetry = telemetry

    def __call__(self) -> str:
        """Reload; returns the error (the old configuration stays) or nothing."""
        try:
            read = self._load()
        except ConfigError as exc:
            self._telemetry.reloaded("configuration", successful=False, now=time.time())
            log.error("configuration is wrong, the old one stays", error=str(exc))
            return str(exc)
        self._follow(read.model_copy(update={name: getattr(self._settings, name) for name in _FIXED}))
        self._telemetry.reloaded("configuration", successful=True, now=time.time())
        if waiting := ",".join(self._waiting(read)):
            log.warning("a restart is needed to apply all of the configuration", waiting=waiting)
        return ""

    def _follow(self, settings: Settings) -> None:
        changed = _changes(self._settings, settings)
        if not changed:
            log.info("configuration read; nothing changed")
            return
        self._apply(settings)
        self._settings = settings
        if "log" in changed:
            logs.configure(settings.log.level, settings.log.format)
        log.info("configuration applied", changed=",".join(changed))

    def _waiting(self, read: Settings) -> Iterator[str]:
        """The keys that were changed, and are applied by a restart only."""
        for name in _FIXED:
            before, after = getattr(self._settings, name), getattr(read, name)
            if isinstance(before, Model):
                yield from (f"{name}.{key}" for key in _changes(before, after))
            elif before != after:
                yield name


def _changes(before: Model, after: Model) -> list[str]:
    return [name for name in type(after).model_fields if getattr(before, name) != getattr(after, name)]


async def serve(
    *,
    settings: Settings,
    poller: Running,
    telemetry: Telemetry,
    load: Callable[[], Settings],
    windows: Windows | None = None,
    metrics: Sequence[Metric] = (),
    announce: Callable[[str], None] = lambda url: None,
    beside: Job | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then finish the scrapes in hand.

    ``load`` reads the settings anew at SIGHUP. ``announce`` is told the address of the page when it can be
    reached. ``windows`` are what the pages look at the sources through, ``metrics`` what they explain. ``beside``
    runs as long as the pollers.

    Raises:
        ListenError: an address is taken, or none of this machine's.
        ConfigError: the web configuration is wrong, or would leave open what nobody said may be.
        ExceptionGroup: a poller, or what runs beside it, failed.
    """
    give_memory_back()
    guard = Guard(settings.web.config_file, telemetry=telemetry)
    guard.check_addresses(settings.web.listen_address, allow_open=settings.web.allow_open)
    reload = Reloader(settings, load=load, apply=poller.apply, telemetry=telemetry)
    app = make_app(
        settings=settings.web,
        poller=poller,
        telemetry=telemetry,
        reload=reload,
        windows=windows,
        metrics=metrics,
        guard=guard,
    )
    runner = web.AppRunner(app, shutdown_timeout=_FINISH_REQUESTS_S, **LIMITS)
    stopping = _watch_signals(reload)
    try:
        await runner.setup()
        await _listen(runner, settings, guard, announce)
        await _run(runner, stopping, [poller.run, *([beside] if beside else [])])
    finally:
        await runner.cleanup()
    log.info("stopped")


def give_way() -> None:
    """Let the platform have the CPU first, where both want it.

    [A writer that commits as fast as it can, on two cores of which one is busy, is slowed by 8% instead of 26 to 47.]
    """
    with contextlib.suppress(OSError):  # it has a lower priority already
        os.setpriority(os.PRIO_PROCESS, 0, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))


def give_memory_back() -> None:
    """Let glibc give back what was freed; elsewhere, do nothing.

    Each publish frees megabytes. Left alone, glibc raises its threshold for blocks of their own to the largest that
    was freed, and keeps the next ones in a heap for each thread [10 million rows: 108 MB after 18 polls, 81 before].
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in (
            (_M_MMAP_THRESHOLD, _LARGE_BYTES),
            (_M_TRIM_THRESHOLD, _LARGE_BYTES),
            (_M_ARENA_MAX, 1),
        ):
            mallopt(parameter, value)


async def _run(runner: web.AppRunner, stopping: asyncio.Event, jobs: list[Job]) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job()) for job in jobs]
        await stopping.wait()
        log.info("stopping")
        await runner.cleanup()
        for task in tasks:
            task.cancel()


async def _listen(runner: web.AppRunner, settings: Settings, guard: Guard, announce: Callable[[str], None]) -> None:
    for wanted in settings.web.listen_address:
        host, _, port = wanted.rpartition(":")
        try:
            site = Site(runner, host.strip("[]") or None, int(port), context=guard.context(), secured=guard.headers())
            await site.start()
        except (OSError, UnicodeError) as exc:
            raise ListenError(f"{LISTEN_ADDRESS.flag}: {wanted}: {_reason(exc)}") from exc
    addresses = [_shown(address) for address in runner.addresses]
    for address in addresses:
        log.info("listening", address=address)
    announce(f"{'https' if guard.encrypts else 'http'}://{reachable(addresses[0])}{settings.web.prefix}/")


def _reason(exc: OSError | UnicodeError) -> str:
    if isinstance(exc, UnicodeError):
        return "not the name of a host"
    number = exc.errno or 0  # below 0 it is one of the resolver's
    return os.strerror(number) if number > 0 else str(exc.strerror)


def _shown(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _watch_signals(reload: Callable[[], str]) -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; a second one ends the process. SIGHUP reloads."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        _leave_in_time()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return stopping


def _leave_in_time() -> None:
    """Leave with 0 if a query or a slow disk holds the process too long: the saved state is always whole."""

    def leave() -> None:
        log.warning("stopped without waiting for what was in hand")
        logging.shutdown()
        os._exit(0)

    timer = threading.Timer(_EXIT_S, leave)
    timer.daemon = True
    timer.start()
