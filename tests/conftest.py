"""Fixtures that give tests the real Prometheus and Alertmanager, and the account of what had none."""

from __future__ import annotations

import gc
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, nullcontext
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import coverage
import pytest
import structlog

from tests.browser import Browser, wanted_browser
from tests.grafanatypes import Grafana, wanted_grafana
from tests.realtools import (
    NOT_RUN,
    NOT_RUN_FILE,
    AlertTools,
    Missing,
    Prometheus,
    Tools,
    are_required,
    by_version,
    cannot_run,
    not_run_line,
    present,
    wanted_alertmanager,
    wanted_prometheus,
)

REAL = frozenset(("prometheus_tools", "alertmanager_tools", "browser", "grafana"))
"""The fixtures that give a test real programs."""
StartPrometheus = Callable[..., Awaitable[Prometheus]]


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """Undo what a command run in this process did to logging."""
    ours = logging.getLogger("exporter")
    handlers, levels = logging.root.handlers[:], [(each, each.level) for each in (logging.root, ours)]
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    for logger, level in levels:
        logger.setLevel(level)


@pytest.fixture(scope="session", params=by_version(wanted_prometheus()), ids=str)
def prometheus_tools(request: pytest.FixtureRequest) -> Tools:
    """Each version of Prometheus present, with its promtool; a test that uses it runs once for each."""
    return present(request.param, Tools)


@pytest.fixture(scope="session")
def prometheus_binary(prometheus_tools: Tools) -> Path:
    """The program `prometheus` of each version present."""
    return prometheus_tools.prometheus


@pytest.fixture(scope="session")
def promtool(prometheus_tools: Tools) -> Path:
    """The program `promtool` of each version present."""
    return prometheus_tools.promtool


@pytest.fixture(scope="session", params=by_version(wanted_alertmanager()), ids=str)
def alertmanager_tools(request: pytest.FixtureRequest) -> AlertTools:
    """Each version of Alertmanager present, with its amtool; a test that uses it runs once for each."""
    return present(request.param, AlertTools)


@pytest.fixture(scope="session")
def amtool(alertmanager_tools: AlertTools) -> Path:
    """The program `amtool` of each version present."""
    return alertmanager_tools.amtool


@pytest.fixture(scope="session", params=wanted_browser(), ids=str)
def browser(request: pytest.FixtureRequest) -> Browser:
    """A real Chromium, with axe-core to look at pages with."""
    return present(request.param, Browser)


@pytest.fixture(scope="session", params=wanted_grafana(), ids=str)
def grafana(request: pytest.FixtureRequest) -> Grafana:
    """Grafana's own types, and its code that picks colours."""
    return present(request.param, Grafana)


@pytest.fixture
async def start_prometheus(prometheus_tools: Tools, tmp_path: Path) -> AsyncIterator[StartPrometheus]:
    """Give a function that starts a Prometheus, with the options of `Prometheus`; all stop with the test."""
    async with AsyncExitStack() as running:
        started = 0

        async def start(**options: Any) -> Prometheus:
            nonlocal started
            started += 1
            folder = tmp_path / f"prometheus-{started}"
            return await running.enter_async_context(Prometheus(prometheus_tools, folder, **options))

        yield start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses a real program as `real`; let files that compute and files that wait take turns.

    Several run at a time, and so share the cores well; and the longest, which compute, are not left for the end.
    """
    for item in items:
        if REAL & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.real)
    computing = list(dict.fromkeys(item.path for item in items if item.get_closest_marker("bulk")))
    waiting = list(dict.fromkeys(item.path for item in items if item.path not in computing))
    turns = {path: turn for turn, path in enumerate(chain.from_iterable(zip_longest(computing, waiting)))}
    items.sort(key=lambda item: turns[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Measure in one worker which lines collecting runs, not in each; and keep thousands of tests out of the
    collections that they set off.
    """
    worker = getattr(session.config, "workerinput", {"workerid": "gw0"})["workerid"]
    gc.disable()
    try:
        with resting() if worker != "gw0" else nullcontext():
            return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure no coverage of a test marked `bulk`, nor of fixtures it is the first to ask for."""
    with resting() if item.get_closest_marker("bulk") else nullcontext():
        return (yield)


@contextmanager
def resting() -> Iterator[None]:
    """Let coverage rest. In a worker two measure: pytest-cov starts one when it is loaded, and one with the worker's
    session; when the later stops, the earlier goes on.
    """
    rest: list[coverage.Coverage] = []
    while (measuring := coverage.Coverage.current()) is not None:
        measuring.stop()
        rest.append(measuring)
    try:
        yield
    finally:
        for measuring in reversed(rest):
            measuring.start()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold a test that is marked `real` by hand, and finds Prometheus itself, to the same rule."""
    uses_fixture = REAL & set(getattr(item, "fixturenames", ()))
    if item.get_closest_marker("real") and not uses_fixture:
        for missing in (wanted for wanted in wanted_prometheus() if isinstance(wanted, Missing)):
            cannot_run(missing)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in CI in which a test was skipped, for whatever reason: what did not run was not tested."""
    if hasattr(session.config, "workerinput"):
        return  # one of several processes: the one that gathers what they report decides
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None, "pytest runs without its terminal reporter"
    if are_required() and reporter.stats.get("skipped") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line which tests did not run for want of a program, and note it for `make test`."""
    skipped = terminalreporter.stats.get("skipped", [])
    tests: dict[str, list[str]] = {}
    for report in skipped:
        if found := re.search(rf"{NOT_RUN}(.+)", str(report.longrepr[2])):
            tests.setdefault(found[1], []).append(report.nodeid.partition("[")[0])
    noted = terminalreporter.config.rootpath / NOT_RUN_FILE
    noted.parent.mkdir(exist_ok=True)
    noted.write_text(json.dumps(tests, indent=1))
    if line := not_run_line(tests):
        terminalreporter.write_line(line)
    if skipped and are_required():
        terminalreporter.write_line(f"a test that did not run is an error here: {len(skipped)} skipped", red=True)
