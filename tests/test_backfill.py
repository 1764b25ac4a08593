"""The past as OpenMetrics: against `once`, against plain SQL, in a real Prometheus, and on bad input."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from exporter import cli, demo
from exporter.catalogue import SCHEMA
from exporter.spec import Counter, Histogram
from tests.cases import later
from tests.conftest import StartPrometheus
from tests.demoruns import written_history
from tests.history import history
from tests.processes import Serving
from tests.realtools import NOT_RUN, Tools

END_S = datetime(2026, 11, 23, 12, 30, tzinfo=UTC).timestamp()
DAYS = 1.5
Samples = dict[float, dict[str, float]]
pytestmark = pytest.mark.usefixtures("logs_as_before")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo's database with a day and a half."""
    path = tmp_path_factory.mktemp("platform") / "platform.db"
    written_history(path, demo.Settings(seed=7, history_s=DAYS * 86400), END_S).close()
    return path


@pytest.fixture(autouse=True)
def without_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No state folder is found where the commands look for one."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> int:
    """The exit code of `backfill` with these arguments."""
    return cli.run(["backfill", *map(str, arguments)], {}, SCHEMA)


def samples(folder: Path) -> Samples:
    """All samples of a folder's files by time and series, but for `up`."""
    found: Samples = {}
    for path in sorted(folder.iterdir()):
        text = path.read_text()
        assert path.suffix == ".om"
        assert text.endswith("# EOF\n")
        for line in text.split("\n"):
            if line.startswith("orchestration"):
                series, value, at = line.rsplit(" ", 2)
                found.setdefault(float(at), {})[series] = float(value)
    return found


def as_scraped(series: str) -> str:
    """A series without the labels that the scrape adds."""
    return re.sub(r'(instance|job)="[^"]*",?', "", series).replace(",}", "}").removesuffix("{}")


def total(found: dict[str, float], name: str) -> float:
    """All series whose names begin so, added up."""
    return sum(value for series, value in found.items() if series.startswith(name))


