"""From settings to what the counting is done by: the schema with dropped labels, and the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from exporter.budgets import Budget
from exporter.config import BudgetSettings, ConfigError, Settings, SourceSettings
from exporter.context import Rules
from exporter.groups import Caps
from exporter.labels import without_label
from exporter.localtime import Calendar
from exporter.models import POOL, Models
from exporter.owntables import extended
from exporter.spec import Counter, Escalation, Gauge, Ledger, Metric, Schema
from exporter.state import State
from exporter.values import label_text


def schema_of(settings: Settings, schema: Schema, source: str | None = None) -> Schema:
    """The schema with the own tables of a source (None: of all), without the labels that the settings drop.

    Raises:
        SpecError: a metric or label to drop is not there, or cannot be dropped.
    """
    schema = extended(schema, settings.tables, source)
    dropped = settings.labels.drop
    metrics = {metric.name: _without(metric, dropped.get(metric.name, ())) for metric in schema.counted}
    return schema.only(_knowing(metric, metrics) for metric in metrics.values())


def _knowing(metric: Metric, metrics: Mapping[str, Metric]) -> Metric:
    """A gauge that shows 0 under a counter's label sets goes by those it has left, if they tell."""
    if not isinstance(metric, Gauge) or metric.known_by is None:
        return metric
    known_by = metrics[metric.known_by.name]
    if not isinstance(known_by, Counter) or not set(metric.label_names) <= set(known_by.label_names):
        return replace(metric, known_by=None)
    return replace(metric, known_by=known_by)


def _without(metric: Metric, labels: tuple[str, ...]) -> Metric:
    for label in labels:
        metric = without_label(metric, label)
    return metric


def rules_of(settings: Settings, of: SourceSettings, *, patient: bool = True) -> Rules:
    """The rules of counting that the settings make for a source."""
    models, budgets = models_of(settings), budgets_of(settings, of)
    return Rules(
        idle_timeout_s=settings.session_idle_timeout,
        in_flight_timeout_s=settings.in_flight_timeout,
        max_in_flight=settings.max_in_flight,
        zone=zone_of(settings.naive_time_zone),
        caps=Caps(settings.max_label_values, settings.max_series_per_metric),
        models=models,
        calendar=Calendar(zone_of(settings.time_zone), settings.time_zone),
        budgets=budgets,
        named=(*((POOL, name) for name in _models_named(settings)), *_named(budgets)),
        patient=patient,
    )


def models_of(settings: Settings) -> Models:
    """What the settings say of models, by the label values they are counted under."""
    vendors = {label_text(name)[0]: model.vendor for name, model in settings.models.items() if model.vendor}
    tiers = {label_text(name)[0]: model.tier for name, model in settings.models.items() if model.tier}
    aliases = {label_text(name)[0]: label_text(into)[0] for name, into in settings.model_aliases.items()}
    return Models(aliases, vendors, tiers)


def _models_named(settings: Settings) -> list[str]:
    names = (*settings.models, *settings.model_aliases.values())
    return list(dict.fromkeys(label_text(name)[0] for name in names))


def budgets_of(settings: Settings, source: SourceSettings) -> tuple[Budget, ...]:
    """The budgets of one source."""
    return tuple(_budget(budget) for budget in settings.budgets if belongs_to(budget, source))


def belongs_to(budget: BudgetSettings, source: SourceSettings) -> bool:
    """Whether the source books what it spends against the budget, its own or its tenant's."""
    if budget.tenant is not None:
        return source.labels.get("tenant") == budget.tenant
    return budget.source in (None, source.name)


def _budget(settings: BudgetSettings) -> Budget:
    kind, value = settings.scoped
    value = label_text(value or None)[0]
    return Budget(settings.name, settings.limit_usd, settings.period, kind, value, shared=settings.tenant is not None)


def _named(budgets: Iterable[Budget]) -> Iterator[tuple[str, str]]:
    """The label values that budgets are for."""
    for budget in budgets:
        if budget.scope != "all":
            yield budget.scope, budget.value


def zone_of(name: str) -> tzinfo:
    """The time zone of that name; UTC as Python's own, which is quicker."""
    return UTC if name == "UTC" else ZoneInfo(name)


def fingerprint(metric: Metric, rules: Rules, schema: Schema) -> str:
    """The digest of all that makes the metric's numbers: its declaration and, where it counts rows, the rules.

    What sessions add up from their events makes the metrics of their ends; the tiers make escalations; the time zone
    makes the ledger; what rows of an own table are known by, what is read of it.
    """
    if not metric.feeds:
        return metric.fingerprint()
    virtual = {feed.table.name for feed in metric.feeds if feed.table.virtual}
    tallies = [table.tally for table in schema.tables if not table.own] if schema.ends.name in virtual else []
    escalation: Escalation | None = schema.escalation if schema.escalation.found.name in virtual else None
    timeouts = (rules.idle_timeout_s, rules.in_flight_timeout_s)
    made_by: tuple[object, ...] = (timeouts, str(rules.zone), repr(rules.caps), repr(tallies))
    if any(label.pool == POOL for label in metric.labels) or escalation is not None:
        made_by = (*made_by, sorted(rules.models.aliases.items()))
    if escalation is not None:
        declared = (escalation.model, escalation.task, escalation.reason, escalation.unavailable)
        made_by = (*made_by, sorted(rules.models.tiers.items()), declared)
    if own := [feed.table for feed in metric.feeds if feed.table.own]:
        made_by = (*made_by, [(table.cursor, table.identity) for table in own])
    if isinstance(metric, Ledger):
        made_by = (*made_by, rules.calendar.name)
    return metric.fingerprint(made_by=made_by)


def check_zone(state: State, schema: Schema, rules: Rules, *, rebuild: bool) -> None:
    """Hold that the days of a ledger that was kept are those of the configured zone; ``rebuild`` has it made anew.

    Raises:
        ConfigError: they are another zone's.
    """
    name, ledger = rules.calendar.name, schema.ledger
    if ledger is None or ledger.name not in state.fingerprints:
        return
    if rebuild:
        del state.fingerprints[ledger.name]
    elif state.ledger.zone != name:
        rule = f"the ledger that is kept has the days of {state.ledger.zone}: --rebuild-ledger makes it anew"
        raise ConfigError("time_zone", name, rule)
