"""docs/metrics.md: every metric, made from its declaration, so that it says what the exporter does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from exporter.spec import (
    OTHER,
    Col,
    Const,
    Counter,
    Current,
    Feed,
    FirstOf,
    Gauge,
    Histogram,
    Is,
    Json,
    Label,
    LabelValue,
    Lacks,
    Metric,
    Number,
    OneOf,
    Outcome,
    Part,
    Plus,
    Project,
    Reading,
    Table,
    stored_in,
)
from exporter.telemetry import DECLARATIONS, OUTCOMES, SHORT_BUCKETS_S, Declaration

_INTRODUCTION = """\
# Metrics

<!-- Made by `orchestration-exporter reference`. Change the catalogue (exporter/catalogue/) and make it anew. -->

Made from the same declarations as the metrics themselves: [what is read from the tables](#overview), then
[what the exporter says of itself](#the-exporters-process).

**Labels.** Every metric made from the tables carries, beside the labels listed, `source` (the name of the source,
`default` with `--database`) and the source's constant labels from the configuration. NULL and empty texts are
`unknown`. White space around a value is trimmed, what is beyond 128 characters cut. An *open* label has at most
`max_label_values` values in its vocabulary, further ones become `__other__`; a closed one has the values listed, and
a row creates its counters for all of them, at 0.

**Adding up.** Counters and histograms may be summed over any label. Different metrics are mostly different views of
the same rows: what is named under *Never add to* counts the same things under other labels. Quantiles are computed
from summed buckets (`sum by (le) (…)`), never averaged. Of gauges that are a time or a maximum, take `min` or `max`.

**What counts when.** A row counts once, when it is final, with its values of then. A row that stays without a result
for `in_flight_timeout` counts as `unknown`; one whose session has no row yet waits for that for up to a minute. A new
series is shown as 0 first, for `new_series_hold`.
"""

_REASONS: Final[Mapping[str, str]] = {
    "not_a_number": "text, NaN or infinity in a column of numbers",
    "negative": "a number below 0 where none can be",
    "out_of_range": "a number beyond the range given with the metric",
    "bad_time": "a time that cannot be parsed, or lies more than a day ahead",
    "bad_json": "`metadata` that is no JSON",
    "bad_text": "text that is not UTF-8; it counts with `\ufffd` in place of what is damaged",
    "bad_flag": "a `success` that is neither 0, 1 nor NULL; it counts as `unknown`",
}

_READINGS: Final[Mapping[Reading, str]] = {
    "sessions": "open sessions",
    "session_subagents_max": "open sessions: the most sub-agents of one",
    "session_cost_max": "open sessions: the most `cost` of one",
    "in_flight": "rows without a result",
    "in_flight_oldest": "rows without a result: the time of the oldest",
    "up": "the last poll, and whether its result could be saved",
    "counting_since": "the exporter's state",
    "last_success": "the last poll",
    "lag": "the last poll: the highest ids there are, less the highest read",
    "last_event": "the newest time read from the table",
    "current": "as the rows are now",
    "model_info": "the models that have been seen or are configured; the newest row of `model_performance`, "
    "`routing_decisions` or `model_capacity_thresholds` that names a vendor",
    "ledger": "the ledger: hand-offs, sub-agents and tools that are final, on the day of their time",
    "ledger_median": "the ledger's last seven whole days",
    "period_start": "the calendar",
    "period_end": "the calendar",
    "budget_limit": "the configuration's `budgets`",
    "budget_spent": "the ledger, for what the budget is for",
    "budget_projected": "the ledger, by the hour",
    "budget_start": "the calendar",
    "budget_end": "the calendar",
}

# of the virtual table of sessions that end, whose rows the exporter makes itself
_MADE: Final[Mapping[str, str]] = {
    "outcome": "`{table}.completed_tasks` and `{table}.failed_tasks`",
    "end": "how the session ended",
    "duration": "`{table}.end_time`, or the time of the last activity, less `{table}.start_time`",
    "cost": "the `cost` of the session's hand-offs, sub-agents and tools",
    "handoffs": "the session's hand-offs",
    "subagents": "the session's sub-agents",
    "reason": "what came before, or `{table}.metadata` at `$.route_reason`",
}
_VIRTUAL: Final[Mapping[str, str]] = {
    "session_ends": "the sessions that end",
    "handoff_escalations": "the hand-offs that are escalations",
}
_VIRTUAL_MOMENTS: Final[Mapping[str, str]] = {
    "session_ends": "when the session ends",
    "handoff_escalations": "when it and the one before it have their results",
}

_OWN_LABELS: Final[Mapping[str, str]] = {
    "source": "the source's name; its constant labels come with it",
    "table": "a table that is read",
    "reason": "see [rejected values](#rejected-values)",
    "metric": "a metric's name",
    "label": "an open label of that metric",
    "budget": "the budget's name",
    "project": "`project_name` of the row's session",
    "period": "the calendar's period",
    "model": "the models that are known",
    "vendor": "the configuration, else the newest row that names one",
    "tier": "the configuration, else how the model's name begins",
    "outcome": "how the poll ended",
    "version": "the exporter's version",
    "python_version": "Python's version",
    "route": "a route of the exporter, `other` for what is none",
    "code": "the answer's HTTP status",
}
_OWN_VALUES: Final[Mapping[str, tuple[str, ...]]] = {"outcome": OUTCOMES}

_TOPICS: Final[Mapping[str, str]] = {
    "orchestration_exporter_": "The exporter on a source",
    "orchestration_ledger_": "The ledger",
    "orchestration_budget_": "Budgets",
    "orchestration_model_": "Models",
}
"""What metrics that are not made from rows are about, by how their names begin."""

_PROCESS = """\
Where the system has a `/proc`, client_python's `process_*` follow: CPU, memory, start time, open files.
"""


def render(metrics: Sequence[Metric]) -> str:
    """The Markdown of ``metrics``, in their order by topic, and of the process's own. It ends in a newline."""
    topics: dict[str, list[Metric]] = {}
    for metric in metrics:
        topics.setdefault(_topic(metric), []).append(metric)
    parts = [_INTRODUCTION, _overview(topics)]
    for topic, found in topics.items():
        parts += [f"## {topic}\n", *(_metric(metric, metrics) for metric in found)]
    parts += [_rejections(), "## The exporter's process\n", *map(_declaration, DECLARATIONS), _PROCESS]
    return "\n".join(parts)


# ── topics ───────────────────────────────────────────────────────────────────────────────────────────────────


def tables_of(metric: Metric) -> tuple[str, ...]:
    """The names of the tables that a metric is made from."""
    found = [feed.table.label for feed in metric.feeds]
    if isinstance(metric, Gauge):
        found += [table.label for table in (metric.table, *(current.table for current in metric.of)) if table]
    return tuple(dict.fromkeys(found))


def _topic(metric: Metric) -> str:
    if tables := tables_of(metric):
        return f"From {' and '.join(map(_code, tables))}"
    return next((topic for start, topic in _TOPICS.items() if metric.name.startswith(start)), "The source")


def _overview(topics: Mapping[str, Sequence[Metric]]) -> str:
    rows = [
        (f"[`{metric.name}`](#{metric.name})", metric.type, ", ".join(map(_code, metric.label_names)), topic)
        for topic, found in topics.items()
        for metric in found
    ]
    return f"## Overview\n\n{_table(('metric', 'type', 'labels', 'made from'), rows)}"


# ── one metric ───────────────────────────────────────────────────────────────────────────────────────────────


def _metric(metric: Metric, others: Sequence[Metric]) -> str:
    facts = [f"From {line}" for line in _origins(metric)]
    if isinstance(metric, Histogram):
        facts.append(_buckets(metric.buckets))
    if overlaps := _overlaps(metric, others):
        facts.append(f"Never add to {', '.join(map(_code, overlaps))}")
    exemplars = isinstance(metric, Histogram) and metric.exemplars
    kind = _kind(metric.type, metric.unit) + (", with exemplars in OpenMetrics" if exemplars else "")
    labels = [(label.name, _values(label), _label_origin(metric, label)) for label in metric.labels]
    return _section(metric.name, kind, metric.help, labels, facts)


def _declaration(declared: Declaration) -> str:
    labels = [(name, _listed(_OWN_VALUES.get(name, ())), _OWN_LABELS[name]) for name in declared.labels]
    facts = [_buckets(SHORT_BUCKETS_S)] if declared.kind == "histogram" else []
    return _section(declared.name, _kind(declared.kind, declared.unit), declared.help, labels, facts)


def _section(name: str, kind: str, text: str, labels: Sequence[tuple[str, str, str]], facts: Sequence[str]) -> str:
    rows = [(_code(label), values, origin) for label, values, origin in labels]
    table = f"\n{_table(('label', 'values', 'from'), rows)}" if rows else ""
    bullets = "".join(f"- {fact}\n" for fact in facts)
    text = text.replace(OTHER, _code(OTHER))  # else Markdown takes it for bold type
    return f"### `{name}`\n\n*{kind}.* {text}\n{table}" + (f"\n{bullets}" if bullets else "")


def _kind(kind: str, unit: str) -> str:
    shown = {"usd": "US dollars", "ratio": "as a ratio", "": ""}.get(unit, unit)
    in_unit = f", {shown}" if unit == "ratio" else f", in {shown}" if shown else ""
    return f"{kind.capitalize()}{in_unit}"


def _values(label: Label) -> str:
    shared = f", vocabulary `{label.pool}`" if label.pool != label.name and not label.closed else ""
    return _listed(label.closed) + shared


def _listed(values: Sequence[str]) -> str:
    return ", ".join(map(_code, values)) or "open"


def _buckets(bounds: Iterable[float]) -> str:
    return f"Buckets: {', '.join(f'{bound:g}' for bound in bounds)}"


# ── where it comes from ──────────────────────────────────────────────────────────────────────────────────────


def _origins(metric: Metric) -> Iterator[str]:
    """A line for each source of the metric's numbers."""
    for feed in metric.feeds:
        fixed = [f"`{name}` {_code(value.value)}" for name, value in feed.labels.items() if isinstance(value, Const)]
        yield f"{_amount(feed)}{_condition(feed.table, feed.where)}, {_moment(feed)}" + (
            f": {', '.join(fixed)}" if fixed else ""
        )
    if isinstance(metric, Gauge):
        rows = f"`{metric.table.label}`, " if metric.table else ""
        rows += f"{_number(metric.table, metric.column)} of " if metric.table and metric.column else ""
        yield from (_current(current) for current in metric.of)
        yield f"{rows}{_READINGS[metric.reading]}"
    elif not metric.feeds:
        yield "the exporter's state, which outlives a restart; born at 0"


def _current(current: Current) -> str:
    columns = " plus ".join(_number(current.table, name) for name in current.value)
    fixed = [f"`{name}` {_code(value.value)}" for name, value in current.labels.items() if isinstance(value, Const)]
    which = "the rows of active sessions, added up"
    if current.newest_per is not None:
        which = f"the newest row of each {' and '.join(map(_code, current.newest_per)) or 'table'}"
    most = f", the {current.most[1]} with the highest `{current.most[0]}`" if current.most else ""
    return f"{columns}: {which}{most}" + (f": {', '.join(fixed)}" if fixed else "")


def _amount(feed: Feed) -> str:
    match feed.value:
        case None if feed.table.virtual:
            return _VIRTUAL[feed.table.name]
        case None:
            return f"the rows of `{feed.table.label}`"
        case Plus(column, plus):
            return f"{_number(feed.table, column)} plus {_number(feed.table, plus)}"
        case name:
            return _number(feed.table, name)


def _number(table: Table, name: str) -> str:
    declared = table.column(name)
    if table.virtual or not isinstance(declared, Number):
        return _column(table, name)
    scaled = f" times {declared.scale:g}" if declared.scale != 1.0 else ""
    return f"{_column(table, name)}{scaled} ({declared.minimum:,.0f} to {declared.maximum:,.0f})"


def _column(table: Table, name: str) -> str:
    if table.virtual:
        return _MADE[name].format(table=table.label)
    declared = table.column(name)
    if isinstance(declared, Json):
        return f"`{table.name}.{declared.column}` at `{declared.path}`"
    return f"`{table.name}.{stored_in(declared)}`"


def _condition(table: Table, where: Sequence[Is]) -> str:
    texts = [_is(table, condition) for condition in where]
    return f" where {' and '.join(texts)}" if texts else ""


def _is(table: Table, condition: Is) -> str:
    declared = table.column(condition.column)
    if isinstance(declared, Lacks):
        return f"`{declared.column}` is NULL and `{declared.used}` above 0"
    value = "NULL" if condition.value is None else _code(str(condition.value))
    return f"`{condition.column}` is {'not ' if condition.negate else ''}{value}"


def _moment(feed: Feed) -> str:
    if feed.table.virtual:
        return _VIRTUAL_MOMENTS[feed.table.name]
    if feed.at == "final" and feed.table.final_when:
        return f"when `{feed.table.final_when}` is there, or at `in_flight_timeout`"
    return "when the row is first read"


def _label_origin(metric: Metric, label: Label) -> str:
    """What a label's values are made from, in all feeds together."""
    values = [(feed.labels[label.name], feed.table) for feed in metric.feeds]
    if isinstance(metric, Gauge) and metric.table is not None:
        values.append((metric.values[label.name], metric.table))
    if isinstance(metric, Gauge):
        values += [(current.labels[label.name], current.table) for current in metric.of]
    if not values:
        return _OWN_LABELS[label.name]
    made = dict.fromkeys(_made_from(value, table) for value, table in values if not isinstance(value, Const))
    fixed = dict.fromkeys(_code(value.value) for value, _ in values if isinstance(value, Const))
    if not made:
        return "where the row comes from"
    return "; ".join([*made, *(f"elsewhere {text}" for text in fixed)])


def _made_from(value: LabelValue, table: Table) -> str:
    match value:
        case Col(column):
            return _column(table, column)
        case OneOf(column, _):
            return f"{_column(table, column)} where it is one of them, else `unknown`"
        case Part(column, index):
            return f"{_column(table, column)} {('before', 'after')[index]} its first dot"
        case FirstOf(choices):
            return ", else ".join(_made_from(choice, table) for choice in choices)
        case Outcome(flag):
            return f"{_column(table, flag)}: 1, 0, else"
        case Project():
            return "`project_name` of the row's session"
        case Const(text):
            return _code(text)


# ── what not to add up ───────────────────────────────────────────────────────────────────────────────────────


def _overlaps(metric: Metric, others: Sequence[Metric]) -> list[str]:
    """The counters that count the same things: by their feeds, or because one's HELP says not to add the two."""
    return [
        other.name
        for other in others
        if other.name != metric.name and (_share(metric, other) or _warns(metric, other) or _warns(other, metric))
    ]


def _share(one: Metric, other: Metric) -> bool:
    if not (isinstance(one, Counter) and isinstance(other, Counter)):
        return False
    return any(_same_things(mine, theirs) for mine in one.feeds for theirs in other.feeds)


def _same_things(one: Feed, other: Feed) -> bool:
    apart = bool(one.where and other.where and one.where != other.where)
    return (one.table.name, one.value, one.at) == (other.table.name, other.value, other.at) and not apart


def _warns(one: Metric, other: Metric) -> bool:
    sentences = re.split(r"(?<=\.)\s", one.help)
    return any(re.search(rf"\b{other.name}\b", text) and re.search(r"\badd\b", text) for text in sentences)


# ── Markdown ─────────────────────────────────────────────────────────────────────────────────────────────────


def _rejections() -> str:
    rows = [(_code(reason), meaning) for reason, meaning in _REASONS.items()]
    text = "What cannot be used is left out of the metric that would use it; the rest of the row counts."
    return f"## Rejected values\n\n{text}\n\n{_table(('reason', 'what it is'), rows)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"
