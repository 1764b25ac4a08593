"""`once` on the platform's own sample equals plain SQL, written by hand in tests/oracle/, metric by metric.

Where the documents leave something open, the reading stands beside the SQL or, for the set of series, in the
constants below: change them there, not in the comparison.
"""

import hashlib
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

REPOSITORY = Path(__file__).parent.parent
ORACLE = Path(__file__).parent / "oracle"
SAMPLE = REPOSITORY.parent / "shared" / "samples" / "orchestration.db"

# At `open`, session 140 and hand-off 715 are open, the 15 other hand-offs without a result have timed out. At
# `idle` session 140 has ended by idleness (18:32:05), hand-off 715 is still in flight (until 19:23:47). At
# `final`, nothing is.
CLOCKS = {"open": "2026-11-21T17:40:00Z", "idle": "2026-11-21T19:00:00Z", "final": "2026-12-20T00:00:00Z"}

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
)
GAUGES = (
    "sessions_active",
    "active_session_subagents_max",
    "active_session_cost_usd_max",
    "handoffs_in_flight",
    "handoff_in_flight_oldest_timestamp_seconds",
)
# Open: a project (model) known to the source, of which none is active (in flight): 0 or absent. Both pass.
GAUGES_0_OR_ABSENT = frozenset(GAUGES) - {"handoff_in_flight_oldest_timestamp_seconds"}

# "Any row creates its *counters* for every outcome at 0": literally, no histogram without observation.
# With True, histograms whose label values all occur elsewhere in the family may also be there, empty.
EMPTY_HISTOGRAMS = False

# "Kept in the state, born at 0"; all are 0 on the sample. The first by source alone, the others with these
# labels (which tables, reasons and metrics are there from the start is open: at least one).
ZERO_BY_SOURCE = (
    "exporter_late_rows_total",
    "exporter_source_rewinds_total",
    "exporter_rewind_uncertain_rows_total",
)
TABLES = frozenset(
    {
        "orchestration_sessions",
        "handoff_events",
        "subagent_invocations",
        "task_outcomes",
        "routing_decisions",
        "claude_code_hooks",
    }
)
REASONS = frozenset({"not_a_number", "negative", "out_of_range", "bad_time", "bad_json", "bad_text", "bad_flag"})
ZERO_WITH_LABELS = {
    "exporter_rows_rejected_total": {"source", "table", "reason"},
    "exporter_label_overflow_total": {"source", "metric", "label"},
    "exporter_in_flight_dropped_total": {"source", "table"},
}

# May be printed, and are no business of this test, but for the few that have a test of their own below.
OF_THE_SOURCE = frozenset(
    {
        "counting_since_timestamp_seconds",
        "exporter_polls_total",
        "exporter_poll_duration_seconds",
        "exporter_query_duration_seconds",
        "exporter_query_errors_total",
        "exporter_last_success_timestamp_seconds",
        "exporter_source_lag_rows",
        "exporter_data_last_event_timestamp_seconds",
    }
)
OF_THE_PROCESS = frozenset(
    {
        "exporter_build_info",
        "exporter_series",
        "exporter_publish_duration_seconds",
        "exporter_checkpoint_duration_seconds",
        "exporter_checkpoint_size_bytes",
        "exporter_checkpoint_failures_total",
        "exporter_config_last_reload_successful",
        "exporter_config_last_reload_success_timestamp_seconds",
        "exporter_http_requests_total",
        "exporter_http_request_duration_seconds",
        "exporter_auth_failures_total",
        "exporter_rate_limited_total",
        "exporter_tls_certificate_not_after_timestamp_seconds",
        # client_python's, without the prefix
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    }
)
MUST_BE_THERE = frozenset({*COUNTERS, *HISTOGRAMS, *ZERO_BY_SOURCE, *ZERO_WITH_LABELS, "up"})
KNOWN = MUST_BE_THERE | frozenset(GAUGES) | OF_THE_SOURCE | OF_THE_PROCESS

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


