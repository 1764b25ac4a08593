"""Own tables: the documented example against plain SQL, over whatever happens to a database and to a configuration."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter import check as checking
from exporter import yamlfile
from exporter.catalogue import SCHEMA
from exporter.config import Settings, StorageSettings
from exporter.explain import known, prove, understood
from exporter.once import read_once
from exporter.reference import render
from exporter.rules import schema_of
from exporter.source import SourceError
from exporter.source.sqlite import SqliteSource
from tests.cases import first
from tests.running import DEADLINE_S, Clock, Exporter, Polling, Shown, literal, until
from tests.sqlite_platform import PLATFORM, REPOSITORY, Child

pytestmark = pytest.mark.bulk

DOC = (REPOSITORY / "docs" / "own-tables.md").read_text()
(EXAMPLE,) = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)
TABLES, POOLS = (
    re.sub(r"\s+", " ", re.sub(r"--.*", "", sql)) for sql in re.findall(r"(CREATE TABLE .*?;)", DOC, re.DOTALL)
)
AUTOINCREMENT = {"AUTOINCREMENT": TABLES, "append_only": TABLES.replace(" AUTOINCREMENT", "")}
RUNS, COST = "pipelines_task_runs_total", "pipelines_task_cost_usd_total"
DURATION, OPEN, SLOTS = "pipelines_task_run_duration_seconds", "pipelines_task_slots_in_use", "pipelines_pool_slots"
REJECTED, SINCE = "orchestration_exporter_rows_rejected_total", "orchestration_counting_since_timestamp_seconds"
READ, LATE = "orchestration_exporter_rows_read_total", "orchestration_exporter_late_rows_total"
BUCKETS = (0.1, 1, 10, 60, 600, 3600)


def declared(*, append_only: bool = False) -> list[dict[str, Any]]:
    """The example's `tables:`, as plain values."""
    data = yamlfile.parse(EXAMPLE).data
    assert isinstance(data, dict)
    tables: list[dict[str, Any]] = data["tables"]
    if append_only:
        tables[0]["append_only"] = True
    return tables


# ── plain SQL ────────────────────────────────────────────────────────────────────────────────────────────────

FLOW = "coalesce(nullif(trim(flow_name), ''), 'unknown')"
STATE = "CASE WHEN state IN ('completed', 'failed', 'crashed') THEN state ELSE 'unknown' END"
REGION_TEXT = "nullif(CAST(json_extract(payload, '$.region') AS TEXT), '')"
REGION = f"coalesce(CASE WHEN json_valid(payload) THEN {REGION_TEXT} END, 'unknown')"
COSTS = "typeof(cost_usd) IN ('integer', 'real') AND cost_usd BETWEEN 0 AND 100000"
DURATIONS = "typeof(duration_ms) IN ('integer', 'real') AND duration_ms / 1000.0 BETWEEN 0 AND 1e12"


def counted(connection: sqlite3.Connection) -> Mapping[str, Mapping[frozenset[tuple[str, str]], float]]:
    """What the counters and the histogram must be for these rows; what is 0 is left out."""

    def grouped(names: tuple[str, ...], sql: str) -> dict[frozenset[tuple[str, str]], float]:
        rows = connection.execute(sql).fetchall()
        return {frozenset(zip(names, row, strict=False)): row[-1] for row in rows if row[-1]}

    ended = "FROM task_runs WHERE finished_at IS NOT NULL"
    seconds = "total(duration_ms / 1000.0)"
    found = {
        RUNS: grouped(("flow", "state"), f"SELECT {FLOW}, {STATE}, count(*) {ended} GROUP BY 1, 2"),
        COST: grouped(
            ("flow", "region"), f"SELECT {FLOW}, {REGION}, total(cost_usd) {ended} AND {COSTS} GROUP BY 1, 2"
        ),
        f"{DURATION}_sum": grouped(("flow",), f"SELECT {FLOW}, {seconds} {ended} AND {DURATIONS} GROUP BY 1"),
        f"{DURATION}_bucket": {},
    }
    for bound in BUCKETS:
        at_most = f"{DURATIONS} AND duration_ms / 1000.0 <= {bound}"
        sql = f"SELECT {FLOW}, '{float(bound)}', count(*) {ended} AND {at_most} GROUP BY 1"
        found[f"{DURATION}_bucket"] |= grouped(("flow", "le"), sql)
    return found


def differences(shown: Shown, connection: sqlite3.Connection) -> list[str]:
    """Every series of the counters and the histogram that is not what plain SQL says."""
    wrong = []
    for name, wanted in counted(connection).items():
        series = {labels: value for labels, value in shown.by_labels(name).items() if ("le", "+Inf") not in labels}
        for labels in wanted.keys() | series.keys():
            one, other = wanted.get(labels, 0.0), series.get(labels, 0.0)
            if abs(one - other) > 1e-9 * max(abs(one), abs(other)):
                wrong.append(f"{name} {sorted(labels)}: SQL {one}, shown {other}")
    return wrong


