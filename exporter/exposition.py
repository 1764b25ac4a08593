"""Series and their values as the bytes of an exposition, of which only what changed is written anew.

The finished text is the memory: the series of a metric from one source stand in order, in pages of a few
lines. ``name{labels} `` is written when a series is born; a new value replaces what follows its line's last
space. A publication holds the pages of its moment; a page is never changed, only replaced. The bytes are
those of client_python for the same families without ``_created``. The formats:
https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md

No clock, no files, no metric of its own. One thread sets and publishes; any may read a publication.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import accumulate, chain, groupby
from threading import Lock
from types import MappingProxyType
from typing import NamedTuple

from prometheus_client.utils import floatToGoString

from exporter.gzipped import Begun
from exporter.spec import Histogram, Metric

_PAGE_LINES = 16
"""Lines of a page: fewer cost memory, more cost time at a publish."""
_EXEMPLAR_MAX = 128
"""Characters in the names and values of an exemplar's labels (OpenMetrics 1.0, "Exemplars")."""
_EOF = b"# EOF\n"
_INFINITY = float("inf")

Labels = tuple[str, ...]


class Format(Enum):
    """A format of the exposition, by its Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Exemplar:
    """An observation of a bucket, ``timestamp`` in epoch seconds; not shown if its labels are too long."""

    labels: tuple[tuple[str, str], ...]
    value: float
    timestamp: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram's series: the observations in each bucket, not in those below it; the last is +Inf."""

    counts: Sequence[int]
    sum: float
    exemplars: Sequence[Exemplar | None] = ()  # none at all, or one or None for each bucket


Value = float | Distribution
Marks = Sequence[Exemplar | None]


def _number(value: float) -> bytes:
    if -_INFINITY < value < 1_000_000:  # above, Go turns to exponents sooner than Python
        return repr(float(value)).encode()
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text.encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _pair(name: str, value: str) -> str:
    return f'{name}="{_escaped(value)}"'


def _mark(exemplar: Exemplar | None) -> bytes:
    """What follows a bucket's number in OpenMetrics."""
    if exemplar is None or sum(len(name) + len(value) for name, value in exemplar.labels) > _EXEMPLAR_MAX:
        return b""
    pairs = ",".join(_pair(name, value) for name, value in sorted(exemplar.labels))
    return f" # {{{pairs}}} {_number(exemplar.value).decode()} {exemplar.timestamp}".encode()


def _marks(value: Value) -> Marks:
    return tuple(value.exemplars) if isinstance(value, Distribution) else ()


# ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────


class Layout:
    """How the series of one metric from one source are written: each in ``height`` lines."""

    def __init__(self, metric: Metric, constants: Mapping[str, str]) -> None:
        bounds = (*metric.buckets, _INFINITY) if isinstance(metric, Histogram) else ()
        if clash := {*metric.label_names, *(["le"] if bounds else [])} & set(constants):
            raise ValueError(f"constant label {min(clash)!r} is a label of {metric.name} already")
        self._metric, self._names = metric, metric.label_names
        self._constants = {name: _pair(name, value) for name, value in constants.items()}
        self._order = sorted((*self._names, *constants))
        self._bounds = [_number(bound).decode() for bound in bounds]
        # where values may be negative there is no sum, nor a count beside it (OpenMetrics 1.0, "Histogram")
        self._totals = bool(bounds) and bounds[0] >= 0
        self.height = len(bounds) + 2 * self._totals or 1
        self.marked = isinstance(metric, Histogram) and metric.exemplars

    def check(self, labels: Labels, value: Value | None) -> None:
        """Raise ValueError for labels or a value that the metric cannot have."""
        name, names, buckets = self._metric.name, self._names, len(self._bounds)
        if len(labels) != len(names):
            raise ValueError(f"{name} has {len(names)} labels {names}, not {len(labels)}: {labels}")
        if value is not None and isinstance(value, Distribution) != bool(buckets):
            raise ValueError(f"{name} is a {self._metric.type}, which has no such value: {value!r}")
        if isinstance(value, Distribution) and len(value.counts) != buckets:
            raise ValueError(f"{name} has {buckets} buckets with +Inf, not {len(value.counts)}")
        if isinstance(value, Distribution) and len(value.exemplars) not in (0, buckets * self.marked):
            raise ValueError(f"{name} has {buckets * self.marked} exemplars, not {len(value.exemplars)}")

    def block(self, labels: Labels, value: Value) -> bytes:
        """The lines of a series that is shown for the first time."""
        numbers = zip(self.prefixes(labels), self.numbers(value), strict=True)
        return b"".join([prefix + number + b"\n" for prefix, number in numbers])

    def numbers(self, value: Value) -> list[bytes]:
        """What a series' lines end in."""
        if not isinstance(value, Distribution):
            return [_number(value)]
        counts = [_number(count) for count in accumulate(value.counts)]
        return [*counts, counts[-1], _number(value.sum)] if self._totals else counts

    def prefixes(self, labels: Labels) -> list[bytes]:
        """What a series' lines begin with, up to the number."""
        own = zip(self._names, labels, strict=True)
        pairs = self._constants | {name: _pair(name, value) for name, value in own}
        texts = [pairs[name] for name in self._order]
        name, whole = self._metric.name, f"{{{','.join(texts)}}}" if texts else ""
        if not self._bounds:
            return [f"{name}{whole} ".encode()]
        place = bisect_left(self._order, "le")
        before = "".join(f"{text}," for text in texts[:place])
        after = "".join(f",{text}" for text in texts[place:])
        buckets = [f'{name}_bucket{{{before}le="{bound}"{after}}} '.encode() for bound in self._bounds]
        return buckets + [f"{name}{end}{whole} ".encode() for end in ("_count", "_sum") if self._totals]


# ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Page:
    """The lines of a few series; where the metric has exemplars, ``marks`` are those of each series."""

    __slots__ = ("_openmetrics", "marks", "text")

    def __init__(self, text: bytes, marks: Sequence[Marks]) -> None:
        self.text = text
        self.marks = tuple(marks)
        self._openmetrics: bytes | None = None

    def show(self, form: Format) -> bytes:
        """The page in that format; two threads that ask first at once make the same twice, at worst."""
        if form is Format.TEXT or not any(self.marks):
            return self.text
        if self._openmetrics is None:
            lines = self.text.split(b"\n")
            height = (len(lines) - 1) // len(self.marks)
            for row, marks in enumerate(self.marks):
                for at, exemplar in enumerate(marks, row * height):
                    lines[at] += _mark(exemplar)
            self._openmetrics = b"\n".join(lines)
        return self._openmetrics

    def series(self, height: int) -> Iterator[tuple[bytes, Marks]]:
        """The lines and exemplars of each series."""
        lines = self.text.split(b"\n")
        for row, at in enumerate(range(0, len(lines) - 1, height)):
            yield b"\n".join([*lines[at : at + height], b""]), self.marks[row] if self.marks else ()

    def renumbered(self, values: Mapping[int, Value], layout: Layout) -> _Page:
        """The page with new values for the series in these rows; itself, if they change nothing."""
        lines, marks = self.text.split(b"\n"), list(self.marks)
        for row, value in values.items():
            for at, number in enumerate(layout.numbers(value), row * layout.height):
                line = lines[at]
                lines[at] = line[: line.rindex(b" ") + 1] + number
            if marks:
                marks[row] = _marks(value)
        text = b"\n".join(lines)
        if text != self.text:
            return _Page(text, marks)
        return self if tuple(marks) == self.marks else _Page(self.text, marks)


