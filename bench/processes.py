"""Processes of their own: a function in a fresh one, and the exporter as its users run it."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ParamSpec, TypeVar

from bench.client import Client

_ROOT = Path(__file__).parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")
_SPAWN = multiprocessing.get_context("spawn")
_READY_S = 900.0
_AS_INSTALLED = "import runpy, sys; sys.modules['rich'] = None; runpy.run_module('exporter', run_name='__main__')"
"""Without what only development brings along: structlog imports rich where there is one, 4 MB of it."""

P = ParamSpec("P")
T = TypeVar("T")


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns, called where nothing else ran before."""
    with ProcessPoolExecutor(1, mp_context=_SPAWN) as pool:
        return pool.submit(function, *args, **kwargs).result()


@contextmanager
def companion(function: Callable[..., None], *args: object) -> Iterator[Connection]:
    """A process that runs the function with the other end of the connection, which closes when it should end."""
    ours, theirs = _SPAWN.Pipe()
    process: BaseProcess = _SPAWN.Process(target=function, args=(theirs, *args), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()


def cpu_s(pid: int) -> float:
    """The CPU time the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """A field of the process's status, in MB of 2**20 bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else float("nan")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens."""

    pid: int
    port: int

    def client(self) -> Client:
        """A connection of its own to it."""
        return Client(self.port)

    def samples(self) -> dict[str, float]:
        """What it shows now: values by name and labels, as they are written."""
        with self.client() as client:
            lines = client.get("/metrics").body.decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@contextmanager
def exporter(database: Path, state: Path, **settings: str) -> Iterator[Running]:
    """`serve` on a database, once it is ready; ``settings`` are lines of the configuration file.

    Raises:
        RuntimeError: it ended, or was not ready in time; with what it logged.
    """
    state.mkdir(parents=True, exist_ok=True)
    config, log = state / "bench.yaml", state / "bench.log"
    config.write_text("".join(f"{name}: {value}\n" for name, value in settings.items()) or "{}\n")
    options = ("--database", str(database), "--storage.path", str(state), "--config.file", str(config))
    address = ("--web.listen-address", "127.0.0.1:0")
    command = [sys.executable, "-c", _AS_INSTALLED, "serve", *options, *address]
    with server(command, log, r"listening\b.*address=\S+:(\d+)") as running:
        wait(lambda: _is_ready(running), log, running.pid)
        yield running


def _is_ready(running: Running) -> bool:
    with running.client() as client:
        return client.get("/-/ready").code == 200


@contextmanager
def server(command: list[str], log: Path, listening: str = "", port: int = 0) -> Iterator[Running]:
    """A server's process from its start to its end; its port is given, or what ``listening`` finds in its log.

    Raises:
        RuntimeError: it ended, or did not listen in time; with what it logged.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATION_EXPORTER_")}
    with log.open("wb") as lines:
        process = subprocess.Popen(command, stdout=lines, stderr=lines, cwd=_ROOT, env=environ)
    try:
        wait(lambda: not listening or re.search(listening, log.read_text()) is not None, log, process.pid)
        found = re.search(listening, log.read_text()) if listening else None
        running = Running(process.pid, int(found[1]) if found else port)
        wait(lambda: _accepts(running), log, process.pid)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _accepts(running: Running) -> bool:
    try:
        running.client().close()
    except OSError:
        return False
    return True


def wait(condition: Callable[[], bool], log: Path, pid: int) -> None:
    """Return when the condition holds.

    Raises:
        RuntimeError: the process ended, or it took too long; with what it logged.
    """
    began = time.monotonic()
    while not condition():
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        waited_s = time.monotonic() - began
        if ended or waited_s > _READY_S:
            raise RuntimeError(f"{log}: the process {'ended' if ended else 'is not ready'}:\n{log.read_text()[-2000:]}")
        time.sleep(min(1.0, 0.02 + waited_s / 20))  # who waits for minutes asks once a second, as health checks do
