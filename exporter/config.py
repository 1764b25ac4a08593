"""Settings: a strict YAML file, the environment and flags become one frozen object, or a line saying why not.

Precedence: flag, environment, file, default. The models hold types, rules, defaults and meaning, and publish
the JSON Schema. An error shows the value it is about: none is secret yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, WithJsonSchema, model_validator

from exporter import labels as label_values
from exporter import logs, owntables, spec
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
from exporter.tablesettings import TableSettings

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


def _no_other_route(path: str) -> str:
    if path.startswith(("/-/", "/sessions/")) or path in ("/healthz", "/readyz", "/sessions", "/docs"):
        raise ValueError("must not be one of the exporter's other routes")
    return path


def _frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


def _not_chained(aliases: Mapping[str, str]) -> Mapping[str, str]:
    for spelling, name in aliases.items():
        if name in aliases:
            raise ValueError(f"must not lead from one alias to another: {spelling} is {name}, and that is one, too")
    return aliases


def _named_once(budgets: tuple[BudgetSettings, ...]) -> tuple[BudgetSettings, ...]:
    names = [budget.name for budget in budgets]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"must have different names: {twice} is given twice")
    return budgets


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


class ModelSettings(Model):
    """What a model is."""

    vendor: LabelValue | None = None
    """Who makes it; by default the newest row that names a vendor tells."""
    tier: Literal["paid", "local"] | None = None
    """Whether its use is paid for; by default `local` for `deepseek*`, `paid` for `claude*`, else unknown."""


class ScopeSettings(Model):
    """What a budget is for: one of these; none of them is all of its source."""

    project: LabelValue | None = None
    """What this project spends."""
    model: LabelValue | None = None
    """What is spent on this model."""
    tenant: LabelValue | None = None
    """What all sources with the constant label `tenant` of this value spend together."""

    @model_validator(mode="after")
    def _one_of_them(self) -> ScopeSettings:
        if sum(value is not None for value in (self.project, self.model, self.tenant)) > 1:
            raise ValueError(_SCOPE_RULE)
        return self


def _scope(value: object) -> object:
    """``all`` as a scope of none of them."""
    if isinstance(value, str | dict) and value != "all" and not (isinstance(value, dict) and value):
        raise ValueError(_SCOPE_RULE)
    return {} if value == "all" else value


_SCOPE_RULE = "must be all, or one of {project: NAME}, {model: NAME} and {tenant: NAME}"
_SCOPE_SCHEMA = {
    "anyOf": [{"enum": ["all"]}, {**ScopeSettings.model_json_schema(), "minProperties": 1, "maxProperties": 1}]
}


class BudgetSettings(Model):
    """What may be spent."""

    name: LabelValue
    """Value of the label `budget`."""
    scope: Annotated[ScopeSettings, BeforeValidator(_scope), WithJsonSchema(_SCOPE_SCHEMA)] = ScopeSettings()
    """What it is for: `all` of its source, or `{project: NAME}`, `{model: NAME}`, `{tenant: NAME}`."""
    limit_usd: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
    """What may be spent in a period, in USD."""
    period: Literal["day", "week", "month"]
    """The period it is for, in `time_zone`; weeks begin on Monday."""
    source: SourceName | None = None
    """The source it belongs to; needed where there are several, and not for a tenant."""

    @property
    def scoped(self) -> tuple[Literal["project", "model", "all"], str]:
        """The kind of scope within a source, and its value: a tenant is all of each of its sources."""
        if self.scope.project is not None:
            return "project", self.scope.project
        return ("all", "") if self.scope.model is None else ("model", self.scope.model)

    @property
    def tenant(self) -> str | None:
        """The tenant whose sources it adds up."""
        return self.scope.tenant


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
    config_file: FilePath | None = None
    """File of TLS, users, tokens and limits, as exporter-toolkit has it."""
    allow_open: bool = False
    """Whether to listen beyond loopback without users or without TLS."""

    @property
    def prefix(self) -> str:
        """What stands before every route: empty, or a path that does not end in a slash."""
        return (self.route_prefix or urlsplit(self.external_url).path).rstrip("/")


class StorageSettings(Model):
    """Where the exporter keeps its state."""

    path: FilePath = Path("data")
    """Folder of the state: cursors, totals and what was shown, so that a restart counts on."""
    rebuild_ledger: bool = False
    """Whether a start makes the ledger anew from the rows that are still there; days of which rows are gone stay."""


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
        Field(min_length=1),
        BeforeValidator(listed),
    ] = ()
    """The databases to read, each under a name of its own, all with the same names of constant labels."""
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
    time_zone: TimeZone = "UTC"
    """Zone of the ledger's and the budgets' days. It is kept with the ledger: another one needs `--rebuild-ledger`."""
    models: Annotated[Mapping[LabelValue, ModelSettings], AfterValidator(_frozen)] = Field(
        default_factory=_nothing, json_schema_extra=_STRICT
    )
    """What is known of models: `NAME: {vendor: NAME, tier: paid|local}`."""
    model_aliases: Annotated[Mapping[LabelValue, LabelValue], AfterValidator(_frozen), AfterValidator(_not_chained)] = (
        Field(default_factory=_nothing, json_schema_extra=_STRICT)
    )
    """Spellings that are counted under another name: `SPELLING: NAME`."""
    budgets: Annotated[tuple[BudgetSettings, ...], BeforeValidator(listed), AfterValidator(_named_once)] = ()
    """What may be spent."""
    tables: Annotated[tuple[TableSettings, ...], BeforeValidator(listed)] = ()
    """Own tables, and the metrics made from their rows."""
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
        _check_sources(layers.validated(Settings), layers)  # wrong in the file is wrong even where a flag covers it
    _add_given(layers, flags, environ)
    settings = layers.validated(Settings)
    _check_sources(settings, layers)
    _check_budgets(settings, layers)
    _check_constants(settings, metrics, layers)
    _check_tables(settings, metrics, layers)
    _check_drops(settings, (*metrics, *owntables.own_metrics(settings.tables)), layers)
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


def _check_tables(settings: Settings, metrics: tuple[spec.Metric, ...], layers: Layers) -> None:
    """Hold own tables to their rules, and let each know where its keys stand."""
    sources, constants = settings.sources, settings.sources[0].labels if settings.sources else ()
    try:
        owntables.check(settings.tables, metrics, sources=[source.name for source in sources], constants=constants)
    except owntables.TableRuleError as exc:
        raise ConfigError(layers.thing(exc.path), exc.value, exc.rule) from None
    for at, table in enumerate(settings.tables):
        paths = {path[2:] for path in layers.origins if path[:2] == ("tables", at)} | {("table",)}
        table.locate({path: layers.thing(("tables", at, *path)) for path in paths})


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


def _check_sources(settings: Settings, layers: Layers) -> None:
    """Hold that each source has a name of its own, and its series labels that tell them from the others'."""
    names: dict[str, int] = {}
    values: dict[tuple[str, ...], int] = {}
    for at, source in enumerate(settings.sources):
        wanted, labels = settings.sources[0].labels, dict(source.labels)
        if (other := names.setdefault(source.name, at)) != at:
            thing, rule = layers.thing(("sources", at, "name")), f"is the name of sources[{other}] already"
            raise ConfigError(thing, source.name, rule)
        if labels.keys() != wanted.keys():
            rule = f"must have the names that sources[0].labels has: {', '.join(wanted) or 'none'}"
            raise ConfigError(layers.thing(("sources", at, "labels")), labels, rule)
        if labels and (other := values.setdefault(tuple(labels[name] for name in wanted), at)) != at:
            rule = f"must differ in a value from sources[{other}].labels"
            raise ConfigError(layers.thing(("sources", at, "labels")), labels, rule)