class _Shelf:
    """The series of one metric from one source, in the order of their label values, each in its row."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.pages: list[_Page] = []
        self.changed: dict[Labels, Value | None] = {}
        self.rows: dict[Labels, int] = {}
        self._step = max(1, _PAGE_LINES // layout.height)

    def turn(self) -> bool:
        """Write what was set since the last time into the pages; whether any is another now."""
        changed, self.changed = self.changed, {}
        known = {self.rows[key]: new for key, new in changed.items() if key in self.rows and new is not None}
        turned = self._renumber(known)
        return (len(known) < len(changed) and self._resort(changed)) or turned

    def _renumber(self, known: Mapping[int, Value]) -> bool:
        turned = False
        for number, rows in groupby(sorted(known), lambda row: row // self._step):
            page, values = self.pages[number], {row % self._step: known[row] for row in rows}
            self.pages[number] = page.renumbered(values, self.layout)
            turned |= self.pages[number] is not page
        return turned

    def _resort(self, changed: Mapping[Labels, Value | None]) -> bool:
        """Make all pages anew, with the series that are new and without those that are gone."""
        found = chain.from_iterable(page.series(self.layout.height) for page in self.pages)
        series = dict(zip(self.rows, found, strict=True))
        for labels, value in changed.items():
            if value is None:
                series.pop(labels, None)
            elif labels not in series:
                series[labels] = self.layout.block(labels, value), _marks(value)
        if series.keys() == self.rows.keys():
            return False
        keys = sorted(series)
        self.rows = {labels: row for row, labels in enumerate(keys)}
        starts = range(0, len(keys), self._step)
        self.pages = [self._page([series[key] for key in keys[at : at + self._step]]) for at in starts]
        return True

    def _page(self, series: Sequence[tuple[bytes, Marks]]) -> _Page:
        marks = [marks for _, marks in series] if self.layout.marked else ()
        return _Page(b"".join([block for block, _ in series]), marks)


# ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────


class _Shown(NamedTuple):
    """A metric family as a publication shows it: not at all while it has no series."""

    headers: Mapping[Format, bytes]
    pages: tuple[_Page, ...] = ()
    samples: int = 0

    def chunks(self, form: Format) -> list[bytes]:
        return [self.headers[form], *[page.show(form) for page in self.pages]] if self.pages else []


class _Family:
    """The series of one metric, source by source."""

    def __init__(self, metric: Metric, sources: Mapping[str, Mapping[str, str]]) -> None:
        self.shelves = {name: _Shelf(Layout(metric, sources[name])) for name in sorted(sources)}
        self.shown = _Shown(headers(metric))

    def turn(self) -> bool:
        """Take in what was set since the last time; whether anything is shown differently now."""
        shelves = self.shelves.values()
        turned = [shelf.turn() for shelf in shelves if shelf.changed]
        if any(turned):
            pages = tuple(chain.from_iterable(shelf.pages for shelf in shelves))
            samples = sum(len(shelf.rows) * shelf.layout.height for shelf in shelves)
            self.shown = _Shown(self.shown.headers, pages, samples)
        return any(turned)


def headers(metric: Metric) -> Mapping[Format, bytes]:
    """HELP and TYPE. OpenMetrics escapes quotes too, has UNIT, and names a counter without ``_total``."""
    name, text = metric.name, metric.help.replace("\\", r"\\").replace("\n", r"\n")
    bare = name.removesuffix("_total") if metric.type == "counter" else name
    unit = f"# UNIT {bare} {metric.unit}\n" if metric.unit else ""
    helped = f"# HELP {bare} {_escaped(metric.help)}\n"
    return {
        Format.TEXT: f"# HELP {name} {text}\n# TYPE {name} {metric.type}\n".encode(),
        Format.OPENMETRICS: f"{helped}# TYPE {bare} {metric.type}\n{unit}".encode(),
    }


@dataclass(slots=True)
class _Kept:
    """What was made of a publication when it was first asked for; ``lock`` is held while making it."""

    lock: Lock = field(default_factory=Lock)
    bodies: dict[Format, bytes] = field(default_factory=dict)
    gzips: dict[Format, Begun] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Publication:
    """All series as they were at one publish; any thread may read it, and it always shows the same.

    ``number`` counts the publishes; ``samples`` is the number of lines of every metric, 0 included.
    """

    number: int
    samples: Mapping[str, int]
    _families: tuple[_Shown, ...] = field(repr=False)
    _kept: _Kept = field(default_factory=_Kept, repr=False, compare=False)

    def has(self, form: Format, *, gzip: bool) -> bool:
        """Whether `parts` has that form at once, or would have to make it first."""
        return form in (self._kept.gzips if gzip else self._kept.bodies)

    def shows_the_same(self, other: Publication) -> bool:
        """Whether nothing changed between the two, so that what was made of one is there for the other."""
        return self._families is other._families

    def body(self, form: Format) -> bytes:
        """All families in that format, without the ``# EOF`` of OpenMetrics; made when first asked for, and kept until
        the other format is.
        """
        with self._kept.lock:
            if form not in self._kept.bodies:
                chunks = chain.from_iterable(family.chunks(form) for family in self._families)
                self._kept.bodies.clear()  # the next scrape wants this one, too
                self._kept.bodies[form] = b"".join(chunks)
            return self._kept.bodies[form]

    def answer(self, form: Format, tail: bytes, gzip: bool = False) -> bytes:
        """What a scrape is sent, in one piece: see `parts`."""
        return b"".join(self.parts(form, tail, gzip))

    def parts(self, form: Format, tail: bytes, gzip: bool = False) -> tuple[bytes, bytes]:
        """What a scrape is sent: the body, which is the same object every time, and what follows it.

        ``tail`` is further families in that format, with or without an ``# EOF``. With ``gzip`` both parts
        together are one gzip member, of which only ``tail`` is compressed anew.
        """
        if form is Format.OPENMETRICS:
            tail = tail.removesuffix(_EOF) + _EOF
        if not gzip:
            return self.body(form), tail
        with self._kept.lock:
            begun = self._kept.gzips.get(form) or self._compressed(form)
        return begun.data, begun.end(tail)

    def _compressed(self, form: Format) -> Begun:
        """The beginning of a gzip member; the plain body is not kept."""
        # a family at a time: a call for each page would hand over the interpreter's lock thousands of times
        begun = Begun.of(b"".join(family.chunks(form)) for family in self._families)
        return self._kept.gzips.setdefault(form, begun)


def merged(publications: Sequence[Publication]) -> Publication:
    """Several sources' publications as one: each family once, its series source by source, in the order given.

    One alone is itself. Where sources do not declare a metric alike, the first one's HELP and TYPE are shown.
    """
    if len(publications) == 1:
        return publications[0]
    found: dict[str, list[_Shown]] = {}
    for publication in publications:
        for name, shown in zip(publication.samples, publication._families, strict=True):
            found.setdefault(name, []).append(shown)
    families = {name: _joined(shown) for name, shown in found.items()}
    samples = MappingProxyType({name: family.samples for name, family in families.items()})
    return Publication(sum(publication.number for publication in publications), samples, tuple(families.values()))


def _joined(shown: Sequence[_Shown]) -> _Shown:
    pages = tuple(chain.from_iterable(family.pages for family in shown))
    return _Shown(shown[0].headers, pages, sum(family.samples for family in shown))


class Exposition:
    """The series of ``metrics`` and their values: metrics as given, series by source, then by label values.

    ``sources`` maps each source's name to the labels that all its series carry.

    Raises:
        ValueError: a metric is given twice, or a source's label is one of a metric's own.
    """

    def __init__(self, metrics: Sequence[Metric], sources: Mapping[str, Mapping[str, str]]) -> None:
        self._families = {metric.name: _Family(metric, sources) for metric in metrics}
        if len(self._families) < len(metrics):
            raise ValueError(f"a metric is given twice: {sorted(metric.name for metric in metrics)}")
        self._last = self._publication(0)

    def set(self, source: str, metric: str, labels: Labels, value: Value) -> None:
        """Give a series its value, read at the next publish; ``labels`` in the order of `Metric.label_names`.

        Raises:
            ValueError: there is no such metric or source, or labels or value are not those of the metric.
        """
        self._shelf(source, metric, labels, value).changed[labels] = value

    def remove(self, source: str, metric: str, labels: Labels) -> None:
        """From the next publish on, do not show a series; whether it is shown now does not matter.

        Raises:
            ValueError: there is no such metric or source, or not one label value for each of its labels.
        """
        self._shelf(source, metric, labels, None).changed[labels] = None

    def _shelf(self, source: str, metric: str, labels: Labels, value: Value | None) -> _Shelf:
        family = self._families.get(metric)
        if family is None:
            raise ValueError(f"there is no metric {metric!r}")
        shelf = family.shelves.get(source)
        if shelf is None:
            raise ValueError(f"there is no source {source!r}, only {', '.join(family.shelves) or 'none'}")
        shelf.layout.check(labels, value)
        return shelf

    def publish(self) -> Publication:
        """What is shown from now on. If nothing changed, what was made of the last publication is kept."""
        turned = [family.turn() for family in self._families.values()]
        number = self._last.number + 1
        self._last = self._publication(number) if any(turned) else replace(self._last, number=number)
        return self._last

    def _publication(self, number: int) -> Publication:
        families = tuple(family.shown for family in self._families.values())
        samples = {name: family.shown.samples for name, family in self._families.items()}
        return Publication(number, MappingProxyType(samples), families)
