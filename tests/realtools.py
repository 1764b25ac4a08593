"""The real Prometheus and Alertmanager: which are here, and a Prometheus to run as long as a test needs it.

python -m tests.realtools     what is here, and what the last run of the tests could not run for want of it
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import pytest
import yaml

from tests.realserver import POLL_S, STOP_TIMEOUT_S, RealServer
from tools.bring import (
    ALERTMANAGER,
    REPOSITORY,
    alertmanager_folder,
    cache_folder,
    debian_folder,
    is_debian,
    prometheus_3_folder,
)

T = TypeVar("T")

WAIT_TIMEOUT_S = 90.0
NOT_RUN = "for want of "
# beside pytest's own memory of failures, so that `make clean` takes it along
NOT_RUN_FILE = Path(".pytest_cache") / "not-run-for-want-of-tools.json"


@dataclass(frozen=True, slots=True)
class Tools:
    """One version of Prometheus and the promtool that came with it."""

    version: str
    prometheus: Path
    promtool: Path

    def __str__(self) -> str:
        return f"prometheus-{self.version}"

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version, to compare."""
        return _release(self.version)

    @property
    def takes_scrape_protocols(self) -> bool:
        """Whether a scrape's format can be configured; without, OpenMetrics is asked for first."""
        return self.release >= (2, 49)


@dataclass(frozen=True, slots=True)
class AlertTools:
    """One version of Alertmanager and the amtool beside it, which may be newer."""

    version: str
    alertmanager: Path
    amtool: Path

    def __str__(self) -> str:
        return f"alertmanager-{self.version}"

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version, to compare."""
        return _release(self.version)


@dataclass(frozen=True, slots=True)
class Missing:
    """A program that should be here and is not: what stands in for its version in a test's name."""

    what: str

    def __str__(self) -> str:
        return f"missing-{self.what.replace(' ', '-')}"


@cache
def prometheus_versions() -> tuple[Tools, ...]:
    """Return every Prometheus with a promtool beside it, oldest first, each version once."""
    found: dict[str, Tools] = {}
    for folder in _folders("prometheus"):
        prometheus, promtool = folder / "prometheus", folder / "promtool"
        if _is_program(prometheus) and _is_program(promtool):
            version = _version(prometheus)
            found.setdefault(version, Tools(version, prometheus, promtool))
    return tuple(sorted(found.values(), key=lambda tools: tools.release))


@cache
def alertmanager_versions() -> tuple[AlertTools, ...]:
    """Return every Alertmanager with an amtool beside it, oldest first, each version once."""
    found: dict[str, AlertTools] = {}
    for name in ("prometheus-alertmanager", "alertmanager"):  # Debian has its own name for it
        for folder in _folders(name):
            alertmanager, amtool = folder / name, folder / "amtool"
            if _is_program(alertmanager) and _is_program(amtool):
                version = _version(alertmanager)
                found.setdefault(version, AlertTools(version, alertmanager, amtool))
    return tuple(sorted(found.values(), key=lambda tools: tools.release))


def wanted_prometheus(env: Mapping[str, str] = os.environ) -> list[Tools | Missing]:
    """Return what a test with a real Prometheus runs on: each version here, and what should be and is not."""
    here = prometheus_versions()
    wanted: list[Tools | Missing] = [*here]
    if env.get("TEST_PROMETHEUS_3") == "1" and all(t.release < (3, 0) for t in here):
        wanted.append(Missing("Prometheus 3"))
    if are_required(env) and is_debian() and not any(_is_below(_debians(), tools.prometheus) for tools in here):
        wanted.append(Missing("packaged Prometheus"))
    return wanted or [Missing("Prometheus")]


def wanted_alertmanager(env: Mapping[str, str] = os.environ) -> list[AlertTools | Missing]:
    """Return what a test with a real Alertmanager or amtool runs on: each version here, and what should be and is not.

    What asks for Prometheus 3 asks for an Alertmanager of its day, too.
    """
    here = alertmanager_versions()
    wanted: list[AlertTools | Missing] = [*here]
    if env.get("TEST_PROMETHEUS_3") == "1" and all(t.release < _release(ALERTMANAGER) for t in here):
        wanted.append(Missing("current Alertmanager"))
    if are_required(env) and is_debian() and not any(_is_below(_debians(), tools.alertmanager) for tools in here):
        wanted.append(Missing("packaged Alertmanager"))
    return wanted or [Missing("Alertmanager")]


