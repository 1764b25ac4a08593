"""A state with as many series as wanted, of the catalogue's own metrics in turn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle, product

from exporter.catalogue import SCHEMA
from exporter.series import Buckets, Labels, Series
from exporter.spec import Counter, Histogram, Metric
from exporter.state import State

_VALUES = 100
"""Values of an open label, as many as the exporter admits."""


def filled(samples: int, seed: int = 1) -> State:
    """A state whose series make at least so many samples, a histogram's buckets counted singly."""
    state, drawn = State(SCHEMA.tables), random.Random(seed)
    state.published = {metric.name for metric in SCHEMA.metrics}
    metrics = [metric for metric in SCHEMA.metrics if isinstance(metric, Counter | Histogram) and metric.feeds]
    label_sets = {metric.name: _label_sets(metric) for metric in metrics}
    made = 0
    for metric in cycle(metrics):
        labels = next(label_sets[metric.name], None)
        if labels is not None:
            found = state.cell(metric, labels)
            change(found, drawn)
            made += len(found.counts) + 2 if isinstance(found, Buckets) else 1
        if made >= samples:
            break
    state.release(list(state.held))
    return state


def _label_sets(metric: Metric) -> Iterator[Labels]:
    """Distinct label sets, the closed labels changing fastest."""
    values = [label.closed or [f"{label.name}-{number:02d}" for number in range(_VALUES)] for label in metric.labels]
    closed_last = sorted(range(len(values)), key=lambda place: bool(metric.labels[place].closed))
    for chosen in product(*(values[place] for place in closed_last)):
        by_place = dict(zip(closed_last, chosen, strict=True))
        yield tuple(by_place[place] for place in range(len(values)))


def change(found: Series, drawn: random.Random) -> None:
    """Add to it as a few rows would."""
    if not isinstance(found, Buckets):
        found.value += round(drawn.uniform(0.001, 10), 4)
        return
    for _ in range(3):
        bucket, value = drawn.randrange(len(found.counts)), drawn.uniform(0, 100)
        found.counts[bucket] += 1
        found.sum += value
        if found.exemplars:
            found.exemplars[bucket] = (1.7e9, value, f"claude_realtime_{drawn.randrange(10**10)}_00002a")


def share(state: State, part: float, seed: int) -> list[Series]:
    """Some of all series, drawn at random."""
    every = [found for series in state.series.values() for found in series.values()]
    return random.Random(seed).sample(every, max(1, round(part * len(every))))
