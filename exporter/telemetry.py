"""The exporter's metrics about itself: polls, queries, publishes, checkpoints, reloads, HTTP, the process.

client_python holds the values. Rendering all of them anew costs 6 to 12 µs a sample (measured, client_python
0.26: 1.4 ms in text, 2.8 ms in OpenMetrics for 224 samples), as much as sending the whole exposition. So a
series' lines are kept until its value changes: a scrape pays for the few that did. The bytes are those of
client_python's own renderers.

What belongs to a source and must survive a restart is not here but in the state. One thread uses all of it.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest as render_text
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as render_openmetrics
from prometheus_client.utils import floatToGoString

from exporter import __version__
from exporter.exposition import Format

SHORT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds for what should be quick (`catalogue.md`, "Buckets")."""
OUTCOMES = ("success", "failure", "discarded")
_PROCESS_KEPT_S = 1.0
_EOF = b"# EOF\n"

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Declaration:
    """One of these metrics: what it means, its labels; with ``source`` come the source's constant labels."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()
    born: bool = True
    """Whether it is shown, at 0, before it is known; only one without labels can be."""

    @property
    def unit(self) -> str:
        """The OpenMetrics unit, which is the name's suffix."""
        suffix = self.name.rsplit("_", 1)[-1]
        return suffix if suffix in ("seconds", "bytes") else ""


def _own(kind: Kind, name: str, help_text: str, *labels: str) -> Declaration:
    return Declaration(kind, f"orchestration_exporter_{name}", help_text, labels)


POLLS = _own(
    "counter",
    "polls_total",
    "Polls of the source; a discarded one was read while the database changed under it, and is read again.",
    *("source", "outcome"),
)
POLL_DURATION = _own(
    "histogram",
    "poll_duration_seconds",
    "Duration of the polls that connected to the source; those that found nothing moved are not in it.",
    "source",
)
QUERY_DURATION = _own(
    "histogram", "query_duration_seconds", "Duration of the queries of each table.", "source", "table"
)
QUERY_ERRORS = _own(
    "counter",
    "query_errors_total",
    "Queries that failed or ran into query_timeout, by table.",
    *("source", "table"),
)
BUILD_INFO = _own(
    "gauge", "build_info", "1, under the versions of the exporter and of Python.", "version", "python_version"
)
SERIES = _own("gauge", "series", "Samples of each metric in the last publish, of all sources.", "metric")
PUBLISH_DURATION = _own(
    "histogram", "publish_duration_seconds", "Duration of rendering what changed since the publish before."
)
CHECKPOINT_DURATION = _own("histogram", "checkpoint_duration_seconds", "Duration of saving the state, fsync included.")
CHECKPOINT_SIZE = _own("gauge", "checkpoint_size_bytes", "Size of the saved state on disk, of all sources.")
CHECKPOINT_FAILURES = _own(
    "counter",
    "checkpoint_failures_total",
    "Attempts to save the state that failed; nothing newer is shown until one succeeds.",
)
RELOAD_SUCCESSFUL = _own(
    "gauge", "config_last_reload_successful", "1 if the last reading of the configuration succeeded, else 0."
)
RELOAD_TIMESTAMP = _own(
    "gauge",
    "config_last_reload_success_timestamp_seconds",
    "Unix time at which the configuration was last read with success.",
)
HTTP_REQUESTS = _own(
    "counter", "http_requests_total", "HTTP requests answered, by route and status code.", "route", "code"
)
HTTP_DURATION = _own(
    "histogram",
    "http_request_duration_seconds",
    "Duration from the request's headers to the last byte handed to the system.",
    "route",
)

AUTH_FAILURES = _own(
    "counter", "auth_failures_total", "Requests refused because the user, password or token they gave is wrong."
)
RATE_LIMITED = _own("counter", "rate_limited_total", "Requests refused because their client sent too many.")
CERTIFICATE_END = Declaration(
    "gauge",
    "orchestration_exporter_tls_certificate_not_after_timestamp_seconds",
    "Unix time until which the certificate that is served is valid; absent without TLS.",
    born=False,
)