def by_version(wanted: Sequence[object]) -> list[Any]:
    """As parameters of a fixture: versions older than the newest that is here are left to `make test-all`."""
    here = [tools for tools in wanted if not isinstance(tools, Missing)]
    return [pytest.param(tools, marks=pytest.mark.slow if tools in here[:-1] else ()) for tools in wanted]


def are_required(env: Mapping[str, str] = os.environ) -> bool:
    """Whether a test that cannot run for want of a program fails, as it does in CI."""
    return env.get("CI", "") in ("true", "1") or env.get("TEST_REQUIRE_TOOLS") == "1"


def cannot_run(missing: Missing) -> NoReturn:
    """End the test that asks: skipped, with a word of what for, or failed where every test has to run."""
    if are_required():
        pytest.fail(f"a test must run, and cannot {NOT_RUN}{missing.what}", pytrace=False)
    pytest.skip(f"{NOT_RUN}{missing.what}")


def present(wanted: object, kind: type[T]) -> T:
    """What the test that asks is to run on; it ends as by `cannot_run` where that is missing."""
    if isinstance(wanted, Missing):
        cannot_run(wanted)
    assert isinstance(wanted, kind)
    return wanted


def free_port() -> int:
    """Return a loopback port nobody listens on now; for a program that takes port 0, give it that instead."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _folders(program: str) -> list[Path]:
    cached = cache_folder()
    on_path = shutil.which(program)
    folders = [prometheus_3_folder(cached), alertmanager_folder(cached), debian_folder(cached) / "usr" / "bin"]
    return [*folders, Path(on_path).parent] if on_path else folders


def _is_program(path: Path) -> bool:
    return os.access(path, os.X_OK) and path.is_file()


def _debians() -> tuple[Path, Path]:
    return debian_folder(cache_folder()), Path("/usr/bin")


def _is_below(folders: Sequence[Path], program: Path) -> bool:
    return any(program.is_relative_to(folder) for folder in folders)


def _version(program: Path) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30)
    said = done.stdout + done.stderr  # older ones answer on stderr
    match = re.search(r"version (\d+\.\d+\.\d+)", said)
    return match[1] if match else "0.0.0"


def _release(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


class Sample(NamedTuple):
    """One series of an instant query's answer."""

    labels: dict[str, str]
    value: float


