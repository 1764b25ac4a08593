"""The catalogue holds to the rules for metrics, to what was promised, and to the platform's own tables."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter import demo, telemetry
from exporter.catalogue import METRICS, SCHEMA, TABLES
from exporter.catalogue.tables import HANDOFFS
from exporter.labels import without_label
from exporter.spec import (
    Col,
    Column,
    Const,
    Counter,
    Feed,
    Flag,
    Gauge,
    Histogram,
    Is,
    Json,
    Label,
    Lacks,
    Metric,
    Number,
    Outcome,
    Plus,
    SpecError,
    Table,
    Tally,
    Text,
    Time,
    columns_of,
    stored_in,
)

REPOSITORY = Path(__file__).resolve().parent.parent
BY_NAME = {metric.name: metric for metric in METRICS}

# ── what was promised ────────────────────────────────────────────────────────────────────────────────────────

# by hand, from the catalogue that the project was given; without the prefix, and the label `source` of all
PROMISED = """
up                                          gauge
counting_since_timestamp_seconds            gauge
sessions_started_total                      counter    project
sessions_ended_total                        counter    project outcome end
sessions_active                             gauge      project
session_duration_seconds                    histogram  project
session_cost_usd                            histogram  project
session_handoffs                            histogram  project
session_subagents                           histogram  project
active_session_subagents_max                gauge      project
active_session_cost_usd_max                 gauge      project
handoffs_total                              counter    project model outcome
handoff_routes_total                        counter    source_model model reason outcome
handoff_task_types_total                    counter    task_type model outcome
handoff_escalations_total                   counter    project reason
handoffs_in_flight                          gauge      model
handoff_in_flight_oldest_timestamp_seconds  gauge      model
handoff_duration_seconds                    histogram  model outcome
handoff_confidence_ratio                    histogram  model outcome
handoff_tokens_total                        counter    project model
cost_usd_total                              counter    project component model outcome
baseline_cost_usd_total                     counter    project component model outcome
unpriced_events_total                       counter    component model
subagent_invocations_total                  counter    project agent outcome
subagent_spawns_total                       counter    parent agent
subagent_duration_seconds                   histogram  agent
subagent_tokens_total                       counter    agent
subagent_cost_usd_total                     counter    agent
mcp_tool_calls_total                        counter    server tool outcome
mcp_tool_duration_seconds                   histogram  server tool
mcp_tool_cost_usd_total                     counter    server tool
tasks_total                                 counter    project model outcome
task_types_total                            counter    task_type outcome
task_duration_seconds                       histogram  task_type outcome
task_errors_total                           counter    model error_type
task_quality_score                          histogram  model
task_cost_usd_total                         counter    project model
routing_decisions_total                     counter    model complexity
routing_results_total                       counter    model complexity outcome
routing_confidence_ratio                    histogram  model
routing_result_confidence_ratio             histogram  model outcome
routing_duration_seconds                    histogram  model
routing_cost_usd_total                      counter    model
routing_tokens_total                        counter    model
model_calls_total                           counter    model task_type
model_call_errors_total                     counter    model task_type
model_call_retries_total                    counter    model task_type
model_call_duration_seconds                 histogram  model
model_quality_ratio                         histogram  model
model_info                                  gauge      model vendor tier
model_capacity_threshold_ratio              gauge      model
model_cost_per_token_usd                    gauge      model
model_availability_ratio                    gauge      model
hook_executions_total                       counter    hook outcome
hook_duration_seconds                       histogram  hook
activities_total                            counter    event
token_budget_tokens                         gauge      project priority
token_budget_used_tokens                    gauge      project priority
token_budgets_exhausted                     gauge      project priority
account_cost_usd                            gauge      tier period basis
account_projected_savings_usd               gauge      tier recommended_tier period
account_transition_confidence_ratio         gauge      tier recommended_tier period
pattern_frequency                           gauge      pattern kind
pattern_impact_score                        gauge      pattern kind
ledger_cost_usd                             gauge      project period
ledger_baseline_cost_usd                    gauge      project period
ledger_net_savings_usd                      gauge      project period
ledger_tokens                               gauge      project period
ledger_handoffs                             gauge      project period
ledger_daily_cost_median_usd                gauge      project
ledger_period_start_timestamp_seconds       gauge      period
ledger_period_end_timestamp_seconds         gauge      period
budget_limit_usd                            gauge      budget
budget_spent_usd                            gauge      budget
budget_projected_usd                        gauge      budget
budget_period_start_timestamp_seconds       gauge      budget
budget_period_end_timestamp_seconds         gauge      budget
budget_spend_usd_total                      counter    budget
exporter_rows_read_total                    counter    table
exporter_late_rows_total                    counter
exporter_rows_rejected_total                counter    table reason
exporter_label_overflow_total               counter    metric label
exporter_source_rewinds_total               counter
exporter_rewind_uncertain_rows_total        counter
exporter_in_flight_dropped_total            counter    table
exporter_last_success_timestamp_seconds     gauge
exporter_source_lag_rows                    gauge
exporter_data_last_event_timestamp_seconds  gauge      table
"""
# kept by client_python: those of a source name it as a label of their own
PROMISED_OF_THE_PROCESS = """
exporter_polls_total                                    counter    source outcome
exporter_poll_duration_seconds                          histogram  source
exporter_query_duration_seconds                         histogram  source table
exporter_query_errors_total                             counter    source table
exporter_build_info                                     gauge      version python_version
exporter_series                                         gauge      metric
exporter_publish_duration_seconds                       histogram
exporter_checkpoint_duration_seconds                    histogram
exporter_checkpoint_size_bytes                          gauge
exporter_checkpoint_failures_total                      counter
exporter_config_last_reload_successful                  gauge
exporter_config_last_reload_success_timestamp_seconds   gauge
exporter_http_requests_total                            counter    route code
exporter_http_request_duration_seconds                  histogram  route
exporter_auth_failures_total                            counter
exporter_rate_limited_total                             counter
exporter_tls_certificate_not_after_timestamp_seconds    gauge
"""

DURATIONS = tuple(0.01 * 2**n for n in range(18))
MONEY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
COUNTS = (0, 1, 2, 5, 10, 20, 50, 100)
CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BUCKETS = {
    "session_duration_seconds": (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800),
    "session_cost_usd": MONEY,
    "session_handoffs": COUNTS,
    "session_subagents": COUNTS,
    "handoff_duration_seconds": DURATIONS,
    "handoff_confidence_ratio": CONFIDENCES,
    "subagent_duration_seconds": DURATIONS,
    "mcp_tool_duration_seconds": DURATIONS[:11],
    "task_duration_seconds": DURATIONS,
    "task_quality_score": (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5),
    "routing_confidence_ratio": CONFIDENCES,
    "routing_result_confidence_ratio": CONFIDENCES,
    "routing_duration_seconds": DURATIONS,
    "model_call_duration_seconds": DURATIONS,
    "model_quality_ratio": CONFIDENCES,
    "hook_duration_seconds": SHORT,
}


class Family(NamedTuple):
    """A metric as the rules see it, whoever keeps it."""

    name: str
    type: str
    help: str
    labels: tuple[str, ...]
    unit: str


def family(metric: Metric) -> Family:
    return Family(metric.name, metric.type, metric.help, metric.label_names, metric.unit)


OF_THE_TABLES = [family(metric) for metric in METRICS]
OF_THE_PROCESS = [Family(d.name, d.kind, d.help, d.labels, d.unit) for d in telemetry.DECLARATIONS]


def promised(table: str) -> list[tuple[str, str, tuple[str, ...]]]:
    lines = (line.split() for line in table.strip().splitlines())
    return [(f"orchestration_{name}", kind, tuple(labels)) for name, kind, *labels in lines]


def test_every_metric_promised_is_declared_and_no_other() -> None:
    """Names, types and labels; the exposition's order is its own."""
    assert sorted((m.name, m.type, m.labels) for m in OF_THE_TABLES) == sorted(promised(PROMISED))
    assert [(m.name, m.type, m.labels) for m in OF_THE_PROCESS] == promised(PROMISED_OF_THE_PROCESS)


