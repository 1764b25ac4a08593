"""query-exporter, the peer in Python, with the same counters and no `interval`: it queries at each scrape."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.client import Client
from bench.databases import Platform, database, folder
from bench.figure import Figure, spread
from bench.processes import Running, cpu_s, exporter, server
from bench.scale import Scale

VERSION = "5.0.2"
_OUTCOME = "CASE success WHEN 1 THEN 'success' WHEN 0 THEN 'failure' ELSE 'unknown' END AS outcome"
_PROJECT = "(SELECT project_name FROM orchestration_sessions AS s WHERE s.session_id = h.session_id) AS project"
_ROW = "FROM handoff_events AS h GROUP BY"
_COUNTERS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("project", "model", "outcome"): (
        "orchestration_handoffs_total",
        "orchestration_cost_usd_total",
        "orchestration_baseline_cost_usd_total",
    ),
    ("source_model", "model", "reason", "outcome"): ("orchestration_handoff_routes_total",),
    ("task_type", "model", "outcome"): ("orchestration_handoff_task_types_total",),
    ("project", "model"): ("orchestration_handoff_tokens_total",),
}
"""The exporter's counters of hand-offs by their labels, in as few queries as they can be had by."""
_VALUES = {
    "orchestration_cost_usd_total": "sum(cost)",
    "orchestration_baseline_cost_usd_total": "sum(coalesce(cost, 0) + coalesce(savings, 0))",
    "orchestration_handoff_tokens_total": "sum(tokens_used)",
}
_LABELS = {
    "project": _PROJECT,
    "model": "target_model AS model",
    "outcome": _OUTCOME,
    "source_model": "source_model",
    "task_type": "task_type",
    "reason": "json_extract(metadata, '$.route_reason') AS reason",
}


class Cost(NamedTuple):
    """What a while of being scraped took: CPU seconds, and scrapes."""

    cpu_s: float
    scrapes: int


def measure(scale: Scale) -> Iterator[Figure]:
    """Both on one database, side by side: scraped in turns, then for a minute every fifteen seconds."""
    path = database(scale.some_rows, scale.many_sessions)
    try:
        program = install()
    except (OSError, subprocess.CalledProcessError) as exc:
        print(f"!!! query-exporter {VERSION} CANNOT BE INSTALLED, nothing was compared with it: {exc}")
        yield Figure("peer", "query-exporter could not be installed", float("nan"), 0.0, unit="")
        return
    with TemporaryDirectory(dir=folder()) as name, closing(Platform(path)) as platform:
        platform.forget(scale.some_rows, scale.many_sessions)
        with exporter(path, Path(name) / "ours") as ours, _peer(program, path, Path(name)) as theirs:
            _check_same(ours, theirs)
            yield _scrapes(scale, ours, theirs)
            yield _minute(scale, ours, theirs, platform, busy=False)
            yield _minute(scale, ours, theirs, platform, busy=True)
        platform.forget(scale.some_rows, scale.many_sessions)


def _scrapes(scale: Scale, ours: Running, theirs: Running) -> Figure:
    our_times: list[float] = []
    their_times: list[float] = []
    for _ in range(scale.peer_scrapes):
        their_times.append(_scrape_s(theirs))
        our_times += [_scrape_s(ours) for _ in range(20)]
    return Figure(
        "peer",
        f"a scrape of query-exporter {VERSION} on {scale.some_rows:,} rows / one of ours",
        median(their_times) / median(our_times),
        1000.0,
        at_least=True,
        detail=f"{spread(their_times)} / {spread(our_times, scale=1e3, unit='ms')}",
    )


def _minute(scale: Scale, ours: Running, theirs: Running, platform: Platform, *, busy: bool) -> Figure:
    """Scrape both every interval; ``busy``: while a hand-off is committed each second."""
    before = cpu_s(ours.pid), cpu_s(theirs.pid)
    began, scrapes = time.monotonic(), 0
    if busy:
        platform.begin_session()
    while (now_s := time.monotonic() - began) < scale.minute_s:
        if now_s >= scrapes * scale.interval_s:
            scrapes += 1
            for running in (ours, theirs):
                _scrape_s(running)
        if busy:
            platform.commit(1)
        time.sleep(1.0)
    used = [cpu_s(running.pid) - start for running, start in zip((ours, theirs), before, strict=True)]
    what = "a hand-off a second" if busy else "nothing written"
    return Figure(
        "peer",
        f"CPU time of query-exporter / ours, a scrape every {scale.interval_s:g} s, {what}",
        used[1] / max(used[0], 0.01),
        50.0,
        at_least=True,
        detail=f"{used[1]:.2f} s / {used[0]:.2f} s in {time.monotonic() - began:.0f} s with {scrapes} scrapes each",
    )


def _scrape_s(running: Running) -> float:
    with running.client() as client:
        return timed(client)


def timed(client: Client) -> float:
    """The seconds of one scrape."""
    began = time.perf_counter()
    answer = client.get("/metrics")
    if answer.code != 200:
        raise RuntimeError(f"a scrape was answered with {answer.code}")
    return time.perf_counter() - began


def _check_same(ours: Running, theirs: Running) -> None:
    """Raise RuntimeError unless both count the same."""
    here, there = ours.samples(), theirs.samples()
    for metric in (metric for metrics in _COUNTERS.values() for metric in metrics):
        sums = [_sum(samples, metric) for samples in (here, there)]
        if abs(sums[0] - sums[1]) > 1e-6 * max(sums):
            raise RuntimeError(f"{metric} is {sums[0]} here and {sums[1]} in query-exporter")


def _sum(samples: Mapping[str, float], metric: str) -> float:
    return sum(value for name, value in samples.items() if name.startswith(metric + "{"))


# ── query-exporter ───────────────────────────────────────────────────────────────────────────────────────────


def install() -> Path:
    """The program, in an environment of its own that is made once.

    Raises:
        OSError, subprocess.CalledProcessError: it cannot be had.
    """
    place = folder() / f"query-exporter-{VERSION}"
    program = place / "bin" / "query-exporter"
    if not program.exists():
        print(f"installing query-exporter {VERSION} in {place}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"query-exporter=={VERSION}"], check=True)
    return program


def _peer(program: Path, path: Path, place: Path) -> AbstractContextManager[Running]:
    config = place / "query-exporter.yaml"
    config.write_text(json.dumps(configuration(path)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(program), "--host", "127.0.0.1", "--port", str(port), "--config", str(config)]
    return server(command, place / "query-exporter.log", port=port)


def configuration(path: Path) -> dict[str, object]:
    """Its configuration (JSON is YAML): the queries have neither interval nor schedule."""
    metrics = {name: list(labels) for labels, names in _COUNTERS.items() for name in names}
    return {
        "databases": {"platform": {"dsn": f"sqlite:///{path}"}},
        "metrics": {name: {"type": "counter", "labels": labels} for name, labels in metrics.items()},
        "queries": {
            "_by_".join(("handoffs", *labels)): {
                "databases": ["platform"],
                "metrics": list(names),
                "sql": _sql(labels, names),
            }
            for labels, names in _COUNTERS.items()
        },
    }


def _sql(labels: tuple[str, ...], names: tuple[str, ...]) -> str:
    columns = [_LABELS[label] for label in labels]
    columns += [f"{_VALUES.get(name, 'count(*)')} AS {name}" for name in names]
    return re.sub(r"\s+", " ", f"SELECT {', '.join(columns)} {_ROW} {', '.join(map(str, range(1, len(labels) + 1)))}")