class Series(NamedTuple):
    """One series of a range query's answer; points are (Unix time in seconds, value)."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class QueryError(Exception):
    """Prometheus refused a request; the message is its own."""


class Prometheus(RealServer):
    """A real Prometheus, with its own folder and port, that lives as long as the `async with` around it.

    `targets` are `host:port` scraped as job `job`; `scrape` is merged into that job's configuration and `top`
    into the whole. `scrape_protocols` needs a Prometheus that `takes_scrape_protocols`. Entering again after
    leaving starts it anew on the same storage. Before 3.x, it takes 5 s until it looks at its first target.

    Raises: as a RealServer; its methods QueryError, TimeoutError.
    """

    def __init__(
        self,
        tools: Tools,
        folder: Path,
        *,
        targets: Sequence[str] = (),
        job: str = "orchestration-exporter",
        scrape_interval_s: float = 0.2,
        scrape_protocols: Sequence[str] = (),
        rule_files: Sequence[Path] = (),
        scrape: Mapping[str, Any] | None = None,
        top: Mapping[str, Any] | None = None,
        flags: Sequence[str] = (),
        storage: Path | None = None,
        answer_s: float = STOP_TIMEOUT_S,
    ) -> None:
        if scrape_protocols and not tools.takes_scrape_protocols:
            raise ValueError(f"{tools} takes no scrape_protocols: it asks for OpenMetrics first")
        super().__init__(str(tools), tools.prometheus, folder, answer_s=answer_s)
        self.tools = tools
        self._storage = storage or folder / "data"
        self._flags = tuple(flags)
        interval = f"{round(scrape_interval_s * 1000)}ms"
        job_config: dict[str, Any] = {"job_name": job, "static_configs": [{"targets": list(targets)}]}
        if scrape_protocols:
            job_config["scrape_protocols"] = list(scrape_protocols)
        self.config: dict[str, Any] = {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "rule_files": [str(path) for path in rule_files],
            "scrape_configs": [{**job_config, **(scrape or {})}],
            **(top or {}),
        }

    async def query(self, expr: str, time: float | None = None) -> list[Sample]:
        """Return the answer to an instant query, at `time` (Unix seconds) or now, sorted by labels."""
        data = await self.api("query", query=expr, **({} if time is None else {"time": f"{time:.3f}"}))
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        samples = [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]
        return sorted(samples, key=lambda sample: sorted(sample.labels.items()))

    async def value(self, expr: str, time: float | None = None) -> float:
        """Return the one value of a query that has exactly one."""
        samples = await self.query(expr, time)
        assert len(samples) == 1, f"{expr} has {len(samples)} series: {samples[:5]}"
        return samples[0].value

    async def query_range(self, expr: str, *, start: float, end: float, step_s: float) -> list[Series]:
        """Return the answer to a range query, sorted by labels; at most 11,000 points a series."""
        data = await self.api("query_range", query=expr, start=f"{start:.3f}", end=f"{end:.3f}", step=f"{step_s:g}")
        series = [Series(each["metric"], [(at, float(v)) for at, v in each["values"]]) for each in data["result"]]
        return sorted(series, key=lambda each: sorted(each.labels.items()))

    async def targets(self) -> list[dict[str, Any]]:
        """Return the active targets as the API tells them: health, lastError, lastScrape, labels."""
        found: list[dict[str, Any]] = (await self.api("targets", state="active"))["activeTargets"]
        return found

    async def api(self, path: str, **parameters: str) -> Any:
        """Return `data` of a GET on `/api/v1/{path}`."""
        async with self._client().get(f"{self.url}/api/v1/{path}", params=parameters) as response:
            body = await response.text()
        answer = json.loads(body) if body.startswith("{") else {"status": "error", "error": body.strip()}
        if answer["status"] != "success":
            raise QueryError(f"{path} {parameters}: {answer['error']}")
        return answer["data"]

    async def reload(self) -> None:
        """Have it take `config` as it is now."""
        self._write_config()
        async with self._client().post(f"{self.url}/-/reload") as response:
            if response.status != 200:
                raise QueryError(f"reload: {await response.text()}")

    async def wait_for(self, expr: str, *, timeout_s: float = WAIT_TIMEOUT_S) -> list[Sample]:
        """Return the answer to a query once it has one: give it the condition, as in `up == 1`."""
        return await self._until(lambda: self.query(expr), f"no result of {expr}", timeout_s=timeout_s)

    async def scraped(self, *, timeout_s: float = WAIT_TIMEOUT_S) -> None:
        """Return once every target has been scraped well by a scrape that began after this call."""
        since = datetime.now(UTC)

        async def all_fresh() -> bool:
            targets = await self.targets()
            return bool(targets) and all(
                each["health"] == "up" and datetime.fromisoformat(each["lastScrape"]) > since for each in targets
            )

        await self._until(all_fresh, "targets not scraped", timeout_s=timeout_s)

    async def _until(self, look: Callable[[], Awaitable[T]], what: str, *, timeout_s: float) -> T:
        deadline = time.monotonic() + timeout_s
        while not (found := await look()):
            if time.monotonic() > deadline:
                states = [f"{each['scrapeUrl']} {each['health']} {each['lastError']}" for each in await self.targets()]
                raise TimeoutError(f"{what} in {timeout_s} s; targets: {states}")
            await asyncio.sleep(POLL_S)
        return found

    def _write_config(self) -> None:
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(self.config, sort_keys=False))

    def _arguments(self) -> list[str]:
        self._write_config()
        return [
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._storage}",
            "--web.enable-lifecycle",
            # targets count after 0.1 s rather than 5 (before 3.x another 5 s stay, which no flag shortens)
            "--scrape.discovery-reload-interval=100ms",
            *self._flags,
        ]


def not_run_line(tests: Mapping[str, Sequence[str]]) -> str:
    """Return one line that names the tests that did not run, by what they wanted; empty if there are none."""
    parts = [f"{NOT_RUN}{what}: {', '.join(sorted(set(names)))}" for what, names in sorted(tests.items()) if names]
    return f"not run {'; '.join(parts)}" if parts else ""


def main() -> None:
    """Print what is here, and what the last run of the tests could not run."""
    here = [*map(str, prometheus_versions()), *map(str, alertmanager_versions())]
    print(f"real programs: {', '.join(here) or 'none'}")
    noted = REPOSITORY / NOT_RUN_FILE
    if noted.is_file() and (line := not_run_line(json.loads(noted.read_text()))):
        print(line)


if __name__ == "__main__":
    main()
