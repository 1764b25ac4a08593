"""Settings: a strict YAML file, the environment and flags become one frozen object, or a line saying why not.

Precedence: flag, environment, file, default. The models hold types, rules, defaults and meaning, and publish
the JSON Schema. An error shows the value it is about: none is secret yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, WithJsonSchema

from exporter import labels as label_values
from exporter import logs, spec
from exporter.options import (
    CONFIG_FILE,
    DATABASE,
    NOTHING,
    OPTIONS,
    PREFIX,
    ConfigError,
    Flags,
    Layers,
    Model,
    did_you_mean,
)
from exporter.settingtypes import (
    DAY_S,
    HOUR_S,
    Address,
    FilePath,
    LabelName,
    LabelValue,
    MetricName,
    RoutePrefix,
    Seconds,
    SourceName,
    TimeZone,
    Url,
    UrlPath,
    listed,
    one_or_more,
)

__all__ = ["ConfigError", "Settings", "load"]

DEFAULT_SOURCE = "default"
"""The name of the source that `--database` gives."""
RESERVED_LABELS = frozenset(
    (
        *("source", "le", "quantile", "job", "instance", "table", "reason", "metric", "label"),
        *("outcome", "route", "code", "version", "python_version"),
    )
)
"""Label names that are taken, beside those of the catalogue's metrics."""