def readings(shown: Shown, name: str) -> dict[str, float]:
    """The values of a gauge with one label, by that label; what is 0 is left out."""
    return {label: value for labels, value in shown.by_labels(name).items() for _, label in labels if value}


# ── a database, and all that was ever committed to it ────────────────────────────────────────────────────────


class Pipelines:
    """The example's orchestrator in a process of its own, and beside it every row that it ever committed, as last
    changed.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self.ever = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.ever.execute(TABLES.replace("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER"))
        self._chance = random.Random(7)
        self._made = 0
        self._child: Child | None = None
        self.start()
        if not self.sql("SELECT 1 FROM sqlite_master"):
            self.sql(schema)
            self.sql(POOLS)

    def start(self) -> None:
        self._child = Child(PLATFORM, self.path, "wal", "SELECT 1")

    def stop(self) -> None:
        assert self._child is not None
        self._child.close()
        self._child = None

    def sql(self, statement: str) -> Any:
        assert self._child is not None
        answer = json.loads(self._child.ask(statement))
        assert isinstance(answer, list), f"{statement}: {answer}"
        return answer

    def run(self, **values: object) -> int:
        """Commit a task run, by default a random one that has ended."""
        self._made += 1
        some = self._chance
        row: dict[str, object] = {
            "run_id": f"run-{self._made}",
            "flow_name": some.choice(["nightly", "hourly", "", None, " padded "]),
            "state": some.choice(["completed", "failed", "crashed", "skipped", None]),
            "started_at": f"2026-11-21T10:{self._made // 60 % 60:02}:{self._made % 60:02}Z",
            "finished_at": "2026-11-21 11:00:00",
            "duration_ms": some.choice([0, 99, 100, 101, 1500.5, 3_600_001, None, "soon", -1]),
            "cost_usd": some.choice([0, 0.25, 1e5, 1e6, None, "free", -0.5]),
            "slots": some.choice([1, 2, None]),
            "payload": some.choice(['{"region": "eu"}', '{"region": 7}', "{}", "no JSON", None, '{"region": null}']),
            **values,
        }
        columns, literals = ", ".join(row), ", ".join(map(literal, row.values()))
        [[id_]] = self.sql(f"INSERT INTO task_runs ({columns}) VALUES ({literals}) RETURNING run_no")
        self.ever.execute(f"INSERT INTO task_runs (run_no, {columns}) VALUES ({id_}, {literals})")
        assert isinstance(id_, int)
        return id_

    def runs(self, number: int) -> None:
        for _ in range(number):
            self.run()

    def end(self, id_: int, **values: object) -> None:
        """Change a run that is open."""
        changes = ", ".join(f"{name} = {literal(value)}" for name, value in values.items())
        self.sql(f"UPDATE task_runs SET {changes} WHERE run_no = {id_}")
        newest = f"rowid = (SELECT max(rowid) FROM task_runs WHERE run_no = {id_})"
        self.ever.execute(f"UPDATE task_runs SET {changes} WHERE {newest}")


@contextmanager
def pipelines(path: Path, schema: str = TABLES) -> Iterator[Pipelines]:
    made = Pipelines(path, schema)
    try:
        yield made
    finally:
        if made._child is not None:
            made.stop()
        made.ever.close()


def polling(tmp_path: Path, tables: Iterable[Mapping[str, Any]] | None = None, **settings: Any) -> Polling:
    # the rows of the tests are of a fixed day
    clock = settings.pop("clock", None) or Clock()
    chosen = {"tables": declared() if tables is None else tables, "in_flight_timeout": "366d", **settings}
    return Polling(tmp_path / "runs.db", tmp_path / "state", clock, **chosen)


# ── counting ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", AUTOINCREMENT)
async def test_the_example_equals_plain_sql_over_all_that_happens(key: str, tmp_path: Path) -> None:
    """History, new rows, rows that end, restarts, retention, and a restore of a backup with other rows after it."""
    tables = declared(append_only=key == "append_only")
    with pipelines(tmp_path / "runs.db", AUTOINCREMENT[key]) as made:
        made.runs(120)
        running = [made.run(finished_at=None, state="running", flow_name="hourly", slots=3) for _ in range(3)]
        async with polling(tmp_path, tables) as looping:
            assert differences(await looping.settled(), made.ever) == []
            assert readings(looping.shown, OPEN) == {"hourly": 9.0}
            assert looping.shown.total(LATE) == 0.0

            made.runs(30)
            made.end(running[0], state="failed", finished_at="x", cost_usd=2, duration_ms=5000)
            made.sql("INSERT INTO pool_sizes (pool, slots) VALUES ('a', 4), ('b', 2), ('a', 6), (NULL, 1), ('c', 'x')")
            assert differences(await looping.settled(), made.ever) == []
            assert readings(looping.shown, OPEN) == {"hourly": 6.0}
            assert readings(looping.shown, SLOTS) == {"a": 6.0, "b": 2.0, "unknown": 1.0}

            await looping.restart()
            made.sql("DELETE FROM task_runs WHERE run_no <= 60")
            made.sql("DELETE FROM pool_sizes WHERE slots = 6")
            made.end(running[1], slots=5)
            made.runs(10)
            assert differences(await looping.settled(), made.ever) == []
            assert readings(looping.shown, OPEN) == {"hourly": 8.0}
            assert readings(looping.shown, SLOTS)["a"] == 4.0

            made.end(running[1], state="completed", finished_at="x")
            made.stop()
            backup = shutil.copy(made.path, tmp_path / "backup.db")
            made.start()
            made.runs(20)
            assert differences(await looping.settled(), made.ever) == []
            made.stop()
            Path(backup).replace(made.path)
            made.start()
            made._made += 1000  # what runs now is another row under an id that was given before
            made.runs(25)
            shown = await looping.settled()
            assert differences(shown, made.ever) == []
            assert shown.total("orchestration_exporter_source_rewinds_total") == 1.0

            made.end(running[2], state="crashed", finished_at="x")
            assert differences(await looping.settled(), made.ever) == []
        assert looping.falls == []


async def test_new_series_are_held_at_0_first(tmp_path: Path) -> None:
    """What `increase()` needs holds for them as well."""
    with pipelines(tmp_path / "runs.db") as made:
        made.run(flow_name="nightly", state="completed")
        async with polling(tmp_path, new_series_hold="60s") as looping:
            await looping.polled()
            assert looping.shown.total(RUNS, flow="nightly", state="completed") == 1.0
            made.run(flow_name="fresh", state="completed")
            await looping.polled()

            assert frozenset({("flow", "fresh"), ("state", "completed")}) in looping.shown.by_labels(RUNS)
            assert looping.shown.total(RUNS, flow="fresh") == 0.0


async def test_a_row_that_never_ends_counts_as_unknown(tmp_path: Path) -> None:
    """By `in_flight_timeout`, since its time; and one that vanishes does at once."""
    clock = Clock()
    with pipelines(tmp_path / "runs.db") as made:
        started = "2126-01-01T00:00:00Z"  # ahead: the time of reading stands for it
        made.run(flow_name="a", state="running", finished_at=None, started_at=started)
        gone = made.run(flow_name="b", state="running", finished_at=None, started_at=started)
        async with polling(tmp_path, in_flight_timeout="1h", clock=clock) as looping:
            assert readings(await looping.settled(), OPEN).keys() <= {"a", "b"}
            assert looping.shown.total(RUNS) == 0.0
            made.sql(f"DELETE FROM task_runs WHERE run_no = {gone}")
            assert (await looping.settled()).total(RUNS, flow="b", state="unknown") == 1.0
            clock.advance(3_700.0)
            await looping.settled()
            clock.advance(70.0)

            assert (await looping.settled()).total(RUNS, flow="a", state="unknown") == 1.0
            assert looping.shown.total(RUNS) == 2.0


async def test_what_cannot_be_used_is_counted_and_the_rest_of_the_row_counts(tmp_path: Path) -> None:
    """Text, infinity, blobs and numbers beyond the limits; labels of every kind; JSON that is none."""
    with pipelines(tmp_path / "runs.db") as made:
        made.run(flow_name="f", state="failed", cost_usd="x", duration_ms="y", payload="{", started_at="never")
        made.sql(
            "INSERT INTO task_runs (run_id, flow_name, state, started_at, finished_at, cost_usd, duration_ms, payload) "
            "VALUES (x'00', x'ff', 7, 1e300, 0, 9e999, x'01', x'7b7d'), "
            "('z', 12, 'FAILED', '2026-11-21', '', -1, 1e300, '[]')"
        )
        async with polling(tmp_path) as looping:
            shown = await looping.settled()

    flows = {dict(labels)["flow"] for labels in shown.by_labels(RUNS)}
    assert flows == {"f", "�", "12"}
    assert shown.total(RUNS) == 3.0
    assert shown.total(RUNS, state="unknown") == 2.0
    assert shown.total(COST) == shown.total(f"{DURATION}_count") == 0.0
    rejected = {dict(labels)["reason"]: value for labels, value in shown.by_labels(REJECTED).items() if value}
    assert rejected == {
        "not_a_number": 4.0,
        "bad_time": 2.0,
        "bad_json": 2.0,
        "bad_text": 1.0,
        "negative": 1.0,
        "out_of_range": 1.0,
    }


def test_promtool_finds_no_fault_in_own_metrics(promtool: Path, tmp_path: Path) -> None:
    """Of every version present; and what its linter would find in a name is refused before."""
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as connection:
        connection.executescript(TABLES + POOLS + REST)
        for flow in ('a "quoted"', "back\\slash", "two\nlines", "grün"):
            sql = (
                "INSERT INTO task_runs (run_id, started_at, finished_at, flow_name, duration_ms) VALUES (?, ?, ?, ?, ?)"
            )
            connection.execute(sql, ("r", "2026-11-21", "x", flow, 5))

    shown = command("once", "--config.file", written(tmp_path)).stdout
    line = [str(promtool), "check", "metrics"]
    checked = subprocess.run(line, input=shown, capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    assert [told for told in (checked.stdout + checked.stderr).splitlines() if "pipelines_" in told] == []
    assert "error while linting" not in checked.stderr
    assert len(Shown.of(shown).by_labels(f"{DURATION}_count")) == 4


async def test_labels_are_bounded_and_models_are_shared(tmp_path: Path) -> None:
    """`max_label_values` holds for an own label by itself; one called model goes by the aliases."""
    table = {
        **declared()[0],
        "labels": {"model": {"column": "flow_name"}, "run": {"column": "run_id"}},
        "counters": [
            {"name": "a_total", "help": "A.", "labels": ["run"]},
            {"name": "b_total", "help": "B.", "labels": ["model"]},
        ],
        "histograms": [],
        "gauges": [],
    }
    with pipelines(tmp_path / "runs.db") as made:
        for n in range(5):
            made.run(flow_name=["claude", "claude-1"][n % 2])
        aliases = {"claude-1": "claude"}
        async with polling(tmp_path, [table], max_label_values=3, model_aliases=aliases) as looping:
            shown = await looping.settled()

    assert {dict(labels)["run"]: value for labels, value in shown.by_labels("a_total").items()} == {
        "__other__": 2.0,
        **dict.fromkeys(("run-3", "run-4", "run-5"), 1.0),
    }
    assert shown.by_labels("b_total") == {frozenset({("model", "claude")}): 5.0}
    assert shown.total("orchestration_model_info", model="claude") == 1.0


async def test_the_newest_row_of_a_whole_table_and_every_sum_can_be_read(tmp_path: Path) -> None:
    """Gauges without labels; open rows counted rather than added up; a table of gauges needs no more than an id."""
    tables = [
        {
            **declared()[0],
            "labels": {},
            "counters": [{"name": "a_total", "help": "A."}],
            "histograms": [],
            "gauges": [{"name": "open", "help": "Open.", "reading": "sum_open"}],
        },
        {
            "table": "POOL_sizes",
            "gauges": [{"name": "last", "help": "Last.", "reading": "newest", "value": "Slots", "scale": 0.5}],
        },
    ]
    with pipelines(tmp_path / "runs.db") as made:
        made.runs(3)
        for _ in range(2):
            made.run(finished_at=None)
        made.sql("INSERT INTO pool_sizes (pool, slots) VALUES ('a', 4), ('b', 7)")
        async with polling(tmp_path, tables) as looping:
            shown = await looping.settled()

    found = {name: shown.by_labels(name) for name in ("a_total", "open", "last")}
    assert found == {"a_total": {frozenset(): 3.0}, "open": {frozenset(): 2.0}, "last": {frozenset(): 3.5}}


# ── another configuration ────────────────────────────────────────────────────────────────────────────────────


def changed(**keys: Any) -> list[dict[str, Any]]:
    """The example with other keys in its first table."""
    first, *others = declared()
    return [{**first, **keys}, *others]


async def test_a_metric_is_added_changed_and_removed_over_a_restart(tmp_path: Path) -> None:
    """The new one appears complete, the changed one anew, the removed one goes, the rest keep what they had counted.

    Rows that are gone from the table tell what was kept from what was made anew.
    """
    runs, cost = declared()[0]["counters"]
    added = {"name": "pipelines_regions_total", "help": "Runs by region and slots.", "labels": ["region", "slots"]}
    labels = {**declared()[0]["labels"], "slots": {"column": "slots"}}
    with pipelines(tmp_path / "runs.db") as made:
        for _ in range(10):
            made.run(flow_name="f", state="failed", cost_usd=1, duration_ms=1000, payload='{"region": "eu"}', slots=2)
        made.run(flow_name="g", state="running", finished_at=None, slots=2)
        async with polling(tmp_path) as looping:
            before = await looping.settled()
            assert (before.total(RUNS, state="failed"), before.total(COST)) == (10.0, 10.0)
        made.sql("DELETE FROM task_runs WHERE run_no <= 4")

        tables = changed(counters=[runs, {**cost, "labels": ["flow"]}, added], histograms=[], labels=labels)
        async with polling(tmp_path, tables) as looping:
            after = await looping.settled()
            kept = after.by_labels(RUNS) == before.by_labels(RUNS)
            made.end(11, finished_at="x", payload='{"region": "us"}')
            ended = await looping.settled()

    assert kept
    assert after.by_labels(COST) == {frozenset({("flow", "f")}): 6.0, frozenset({("flow", "g")}): 0.0}
    assert after.by_labels("pipelines_regions_total").get(frozenset({("region", "eu"), ("slots", "2")})) == 6.0
    assert not {name for name in after.names() if name.startswith(DURATION)}
    assert after.total(SINCE) > before.total(SINCE)
    assert readings(after, OPEN) == {"g": 2.0}
    assert ended.total("pipelines_regions_total", region="us", slots="2") == 1.0
    assert ended.total(RUNS, flow="g", state="unknown") == 1.0


async def test_a_table_is_added_and_removed_over_a_restart(tmp_path: Path) -> None:
    """It appears complete, none of its rows late or held, and goes without a trace; the other counts on."""
    other = {
        "table": "others",
        "time": "at",
        "identity": ["at"],
        "final_when": "done",
        "labels": {"kind": {"column": "kind"}},
        "counters": [{"name": "others_total", "help": "Others.", "labels": ["kind"]}],
    }
    with pipelines(tmp_path / "runs.db") as made:
        made.runs(5)
        made.sql("CREATE TABLE others (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, kind TEXT, done INTEGER)")
        made.sql("INSERT INTO others (at, kind, done) VALUES ('2026-11-20', 'old', 1), ('2026-11-21', 'new', NULL)")
        async with polling(tmp_path, max_label_values=1) as looping:
            before = await looping.settled()
        made.sql("DELETE FROM task_runs WHERE run_no = 1")
        async with polling(tmp_path, [*declared(), other], max_label_values=1, new_series_hold="60s") as looping:
            with_other = await looping.settled()
        async with polling(tmp_path, max_label_values=1) as looping:
            without = await looping.settled()
        async with polling(tmp_path, [*declared(), other], max_label_values=1) as looping:
            again = await looping.settled()

    assert before.by_labels(RUNS) == with_other.by_labels(RUNS) == without.by_labels(RUNS) == again.by_labels(RUNS)
    assert [shown.total(SINCE) for shown in (with_other, without, again)] == [before.total(SINCE)] * 3
    for shown in (with_other, again):
        assert shown.total("others_total") == 1.0
        assert shown.total(READ, table="others") == 2.0
        assert shown.total(LATE) == 0.0
    assert not [labels for labels in without.by_labels(READ) if ("table", "others") in labels]
    assert "others_total" not in without.names()


async def test_a_label_made_from_another_column_has_all_its_places_again(tmp_path: Path) -> None:
    """A mistake that filled the vocabulary does not leave every right value `__other__`."""
    labels = declared()[0]["labels"]
    mistaken = changed(labels={**labels, "flow": {"column": "run_id"}})
    with pipelines(tmp_path / "runs.db") as made:
        for n in range(6):
            made.run(flow_name=f"flow-{n % 2}")
        async with polling(tmp_path, mistaken, max_label_values=3) as looping:
            assert (await looping.settled()).total(RUNS, flow="__other__") == 3.0
        async with polling(tmp_path, max_label_values=3) as looping:
            shown = await looping.settled()

    assert [shown.total(RUNS, flow=f"flow-{n}") for n in range(2)] == [3.0, 3.0]
    assert shown.total(RUNS, flow="__other__") == 0.0


@pytest.mark.parametrize(
    "keys",
    [
        {"identity": ["run_id"]},
        {"identity": ["started_at", "run_id"]},
        {"final_when": "state"},
        {"time": "finished_at"},
    ],
)
async def test_a_table_that_is_known_by_other_columns_is_read_anew(keys: dict[str, Any], tmp_path: Path) -> None:
    """That table, and no other: what was counted of the others stays, whatever is gone from them."""
    other = {
        "table": "others",
        "time": "at",
        "identity": ["at"],
        "counters": [{"name": "others_total", "help": "Others."}],
    }
    with pipelines(tmp_path / "runs.db") as made:
        made.runs(8)
        made.run(flow_name="g", state="running", finished_at=None, cost_usd=None)
        made.sql("CREATE TABLE others (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT)")
        made.sql("INSERT INTO others (at) VALUES ('2026-11-20'), ('2026-11-21')")
        async with polling(tmp_path, [*declared(), other]) as looping:
            before = await looping.settled()
        made.sql("DELETE FROM task_runs WHERE run_no <= 2")
        made.sql("DELETE FROM others WHERE id = 1")
        async with polling(tmp_path, [*changed(**keys), other]) as looping:
            after = await looping.settled()
            await looping.restart()
            again = await looping.settled()
        # by another `final_when` all that have a state are final
        sql = "SELECT count(*) FROM task_runs WHERE run_no > 2 AND state IS NOT NULL"
        ((ended,),) = made.ever.execute(sql).fetchall()

    assert before.total(RUNS) == 8.0
    assert after.total(RUNS) == again.total(RUNS) == (ended if "final_when" in keys else 6.0)
    assert after.total(READ, table="task_runs") == 7.0
    assert after.total("others_total") == 2.0
    assert after.total(SINCE) > before.total(SINCE)


async def test_a_new_table_whose_scan_was_cut_short_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before is known; nothing is lost, counted or rejected twice."""
    other = {
        "table": "others",
        "time": "at",
        "identity": ["at"],
        "final_when": "done",
        "counters": [
            {"name": "others_total", "help": "Others."},
            {"name": "others_size_total", "help": "Sizes.", "value": "size"},
        ],
        "gauges": [{"name": "others_open", "help": "Open.", "reading": "sum_open"}],
    }
    whole, snapshots = SqliteSource.snapshot, itertools.count()

    def cut_short(source: SqliteSource) -> Any:
        if next(snapshots) == 4:
            raise SourceError("cut short")
        return whole(source)

    monkeypatch.setattr("exporter.reader.ROWS", 5)
    with pipelines(tmp_path / "runs.db") as made:
        made.runs(3)
        made.sql("CREATE TABLE others (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, size, done INTEGER)")
        for n in range(30):
            done = "NULL" if n in (2, 28) else "1"
            size = n or "'x'"
            made.sql(f"INSERT INTO others (at, size, done) VALUES ('2026-11-21T10:00:{n:02}Z', {size}, {done})")
        async with polling(tmp_path) as looping:
            before = await looping.settled()
        monkeypatch.setattr(SqliteSource, "snapshot", cut_short)
        async with polling(tmp_path, [*declared(), other]) as looping:
            shown = await looping.settled()
            failures = looping.polls("failure")

    assert failures == 1.0
    assert shown.by_labels(RUNS) == before.by_labels(RUNS)
    assert (shown.total("others_total"), shown.total("others_open")) == (28.0, 2.0)
    assert shown.total("others_size_total") == sum(range(30)) - 2 - 28
    assert (shown.total(READ, table="others"), shown.total(REJECTED, table="others")) == (30.0, 1.0)