def once(database: Path, at: float, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """What `once --now` shows."""
    capsys.readouterr()
    assert cli.run(["once", "--database", str(database), "--now", str(at)], {}, SCHEMA) == 0
    lines = [line for line in capsys.readouterr().out.split("\n") if line and not line.startswith("#")]
    return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.fixture(scope="module")
def whole(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """All of the platform's past at a step of 30 minutes, from before its first row."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    assert run("--database", platform, "--to", END_S, "--step", "30m", "--output", folder) == 0
    return samples(folder)


UNKNOWABLE = ("token_budget", "model_availability", "model_capacity", "model_cost_per_token", "account_", "pattern_")


@pytest.mark.bulk
def test_the_last_sample_is_what_once_shows(platform: Path, whole: Samples, capsys: pytest.CaptureFixture[str]) -> None:
    """Series for series, at the seam, but for gauges of tables that are updated in place."""
    shown = once(platform, END_S, capsys)
    ours = {as_scraped(series): value for series, value in whole[END_S].items()}

    known = {s: v for s, v in shown.items() if not s.startswith(tuple(f"orchestration_{u}" for u in UNKNOWABLE))}
    assert ours.keys() == known.keys()
    assert {s: v for s, v in ours.items() if v != pytest.approx(known[s], rel=1e-9, abs=1e-12)} == {}


def test_a_sample_in_the_past_is_what_once_shows_of_the_rows_up_to_it(
    platform: Path, whole: Samples, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counters and histograms, with all later rows deleted."""
    at = sorted(whole)[len(whole) // 2]
    copy = tmp_path / "until.db"
    shutil.copyfile(platform, copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        for table in SCHEMA.tables:
            column = '"start_time"' if table.is_sessions else '"timestamp"'
            sql = f"DELETE FROM \"{table.name}\" WHERE julianday({column}) > julianday(?, 'unixepoch')"
            connection.execute(sql, (at,))
    shown = once(copy, at, capsys)
    ours = {as_scraped(series): value for series, value in whole[at].items()}

    counted = {s: v for s, v in shown.items() if "_total{" in s or "_bucket{" in s or "_sum{" in s}
    counted = {s: v for s, v in counted.items() if "exporter_" not in s}
    assert len(counted) > 500
    assert {s: (ours.get(s), v) for s, v in counted.items() if ours.get(s, 0) != pytest.approx(v, rel=1e-9)} == {}


def test_series_are_born_at_0_and_never_fall(whole: Samples) -> None:
    """Every counter and bucket, from one step before it first counts."""
    last: dict[str, float] = {}
    born: dict[str, float] = {}
    for at in sorted(whole):
        for series, value in whole[at].items():
            if re.search(r"_total\{|_bucket\{|_count\{", series):
                born.setdefault(series, value)
                assert value >= last.get(series, 0.0), (series, at)
                last[series] = value

    assert len(born) > 500
    assert {series for series, value in born.items() if value} == set()


def test_hand_offs_equal_sql_at_every_step(platform: Path, whole: Samples) -> None:
    """By outcome, from the rows' own times."""
    with closing(sqlite3.connect(platform)) as connection:
        rows = connection.execute(
            "SELECT (julianday(timestamp) - 2440587.5) * 86400, success FROM handoff_events WHERE success IS NOT NULL"
        ).fetchall()
    for at, shown in whole.items():
        for outcome, flag in (("success", 1), ("failure", 0)):
            expected = sum(1 for time, success in rows if time <= at + 0.0005 and success == flag)
            ours = sum(
                value
                for series, value in shown.items()
                if series.startswith("orchestration_handoffs_total{") and f'outcome="{outcome}"' in series
            )
            assert ours == expected, (at, outcome)


ALONE = (
    "orchestration_handoffs?_in_flight.*",
    "orchestration_session_cost_usd|orchestration_sessions_started_total",
    "orchestration_ledger_(net_)?(cost|savings).*",
    "orchestration_exporter_(rows_read_total|data_last_event.*)",
)
"""A gauge of what is open, sessions, the ledger, what is the exporter's own."""
OTHERS_ALONE = (
    "orchestration_handoffs_total",
    "orchestration_sessions_active|orchestration_active_session_.*_max",
    "orchestration_handoff_escalations_total",
    "orchestration_model_info",
    "orchestration_exporter_rows_rejected_total",
    "orchestration_(tasks|activities)_total|orchestration_task_duration_seconds",
)


@pytest.mark.bulk
@pytest.mark.parametrize("metric", [*ALONE, *later(*OTHERS_ALONE)])
def test_a_metric_alone_is_what_it_is_among_all(metric: str, platform: Path, whole: Samples, tmp_path: Path) -> None:
    """Only the tables and declarations that it is made of are read and counted, and no number is another."""
    out = tmp_path / "out"
    start = sorted(whole)[len(whole) // 2]
    arguments = ["--from", start, "--to", END_S, "--step", "30m", "--metric", metric]
    assert run("--database", platform, *arguments, "--output", out) == 0

    def chosen(shown: dict[str, float]) -> dict[str, float]:
        names = (re.sub(r"_(bucket|count|sum)$", "", series.partition("{")[0]) for series in shown)
        return {s: v for (s, v), name in zip(shown.items(), names, strict=True) if re.fullmatch(metric, name)}

    ours = samples(out)
    assert all(ours.values())
    assert ours == {at: chosen(shown) for at, shown in whole.items() if at >= start}


def test_two_runs_give_the_same_bytes(platform: Path, tmp_path: Path) -> None:
    """In processes of different hash seeds."""
    written = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        command = [sys.executable, "-m", "exporter", "backfill", "--database", str(platform), "--to", str(END_S)]
        subprocess.run(
            [*command, "--from", str(END_S - 10_000), "--output", str(out), "--step", "20m"],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(cli.__file__).parents[1])},
        )
        written.append({path.name: path.read_bytes() for path in out.iterdir()})

    assert written[0] == written[1]


def test_rows_of_every_odd_kind(platform: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unusable times, rows ahead of now, deleted rows, unknown sessions: at the seam they are what `once` shows."""
    odd = tmp_path / "odd.db"
    shutil.copyfile(platform, odd)
    with closing(sqlite3.connect(odd, isolation_level=None)) as connection:
        connection.execute("UPDATE handoff_events SET timestamp = 'soon' WHERE id % 7 = 0")
        connection.execute("UPDATE handoff_events SET timestamp = NULL WHERE id % 11 = 0")
        connection.execute("UPDATE handoff_events SET session_id = 'nobody' WHERE id % 13 = 0")
        connection.execute("UPDATE handoff_events SET success = NULL WHERE id % 5 = 0 AND id % 7 AND id % 11")
        connection.execute("UPDATE task_outcomes SET timestamp = '2999-01-01' WHERE id % 9 = 0")
        connection.execute("DELETE FROM subagent_invocations WHERE id % 3 = 0")
    out = tmp_path / "out"
    metric = "orchestration_(handoffs_total|tasks_total|subagent_invocations_total|exporter_rows_re.*_total)"
    assert run("--database", odd, "--to", END_S, "--step", "1h", "--metric", metric, "--output", out) == 0
    ours = {as_scraped(series): value for series, value in samples(out)[END_S].items()}

    shown = {s: v for s, v in once(odd, END_S, capsys).items() if re.match(metric, s)}
    assert len(shown) > 50
    assert ours == shown


def test_rows_without_time_and_result_time_out_from_their_neighbours_time(
    platform: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`once` has them in flight, for there their time is now."""
    odd = tmp_path / "odd.db"
    shutil.copyfile(platform, odd)
    with closing(sqlite3.connect(odd, isolation_level=None)) as connection:
        query = (
            "UPDATE handoff_events SET timestamp = NULL, success = NULL "
            "WHERE id % 10 = 0 AND success IS NOT NULL AND julianday(timestamp) < julianday(?, 'unixepoch')"
        )
        rows = connection.execute(query, (END_S - 40_000,)).rowcount
    out = tmp_path / "out"
    metric = "orchestration_handoffs_(total|in_flight)"
    assert run("--database", odd, "--to", END_S, "--step", "1h", "--metric", metric, "--output", out) == 0
    ours = {as_scraped(series): value for series, value in samples(out)[END_S].items()}
    shown = {s: v for s, v in once(odd, END_S, capsys).items() if re.match(metric, s)}

    assert rows > 20
    assert total(ours, "orchestration_handoffs_total") - total(shown, "orchestration_handoffs_total") == rows
    assert total(shown, "orchestration_handoffs_in_flight") - total(ours, "orchestration_handoffs_in_flight") == rows


@pytest.mark.bulk
@pytest.mark.parametrize("minutes", [130, 300], ids=["soon", "after the timeout"])
def test_a_session_counts_from_an_event_before_its_own_start(
    minutes: int, platform: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, and its events with its project; `once` of the rows up to then does not know it. At the seam all agree."""
    odd = tmp_path / "odd.db"
    shutil.copyfile(platform, odd)
    start, early, last = (datetime.fromtimestamp(END_S - 60 * m, UTC).isoformat() for m in (120, minutes, 90))
    with closing(sqlite3.connect(odd, isolation_level=None)) as connection:
        session = "INSERT INTO orchestration_sessions (session_id, start_time, project_name) VALUES ('s', ?, 'bird')"
        connection.execute(session, (start,))
        for at in (early, last):
            event = "INSERT INTO handoff_events (session_id, timestamp, target_model, success) VALUES ('s', ?, 'm', 1)"
            connection.execute(event, (at,))
    out = tmp_path / "out"
    metric = "orchestration_(sessions_(started_total|ended_total|active)|handoffs_total|session_(duration.*|handoffs))"
    arguments = ["--from", END_S - 6 * 3600, "--to", END_S, "--step", "10m", "--metric", metric]
    assert run("--database", odd, *arguments, "--output", out) == 0

    def birds(shown: dict[str, float]) -> dict[str, float]:
        return {series: value for series, value in shown.items() if 'project="bird"' in series}

    found = samples(out)
    of = {round((END_S - at) / 60): birds(shown) for at, shown in sorted(found.items())}

    def rises(name: str) -> list[int]:
        return [ago for (_, before), (ago, now) in pairwise(of.items()) if total(now, name) > total(before, name)]

    assert rises("orchestration_sessions_started") == [minutes]
    assert rises("orchestration_handoffs_total") == [minutes, 90]
    assert [ago for ago, now in of.items() if total(now, "orchestration_sessions_active")] == [*range(minutes, 30, -10)]
    assert rises("orchestration_sessions_ended") == [30]
    shown = {s: v for s, v in once(odd, END_S, capsys).items() if re.match(metric, s)}
    assert {as_scraped(s): v for s, v in found[END_S].items()} == pytest.approx(shown, rel=1e-9)


def test_an_outage_has_up_0_and_nothing_else(platform: Path, tmp_path: Path) -> None:
    """For as long as it lasts."""
    out = tmp_path / "out"
    start = END_S - 7200
    arguments = ["--from", start, "--to", END_S, "--step", "10m", "--outage", f"{END_S - 3600}/{END_S - 1800}"]
    assert run("--database", platform, *arguments, "--metric", "orchestration_handoffs_total", "--output", out) == 0

    lines = "".join(path.read_text() for path in out.iterdir()).split("\n")
    up = {float(line.split(" ")[2]): line.split(" ")[1] for line in lines if line.startswith("up{")}
    assert [at for at, value in up.items() if value == "0"] == [END_S - 3600, END_S - 3000, END_S - 2400]
    assert samples(out).keys() == {at for at, value in up.items() if value == "1"}


BAD = (
    ("--output OUT --from 2026-11-23 --to 2026-11-22", 2, "must be earlier than --to"),
    ("--output OUT --step 500ms", 2, "must be a duration from 1s"),
    ("--output OUT --metric [", 2, "must be a regular expression"),
    ("--output OUT --metric nothing", 1, "no metric has such a name"),
    ("--output OUT --to 2999-01-01", 1, "must not be later than now"),
    ("--output OUT --to 2001-01-01", 1, "there is nothing to write"),
    ("--output OUT --outage 2026-11-23", 2, "must be FROM/TO"),
    ("--output OUT --source other", 2, "no such source"),
    ("--output OUT/deeper/still", 2, "does not exist"),
    ("--output FULL", 2, "exists, and is not empty"),
    ("--output - --promtool promtool", 2, "needs a folder"),
    ("", 2, "needs a folder, or - for stdout"),
)


@pytest.mark.parametrize("arguments, code, said", BAD)
def test_bad_input_is_one_line(
    arguments: str, code: int, said: str, platform: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And leaves nothing."""
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").touch()
    given = [word.replace("OUT", str(tmp_path / "out")).replace("FULL", str(full)) for word in arguments.split()]

    assert run("--database", platform, *given) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_full_disk_leaves_nothing_half_written(platform: Path, tmp_path: Path) -> None:
    """One line, and no file under a final name: here a file may have 600 kB."""
    out = tmp_path / "out"
    command = (
        f"ulimit -f 20000; exec '{sys.executable}' -m exporter backfill --database '{platform}' --to {END_S} "
        f"--output '{out}' --step 1m"
    )
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(cli.__file__).parents[1])},
        check=False,
    )

    assert done.returncode == 1
    assert "cannot be written: File too large" in done.stderr.splitlines()[-1]
    assert [path.name for path in out.iterdir() if not path.read_bytes().endswith(b"# EOF\n")] == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_system_that_is_full_leaves_nothing_half_written(platform: Path, tmp_path: Path) -> None:
    """A small one of its own, in a mount namespace."""
    prefix = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--mount")
    if sys.platform != "linux" or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"{NOT_RUN}unshare and a mount namespace")
    command = (
        'mount -t tmpfs -o size=12m none "$0" || exit 9; '
        f"'{sys.executable}' -m exporter backfill --database '{platform}' --to {END_S} "
        f'--output "$0/out" --step 1m; code=$?; find "$0" -mindepth 1; exit $code'
    )
    done = subprocess.run(
        [*prefix, "sh", "-c", command, str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(cli.__file__).parents[1]), "PATH": os.environ["PATH"]},
        check=False,
    )

    assert done.returncode == 1
    assert "cannot be written: No space left on device" in done.stderr.splitlines()[-1]
    assert done.stdout.splitlines() == [f"{tmp_path}/out"]