def _check_budgets(settings: Settings, layers: Layers) -> None:
    """Hold that each budget belongs to a source, or to a tenant that there is."""
    names = [source.name for source in settings.sources]
    tenants = {source.labels["tenant"] for source in settings.sources if "tenant" in source.labels}
    for at, budget in enumerate(settings.budgets):
        if budget.tenant is not None:
            thing = layers.thing(("budgets", at, "scope"))
            if budget.source is not None:
                rule = "a tenant's budget belongs to all of its sources: leave source out"
                raise ConfigError(layers.thing(("budgets", at, "source")), budget.source, rule)
            if budget.tenant not in tenants:
                raise ConfigError(
                    thing, budget.tenant, f"is no source's label tenant{did_you_mean(budget.tenant, tenants)}"
                )
        elif budget.source is None and len(names) > 1:
            rule = f"needs source, for there are several: {', '.join(names)}"
            raise ConfigError(layers.thing(("budgets", at)), budget.name, rule)
        elif budget.source is not None and budget.source not in names:
            thing = layers.thing(("budgets", at, "source"))
            raise ConfigError(thing, budget.source, f"no such source{did_you_mean(budget.source, names)}")


def _check_constants(settings: Settings, metrics: tuple[spec.Metric, ...], layers: Layers) -> None:
    taken = RESERVED_LABELS.union(*(metric.label_names for metric in metrics))
    for at, source in enumerate(settings.sources):
        for name, value in source.labels.items():
            if name in taken:
                thing = layers.thing(("sources", at, "labels", name))
                raise ConfigError(thing, value, f"{name} is a label of the exporter's own: take another name")
