"""The finished lines of a step: what a scrape would have shown, each with a place for the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from exporter.exposition import Format, Layout, headers
from exporter.gauges import Readings
from exporter.publisher import shown_value
from exporter.spec import Gauge, Metric
from exporter.state import Labels, Series

Key = tuple[str, Labels]


class Lines:
    """The lines of the metrics given, without the rest of the exporter's.

    A step is all lines with one time after each; the families stand mixed (see docs/backfill.md).
    """

    def __init__(self, metrics: Sequence[Metric], constants: Mapping[str, str]) -> None:
        """``constants`` are the labels that every series has, the scrape's own among them."""
        self._layouts = {metric.name: Layout(metric, constants) for metric in metrics}
        self._order = {metric.name: place for place, metric in enumerate(metrics)}
        self._prefixes: dict[Key, list[bytes]] = {}
        self._lines: dict[tuple[str, Labels, int], bytes] = {}
        self._readings: Readings = {metric.name: {} for metric in metrics if isinstance(metric, Gauge)}
        self.header = b"".join(headers(metric)[Format.OPENMETRICS] for metric in metrics)

    def __len__(self) -> int:
        return len(self._lines)

    def bear(self, changed: Iterable[Series]) -> None:
        """Let series that are new stand at 0: so they are in the step before the one that first counts them."""
        new = [s for s in changed if s.metric in self._layouts and (s.metric, s.labels) not in self._prefixes]
        for series in sorted(new, key=lambda s: (self._order[s.metric], s.labels)):
            prefixes = self._layouts[series.metric].prefixes(series.labels)
            self._prefixes[series.metric, series.labels] = prefixes
            for place, prefix in enumerate(prefixes):
                self._lines[series.metric, series.labels, place] = prefix + b"0.0"

    def count(self, changed: Iterable[Series]) -> None:
        """Show what these series have now; they were born before."""
        lines = self._lines
        for series in changed:
            prefixes = self._prefixes.get((series.metric, series.labels))
            if prefixes is not None:
                numbers = self._layouts[series.metric].numbers(shown_value(series))
                for place, (prefix, number) in enumerate(zip(prefixes, numbers, strict=True)):
                    lines[series.metric, series.labels, place] = prefix + number

    def read(self, readings: Readings) -> None:
        """Show what these gauges read now; a label set that is gone is shown no more."""
        for name, before in self._readings.items():
            values = readings.get(name)
            if values is None or values == before:
                continue
            layout = self._layouts[name]
            for labels in sorted(before.keys() - values.keys()):
                del self._lines[name, labels, 0]
            for labels in sorted(values):
                if before.get(labels) != values[labels]:
                    if (name, labels) not in self._prefixes:
                        self._prefixes[name, labels] = layout.prefixes(labels)
                    self._lines[name, labels, 0] = self._prefixes[name, labels][0] + layout.numbers(values[labels])[0]
            self._readings[name] = values

    def step(self, at: float) -> bytes:
        """All lines as of Unix time ``at``, to the millisecond."""
        return stamped(list(self._lines.values()), at)


def stamped(lines: Sequence[bytes], at: float) -> bytes:
    """The lines, each with the time."""
    text = f" {at:.3f}".removesuffix(".000")
    end = text.encode() + b"\n"
    return end.join(lines) + end if lines else b""