def test_every_histogram_has_the_buckets_promised() -> None:
    """And the durations end at 81.92 s doubled four times, the tools' at 10.24 s."""
    found = {m.name.removeprefix("orchestration_"): m.buckets for m in METRICS if isinstance(m, Histogram)}

    assert found == BUCKETS
    assert (DURATIONS[13], DURATIONS[-1], DURATIONS[10]) == (81.92, 1310.72, 10.24)
    assert telemetry.SHORT_BUCKETS_S == SHORT


def test_only_the_duration_of_handoffs_has_exemplars() -> None:
    """An exemplar carries a session id: it is to be asked for, not to be had everywhere."""
    assert [m.name for m in METRICS if isinstance(m, Histogram) and m.exemplars] == [
        "orchestration_handoff_duration_seconds"
    ]


# ── rules for metrics ────────────────────────────────────────────────────────────────────────────────────────

UNITS = ("seconds", "bytes", "ratio", "usd")
# promlint's own lists (client_golang, prometheus/testutil/promlint/validations), and a few more
NOT_BASE = re.compile(
    r"(milli|micro|nano|kilo|mega|giga)(seconds?|bytes?)|minutes?|hours?|days?|weeks?|bits?|percent|pct|cents?|dollars?|age"
)
ABBREVIATIONS = re.compile("s|ms|us|ns|sec|secs|min|b|kb|mb|gb|tb|pb|m|h|d|num|cnt|avg|tot|req|reqs|err|errs|dur|conf")
TYPES = re.compile("counter|gauge|histogram|summary|metric")
RESERVED = {"le", "quantile", "source", "job", "instance", "tenant"}