def _one(sources: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(sources) != 1:
        raise ValueError("must be exactly one source: several are not supported yet")
    return sources


def _no_other_route(path: str) -> str:
    if path.startswith(("/-/", "/sessions/")) or path in ("/healthz", "/readyz", "/sessions", "/docs"):
        raise ValueError("must not be one of the exporter's other routes")
    return path


def _frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


_ADDRESS_SCHEMA = TypeAdapter(Address).json_schema()
_ADDRESSES_SCHEMA = {"anyOf": [_ADDRESS_SCHEMA, {"type": "array", "items": _ADDRESS_SCHEMA, "minItems": 1}]}
_STRICT: dict[str, Any] = {"additionalProperties": False}


class SourceSettings(Model):
    """A database to read."""

    name: SourceName
    """Value of the label `source` on all its series; its state is kept under this name."""
    database: FilePath
    """The SQLite file. In a file, relative paths are relative to that file."""
    labels: Annotated[Mapping[LabelName, LabelValue], AfterValidator(_frozen)] = Field(
        default_factory=_nothing, json_schema_extra=_STRICT
    )
    """Constant labels on all its series, such as `tenant: acme`."""


class LabelSettings(Model):
    """What to do with labels."""

    drop: Annotated[
        Mapping[MetricName, Annotated[tuple[str, ...], BeforeValidator(listed)]], AfterValidator(_frozen)
    ] = Field(default_factory=_nothing, json_schema_extra=_STRICT)
    """Open labels to leave out of a counter or histogram, by the metric's full name: `METRIC: [LABEL, …]`."""


class WebSettings(Model):
    """Where and what the exporter serves."""

    listen_address: Annotated[
        tuple[Address, ...],
        Field(min_length=1),
        BeforeValidator(one_or_more),
        WithJsonSchema(_ADDRESSES_SCHEMA),
    ] = ("127.0.0.1:10477",)
    """Address to listen on, `HOST:PORT`, `[IPV6]:PORT` or `:PORT` (all interfaces); several are allowed."""
    telemetry_path: Annotated[UrlPath, AfterValidator(_no_other_route)] = "/metrics"
    """Path of the metrics."""
    external_url: Url = ""
    """URL under which the exporter is reached from outside, behind a reverse proxy."""
    route_prefix: RoutePrefix = ""
    """Prefix of all routes; by default the path of `external_url`."""
    enable_lifecycle: bool = False
    """Whether `POST /-/reload` reads the configuration again."""

    grafana_url: Url = ""
    """Where Grafana is, for the pages to link to."""

    @property
    def prefix(self) -> str:
        """What stands before every route: empty, or a path that does not end in a slash."""
        return (self.route_prefix or urlsplit(self.external_url).path).rstrip("/")


class StorageSettings(Model):
    """Where the exporter keeps its state."""

    path: FilePath = Path("data")
    """Folder of the state: cursors, totals and what was shown, so that a restart counts on."""


class LogSettings(Model):
    """What is logged, on stderr."""

    level: logs.Level = "info"
    """Least severity that is logged."""
    format: logs.Format = "logfmt"
    """Form of a line."""


class Settings(Model):
    """Configuration of orchestration-exporter. Durations: seconds, or text: `500ms`, `30s`, `5m`, `2d`."""

    sources: Annotated[
        tuple[SourceSettings, ...],
        BeforeValidator(listed),
        AfterValidator(_one),
        Field(json_schema_extra={"minItems": 1, "maxItems": 1}),
    ] = ()
    """The databases to read; for now exactly one."""
    poll_interval: Annotated[float, Seconds(0.1, HOUR_S)] = 1.0
    """Time between two looks at a source."""
    session_idle_timeout: Annotated[float, Seconds(1.0, 366 * DAY_S)] = 3_600.0
    """A session without activity for so long has ended."""
    in_flight_timeout: Annotated[float, Seconds(1.0, 366 * DAY_S)] = 6 * HOUR_S
    """A row in flight for so long is counted with outcome `unknown`."""
    max_in_flight: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Most rows in flight that are remembered; beyond it the oldest are counted as `unknown`."""
    new_series_hold: Annotated[float, Seconds(0.0, HOUR_S)] = 60.0
    """How long a new series is served as 0 before its value, so that `increase()` sees it; 0 turns it off."""
    max_label_values: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Most values of one label vocabulary; further ones become `__other__`."""
    max_series_per_metric: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Most label sets of one metric; further ones become `__other__`."""
    query_timeout: Annotated[float, Seconds(0.1, HOUR_S)] = 10.0
    """Deadline of each query."""
    naive_time_zone: TimeZone = "UTC"
    """Zone of times that name none."""
    labels: LabelSettings = Field(default_factory=LabelSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    log: LogSettings = Field(default_factory=LogSettings)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}


def load(
    *, flags: Flags, environ: Mapping[str, str], metrics: tuple[spec.Metric, ...], needs_source: bool = False
) -> Settings:
    """Settings from the file, the environment and the flags, checked against the catalogue's ``metrics``.

    Raises:
        ConfigError: something in one of them is wrong, or a source is needed and there is none.
    """
    layers = Layers()
    if file := flags.get(CONFIG_FILE.path) or environ.get(CONFIG_FILE.variable):
        layers.add_file(str(file))
        layers.validated(Settings)  # what is wrong in the file is wrong even where a flag covers it
    _add_given(layers, flags, environ)
    settings = layers.validated(Settings)
    _check_constants(settings, metrics, layers)
    _check_drops(settings, metrics, layers)
    if needs_source and not settings.sources:
        raise ConfigError(
            DATABASE.flag,
            NOTHING,
            f"a database is needed: {DATABASE.flag} PATH, {DATABASE.variable}, or sources: in the file",
        )
    return settings


def _add_given(layers: Layers, flags: Flags, environ: Mapping[str, str]) -> None:
    for option in OPTIONS:
        if option.in_file:
            layers.add(option, flags=flags, environ=environ)
    sources = layers.origins.get(("sources",))
    layers.add(DATABASE, flags=flags, environ=environ)
    database = layers.tree.pop("database", None)
    if database is None:
        return
    where = layers.origins.pop(DATABASE.path).where
    if where == DATABASE.variable and sources and sources.where.startswith(PREFIX):
        raise ConfigError(where, database, f"cannot be given together with {sources.where}")
    layers.put(("sources",), where, [{"name": DEFAULT_SOURCE, "database": database}])


def _check_drops(settings: Settings, metrics: tuple[spec.Metric, ...], layers: Layers) -> None:
    found = {metric.name: metric for metric in metrics}
    for name, labels in settings.labels.drop.items():
        for at, label in enumerate(labels):
            thing = layers.thing(("labels", "drop", name, at))
            if name not in found:
                raise ConfigError(thing, name, f"no such metric{did_you_mean(name, found)}")
            try:
                found[name] = label_values.without_label(found[name], label)
            except spec.SpecError as exc:
                raise ConfigError(thing, label, str(exc)) from exc


def _check_constants(settings: Settings, metrics: tuple[spec.Metric, ...], layers: Layers) -> None:
    taken = RESERVED_LABELS.union(*(metric.label_names for metric in metrics))
    for at, source in enumerate(settings.sources):
        for name, value in source.labels.items():
            if name in taken:
                thing = layers.thing(("sources", at, "labels", name))
                raise ConfigError(thing, value, f"{name} is a label of the exporter's own: take another name")