def once(database: Path, now: str, *, as_nobody: bool = False) -> str:
    """Print the exposition of `database` at `now`, as its user sees it.

    `as_nobody` drops root's rights where the tests run as root, since for root no file is read-only.
    """
    command = [sys.executable, "-m", "exporter", "once", "--database", str(database), "--now", now]
    # Nobody could write coverage's data either.
    without = ("ORCHESTRATION_EXPORTER_", "COVERAGE_") if as_nobody else ("ORCHESTRATION_EXPORTER_",)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(without)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    user: dict[str, object] = {"user": 65534, "group": 65534, "extra_groups": []} if as_nobody else {}
    done = subprocess.run(  # type: ignore[call-overload]
        command, cwd=REPOSITORY, env=environment, capture_output=True, timeout=120, **user
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return str(done.stdout.decode())


def nobody_can_run_python() -> bool:
    """Whether we are root and another user can start this very Python and import the package."""
    if os.geteuid() != 0:
        return False
    probe = [sys.executable, "-c", "import exporter"]
    try:
        done = subprocess.run(
            probe, cwd=REPOSITORY, user=65534, group=65534, extra_groups=[], capture_output=True, timeout=60
        )
    except OSError:
        return False
    return done.returncode == 0


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
    """The SQL of tests/oracle/ over one connection, at one clock. Adds temporary tables, writes nothing."""

    def __init__(self, connection: sqlite3.Connection, now: str) -> None:
        self._connection = connection
        connection.execute("CREATE TEMP TABLE clock AS SELECT CAST(? AS REAL) AS now", (seconds(now),))
        connection.executescript((ORACLE / "prelude.sql").read_text())

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
            if not math.isclose(value, expected[series], rel_tol=1e-9):
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
    return [
        line
        for family in (*COUNTERS, *HISTOGRAMS, *GAUGES)
        for line in differences(oracle, family, page.get(family, nothing).values)
    ]


@pytest.fixture(scope="module", params=CLOCKS)
def now(request: pytest.FixtureRequest) -> str:
    """Each clock in turn."""
    return CLOCKS[request.param]


@pytest.fixture(scope="module")
def oracle(now: str) -> Iterator[Oracle]:
    """The SQL over the sample itself, which it leaves alone."""
    connection = sqlite3.connect(f"file:{SAMPLE}?immutable=1", uri=True)
    yield Oracle(connection, now)
    connection.close()


@pytest.fixture(scope="module")
def page(now: str) -> dict[str, Family]:
    """What `once` prints of the sample."""
    return parse(once(SAMPLE, now))


@pytest.fixture
def copy() -> Iterator[Path]:
    """A writable copy of the sample, alone in a directory that other users can enter."""
    with tempfile.TemporaryDirectory(prefix="once-sample-") as directory:
        Path(directory).chmod(0o755)
        target = Path(directory) / "orchestration.db"
        shutil.copyfile(SAMPLE, target)
        target.chmod(0o644)
        yield target
        Path(directory).chmod(0o755)


def fingerprint(database: Path) -> tuple[list[str], str, int, int]:
    """What must not change: the directory's names, the file's bytes, its times."""
    stat = database.stat()
    names = sorted(path.name for path in database.parent.iterdir())
    return names, hashlib.sha256(database.read_bytes()).hexdigest(), stat.st_mtime_ns, stat.st_ctime_ns


# The SQL, by a second way: these hold without the command.


def test_the_sql_adds_up(oracle: Oracle, now: str) -> None:
    """Sums over labels equal the tables' row counts and columns."""
    in_flight = 0 if now == CLOCKS["final"] else 1
    active = 1 if now == CLOCKS["open"] else 0

    def total(family: str, name: str = "", **labels: str) -> float:
        wanted = set(labels.items())
        series = oracle.series(family).items()
        return math.fsum(v for s, v in series if s.name == family + name and wanted <= s.labels)

    assert total("sessions_started_total") == 140
    assert total("sessions_ended_total") == 140 - active
    assert total("sessions_ended_total", end="closed") == 125
    assert total("sessions_ended_total", end="idle") == 15 - active
    for family in ("handoffs_total", "handoff_routes_total", "handoff_task_types_total"):
        assert total(family) == 718 - in_flight
        assert total(family, outcome="unknown") == 16 - in_flight
    for family in ("handoff_duration_seconds", "handoff_confidence_ratio"):
        assert total(family, "_count") == 718 - in_flight
    assert total("subagent_invocations_total") + total("mcp_tool_calls_total") == 485
    assert total("subagent_duration_seconds", "_count") + total("mcp_tool_duration_seconds", "_count") == 485
    for family in ("tasks_total", "task_types_total"):
        assert total(family) == 718
        assert total(family, outcome="failure") == total("task_errors_total") == 52
    assert total("task_duration_seconds", "_count") == 718
    assert total("task_quality_score", "_count") == 718 - 139
    assert total("session_subagents", "_sum") <= total("subagent_invocations_total")
    for family in ("session_duration_seconds", "session_cost_usd", "session_handoffs", "session_subagents"):
        assert total(family, "_count") == 140 - active
    spent = oracle.scalar(
        "SELECT (SELECT sum(cost) FROM handoff_events) + (SELECT sum(cost) FROM subagent_invocations)"
        + (" - (SELECT cost FROM handoff_events WHERE id = 715)" if in_flight else "")
    )
    saved = oracle.scalar(f"SELECT sum(savings) FROM handoff_events WHERE id <> {715 if in_flight else 0}")
    assert total("cost_usd_total") == pytest.approx(spent, rel=1e-9)
    assert total("baseline_cost_usd_total") == pytest.approx(spent + saved, rel=1e-9)
    of_agents = total("subagent_cost_usd_total")
    assert total("cost_usd_total", component="subagent") == pytest.approx(of_agents, rel=1e-9)
    assert oracle.rows("exporter_rows_rejected_total") == []


def test_session_handoffs_sums_to_701_while_session_140_is_open(oracle: Oracle, now: str) -> None:
    """counting.md's 701 of 718: without the 16 that had no result by their session's end, and 140's."""
    series = oracle.series("session_handoffs").items()

    observed = math.fsum(value for (name, _), value in series if name == "session_handoffs_sum")

    assert observed == (701 if now == CLOCKS["open"] else 702)


def test_buckets_are_those_of_the_catalogue(oracle: Oracle) -> None:
    """The bounds written out in the SQL are the lists of catalogue.md, computed."""
    doubling = [round(0.01 * 2**k, 2) for k in range(18)]
    counts = [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    sessions = [1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0]
    money = [round(digit * 10.0**power, 4) for power in range(-3, 2) for digit in (1, 2.5, 5)] + [100.0]
    bounds = {
        "session_duration_seconds": sessions,
        "session_cost_usd": money,
        "session_handoffs": counts,
        "session_subagents": counts,
        "handoff_confidence_ratio": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0],
        "mcp_tool_duration_seconds": doubling[:11],
        "task_quality_score": [0.5 * step for step in range(1, 11)],
    }
    for family in HISTOGRAMS:
        written = {dict(s.labels)["le"] for s in oracle.series(family) if s.name.endswith("_bucket")}
        assert written == {repr(bound) for bound in bounds.get(family, doubling)} | {"+Inf"}, family


def test_the_comparison_sees_each_kind_of_difference(oracle: Oracle) -> None:
    """A series missing, too many, renamed or off by 2e-9 is reported; below 1e-9 is not."""
    right = oracle.series("handoff_tokens_total")
    one = next(iter(right))
    other = Series(one.name, one.labels ^ {("source", "default"), ("source", "other")})
    without = {s: v for s, v in right.items() if s != one}

    assert differences(oracle, "handoff_tokens_total", right) == []
    assert differences(oracle, "handoff_tokens_total", {**right, one: right[one] * (1 + 1e-10)}) == []
    assert len(differences(oracle, "handoff_tokens_total", {**right, one: right[one] * (1 + 2e-9)})) == 1
    assert len(differences(oracle, "handoff_tokens_total", without)) == 1
    assert len(differences(oracle, "handoff_tokens_total", {**right, other: 0.0})) == 1
    assert len(differences(oracle, "handoff_tokens_total", {**without, other: right[one]})) == 2


# The command.


@pytest.mark.parametrize("family", [*COUNTERS, *HISTOGRAMS, *GAUGES])
def test_once_equals_sql(family: str, oracle: Oracle, page: dict[str, Family]) -> None:
    """All series of the family are there, no other, each value equal to 1e-9."""
    kind = "counter" if family in COUNTERS else "histogram" if family in HISTOGRAMS else "gauge"
    printed = page.get(family, Family("absent", {}))

    found = differences(oracle, family, printed.values)

    assert found == []
    assert printed.type == kind or (family in GAUGES and not printed.values)


@pytest.mark.parametrize("family", ZERO_BY_SOURCE)
def test_guards_by_source_are_born_at_0(family: str, page: dict[str, Family]) -> None:
    """A first scan of a sound file is neither late nor rewound."""
    assert page[family] == Family("counter", {Series(family, frozenset({("source", "default")})): 0.0})


@pytest.mark.parametrize("family", ZERO_WITH_LABELS)
def test_guards_with_labels_are_born_at_0(family: str, page: dict[str, Family]) -> None:
    """Nothing is rejected, folded or dropped on the sample; the label names are the catalogue's."""
    printed = page[family]

    assert printed.type == "counter"
    assert printed.values
    assert set(printed.values.values()) == {0.0}
    for series in printed.values:
        labels = dict(series.labels)
        assert set(labels) == ZERO_WITH_LABELS[family]
        assert labels["source"] == "default"
        assert labels.get("table", "handoff_events") in TABLES
        assert labels.get("reason", "negative") in REASONS


def test_no_family_is_missing_and_none_unknown(page: dict[str, Family]) -> None:
    """Families of later issues are not there; those with SQL are."""
    assert set(page) - KNOWN == set()
    assert MUST_BE_THERE - set(page) == set()


def test_what_is_printed_beside_tells_the_truth(page: dict[str, Family], oracle: Oracle, now: str) -> None:
    """`up` is 1; of what need not be printed, the few with an answer in the file or the clock have it."""
    source = frozenset({("source", "default")})
    since, newest = "counting_since_timestamp_seconds", "exporter_data_last_event_timestamp_seconds"
    answers = {
        "up": {Series("up", source): 1.0},
        # Reading: `--now` is the clock of the whole command, so the first complete publish is then.
        since: {Series(since, source): seconds(now)},
        newest: oracle.series(newest),
    }
    for family, answer in answers.items():
        if family in page:
            assert page[family] == Family("gauge", answer)
    if "exporter_source_lag_rows" in page:
        assert set(page["exporter_source_lag_rows"].values.values()) == {0.0}


def test_every_family_from_the_source_names_it(page: dict[str, Family]) -> None:
    """`source="default"` on each series but the process's own."""
    for name, family in page.items():
        named = {("source", "default") in series.labels for series in family.values}
        assert named <= {name not in OF_THE_PROCESS}, name


def test_the_sample_is_left_untouched() -> None:
    """Same bytes, same times, nothing beside it."""
    before = fingerprint(SAMPLE)

    once(SAMPLE, CLOCKS["open"])

    assert fingerprint(SAMPLE) == before


def comparable(text: str) -> dict[str, Family]:
    """The part of the page that the file and the clock decide, not the time that reading took."""
    return {name: family for name, family in parse(text).items() if name in MUST_BE_THERE | frozenset(GAUGES)}


def test_a_read_only_file_in_a_read_only_directory(copy: Path) -> None:
    """The same page, by a user who may write neither."""
    expected = comparable(once(SAMPLE, CLOCKS["open"]))
    copy.chmod(0o444)
    copy.parent.chmod(0o555)
    before = fingerprint(copy)

    printed = comparable(once(copy, CLOCKS["open"], as_nobody=nobody_can_run_python()))

    assert printed == expected
    assert fingerprint(copy) == before


@pytest.mark.parametrize("writable", [True, False])
def test_a_wal_database_that_nobody_has_open(copy: Path, writable: bool) -> None:
    """The same page, and no -wal or -shm afterwards."""
    expected = comparable(once(SAMPLE, CLOCKS["open"]))
    connection = sqlite3.connect(copy)
    assert connection.execute("PRAGMA journal_mode = wal").fetchone() == ("wal",)
    connection.close()
    if not writable:
        copy.chmod(0o444)
        copy.parent.chmod(0o555)
    before = fingerprint(copy)
    assert before[0] == ["orchestration.db"]

    printed = comparable(once(copy, CLOCKS["open"], as_nobody=not writable and nobody_can_run_python()))

    assert printed == expected
    assert fingerprint(copy) == before


def test_a_wal_database_that_its_writer_has_open(copy: Path) -> None:
    """Rows that stand only in the log are read; the writer's files stay, and it can go on."""
    writer = sqlite3.connect(copy, isolation_level=None)
    writer.execute("PRAGMA journal_mode = wal")
    writer.execute(
        "INSERT INTO handoff_events (session_id, timestamp, task_type, target_model, success, cost)"
        " SELECT session_id, '2026-11-21 17:39:00', 'analysis', 'claude', 1, 0.25"
        " FROM orchestration_sessions WHERE id = 140"
    )
    main_file = copy.read_bytes()

    page = parse(once(copy, CLOCKS["open"]))

    assert fingerprint(copy)[0] == [copy.name, copy.name + "-shm", copy.name + "-wal"]
    assert copy.read_bytes() == main_file
    writer.execute("DELETE FROM claude_code_hooks WHERE id < 0")
    oracle = Oracle(writer, CLOCKS["open"])
    assert oracle.scalar("SELECT count(*) FROM handoff_events") == 719
    assert all_differences(oracle, page) == []
    writer.close()


@pytest.mark.parametrize("clock", ["2026-11-21T17:40:00Z", "2026-11-21T17:41:00Z", "2026-12-20T00:00:00Z"])
def test_a_copy_with_the_cases_the_sample_lacks(copy: Path, clock: str) -> None:
    """oracle/edits.sql: events without a session or after its end, blank labels, NULLs, forms of time."""
    connection = sqlite3.connect(copy)
    connection.executescript((ORACLE / "edits.sql").read_text())

    page = parse(once(copy, clock))

    oracle = Oracle(connection, clock)
    assert oracle.rows("exporter_rows_rejected_total") == []
    active = oracle.scalar('SELECT count(*) FROM session WHERE "end" IS NULL')
    assert active == (1 if clock == CLOCKS["open"] else 0)
    found = all_differences(oracle, page)
    connection.close()
    assert found == []