def faults(metric: Family) -> Iterator[str]:
    """The rules that one metric breaks."""
    words = metric.name.split("_")
    stem = metric.name.removesuffix("_total").removesuffix("_max").split("_")
    if not re.fullmatch(r"orchestration(_[a-z][a-z0-9]*)+", metric.name):
        yield "name: snake_case with the prefix"
    if (words[-1] == "total") is not (metric.type == "counter") or "total" in words[:-1]:
        yield "name: _total if and only if a counter"
    if any(map(NOT_BASE.fullmatch, words)):
        yield "name: base units"
    if any(word in UNITS for word in stem[:-1]):
        yield "name: the unit is its end"
    if metric.unit != (stem[-1] if stem[-1] in UNITS and words[-1] != "max" else ""):
        yield "unit: the name's end"
    if any(map(ABBREVIATIONS.fullmatch, words)):
        yield "name: no abbreviations"
    if any(map(TYPES.fullmatch, words)):
        yield "name: no type"
    if words[-1] in ("count", "sum", "bucket", "created") or (words[-1] == "info" and metric.type != "gauge"):
        yield "name: no suffix of another type's samples"
    if not re.fullmatch(r"[A-Z0-9].{10,300}\.", metric.help) or "  " in metric.help:
        yield "help: a sentence on one line"
    if any(not re.fullmatch("[a-z]+(_[a-z]+)*", label) for label in metric.labels):
        yield "label: snake_case"
    if RESERVED & set(metric.labels) or len(set(metric.labels)) < len(metric.labels):
        yield "label: reserved, or twice"


def samples(metric: Family) -> set[str]:
    """The names under which its samples, and in OpenMetrics itself, may appear."""
    ends = {
        "counter": ("_total", "_created", ""),
        "gauge": ("",),
        "histogram": ("_bucket", "_count", "_sum", "_created", ""),
    }
    return {metric.name.removesuffix("_total") + end for end in ends[metric.type]}


def clashes(metrics: Iterable[Family]) -> list[str]:
    """Sample names that two families would share."""
    owners = defaultdict(list)
    for metric in metrics:
        for name in samples(metric):
            owners[name].append(metric.name)
    return sorted(name for name, found in owners.items() if len(found) > 1)


@pytest.mark.parametrize("metric", OF_THE_TABLES, ids=lambda metric: metric.name)
def test_a_metric_of_the_tables_keeps_the_rules(metric: Family) -> None:
    """promlint's rules, and those beyond it."""
    assert list(faults(metric)) == []


@pytest.mark.parametrize("metric", OF_THE_PROCESS, ids=lambda metric: metric.name)
def test_a_metric_of_the_process_keeps_the_rules(metric: Family) -> None:
    """The same ones; `source` is a label that it declares itself."""
    rest = tuple(label for label in metric.labels if label != "source")
    assert list(faults(metric._replace(labels=rest))) == []


GOOD = Family("orchestration_things_total", "counter", "Things that were counted.", ("model",), "")