def test_a_changed_file_is_applied_by_a_signal(tmp_path: Path) -> None:
    """Without a restart, and without losing a count."""
    head, _, second = EXAMPLE.split("  - table: ")
    file = written(tmp_path, f"{head}  - table: {second}")
    with pipelines(tmp_path / "runs.db") as made:
        made.runs(20)
        exporter = Exporter(made.path, tmp_path / "state")
        at = exporter.command.index("--database")
        exporter.command[at : at + 2] = ["--config.file", str(file)]
        with exporter:
            until(lambda: exporter.get("/-/ready")[0] == 200)
            written(tmp_path)
            exporter.process.send_signal(signal.SIGHUP)
            until(lambda: exporter.shown().total(RUNS) == 20.0)
            made.runs(5)
            until(lambda: exporter.shown().total(RUNS) == 25.0)

            assert differences(exporter.shown(), made.ever) == []
            assert exporter.falls == []


# ── what does not fit ────────────────────────────────────────────────────────────────────────────────────────


def written(tmp_path: Path, text: str = EXAMPLE, name: str = "pipelines.yml") -> Path:
    """A configuration file, with the example's database in this folder."""
    path = tmp_path / name
    path.write_text(text.replace("/var/lib/pipelines/runs.db", str(tmp_path / "runs.db")))
    return path


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the exporter."""
    line = [sys.executable, "-m", "exporter", *map(str, arguments)]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


REST = "INSERT INTO pool_sizes (pool, slots) VALUES ('a', 4)"
MISFITS = {
    "a table": ("", "no such table ({}:6 tables[0].table)"),
    "a column": (TABLES.replace("payload", "load"), "no column payload ({}:14 tables[0].labels.region.column)"),
    "several columns": (
        TABLES.replace("payload", "load").replace("slots", "places").replace("run_no", "number"),
        "no column run_no ({0}:7 tables[0].cursor), payload ({0}:14 tables[0].labels.region.column), "
        "slots ({0}:35 tables[0].gauges[0].value)",
    ),
    "AUTOINCREMENT": (
        AUTOINCREMENT["append_only"],
        "its cursor run_no is no AUTOINCREMENT: ids may be given twice; where its newest rows are never deleted say "
        "append_only: true ({}:7 tables[0].cursor)",
    ),
    "a key": (
        TABLES.replace("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER"),
        "its cursor run_no is no INTEGER PRIMARY KEY ({}:7 tables[0].cursor)",
    ),
    "a rowid": (
        TABLES.replace(" AUTOINCREMENT", "").replace(");", ") WITHOUT ROWID;"),
        "its cursor run_no is no INTEGER PRIMARY KEY ({}:7 tables[0].cursor)",
    ),
    "the key": (
        TABLES.replace("run_no INTEGER PRIMARY KEY AUTOINCREMENT", "run_no INT PRIMARY KEY"),
        "its cursor run_no is no INTEGER PRIMARY KEY ({}:7 tables[0].cursor)",
    ),
}


LATER = ("a column", "a key", "a rowid", "the key")
"""Told by what tells the others."""


@pytest.mark.parametrize("what", first(MISFITS, rest=LATER))
def test_check_and_once_tell_what_does_not_fit(what: str, tmp_path: Path) -> None:
    """One line names table, column and the line of the file; `check` fails, `once` prints the rest."""
    schema, reason = MISFITS[what]
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as connection:
        connection.executescript(schema + POOLS + REST)
    file = written(tmp_path)

    checked, printed = command("check", "--config.file", file), command("once", "--config.file", file)

    (line,) = [line for line in checked.stdout.splitlines() if line.startswith("error")]
    assert line.startswith(f"error   task_runs: left out: {reason.format(file)}; left out with it: {RUNS}, {COST}, ")
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[-1].startswith("check failed: 1 error, ")
    assert printed.returncode == 0
    assert f'{SLOTS}{{pool="a",source="pipelines"}} 4.0\n' in printed.stdout
    assert RUNS + "{" not in printed.stdout
    (told,) = printed.stderr.splitlines()
    assert "level=error" in told
    assert reason.format(file) in told


def test_check_passes_where_all_fits(tmp_path: Path) -> None:
    """A line for each own table, too."""
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as connection:
        connection.executescript(TABLES + POOLS + REST)

    checked = command("check", "--config.file", written(tmp_path))

    assert checked.returncode == 0
    assert re.search(r"^ok      task_runs: 0 rows, newest no row; queries: ", checked.stdout, re.MULTILINE)
    assert re.search(r"^ok      pool_sizes: 1 row, newest without a usable time; ", checked.stdout, re.MULTILINE)


def test_check_names_the_lines_of_all_where_nothing_fits(tmp_path: Path) -> None:
    """A database of something else."""
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE x (y)")
    file = written(tmp_path)

    checked = command("check", "--config.file", file)

    assert checked.returncode == 1
    first, second = f"({file}:6 tables[0].table)", f"({file}:38 tables[1].table)"
    assert f"task_runs (no such table {first}), pool_sizes (no such table {second})" in checked.stdout


async def test_the_rest_goes_on_and_a_table_that_comes_is_taken_up(tmp_path: Path) -> None:
    """Left out it is named on the page and, once, in the log; when it fits, its rows are counted from the first."""
    with pipelines(tmp_path / "runs.db", TABLES.replace("payload", "load")) as made, capture_logs() as logged:
        made.sql(REST)
        made.sql("INSERT INTO task_runs (run_id, started_at) VALUES ('a', '2026-11-21')")
        async with polling(tmp_path) as looping:
            await looping.settled()
            await looping.settled()
            assert readings(looping.shown, SLOTS) == {"a": 4.0}
            assert looping.poller.status().up
            assert "task_runs: no column payload" in looping.poller.status().notes
            assert [line["event"] for line in logged].count("own table is left out") == 1
            assert looping.shown.by_labels(RUNS) == {}

            made.sql("ALTER TABLE task_runs RENAME COLUMN load TO payload")
            made.sql("UPDATE task_runs SET finished_at = 'x', flow_name = 'late'")
            shown = await looping.settled()

    assert shown.total(RUNS, flow="late") == 1.0
    assert not [note for note in looping.poller.status().notes if note.startswith("task_runs")]


async def test_a_table_that_was_read_and_is_gone_takes_its_source_down(tmp_path: Path) -> None:
    """What was counted stays, with `up` 0, until it is back."""
    with pipelines(tmp_path / "runs.db") as made:
        made.run(flow_name="f", state="failed")
        async with polling(tmp_path) as looping:
            await looping.settled()
            made.sql("ALTER TABLE task_runs RENAME TO gone")
            await looping.until(lambda: not looping.poller.status().up)
            assert "table task_runs was read before and cannot be now: no such table" in looping.poller.status().error
            assert looping.shown.total(RUNS) == 1.0
            made.sql("ALTER TABLE gone RENAME TO task_runs")
            await looping.until(lambda: looping.poller.status().up)
            made.run(flow_name="f", state="failed")

            assert (await looping.settled()).total(RUNS) == 2.0


async def test_a_table_belongs_to_its_source_alone(tmp_path: Path) -> None:
    """With `source`, the others neither look for it nor show its metrics."""
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as connection:
        connection.executescript(TABLES + POOLS + REST)
    first, second = declared()
    given = {
        "sources": [{"name": name, "database": str(tmp_path / "runs.db")} for name in ("a", "b")],
        "tables": [first, {**second, "source": "b"}],
    }
    settings = Settings.model_validate(given)

    names = {}
    for of in settings.sources:
        source = SqliteSource(of.database, name=of.name)
        shown = await read_once(settings=settings, of=of, schema=SCHEMA, source=source, now=None)
        names[of.name] = set(shown.samples)
        lines, ok = await checking.check(settings=settings, of=of, schema=SCHEMA, source=source)
        assert ok, lines

    assert names["b"] - names["a"] == {SLOTS}


# ── documents ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_reference_has_own_metrics(tmp_path: Path) -> None:
    """With the file that declares them."""
    made = render(schema_of(Settings.model_validate({"tables": declared()}), SCHEMA).metrics)

    for name in (RUNS, COST, DURATION, OPEN, SLOTS):
        assert f"### `{name}`" in made
    assert "- From `task_runs.duration_ms` times 0.001 (0 to 1,000,000,000,000), when `finished_at` is there, " in made
    assert "| `state` | `completed`, `failed`, `crashed`, `unknown` | `task_runs.state` where it is one of them" in made
    assert "- From `pool_sizes.slots` (0 to 1,000,000,000,000): the newest row of each `pool`\n" in made
    assert "`task_runs`, `task_runs.slots` (0 to 1,000,000,000,000) of rows without a result" in made
    assert command("reference", "--config.file", written(tmp_path)).stdout == made


@pytest.mark.slow
@pytest.mark.parametrize("key", AUTOINCREMENT)
async def test_explain_proves_every_series(key: str, tmp_path: Path) -> None:
    """Of the example, by a checkpoint and by a full read: with SQL that says what the declarations say."""
    tables = declared(append_only=key == "append_only")
    tables[1]["gauges"].append({"name": "last", "help": "Last.", "reading": "newest", "value": "slots"})
    with pipelines(tmp_path / "runs.db", AUTOINCREMENT[key]) as made:
        made.runs(40)
        made.run(finished_at=None, slots=3)
        made.sql("INSERT INTO pool_sizes (pool, slots) VALUES ('a', 4), ('b', 2), ('a', 6), (NULL, 1)")
        looping = polling(tmp_path, tables)
        async with looping:
            series = [one for one in (await looping.settled()).samples if one.startswith(("pipelines_", "last"))]
        for storage in (tmp_path / "state", tmp_path / "none"):
            elsewhere = {"storage": StorageSettings.model_validate({"path": str(storage)})}
            chosen = looping._settings.model_copy(update=elsewhere)
            of, source = chosen.sources[0], SqliteSource(made.path)
            facts, origin = await known(settings=chosen, of=of, schema=SCHEMA, source=source, now=None)
            proofs = [
                await prove(facts, understood(one, facts.schema, of.labels), of=of, source=source, origin=origin)
                for one in series
            ]

            assert ["\n".join(proof.lines) for proof in proofs if not proof.agrees] == []
    assert len({one.partition("{")[0] for one in series}) == 8


def test_the_errors_in_the_document_are_right(tmp_path: Path) -> None:
    """The lines that it shows are those that the program writes."""
    shown = re.findall(r"^((?:orchestration-exporter: error|error  ).*)$", DOC, re.MULTILINE)
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as connection:
        connection.executescript(TABLES.replace("payload", "load") + POOLS)
    wrong = written(tmp_path, EXAMPLE.replace("duration_seconds", "duration_ms"))

    refused = command("once", "--config.file", wrong)
    checked = command("check", "--config.file", written(tmp_path))

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.strip().replace(f"{tmp_path}/", "") == shown[0]
    assert any(line.replace(f"{tmp_path}/", "").startswith(shown[1][:-1]) for line in checked.stdout.splitlines())


def test_the_rows_in_the_document_make_what_it_says(tmp_path: Path) -> None:
    """The table of three rows, as `once` prints it."""
    head, _, *rows = [
        line.strip("| ").split(" | ") for line in DOC.splitlines() if line.startswith("| ") or "|---" in line
    ]
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as connection:
        connection.executescript(TABLES + POOLS)
        for row in rows:
            values = [None if cell == "NULL" else cell.strip("`") for cell in row]
            marks = ", ".join("?" * len(values))
            sql = f"INSERT INTO task_runs (run_id, started_at, {', '.join(head)}) VALUES ('r', '2026-11-21', {marks})"
            connection.execute(sql, values)
        wanted = counted(connection)
    now = "2026-11-21T01:00:00Z"

    shown = Shown.of(command("once", "--config.file", written(tmp_path), "--now", now).stdout)

    assert wanted[RUNS] == {frozenset({("flow", "nightly"), ("state", state)}): 1 for state in ("completed", "failed")}
    assert {labels: value for labels, value in shown.by_labels(RUNS).items() if value} == wanted[RUNS]
    assert len(shown.by_labels(RUNS)) == 8
    assert shown.by_labels(OPEN) == {frozenset({("flow", "hourly")}): 3.0, frozenset({("flow", "nightly")}): 0.0}
