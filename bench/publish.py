"""A publish in which one series of a hundred has changed, against client_python's rendering of the same."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from statistics import median

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from bench.figure import Figure, spread
from bench.processes import in_fresh_process
from bench.scale import Scale
from bench.series import change, filled, share
from exporter.catalogue import SCHEMA
from exporter.context import Rules
from exporter.exposition import Format
from exporter.gauges import Health
from exporter.publisher import Publisher
from exporter.state import State

_CHANGED = 0.01
_TURNS = 3
_NOW = 1.7e9
_HEALTH = Health(True, _NOW, 0)


def measure(scale: Scale) -> Iterator[Figure]:
    """Publish and render in turns, each in a process of its own: neither walks through the other's garbage."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(_TURNS):
        ours += in_fresh_process(publishes, scale.series, scale.publishes)
        theirs += in_fresh_process(renderings, scale.series, max(1, scale.publishes // 3))
    yield Figure(
        "publish",
        f"generate_latest of {scale.series:,} samples / a publish with 1% of the series changed, to its last byte",
        median(theirs) / median(ours),
        50.0,
        at_least=True,
        detail=f"{spread(theirs, scale=1e3, unit='ms')} / {spread(ours, scale=1e3, unit='ms')}",
    )


def publishes(samples: int, rounds: int) -> list[float]:
    """The seconds from what changed to the bytes that show it."""
    state, drawn = filled(samples), random.Random(2)
    publisher = Publisher(SCHEMA, Rules(), "default", {})
    _publish(publisher, state)
    took: list[float] = []
    for number in range(rounds):
        state.delta()  # what the poller saves first
        for found in share(state, _CHANGED, number):
            change(found, drawn)
            state.changed_series.add(found)
        began = time.perf_counter()
        _publish(publisher, state)
        took.append(time.perf_counter() - began)
    return took


def _publish(publisher: Publisher, state: State) -> bytes:
    publisher.note(state)
    publisher.show(state, _NOW)
    return publisher.publish(_HEALTH).body(Format.TEXT)


def renderings(samples: int, rounds: int) -> list[float]:
    """The seconds client_python takes for the same bytes, its families there before anybody asks.

    Raises:
        ValueError: its bytes are not the same.
    """
    body = _publish(Publisher(SCHEMA, Rules(), "default", {}), filled(samples))
    registry = _Same(body)
    took: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        rendered = generate_latest(registry)
        took.append(time.perf_counter() - began)
        if sorted(rendered.splitlines()) != sorted(body.splitlines()):
            raise ValueError("client_python renders something else: nothing can be compared")
    return took


class _Same(CollectorRegistry):
    """The families of an exposition."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._families = list(text_string_to_metric_families(body.decode()))

    def collect(self) -> Iterable[Family]:
        return self._families