@pytest.mark.parametrize(
    "change, rule",
    [
        ({"name": "orchestration_someThings_total"}, "snake_case with the prefix"),
        ({"name": "things_total"}, "snake_case with the prefix"),
        ({"name": "orchestration_things"}, "_total if and only if"),
        ({"type": "gauge"}, "_total if and only if"),
        ({"name": "orchestration_total_things_total"}, "_total if and only if"),
        ({"name": "orchestration_wait_milliseconds_total"}, "base units"),
        ({"name": "orchestration_done_percent_total"}, "base units"),
        ({"name": "orchestration_age_seconds_total", "unit": "seconds"}, "base units"),
        ({"name": "orchestration_seconds_waited_total"}, "the unit is its end"),
        ({"name": "orchestration_waited_seconds_total"}, "unit: the name's end"),
        ({"unit": "bytes"}, "unit: the name's end"),
        ({"name": "orchestration_things_ms_total"}, "no abbreviations"),
        ({"name": "orchestration_thing_counter_total"}, "no type"),
        ({"name": "orchestration_things_count", "type": "gauge"}, "another type's samples"),
        ({"name": "orchestration_things_bucket", "type": "gauge"}, "another type's samples"),
        ({"help": ""}, "a sentence on one line"),
        ({"help": "Things that were counted"}, "a sentence on one line"),
        ({"help": "things that were counted."}, "a sentence on one line"),
        ({"help": "Things that\nwere counted."}, "a sentence on one line"),
        ({"labels": ("Model",)}, "label: snake_case"),
        ({"labels": ("__model",)}, "label: snake_case"),
        ({"labels": ("source",)}, "reserved, or twice"),
        ({"labels": ("le",)}, "reserved, or twice"),
        ({"labels": ("model", "model")}, "reserved, or twice"),
    ],
)
def test_a_broken_rule_is_told(change: dict[str, object], rule: str) -> None:
    """Each rule for metrics finds what it is for; without the change there is nothing to find."""
    assert list(faults(GOOD)) == []
    assert rule in "\n".join(faults(GOOD._replace(**change)))


def test_no_two_metrics_share_a_sample() -> None:
    """`x` and `x_count`, `x_total` and `x` would be one family to OpenMetrics."""
    assert clashes([*OF_THE_TABLES, *OF_THE_PROCESS]) == []
    assert clashes([GOOD, GOOD]) != []
    assert clashes([GOOD, GOOD._replace(name="orchestration_things", type="gauge")]) == ["orchestration_things"]
    histogram = GOOD._replace(name="orchestration_things", type="histogram")
    assert clashes([histogram, GOOD._replace(name="orchestration_things_count", type="gauge")])


# ── labels ───────────────────────────────────────────────────────────────────────────────────────────────────

LABELS = [label for metric in METRICS for label in metric.labels]
TWO_MEANINGS = {
    "outcome": {"outcome", "session_outcome"},
    "reason": {"route_reason", "rejection", "escalation_reason"},
    "period": {"ledger_period", "account_period"},
    "tier": {"tier", "account_tier"},
}


def inconsistent(labels: Iterable[Label]) -> list[str]:
    """Vocabularies that are open here and closed there, or closed with other values."""
    kinds = defaultdict(set)
    for label in labels:
        kinds[label.pool].add(label.closed)
    return sorted(pool for pool, found in kinds.items() if len(found) > 1)


def test_every_vocabulary_is_open_or_closed_everywhere() -> None:
    """With the same values; else one value would be admitted in one metric and not in the other."""
    assert inconsistent(LABELS) == []
    assert inconsistent([*LABELS, Label("model", closed=("a",))]) == ["model"]
    assert inconsistent([*LABELS, Label("kind", vocabulary="end", closed=("closed",))]) == ["end"]


def test_a_label_means_one_thing() -> None:
    """A name has one vocabulary, but for those the catalogue explains; models and agents share theirs."""
    pools = defaultdict(set)
    for label in LABELS:
        pools[label.name].add(label.pool)

    assert {name: found for name, found in pools.items() if len(found) > 1} == TWO_MEANINGS
    assert pools["model"] == pools["source_model"] == {"model"}
    assert pools["agent"] == pools["parent"] == {"agent"}
    assert pools["recommended_tier"] == {"account_tier"}


def test_what_is_known_beforehand_is_closed_and_nothing_else() -> None:
    """Names, models and reasons come from the platform and are open; outcomes and our own terms are ours."""
    assert {label.pool for label in LABELS if label.closed} == {
        *("outcome", "session_outcome", "end", "component", "table", "rejection", "escalation_reason"),
        *("ledger_period", "basis"),
    }
    assert {label.pool for label in LABELS if not label.closed} == {
        *("project", "model", "route_reason", "task_type", "agent", "server", "tool", "error_type"),
        *("complexity", "hook", "event", "vendor", "tier", "priority", "account_period", "account_tier"),
        *("pattern", "kind", "budget", "metric", "label"),
    }


