"""`once` beside plain SQL, written by hand in tests/oracle/: each series of a family, none more, equal to 1e-9.

Where the documents leave something open, the reading stands beside the SQL or, for the set of series, in the
constants below: change them there, not in the comparison.
"""

import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

REPOSITORY = Path(__file__).parent.parent
ORACLE = Path(__file__).parent / "oracle"

PREFIX = "orchestration_"
COUNTERS = (
    "sessions_started_total",
    "sessions_ended_total",
    "handoffs_total",
    "handoff_routes_total",
    "handoff_task_types_total",
    "handoff_tokens_total",
    "cost_usd_total",
    "baseline_cost_usd_total",
    "subagent_invocations_total",
    "subagent_tokens_total",
    "subagent_cost_usd_total",
    "mcp_tool_calls_total",
    "mcp_tool_cost_usd_total",
    "tasks_total",
    "task_types_total",
    "task_errors_total",
    "task_cost_usd_total",
    "handoff_escalations_total",
    "unpriced_events_total",
    "subagent_spawns_total",
    "routing_decisions_total",
    "routing_results_total",
    "routing_cost_usd_total",
    "routing_tokens_total",
    "model_calls_total",
    "model_call_errors_total",
    "model_call_retries_total",
    "hook_executions_total",
    "activities_total",
    "exporter_rows_read_total",
)
HISTOGRAMS = (
    "session_duration_seconds",
    "session_cost_usd",
    "session_handoffs",
    "session_subagents",
    "handoff_duration_seconds",
    "handoff_confidence_ratio",
    "subagent_duration_seconds",
    "mcp_tool_duration_seconds",
    "task_duration_seconds",
    "task_quality_score",
    "routing_confidence_ratio",
    "routing_result_confidence_ratio",
    "routing_duration_seconds",
    "model_call_duration_seconds",
    "model_quality_ratio",
    "hook_duration_seconds",
)
LEDGER = (
    "ledger_cost_usd",
    "ledger_baseline_cost_usd",
    "ledger_net_savings_usd",
    "ledger_tokens",
    "ledger_handoffs",
    "ledger_daily_cost_median_usd",
    "ledger_period_start_timestamp_seconds",
    "ledger_period_end_timestamp_seconds",
)
GAUGES = (
    "sessions_active",
    "active_session_subagents_max",
    "active_session_cost_usd_max",
    "handoffs_in_flight",
    "handoff_in_flight_oldest_timestamp_seconds",
    "token_budget_tokens",
    "token_budget_used_tokens",
    "token_budgets_exhausted",
    "model_capacity_threshold_ratio",
    "model_cost_per_token_usd",
    "model_availability_ratio",
    "model_info",
    "account_cost_usd",
    "account_projected_savings_usd",
    "account_transition_confidence_ratio",
    "pattern_frequency",
    "pattern_impact_score",
    *LEDGER,
)
FAMILIES = (*COUNTERS, *HISTOGRAMS, *GAUGES)
# Open: a project (model) known to the source, of which none is active (in flight): 0 or absent. Both pass.
GAUGES_0_OR_ABSENT = frozenset(
    {"sessions_active", "active_session_subagents_max", "active_session_cost_usd_max", "handoffs_in_flight"}
)

# "Any row creates its *counters* for every outcome at 0": literally, no histogram without observation.
# With True, histograms whose label values all occur elsewhere in the family may also be there, empty.
EMPTY_HISTOGRAMS = False

# What sums that cancel (net savings) may differ by where they are nearly 0: USD.
NEARLY_0 = 1e-12

Labels = frozenset[tuple[str, str]]


class Series(NamedTuple):
    """One line of the exposition, without its value: the name as printed, and all labels."""

    name: str
    labels: Labels


class Family(NamedTuple):
    """One family as printed; `type` as in its TYPE line."""

    type: str
    values: Mapping[Series, float]


def seconds(time: str) -> float:
    """Unix seconds of an ISO 8601 time with a zone."""
    return datetime.fromisoformat(time).timestamp()