def test_the_helper_keeps_what_it_made(prometheus_tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time nothing is made."""
    first = history(prometheus_tools, days=0.2, step_s=300, metric="orchestration_handoffs_total|up")
    refused: Callable[..., None] = pytest.fail
    monkeypatch.setattr("tests.history.make", refused)

    assert history(prometheus_tools, days=0.2, step_s=300, metric="orchestration_handoffs_total|up") == first


@pytest.mark.slow
async def test_the_seam_in_a_real_prometheus(
    start_prometheus: StartPrometheus, prometheus_tools: Tools, tmp_path: Path
) -> None:
    """Backfilled up to the exporter's first publish, then scraped: no reset, no jump, no gap larger than a step."""
    now, database = time.time(), tmp_path / "platform.db"
    written_history(database, demo.Settings(seed=3, history_s=4 * 3600), now).close()
    with Serving(tmp_path / "exporter", database) as exporter:
        exporter.start()
        live = exporter.scrape()
        arguments = ["--database", database, "--storage.path", tmp_path / "exporter" / "state", "--step", "1m"]
        arguments += ["--instance", exporter.address, "--job", "seam", "--promtool", prometheus_tools.promtool]
        assert await asyncio.to_thread(run, *arguments, "--output", tmp_path / "data") == 0
        server = await start_prometheus(storage=tmp_path / "data", targets=[exporter.address], job="seam")
        await server.wait_for('sum(count_over_time(up{job="seam"}[2s])) > 3')
        end = time.time()
        names = [metric.name for metric in SCHEMA.metrics if isinstance(metric, Counter)]
        names += [f"{metric.name}_count" for metric in SCHEMA.metrics if isinstance(metric, Histogram)]
        resets = [name for name in names if await server.query(f"resets({name}[5h]) > 0", end)]
        # what happened in the minutes before the seam is none: only what was added since the last sample of the past
        seam = await server.value("max(orchestration_counting_since_timestamp_seconds)", end) + 0.001
        jump = "({0} - {0} @ {1:.3f}) > 60"
        over = [name for name in names if "_usd" not in name and await server.query(jump.format(name, seam), end)]
        past = await server.value(f"sum(orchestration_handoffs_total @ {seam:.3f})", end)
        up = await server.query_range("time() - timestamp(up)", start=end - 4 * 3600, end=end, step_s=60)
        total = await server.value("sum(orchestration_handoffs_total)", end)

    assert resets == []
    assert over == []
    assert len(up) == 1  # one series, of the past and of the present
    assert max(age for _, age in up[0].points) <= 60
    assert {after - before for (before, _), (after, _) in pairwise(up[0].points)} == {60}
    assert up[0].points[-1][0] > end - 60
    assert past == total == live.total("orchestration_handoffs_total") > 0