def test_closed_labels_get_no_other_value() -> None:
    """Flags give outcomes, constants are among the values, and no free text is a closed label's."""
    for metric in METRICS:
        for feed in metric.feeds:
            for label in metric.labels:
                value = feed.labels[label.name]
                assert isinstance(value, Outcome) is (label.pool == "outcome"), (metric.name, label.name)
                if isinstance(value, Const):
                    assert value.value in (label.closed or ("unknown",)), (metric.name, label.name)
                elif label.closed and not feed.table.virtual:
                    assert isinstance(value, Outcome), (metric.name, label.name)


def test_nothing_that_a_person_typed_becomes_a_label() -> None:
    """Descriptions, messages, phrases, feedback and session ids are in no label; the free reason is not either."""
    private = re.compile("description|message|phrase|feedback|session_id|task_id|handoff_reason|data$")
    used = {name for feed in FEEDS for name in feed.key_columns()}
    used |= {name for gauge in GAUGES for value in gauge.values.values() for name in columns_of(value)}
    used |= {name for current in CURRENT for value in current.labels.values() for name in columns_of(value)}

    assert sorted(filter(private.search, used)) == []
    assert private.search("task_description")


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────

FEEDS = [feed for metric in SCHEMA.counted for feed in metric.feeds]
GAUGES = [metric for metric in METRICS if isinstance(metric, Gauge)]
CURRENT = [current for gauge in GAUGES for current in gauge.of]
MUTABLE = (*SCHEMA.newest, *SCHEMA.of_sessions)
READ = (*TABLES, *MUTABLE)
KINDS = {
    Text: {"TEXT"},
    Json: {"TEXT"},
    Lacks: {"REAL"},
    Time: {"TIMESTAMP", "DATETIME"},
    Flag: {"BOOLEAN"},
    Number: {"REAL", "INTEGER"},
}


@pytest.fixture(scope="module")
def platform() -> Iterator[sqlite3.Connection]:
    """The platform's own tables, as tests/test_demo.py holds the demo to them."""
    with closing(sqlite3.connect(":memory:")) as connection:
        demo.create_schema(connection)
        yield connection


def absent(platform: sqlite3.Connection, table: Table) -> list[str]:
    """What a table's declaration names and the platform's does not have, or as something else."""
    rows = platform.execute(f"PRAGMA table_info({table.name})")
    columns = {name: kind for _, name, kind, *_ in rows}
    found = [c.name for c in table.columns if columns.get(stored_in(c)) not in KINDS[type(c)]]
    return found + [c.used for c in table.columns if isinstance(c, Lacks) and columns.get(c.used) not in KINDS[Number]]


@pytest.mark.parametrize("table", READ, ids=lambda table: table.name)
def test_every_column_exists_in_the_platforms_table(platform: sqlite3.Connection, table: Table) -> None:
    """By name and kind; and the table gives no id twice."""
    ((created,),) = platform.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table.name,))

    assert absent(platform, table) == []
    assert "AUTOINCREMENT" in created


@pytest.mark.parametrize(
    "column, told",
    [
        (Text("nowhere"), "nowhere"),
        (Text("cost"), "cost"),
        (Number("task_type", 1.0), "task_type"),
        (Json("x", "y", "$.z"), "x"),
        (Lacks("x", "task_type", used="tokens_used", maximum=1.0), "x"),
        (Lacks("x", "cost", used="task_type", maximum=1.0), "task_type"),
    ],
)
def test_a_column_the_platform_does_not_have_is_told(platform: sqlite3.Connection, column: Column, told: str) -> None:
    """Neither a wrong name nor a wrong kind passes."""
    assert absent(platform, replace(HANDOFFS, columns=(*HANDOFFS.columns[:2], column))) == [told]


def test_tables_are_declared_whole() -> None:
    """What the reader and the sessions use by name is among the columns; rows are known by two columns, one the time.

    Mutable tables have no rows that are known again, and give their time and their session's name only.
    """
    for table in TABLES:
        names = {column.name for column in table.columns}
        other = "model_name" if table.name == "model_performance" else "session_id"
        assert table.identity == (other, table.time)
        assert {table.final_when or table.time, table.session or table.time, *(table.vendor or ())} <= names
        assert table.tally is None or isinstance(table.column(table.tally.cost), Number)
    for table in MUTABLE:
        names = {column.name for column in table.columns}
        assert (table.identity, table.tally, table.final_when) == ((), None, None)
        assert {table.time, table.session or table.time, *(table.vendor or ())} <= names
    assert [table.name for table in TABLES if table.is_sessions] == [TABLES[0].name]
    assert [table.name for table in TABLES if table.final_when] == ["handoff_events", "routing_decisions"]
    assert [table.name for table in READ if table.session is None] == [
        *("model_performance", "live_activities"),
        *("model_capacity_thresholds", "claude_account_analysis", "pattern_analysis"),
    ]