def once(database: Path, now: str, *, config: Path | None = None, as_nobody: bool = False) -> str:
    """Print the exposition of `database` at `now`, as its user sees it; `config` is a file of settings.

    `as_nobody` drops root's rights where the tests run as root, since for root no file is read-only.
    """
    command = [sys.executable, "-m", "exporter", "once", "--database", str(database), "--now", now]
    if config is not None:
        command += ["--config.file", str(config)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ORCHESTRATION_EXPORTER_")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    user: dict[str, object] = {"user": 65534, "group": 65534, "extra_groups": []} if as_nobody else {}
    done = subprocess.run(  # type: ignore[call-overload]
        command, cwd=REPOSITORY, env=environment, capture_output=True, timeout=120, **user
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return str(done.stdout.decode())


def parse(text: str) -> dict[str, Family]:
    """Families by their documented name (no prefix, with `_total`); each, and each series, once."""
    families: dict[str, Family] = {}
    for printed in text_string_to_metric_families(text):
        name = printed.name + ("_total" if printed.type == "counter" else "")
        name = name.removeprefix(PREFIX)
        assert name not in families, f"{name} is printed twice, or interleaved"
        values: dict[Series, float] = {}
        for sample in printed.samples:
            series = Series(sample.name.removeprefix(PREFIX), frozenset(sample.labels.items()))
            assert series not in values, f"{series} is printed twice"
            values[series] = sample.value
        families[name] = Family(printed.type, values)
    return families


class Oracle:
    """The SQL of tests/oracle/ over one connection, at one clock. Adds temporary tables, writes nothing else.

    `time_zone` is that of the ledger's days: one that ledger_prelude.sql knows. Without `ledger` its families have no
    SQL, and the others have it sooner.
    """

    def __init__(
        self, connection: sqlite3.Connection, now: str, *, time_zone: str = "UTC", ledger: bool = True
    ) -> None:
        self._connection = connection
        clock = "CREATE TEMP TABLE clock AS SELECT CAST(? AS REAL) AS now, ? AS time_zone"
        connection.execute(clock, (seconds(now), time_zone))
        for prelude in ("prelude", "ledger_prelude") if ledger else ("prelude",):
            connection.executescript((ORACLE / f"{prelude}.sql").read_text())
        self._series: dict[str, dict[Series, float]] = {}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def rows(self, family: str) -> list[dict[str, object]]:
        """The rows of the family's own SQL, by column name."""
        cursor = self._connection.execute((ORACLE / f"{family}.sql").read_text())
        columns = [column[0] for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor]

    def scalar(self, sql: str) -> float:
        """The one value of a query on the side."""
        return float(self._connection.execute(sql).fetchone()[0])

    def series(self, family: str) -> dict[Series, float]:
        """What `once` must print of the family: every series, and its value."""
        if family not in self._series:
            self._series[family] = self._read(family)
        return self._series[family]

    def _read(self, family: str) -> dict[Series, float]:
        expected: dict[Series, float] = {}
        for row in self.rows(family):
            for series, value in lines_of_row(family, row):
                assert series not in expected, f"{family}.sql gives {series} twice"
                expected[series] = value
        return expected


def lines_of_row(family: str, row: Mapping[str, object]) -> Iterator[tuple[Series, float]]:
    """The lines of one row of SQL: columns `value`, `count`, `sum` and `le=…` are values, others labels."""
    kinds = {"value": "", "count": "_count", "sum": "_sum"}
    labels = {k: str(v) for k, v in row.items() if k not in kinds and not k.startswith("le=")}
    labels["source"] = "default"
    for column, value in row.items():
        if column.startswith("le="):
            bucket = {**labels, "le": column.removeprefix("le=")}
            yield Series(f"{family}_bucket", frozenset(bucket.items())), float(str(value))
        elif column in kinds:
            yield Series(family + kinds[column], frozenset(labels.items())), float(str(value))


def label_values(family: Mapping[Series, float]) -> set[tuple[str, str]]:
    """All label pairs of a family, but for `outcome`, whose values are closed."""
    return {pair for series in family for pair in series.labels if pair[0] != "outcome"}


def known_project_or_model(oracle: Oracle, family: str) -> set[tuple[str, str]]:
    """The label pairs that a gauge at 0 may have."""
    of = "handoffs_total" if family.startswith("handoff") else "sessions_started_total"
    return label_values(oracle.series(of))


def allowed_at_0(oracle: Oracle, family: str, expected: Mapping[Series, float]) -> set[tuple[str, str]]:
    """Label pairs of series that may be there beside the expected ones, if their value is 0."""
    if family in GAUGES_0_OR_ABSENT:
        return known_project_or_model(oracle, family)
    if family in HISTOGRAMS and EMPTY_HISTOGRAMS:
        return label_values(expected)
    return set()


def differences(oracle: Oracle, family: str, printed: Mapping[Series, float]) -> list[str]:
    """Every series that is missing, too many or different, one line each."""
    expected = oracle.series(family)
    at_0 = allowed_at_0(oracle, family, expected)
    found = [f"missing {show(s)} {v}" for s, v in expected.items() if s not in printed]
    for series, value in printed.items():
        if series in expected:
            if not math.isclose(value, expected[series], rel_tol=1e-9, abs_tol=NEARLY_0 if family in LEDGER else 0):
                found.append(f"{show(series)} is {value}, SQL says {expected[series]}")
        elif value != 0 or not {pair for pair in series.labels if pair[0] != "outcome"} <= at_0:
            found.append(f"not in SQL: {show(series)} {value}")
    return sorted(found)


def show(series: Series) -> str:
    """A series for a person."""
    return f"{series.name}{{{', '.join(f'{k}={v!r}' for k, v in sorted(series.labels))}}}"


def all_differences(oracle: Oracle, page: Mapping[str, Family]) -> list[str]:
    """The differences of every family that has its SQL."""
    nothing = Family("absent", {})
    return [line for family in FAMILIES for line in differences(oracle, family, page.get(family, nothing).values)]


def type_of(family: str) -> str:
    """What the TYPE line of a family with SQL must say."""
    return "counter" if family in COUNTERS else "histogram" if family in HISTOGRAMS else "gauge"
