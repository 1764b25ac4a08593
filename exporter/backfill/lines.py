"""The finished lines of a step: what a scrape would have shown, each with a place for the time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from exporter.exposition import Distribution, Format, Layout, headers
from exporter.gauges import Readings
from exporter.series import Buckets, Labels, Series
from exporter.spec import Gauge, Metric

_CHUNK = 256
"""Lines joined at once, some 30 kB: larger texts come from the kernel anew each time, at eight times the cost."""


class Lines:
    """The lines of the metrics given, without the rest of the exporter's.

    A step is all lines with one time after each; the families stand mixed (see docs/backfill.md). Only what changed is
    formatted anew.
    """

    def __init__(self, metrics: Sequence[Metric], constants: Mapping[str, str]) -> None:
        """``constants`` are the labels that every series has, the scrape's own among them."""
        self._layouts = {metric.name: Layout(metric, constants) for metric in metrics}
        self._order = {metric.name: place for place, metric in enumerate(metrics)}
        self._lines: dict[int, bytes] = {}
        self._numbered = 0
        self._counted: dict[Series, tuple[int, list[bytes]]] = {}
        """Of a series its first line's number, and what its lines begin with."""
        gauges = [metric.name for metric in metrics if isinstance(metric, Gauge)]
        self._gauged: dict[str, dict[Labels, tuple[int, bytes]]] = {name: {} for name in gauges}
        self._readings: Readings = {name: {} for name in gauges}
        self.header = b"".join(headers(metric)[Format.OPENMETRICS] for metric in metrics)

    def __len__(self) -> int:
        return len(self._lines)

    def _place(self, lines: int) -> int:
        """The first of so many new lines' numbers."""
        self._numbered += lines
        return self._numbered - lines

    def bear(self, changed: Iterable[Series]) -> None:
        """Let series that are new stand at 0: so they are in the step before the one that first counts them."""
        new = [series for series in changed if series not in self._counted and series.metric in self._layouts]
        for series in sorted(new, key=lambda s: (self._order[s.metric], s.labels)):
            prefixes = self._layouts[series.metric].prefixes(series.labels)
            first = self._place(len(prefixes))
            self._counted[series] = first, prefixes
            for place, prefix in enumerate(prefixes, first):
                self._lines[place] = prefix + b"0.0"

    def count(self, changed: Iterable[Series]) -> None:
        """Show what these series have now; they were born before."""
        lines = self._lines
        for series in changed:
            known = self._counted.get(series)
            if known is not None:
                place, prefixes = known
                value = Distribution(series.counts, series.sum) if isinstance(series, Buckets) else series.value
                for prefix, number in zip(prefixes, self._layouts[series.metric].numbers(value), strict=True):
                    lines[place] = prefix + number
                    place += 1

    def read(self, readings: Readings) -> None:
        """Show what these gauges read now; a label set that is gone is shown no more."""
        for name, before in self._readings.items():
            values = readings.get(name)
            if values is None or values == before:
                continue
            for labels in before.keys() - values.keys():
                self.remove(name, labels)
            for labels in sorted(values):
                if before.get(labels) != values[labels]:
                    self.set(name, labels, values[labels])
            self._readings[name] = values

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Show a gauge's value."""
        layout, places = self._layouts[name], self._gauged[name]
        if labels not in places:
            places[labels] = self._place(1), layout.prefixes(labels)[0]
        place, prefix = places[labels]
        self._lines[place] = prefix + layout.numbers(value)[0]

    def remove(self, name: str, labels: Labels) -> None:
        """Show a gauge no more under these labels."""
        if labels in self._gauged[name]:
            del self._lines[self._gauged[name].pop(labels)[0]]

    def step(self, at: float) -> Iterator[bytes]:
        """All lines as of Unix time ``at``, to the millisecond, some at a time."""
        return stamped(list(self._lines.values()), at)


def stamped(lines: Sequence[bytes], at: float) -> Iterator[bytes]:
    """The lines, each with the time."""
    text = f" {at:.3f}".removesuffix(".000")
    end = text.encode() + b"\n"
    for first in range(0, len(lines), _CHUNK):
        yield end.join([*lines[first : first + _CHUNK], b""])