def test_the_tables_promised_are_read_and_no_other() -> None:
    """Eight by a cursor, four as they are now; the roll-up of costs is nobody's, for the rest says it all."""
    assert [table.name for table in TABLES] == [
        *("orchestration_sessions", "handoff_events", "subagent_invocations", "task_outcomes", "routing_decisions"),
        *("model_performance", "claude_code_hooks", "live_activities"),
    ]
    assert sorted(table.name for table in MUTABLE) == [
        *("claude_account_analysis", "model_capacity_thresholds", "pattern_analysis", "token_budgets"),
    ]


def test_every_metric_is_made_from_tables_that_are_read() -> None:
    """Feeds name tables of the schema; gauges have a value for each label, and a counter to know theirs by."""
    read = {*TABLES, *SCHEMA.virtual}

    assert SCHEMA.tables == TABLES
    assert {feed.table for feed in FEEDS} <= read
    assert {current.table for current in CURRENT} == {*MUTABLE}
    for gauge in GAUGES:
        assert tuple(gauge.values) == (gauge.label_names if gauge.table else ())
        assert gauge.table is None or gauge.table in read
        for value in gauge.values.values():
            assert gauge.table is not None
            assert all(gauge.table.column(name) for name in columns_of(value))
        assert gauge.known_by is None or set(gauge.label_names) <= set(gauge.known_by.label_names)


def test_values_are_numbers_and_outcomes_flags() -> None:
    """What is added up is declared as a number with its limits, what makes an outcome as a flag."""
    for feed in FEEDS:
        assert all(isinstance(feed.table.column(name), Number) for name in feed.value_columns())
        for value in feed.labels.values():
            if isinstance(value, Outcome):
                assert isinstance(feed.table.column(value.flag), Flag)
    for current in CURRENT:
        assert all(isinstance(current.table.column(name), Number | Flag) for name in current.value)


def test_money_is_added_up_once() -> None:
    """The spend has each cost in one component: the parts of sub-agents and tools complement each other."""
    handoffs, agents, tools = BY_NAME["orchestration_cost_usd_total"].feeds

    assert (handoffs.table.name, handoffs.value, handoffs.where) == ("handoff_events", "cost", ())
    assert agents.table == tools.table
    assert (agents.value, tools.value) == ("cost", "cost")
    assert agents.where == (Is("agent_type", "mcp_tool", negate=True),)
    assert tools.where == (Is("agent_type", "mcp_tool"),)


def test_the_ledger_books_the_money_of_the_counters() -> None:
    """The same rows under the same labels, each once, and cost and savings of the same columns."""
    assert SCHEMA.ledger is not None
    spent, baseline = (BY_NAME[f"orchestration_{name}_usd_total"].feeds for name in ("cost", "baseline_cost"))

    for booked, cost, without in zip(SCHEMA.ledger.feeds, spent, baseline, strict=True):
        assert (booked.table, booked.labels, booked.where, booked.at) == (cost.table, cost.labels, cost.where, cost.at)
        assert (booked.table, booked.labels, booked.where) == (without.table, without.labels, without.where)
        assert booked.value == without.value


def test_the_exporters_own_counters_are_among_the_metrics() -> None:
    """Those the counting writes to, each under its own name, and no other counter is without rows."""
    own = [getattr(SCHEMA.own, found.name) for found in fields(SCHEMA.own)]

    assert {metric.name for metric in own} == {m.name for m in METRICS if isinstance(m, Counter) and not m.feeds}
    assert all(BY_NAME[metric.name] is metric for metric in own)


# ── a declaration that cannot be ─────────────────────────────────────────────────────────────────────────────

MODEL = Label("model")
THINGS = Table(
    "things",
    columns=(
        Text("session_id"),
        Time("timestamp"),
        Text("model"),
        Number("cost", 9.0),
        Json("kind", "metadata", "$.kind"),
    ),
    time="timestamp",
    identity=("session_id", "timestamp"),
)
FEED = Feed(THINGS, {"model": Col("model")})
COUNTER = Counter("orchestration_things_total", "Things.", (MODEL,), (FEED,))
HISTOGRAM = Histogram(
    "orchestration_thing_cost_usd", "Cost.", (MODEL,), (replace(FEED, value="cost"),), buckets=(0.5, 1.0)
)
CLOSED = Counter(
    "orchestration_ends_total",
    "Ends.",
    (Label("end", closed=("a", "b")),),
    (Feed(THINGS, {"end": Const("a")}),),
)