DECLARATIONS = (
    *(POLLS, POLL_DURATION, QUERY_DURATION, QUERY_ERRORS),
    *(BUILD_INFO, SERIES, PUBLISH_DURATION),
    *(CHECKPOINT_DURATION, CHECKPOINT_SIZE, CHECKPOINT_FAILURES),
    *(RELOAD_SUCCESSFUL, RELOAD_TIMESTAMP, HTTP_REQUESTS, HTTP_DURATION),
    *(AUTH_FAILURES, RATE_LIMITED, CERTIFICATE_END),
)
"""All of them, in the order of the exposition; `process_*` follows."""

_Client = Counter | Gauge | Histogram


class _Series:
    """One series of client_python's, with its lines as they were last rendered."""

    __slots__ = ("_lines", "_prefixes", "client")

    def __init__(self, client: _Client, labels: Mapping[str, str]) -> None:
        self.client = client
        self._prefixes = _prefixes(client, labels)
        self._lines: str | None = None

    def changed(self) -> None:
        """Render it anew when next asked."""
        self._lines = None

    def lines(self) -> str:
        """Its lines, the same in both formats, made anew only if it has changed."""
        if self._lines is None:
            pairs = zip(self._prefixes, _values(self.client), strict=True)
            self._lines = "".join(f"{prefix}{_text(value)}\n" for prefix, value in pairs)
        return self._lines


class _Family:
    """One metric: its headers in both formats, and its series by the values of its labels."""

    __slots__ = ("_kept", "_names", "_of_source", "_own", "_parent", "_series", "headers")

    def __init__(self, declared: Declaration, constants: Iterable[str], registry: CollectorRegistry) -> None:
        self._own, self._of_source = declared.labels, declared.labels[:1] == ("source",)
        self._names = (*declared.labels, *(constants if self._of_source else ()))
        self._parent = _client(declared, self._names, registry)
        described = _Only(*self._parent.describe())
        self.headers = {
            Format.TEXT: render_text(described).decode(),
            Format.OPENMETRICS: _openmetrics(described).decode(),
        }
        self._series: dict[tuple[str, ...], _Series] = {}
        self._kept: dict[Format, str] = {}
        if not self._names and declared.born:
            self.series()

    def series(self, *values: str) -> _Series:
        """The series with these label values, born at 0 when first asked for."""
        found = self._series.get(values)
        if found is None:
            client = self._parent.labels(*values) if values else self._parent
            labels = dict(zip(self._names, values, strict=True))
            found = self._series[values] = _Series(client, labels)
            self._kept.clear()
        return found

    def add(self, *values: str, amount: float = 1.0) -> None:
        """Count, observe or (a gauge) show ``amount`` under these label values."""
        series = self.series(*values)
        match series.client:
            case Counter():
                series.client.inc(amount)
            case Histogram():
                series.client.observe(amount)
            case gauge:
                gauge.set(amount)
        series.changed()
        self._kept.clear()

    def prepare(self, *values: str) -> None:
        """Have the lines of the series with these values ready before they are asked for."""
        self.series(*values).lines()

    def render(self, form: Format) -> str:
        """Headers and lines, kept until one changes; nothing while there is no series."""
        if (text := self._kept.get(form)) is None:
            text = self._kept[form] = self._rendered(form, self._series.values())
        return text

    def render_source(self, form: Format, source: str) -> str:
        """The same of one source's series; nothing where sources are not told apart."""
        found = [series for values, series in self._series.items() if self._of_source and values[0] == source]
        return self._rendered(form, found)

    def _rendered(self, form: Format, series: Iterable[_Series]) -> str:
        lines = [each.lines() for each in series]
        return "".join([self.headers[form], *lines]) if lines else ""

    def keep(self, constants: Mapping[str, tuple[str, ...]]) -> None:
        """Forget the series of all other sources, and those under constant labels of before."""
        if not self._of_source:
            return
        for values in list(self._series):
            if values[len(self._own) :] != constants.get(values[0]):
                self._kept.clear()
                self._parent.remove(*values)
                del self._series[values]

    def leave(self, registry: CollectorRegistry) -> None:
        """Be replaced by one with other labels."""
        registry.unregister(self._parent)


