"""The exporter and the simulated platform as processes of their own, and the poller's real loop on made-up clocks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import yaml

from exporter import catalogue
from exporter.checkpoint import StateDirectory
from exporter.config import Settings
from exporter.exposition import Format, Publication
from exporter.poller import Poller
from exporter.source import Look, Snapshot, SourceError
from exporter.spec import Counter, Histogram, Schema
from exporter.telemetry import OUTCOMES, Telemetry
from tests.model import EPOCH, MemorySource, Platform
from tests.running import DEADLINE_S, Shown
from tests.sqlite_platform import REPOSITORY

LOOK_S = 0.01
OF_ROWS = tuple(metric.name for metric in catalogue.METRICS if isinstance(metric, Counter | Histogram))
"""The counters and histograms that are kept over restarts."""


def until(condition: Callable[[], Any], what: str, *, timeout_s: float = DEADLINE_S, look_s: float = LOOK_S) -> Any:
    """Return what the condition gives once that is true; fail at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not {what} in {timeout_s} s"
        time.sleep(look_s)
    return found


def environment() -> dict[str, str]:
    """What a child process is given: nothing of ours."""
    return {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRATION_EXPORTER_")}


# ── the exporter as a process ────────────────────────────────────────────────────────────────────────────────


class Serving(AbstractContextManager["Serving"]):
    """A real `serve` process, that can be killed and started again on the same state.

    ``settings`` go into its configuration file, ``prefix`` before its command.
    """

    def __init__(
        self,
        folder: Path,
        database: Path,
        settings: Mapping[str, object] = MappingProxyType({}),
        *,
        prefix: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.address = "127.0.0.1:0"
        self.process: subprocess.Popen[bytes] | None = None
        self.command = [*prefix, sys.executable, "-m", "exporter"]
        self._config = folder / "exporter.yml"
        given = {
            "sources": [{"name": "default", "database": str(database)}],
            "storage": {"path": str(folder / "state")},
            **settings,
        }
        self._config.write_text(yaml.safe_dump(given))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(signal.SIGKILL)

    @property
    def log(self) -> str:
        """What it has logged since it was last started."""
        return (self.folder / "log").read_text(errors="replace")

    def launch(self) -> None:
        """Start it, on the address it had before, or any."""
        command = [*self.command, "serve", "--config.file", str(self._config), "--web.listen-address", self.address]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self, *, any_port: bool = False) -> None:
        """Start it and return when it is ready."""
        if any_port:
            self.address = "127.0.0.1:0"
        self.launch()
        self.listens()
        self.until(self.is_ready, "ready")

    def listens(self) -> None:
        """Return when it listens."""
        found = self.until(lambda: re.search(r'msg="listening" address=(\S+)', self.log), "listening")
        self.address = found[1]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what the condition gives once that is true; fail at the deadline, at once if the process ended."""

        def holds() -> Any:
            assert self.process is not None
            assert self.process.poll() is None, f"it ended: {self.log[-3000:]}"
            return condition()

        return until(holds, what)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and return its exit code; nothing happens if it does not run."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(DEADLINE_S)
        finally:
            process.kill()
            process.wait()

    def get(self, path: str = "/metrics", *, form: Format = Format.TEXT) -> str:
        """What it answers; the empty string where it does not, or not with 200."""
        request = urllib.request.Request(f"http://{self.address}{path}", headers={"Accept": form.value})
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""

    def is_ready(self) -> bool:
        """Whether a complete publication was shown."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=DEADLINE_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def shows(self, what: str) -> None:
        """Return when that is in what it answers."""
        self.until(lambda: what in self.get(), f"{what} shown")

    def scrape(self) -> Shown:
        """The counters and histograms made from the source, as they are shown now."""
        return of_rows(self.get())


def of_rows(text: str) -> Shown:
    """Of an exposition, the counters and histograms that are kept over restarts."""
    lines = (line for line in text.splitlines() if line.startswith(OF_ROWS))
    return Shown.of("\n".join(lines))


# ── the platform as a process ────────────────────────────────────────────────────────────────────────────────


class Demo(AbstractContextManager["Demo"]):
    """The simulated platform, writing as long as the `with` around it lasts, or until `stop`."""

    def __init__(self, database: Path, *options: str) -> None:
        command = [sys.executable, "-m", "exporter.demo", str(database), "--stop-on-stdin-eof", *options]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith(b"ready")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def runs(self) -> bool:
        """Whether it still writes."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Let it end as a program ends."""
        try:
            self._process.communicate(timeout=DEADLINE_S)
        finally:
            self._process.kill()
            self._process.wait()


# ── the poller's own loop ────────────────────────────────────────────────────────────────────────────────────


class Moody(MemorySource):
    """A database in memory that cannot be read while ``error`` says why not."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform)
        self.error: SourceError | None = None
        """Raised by every snapshot when it is left."""
        self.snapshots = 0
        self.on_leave: Callable[[], None] = lambda: None

    def look(self) -> Look:
        return self.platform.version

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        self.snapshots += 1
        async with super().snapshot() as snapshot:
            yield snapshot
        self.on_leave()
        if self.error is not None:
            raise self.error


class Looping(AbstractAsyncContextManager["Looping"]):
    """A poller's real `run`, state directory and all, on a database in memory and clocks that a test moves."""

    def __init__(self, platform: Platform, storage: Path, *, schema: Schema = catalogue.SCHEMA, **chosen: Any) -> None:
        self.source = Moody(platform)
        self.schema = schema
        self.wall = EPOCH
        self.monotonic = 1000.0
        self.storage = storage
        self.chosen: dict[str, Any] = {"new_series_hold": 0.0, **chosen}
        self._directory = StateDirectory(storage)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, **chosen: Any) -> None:
        """Start, as a new process does; what is given here stays chosen. Returns after the first poll."""
        self.chosen |= chosen
        source = {"name": "default", "database": "memory"}
        given = {"sources": [source], "storage": {"path": str(self.storage)}, **self.chosen}
        self.telemetry = Telemetry({"default": {}}, now=self.wall)
        # polls as fast as it can, which no user may set
        settings = Settings.model_validate(given).model_copy(update={"poll_interval": 0.0})
        self.poller = Poller(
            settings=settings,
            of=settings.sources[0],
            schema=self.schema,
            directory=self._directory,
            source=self.source,
            telemetry=self.telemetry,
            wall=lambda: self.wall,
            monotonic=lambda: self.monotonic,
        )
        self._task = asyncio.create_task(self.poller.run())
        await self.polled(1)

    async def stop(self) -> None:
        """Stop without a last poll."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._directory.release()
        self._task = None

    async def restart(self, **chosen: Any) -> None:
        """Stop and start."""
        await self.stop()
        await self.start(**chosen)

    async def advance(self, seconds: float, *, jump: float = 0.0) -> Shown:
        """Let time pass, set the wall clock on by ``jump``, and poll."""
        self.monotonic += seconds
        self.wall += seconds + jump
        return await self.polled()

    async def polled(self, polls: int = 2) -> Shown:
        """What is shown after a poll that began after this call."""
        assert self._task is not None
        enough, deadline = self.polls() + polls, time.monotonic() + DEADLINE_S
        while self.polls() < enough:
            if self._task.done():
                self._task.result()
            assert time.monotonic() < deadline, f"no poll: {self.poller.status()}"
            await asyncio.sleep(0)
        return self.shown

    def polls(self, *outcomes: str) -> float:
        """How many polls ended so, of all outcomes if none is named."""
        name, value = "orchestration_exporter_polls_total", self.telemetry.registry.get_sample_value
        return sum(value(name, {"source": "default", "outcome": outcome}) or 0.0 for outcome in outcomes or OUTCOMES)

    def serve(self) -> Shown:
        """A scrape: what it gets."""
        publication = self.poller.publication
        assert publication is not None
        self.poller.note_served(publication)
        return Shown.of(text(publication))

    @property
    def shown(self) -> Shown:
        """What is shown now."""
        assert self.poller.publication is not None
        return Shown.of(text(self.poller.publication))

    @property
    def counting_since(self) -> float:
        """The guard's value."""
        return self.shown.total("orchestration_counting_since_timestamp_seconds")


def text(publication: Publication) -> str:
    """All of it in the text format."""
    return publication.answer(Format.TEXT, b"").decode()


def scan_of(shown: Shown, *names: str) -> Mapping[str, float]:
    """The series of these metrics that are not 0, histograms' included."""
    ends = ("", "_bucket", "_count", "_sum")
    wanted = {name + end for name in names for end in ends}
    return {series: value for series, value in shown.samples.items() if series.partition("{")[0] in wanted and value}
