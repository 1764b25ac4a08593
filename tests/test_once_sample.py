"""`once` on the platform's own sample equals plain SQL, written by hand in tests/oracle/, metric by metric."""

import hashlib
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.againstsql import (
    FAMILIES,
    HISTOGRAMS,
    ORACLE,
    REPOSITORY,
    Family,
    Oracle,
    Series,
    all_differences,
    differences,
    once,
    parse,
    seconds,
    type_of,
)

pytestmark = pytest.mark.bulk

SAMPLE = REPOSITORY.parent / "shared" / "samples" / "orchestration.db"

# At `open`, session 140 and hand-off 715 are open, the 15 other hand-offs without a result have timed out. At
# `idle` session 140 has ended by idleness (18:32:05), hand-off 715 is still in flight (until 19:23:47). At
# `final`, nothing is.
CLOCKS = {"open": "2026-11-21T17:40:00Z", "idle": "2026-11-21T19:00:00Z", "final": "2026-12-20T00:00:00Z"}

# By oracle/edits.sql, counted by hand.
ESCALATED = Series(
    "handoff_escalations_total",
    frozenset({("project", "escalations"), ("reason", "retry"), ("source", "default")}),
)

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
        "model_performance",
        "claude_code_hooks",
        "live_activities",
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
MUST_BE_THERE = frozenset({*ZERO_BY_SOURCE, *ZERO_WITH_LABELS, "up"})
OF_THE_TABLES = MUST_BE_THERE | frozenset(FAMILIES)
KNOWN = OF_THE_TABLES | OF_THE_SOURCE | OF_THE_PROCESS


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
    assert total("subagent_spawns_total") == total("subagent_invocations_total")
    for family in ("routing_decisions_total", "routing_results_total"):
        assert total(family) == 718
    for family in ("routing_confidence_ratio", "routing_result_confidence_ratio", "routing_duration_seconds"):
        assert total(family, "_count") == 718
    assert total("model_calls_total") == total("model_call_duration_seconds", "_count") == 227
    assert total("hook_executions_total") == total("hook_duration_seconds", "_count") == 355
    reasons = "SELECT count(*) FROM handoff_events WHERE json_extract(metadata, '$.route_reason') = "
    unavailable = oracle.scalar(f"{reasons}'deepseek_unavailable' AND target_model = 'claude'")
    assert total("handoff_escalations_total", reason="unavailable") == unavailable > 0
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
    if now == CLOCKS["open"]:
        months = ("month", "previous_month")  # all of the sample is of October and November
        assert sum(total("ledger_cost_usd", period=p) for p in months) == pytest.approx(spent, rel=1e-9)
        assert sum(total("ledger_baseline_cost_usd", period=p) for p in months) == pytest.approx(
            spent + saved, rel=1e-9
        )
        assert sum(total("ledger_handoffs", period=p) for p in months) == 717
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
        "hook_duration_seconds": [round(digit * 10.0**power, 4) for power in range(-3, 1) for digit in (1, 2.5, 5)]
        + [10.0],
    }
    for family in ("routing_confidence_ratio", "routing_result_confidence_ratio", "model_quality_ratio"):
        bounds[family] = bounds["handoff_confidence_ratio"]
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


@pytest.mark.parametrize("family", FAMILIES)
def test_once_equals_sql(family: str, oracle: Oracle, page: dict[str, Family]) -> None:
    """All series of the family are there, no other, each value equal to 1e-9."""
    printed = page.get(family, Family("absent", {}))

    found = differences(oracle, family, printed.values)

    assert found == []
    assert printed.type == type_of(family) or not printed.values


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
    """What is printed has SQL, is born at 0, or is named above."""
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
    return {name: family for name, family in parse(text).items() if name in OF_THE_TABLES}


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
    if clock == CLOCKS["open"]:
        assert [family for family in FAMILIES if not any(oracle.series(family).values())] == []
        assert oracle.series("handoff_escalations_total")[ESCALATED] == 3
    found = all_differences(oracle, page)
    connection.close()
    assert found == []