class Telemetry:
    """The process's own metrics, and how to move them.

    ``sources`` maps each source's name to its constant labels (the same label names for all). ``now`` is the
    Unix time at which the configuration was read.
    """

    def __init__(self, sources: Mapping[str, Mapping[str, str]], *, now: float) -> None:
        self.registry = CollectorRegistry()
        """client_python's own view of the same, without `process_*`: what the tests compare with."""
        self._names = _names_of(sources)
        self._constants: dict[str, tuple[str, ...]] = {}
        self._samples: dict[str, Mapping[str, int]] = {}
        self._sizes: dict[str, int] = {}
        self._families = {declared: _Family(declared, self._names, self.registry) for declared in DECLARATIONS}
        self._process = _Process()
        self.follow(sources)
        self._families[BUILD_INFO].add(__version__, platform.python_version())
        self._unusable: set[str] = set()
        self.reloaded("configuration", successful=True, now=now)

    def follow(self, sources: Mapping[str, Mapping[str, str]]) -> None:
        """These are the sources from now on: the series of others go, those of new ones are born at 0."""
        names = _names_of(sources)
        if names != self._names:
            self._rename(names)
        self._constants = {source: tuple(labels[name] for name in names) for source, labels in sources.items()}
        for family in self._families.values():
            family.keep(self._constants)
        for source in self._samples.keys() - sources.keys():
            self._show_samples(source, {})
            del self._samples[source]
        for source in self._sizes.keys() - sources.keys():
            del self._sizes[source]
            self._families[CHECKPOINT_SIZE].add(amount=float(sum(self._sizes.values())))
        for source in sources:
            self._born(source)

    def _rename(self, names: tuple[str, ...]) -> None:
        """The sources' constant labels have other names: begin their families anew."""
        self._names = names
        for declared in DECLARATIONS:
            if "source" in declared.labels:
                self._families[declared].leave(self.registry)
                self._families[declared] = _Family(declared, names, self.registry)

    def _born(self, source: str) -> None:
        for outcome in OUTCOMES:
            self._families[POLLS].series(source, outcome, *self._constants[source])
        self._families[POLL_DURATION].series(source, *self._constants[source])

    def polled(self, source: str, outcome: str, *, duration_s: float | None) -> None:
        """Count a poll; ``outcome`` is one of `OUTCOMES`, ``duration_s`` None if it did not connect.

        Called last in a poll, it renders what that changed (half a millisecond), so that no scrape need.
        """
        constants = self._constants[source]
        self._families[POLLS].add(source, outcome, *constants)
        if duration_s is not None:
            self._families[POLL_DURATION].add(source, *constants, amount=duration_s)
            self.render(Format.TEXT)

    def queried(self, source: str, table: str, *, duration_s: float, failed: bool) -> None:
        """Count a query of one table."""
        labels = (source, table, *self._constants[source])
        self._families[QUERY_DURATION].add(*labels, amount=duration_s)
        self._families[QUERY_ERRORS].add(*labels, amount=float(failed))

    def published(self, source: str, samples: Mapping[str, int], *, duration_s: float) -> None:
        """Note a source's publish, and how many samples it shows of each metric."""
        self._families[PUBLISH_DURATION].add(amount=duration_s)
        self._show_samples(source, samples)

    def _show_samples(self, source: str, samples: Mapping[str, int]) -> None:
        before = self._samples.get(source)
        self._samples[source] = samples
        if samples is before:
            return
        for metric in samples.keys() | (before or {}).keys():
            if before is None or before.get(metric) != samples.get(metric):
                number = sum(each.get(metric, 0) for each in self._samples.values())
                self._families[SERIES].add(metric, amount=float(number))

    def saved(self, source: str, *, duration_s: float, size_bytes: int) -> None:
        """Note that a source's state was saved."""
        self._sizes[source] = size_bytes
        self._families[CHECKPOINT_DURATION].add(amount=duration_s)
        self._families[CHECKPOINT_SIZE].add(amount=float(sum(self._sizes.values())))

    def save_failed(self) -> None:
        """Count a failure to save the state."""
        self._families[CHECKPOINT_FAILURES].add()

    def reloaded(self, part: str, *, successful: bool, now: float) -> None:
        """Note that this part of the configuration was read at Unix time ``now``, or could not be.

        As long as one part cannot be used, the last reading did not succeed, whatever is read of the others.
        """
        (self._unusable.discard if successful else self._unusable.add)(part)
        self._families[RELOAD_SUCCESSFUL].add(amount=float(not self._unusable))
        if not self._unusable:
            self._families[RELOAD_TIMESTAMP].add(amount=now)

    def requested(self, route: str, code: int, *, duration_s: float) -> None:
        """Count a request that was answered; ``route`` must come from a closed set."""
        requests, durations = self._families[HTTP_REQUESTS], self._families[HTTP_DURATION]
        requests.add(route, str(code))
        durations.add(route, amount=duration_s)
        # now that the answer is sent, rather than when the next scrape waits for them: 50 µs
        requests.prepare(route, str(code))
        durations.prepare(route)

    def refused(self, why: Declaration) -> None:
        """Count a request that was not let in; ``why`` is `AUTH_FAILURES` or `RATE_LIMITED`."""
        self._families[why].add()

    def certified(self, until: float) -> None:
        """Note until which Unix time the certificate that is served is valid."""
        self._families[CERTIFICATE_END].add(amount=until)

    def render(self, form: Format) -> bytes:
        """All of it in that format, in OpenMetrics without the `# EOF`."""
        texts = [family.render(form) for family in self._families.values()]
        return "".join(texts).encode() + self._process.render(form)

    def render_source(self, form: Format, source: str) -> bytes:
        """What of it is of one source, in that format, in OpenMetrics without the `# EOF`."""
        return "".join([family.render_source(form, source) for family in self._families.values()]).encode()


