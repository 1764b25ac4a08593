"""The benches on sizes that take no time: that they measure and tell, not what. No test here judges a duration."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__ as cli
from bench import books, live, logins, peer, publish, scan, scrape, tls, writer
from bench.databases import Platform, database
from bench.figure import Figure, percentile
from bench.scale import QUICK

TINY = replace(
    QUICK,
    many_rows=400,
    some_rows=400,
    ledger_entries=500,
    few_rows=200,
    many_sessions=40,
    few_sessions=20,
    new_rows=50,
    samples=300,
    series=300,
    scrapes=3,
    guarded_scrapes=3,
    scrapers=5,
    polls=1,
    warm_polls=0,
    idle_s=0.3,
    publishes=1,
    windows=1,
    window_s=0.1,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Databases of a test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────


def _bench(*figures: Figure) -> dict[str, object]:
    return {"fake": lambda scale: iter(figures)}


def _run(monkeypatch: pytest.MonkeyPatch, *figures: Figure, arguments: tuple[str, ...] = ()) -> int:
    monkeypatch.setattr(cli, "BENCHES", _bench(*figures))
    return cli.main(arguments)


def test_a_ratio_over_its_limit_is_told_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One figure over, one within: the first is named again at the end, and decides the exit code."""
    code = _run(monkeypatch, Figure("fake", "too slow", 1.3, 1.2), Figure("fake", "quick", 1.1, 1.2))

    printed = capsys.readouterr().out
    assert code == 1
    assert [line.split()[:6] for line in printed.splitlines() if "too slow" in line] == 2 * [
        ["fake", "1.3", "x", "<=", "1.2", "x"]
    ]
    assert "OVER" in printed.split("too slow")[0]
    assert "2 figures" in printed
    assert "1 over" in printed


@pytest.mark.parametrize("figure", [Figure("fake", "", 1.2, 1.2), Figure("fake", "", 50.0, 50.0, at_least=True)])
def test_a_ratio_at_its_limit_is_within(monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    """At most and at least include the limit."""
    assert figure.ok
    assert _run(monkeypatch, figure) == 0


@pytest.mark.parametrize("at_least", [False, True])
def test_what_could_not_be_measured_is_over(monkeypatch: pytest.MonkeyPatch, at_least: bool) -> None:
    """NaN keeps no limit, not even one that does not count."""
    figure = Figure("fake", "", float("nan"), 1.0, at_least=at_least)

    assert not figure.ok
    assert _run(monkeypatch, figure, arguments=("--quick",)) == 1


def test_limits_do_not_count_in_a_quick_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the full sizes."""
    assert _run(monkeypatch, Figure("fake", "", 2.0, 1.0), arguments=("--quick",)) == 0


def test_a_bench_that_fails_does_not_stop_the_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name and the reason are told, and the exit code is 1."""

    def fail(_scale: object) -> Iterator[Figure]:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(cli, "BENCHES", {"broken": fail, **_bench(Figure("fake", "went on", 1.0, 2.0))})
    code = cli.main([])

    told = capsys.readouterr()
    assert code == 1
    assert "went on" in told.out
    assert "no such luck" in told.err


def test_a_wrong_name_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the benches there are."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["scrap"])

    assert caught.value.code == 2
    assert "scrap: must be one of scrape, publish" in capsys.readouterr().err


def test_a_percentile_is_one_of_the_values() -> None:
    """The 99th of a hundred is the largest but one at most."""
    assert percentile([float(number) for number in range(100)], 0.99) == 99.0
    assert percentile([3.0, 1.0], 0.5) == 3.0


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_database_is_made_once_and_has_what_it_says() -> None:
    """The rows, the sessions, and no event without a session; what is written to it can be taken back."""
    path = database(400, 40)
    with closing(Platform(path)) as platform:
        platform.begin_everywhere()
        platform.commit(3, session=True)
        platform.forget(400, 40)

    assert database(400, 40) == path
    with closing(sqlite3.connect(path)) as connection:
        count = "SELECT (SELECT count(*) FROM handoff_events), (SELECT count(*) FROM orchestration_sessions)"
        orphans = "SELECT session_id FROM handoff_events EXCEPT SELECT session_id FROM orchestration_sessions"
        assert connection.execute(count).fetchone() == (400, 40)
        assert connection.execute(orphans).fetchall() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "measure, figures",
    [
        (scrape.measure, 3),
        (publish.measure, 1),
        (scan.measure, 1),
        (books.measure, 1),
        (live.measure_idle, 1),
        (live.measure, 2),
        (writer.measure, 4),
        (logins.measure, 1),
        (tls.measure, 2),
    ],
)
def test_it_measures(measure: object, figures: int) -> None:
    """Every bench but the peer's, which needs a package that is not installed: all figures have values."""
    assert callable(measure)
    found = list(measure(TINY))

    assert len(found) == figures
    assert all(figure.measured for figure in found)
    assert all(figure.ok for figure in found if "errors" in figure.what or "locked" in figure.what)


def test_the_peer_is_given_the_same_counters() -> None:
    """Its SQL runs on the platform's tables; each query has a column for each label and metric, and counts all rows."""
    config = peer.configuration(database(400, 40))
    metrics, queries = config["metrics"], config["queries"]
    assert isinstance(metrics, dict)
    assert isinstance(queries, dict)

    with closing(sqlite3.connect(database(400, 40))) as connection:
        for query in queries.values():
            cursor = connection.execute(query["sql"])
            columns = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
            wanted = [*metrics[query["metrics"][0]]["labels"], *query["metrics"]]
            assert columns == wanted
            assert "orchestration_handoffs_total" not in columns or sum(row[3] for row in rows) == 400