@pytest.mark.parametrize(
    "build, message",
    [
        (
            lambda: replace(THINGS, columns=(*THINGS.columns, Text("model"))),
            "table things: a column is declared twice: ['cost', 'kind', 'model', 'model', 'session_id', 'timestamp']",
        ),
        (lambda: replace(THINGS, time="at"), "table things: column at is used but not declared"),
        (lambda: replace(THINGS, identity=("name",)), "table things: column name is used but not declared"),
        (lambda: THINGS.column("price"), "table things has no column price"),
        (lambda: replace(COUNTER, help="Things"), "orchestration_things_total: HELP must be a sentence: 'Things'"),
        (lambda: Gauge("orchestration_up", ""), "orchestration_up: HELP must be a sentence: ''"),
        (lambda: replace(COUNTER, name="orchestration_things"), "counter orchestration_things must end in _total"),
        (
            lambda: replace(HISTOGRAM, buckets=(0.1, 1.0, 0.5)),
            "buckets of orchestration_thing_cost_usd must increase: 0.5 after 1.0",
        ),
        (
            lambda: replace(HISTOGRAM, buckets=(1.0, 1.0)),
            "buckets of orchestration_thing_cost_usd must increase: 1.0 after 1.0",
        ),
        (
            lambda: replace(HISTOGRAM, buckets=()),
            "histogram orchestration_thing_cost_usd needs buckets and a value to observe",
        ),
        (
            lambda: replace(HISTOGRAM, of=(FEED,)),
            "histogram orchestration_thing_cost_usd needs buckets and a value to observe",
        ),
        (
            lambda: replace(COUNTER, labels=(MODEL, Label("end"))),
            "orchestration_things_total: the feed from things gives labels ('model',), the metric has ('model', 'end')",
        ),
        (
            lambda: replace(HISTOGRAM, labels=()),
            "orchestration_thing_cost_usd: the feed from things gives labels ('model',), the metric has ()",
        ),
        (
            lambda: replace(COUNTER, of=(replace(FEED, labels={"model": Col("brand")}),)),
            "table things has no column brand",
        ),
        (lambda: replace(COUNTER, of=(replace(FEED, where=(Is("done", 1),)),)), "table things has no column done"),
        (lambda: replace(COUNTER, of=(replace(FEED, value="price"),)), "table things has no column price"),
        (
            lambda: replace(COUNTER, of=(replace(FEED, value=Plus("cost", "savings")),)),
            "table things has no column savings",
        ),
        (
            lambda: without_label(COUNTER, "end"),
            "orchestration_things_total has no label 'end'; it has model",
        ),
        (
            lambda: without_label(SCHEMA.own.rewinds, "model"),
            "orchestration_exporter_source_rewinds_total has no label 'model'; it has none",
        ),
        (
            lambda: without_label(CLOSED, "end"),
            "label 'end' of orchestration_ends_total cannot be dropped: "
            "only open labels of counters and histograms can",
        ),
        (
            lambda: without_label(BY_NAME["orchestration_sessions_active"], "project"),
            "label 'project' of orchestration_sessions_active cannot be dropped: only open labels of counters and "
            "histograms can",
        ),
        (
            lambda: without_label(SCHEMA.own.overflow, "metric"),
            "label 'metric' of orchestration_exporter_label_overflow_total cannot be dropped: only open labels of "
            "counters and histograms can",
        ),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(build: object, message: str) -> None:
    """The object, the value and the rule."""
    assert callable(build)
    with pytest.raises(SpecError) as raised:
        build()

    assert str(raised.value) == message


def test_a_label_that_is_dropped_leaves_sums() -> None:
    """From the metric and all its feeds; the rest of the declaration stays."""
    cost = BY_NAME["orchestration_cost_usd_total"]

    dropped = without_label(cost, "model")

    assert dropped.label_names == ("project", "component", "outcome")
    assert [tuple(feed.labels) for feed in dropped.feeds] == [dropped.label_names] * 3
    assert [(feed.table, feed.value, feed.where) for feed in dropped.feeds] == [
        (feed.table, feed.value, feed.where) for feed in cost.feeds
    ]


# ── fingerprints ─────────────────────────────────────────────────────────────────────────────────────────────


def fed(feed: Feed) -> Counter:
    return replace(COUNTER, of=(feed,))


def on(table: Table) -> Counter:
    return fed(replace(FEED, table=table))


@pytest.mark.parametrize(
    "changed",
    [
        replace(COUNTER, name="orchestration_items_total"),
        replace(COUNTER, labels=(Label("model", vocabulary="brand"),)),
        replace(COUNTER, labels=(Label("model", closed=("a", "b")),)),
        replace(COUNTER, of=(FEED, FEED)),
        without_label(COUNTER, "model"),
        fed(replace(FEED, labels={"model": Col("kind")})),
        fed(replace(FEED, labels={"model": Const("model")})),
        fed(replace(FEED, value="cost")),
        fed(replace(FEED, value=Plus("cost", "cost"))),
        fed(replace(FEED, where=(Is("model", "a"),))),
        fed(replace(FEED, where=(Is("model", "a", negate=True),))),
        fed(replace(FEED, where=(Is("model", 1),))),
        fed(replace(FEED, where=(Is("model", "1"),))),
        fed(replace(FEED, at="first")),
        on(replace(THINGS, name="items")),
        on(replace(THINGS, final_when="cost")),
        on(replace(THINGS, session=None)),
        HISTOGRAM,
        replace(HISTOGRAM, buckets=(0.5, 2.0)),
        replace(HISTOGRAM, buckets=(0.5, 1.0, 2.0)),
        replace(HISTOGRAM, of=(*HISTOGRAM.of, *HISTOGRAM.of)),
    ],
)
def test_a_fingerprint_changes_with_what_makes_the_numbers(changed: Metric) -> None:
    """One metric of these is not another, nor itself with other HELP."""
    assert changed.fingerprint() != COUNTER.fingerprint()
    assert changed.fingerprint() == replace(changed, help="Another sentence.").fingerprint()


@pytest.mark.parametrize(
    "column, other",
    [
        (Number("cost", 9.0), Number("cost", 8.0)),
        (Number("cost", 9.0), Number("cost", 9.0, minimum=-9.0)),
        (Json("kind", "metadata", "$.kind"), Json("kind", "metadata", "$.sort")),
        (Json("kind", "metadata", "$.kind"), Json("kind", "details", "$.kind")),
        (Json("kind", "metadata", "$.kind"), Text("kind")),
    ],
)
def test_a_fingerprint_changes_with_a_column_it_is_made_from(column: Column, other: Column) -> None:
    """Its limits, and where in the JSON it is."""
    feeds = [
        Feed(replace(THINGS, columns=(*THINGS.columns[:3], found)), {"model": Col("model")})
        for found in (column, other)
    ]
    use = {"cost": {"value": "cost"}, "kind": {"where": (Is("kind", "a"),)}}[column.name]

    one, two = (fed(replace(feed, **use)).fingerprint() for feed in feeds)

    assert one != two


@pytest.mark.parametrize(
    "table",
    [
        replace(THINGS, columns=(*THINGS.columns, Text("new"))),
        replace(THINGS, columns=THINGS.columns[::-1]),
        replace(THINGS, columns=(*THINGS.columns[:3], Number("cost", 8.0), THINGS.columns[4])),
        replace(THINGS, identity=("session_id",)),
        replace(THINGS, tally=Tally("handoffs", cost="cost")),
    ],
)
def test_a_fingerprint_does_not_change_with_what_others_use(table: Table) -> None:
    """A column declared for another metric must not make an upgrade count this one anew."""
    assert on(table).fingerprint() == COUNTER.fingerprint()


def test_fingerprints_are_all_different() -> None:
    """Of the metrics of the catalogue, and of each under settings that make its numbers."""
    found = {metric.fingerprint(zone=zone) for metric in METRICS for zone in ("UTC", "Europe/Berlin")}

    assert len(found) == 2 * len(METRICS)
    assert COUNTER.fingerprint(a=1, b=2) == COUNTER.fingerprint(b=2, a=1)


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    """Saved states are compared with it: no order of a set, no address, may be in it."""
    program = "from exporter.catalogue import METRICS; print(*(m.fingerprint(a=1) for m in METRICS))"

    done = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=REPOSITORY,
            env={"PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]

    assert done[0].stdout.split() == done[1].stdout.split() == [metric.fingerprint(a=1) for metric in METRICS]