def _names_of(sources: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(sorted(next(iter(sources.values()), {})))


class _Process:
    """`process_*`: of this moment, or at most a second old (a scrape would pay 60 µs for it)."""

    def __init__(self) -> None:
        self._collector = ProcessCollector(registry=None)
        self._kept: dict[Format, tuple[float, bytes]] = {}

    def render(self, form: Format) -> bytes:
        """Its families; none where the system has no /proc, or one that client_python cannot read."""
        now_s = time.monotonic()
        made_s, text = self._kept.get(form, (-_PROCESS_KEPT_S, b""))
        if now_s - made_s >= _PROCESS_KEPT_S:
            text = self._rendered(form)
            self._kept[form] = (now_s, text)
        return text

    def _rendered(self, form: Format) -> bytes:
        try:
            families = list(self._collector.collect())
        except (ArithmeticError, LookupError, NameError, ValueError):
            return b""  # some sandboxes' /proc lacks fields, and the collector takes them for granted
        only = _Only(*families)
        return render_text(only) if form is Format.TEXT else _openmetrics(only)


class _Only(CollectorRegistry):
    """A registry of given families, for client_python's renderers."""

    def __init__(self, *families: Metric) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _openmetrics(registry: CollectorRegistry) -> bytes:
    text: bytes = render_openmetrics(registry)  # type: ignore[no-untyped-call]
    return text.removesuffix(_EOF)


def _client(declared: Declaration, names: tuple[str, ...], registry: CollectorRegistry) -> _Client:
    match declared.kind:
        case "counter":
            return Counter(declared.name, declared.help, names, unit=declared.unit, registry=registry)
        case "gauge":
            return Gauge(declared.name, declared.help, names, unit=declared.unit, registry=registry)
        case "histogram":
            return Histogram(
                declared.name,
                declared.help,
                names,
                unit=declared.unit,
                registry=registry,
                buckets=SHORT_BUCKETS_S,
            )


def _samples(client: _Client) -> Metric:
    """What client_python shows of one series, without `_created`: Prometheus would store it as a series."""
    (metric,) = client.collect()
    metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    return metric


def _values(client: _Client) -> list[float]:
    return [sample.value for sample in _samples(client).samples]


def _prefixes(client: _Client, labels: Mapping[str, str]) -> list[str]:
    """What stands before the values of a series, as client_python writes it."""
    metric = _samples(client)
    metric.samples = [sample._replace(labels={**labels, **sample.labels}) for sample in metric.samples]
    lines = render_text(_Only(metric)).decode().splitlines()
    return [f"{line.rsplit(' ', 1)[0]} " for line in lines if not line.startswith("#")]


def _text(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text
