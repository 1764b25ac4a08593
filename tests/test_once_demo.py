"""`once` on a database of the simulated platform equals plain SQL: 20,000 rows, and (slow) 200,000."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter.demo import Settings
from exporter.demo.settings import DAY_S
from tests.againstsql import FAMILIES, LEDGER, Family, Oracle, differences, once, parse
from tests.cases import later
from tests.demoruns import NOW_S, written_history

pytestmark = pytest.mark.bulk

BERLIN = "Europe/Berlin"
NOW = datetime.fromtimestamp(NOW_S, UTC).isoformat()
FINAL = datetime.fromtimestamp(NOW_S + DAY_S, UTC).isoformat()

# Days of history by the number of rows they make, rounded down.
HISTORIES = {20_000: 8, 200_000: 94}
ROWS = [20_000, *later(200_000)]


@pytest.fixture(scope="module", params=ROWS)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A past of at least so many rows, ending on a Monday at half past noon; work is going on."""
    path = tmp_path_factory.mktemp("demo") / "demo.db"
    with closing(written_history(path, Settings(history_s=HISTORIES[request.param] * DAY_S))) as conn:
        [rows] = conn.execute("SELECT sum(seq) FROM sqlite_sequence").fetchone()
    assert rows >= request.param
    return path


@pytest.fixture(scope="module", params=[NOW, FINAL], ids=["now", "final"])
def now(request: pytest.FixtureRequest) -> str:
    """The end of the past, with sessions open and rows in flight; a day later, when there are none."""
    return str(request.param)


@contextmanager
def looking(database: Path, now: str, *, time_zone: str = "UTC") -> Iterator[Oracle]:
    """The SQL over a database that nobody writes; it makes temporary tables only."""
    with closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as connection:
        yield Oracle(connection, now, time_zone=time_zone)


@pytest.fixture(scope="module")
def oracle(database: Path, now: str) -> Iterator[Oracle]:
    """The SQL at each clock."""
    with looking(database, now) as found:
        yield found


@pytest.fixture(scope="module")
def page(database: Path, now: str) -> dict[str, Family]:
    """What `once` prints of it."""
    return parse(once(database, now))


@pytest.mark.parametrize("family", FAMILIES)
def test_once_equals_sql(family: str, oracle: Oracle, page: dict[str, Family]) -> None:
    """All series of the family are there, no other, each value equal to 1e-9."""
    assert differences(oracle, family, page.get(family, Family("absent", {})).values) == []


def test_the_demo_exercises_every_family(database: Path) -> None:
    """While work goes on each has a value above 0 that can have one, and each that is split by outcome has failures."""
    with looking(database, NOW) as oracle:
        idle = [family for family in FAMILIES if not any(value > 0 for value in oracle.series(family).values())]
        spared = [family for family in FAMILIES if {"success", "completed"} & outcomes(oracle, family)]
        lacking = [family for family in spared if not {"failure", "partial"} & outcomes(oracle, family)]
        rejected = oracle.rows("exporter_rows_rejected_total")

    assert set(idle) <= QUIET
    assert spared
    assert lacking == []
    assert rejected == []


QUIET = {"mcp_tool_cost_usd_total", "token_budgets_exhausted"}
"""Tool calls have no price; of the sessions that are open at the end few have used up their budget, or none."""


def outcomes(oracle: Oracle, family: str) -> set[str]:
    """The outcomes that occur in a family."""
    series = oracle.series(family).items()
    return {label for found, value in series if value for name, label in found.labels if name == "outcome"}


@pytest.mark.parametrize("clock", [NOW, "2026-11-30T22:59:59Z", "2026-11-30T23:10:00Z"])
def test_the_ledger_of_berlin_equals_sql(database: Path, clock: str, tmp_path: Path) -> None:
    """Local days, weeks and months, over the change of the clocks; the last second of a month, and the next month."""
    config = tmp_path / "config.yml"
    config.write_text(f"time_zone: {BERLIN}\n")

    page = parse(once(database, clock, config=config))

    with looking(database, clock, time_zone=BERLIN) as oracle:
        assert [line for family in LEDGER for line in differences(oracle, family, page[family].values)] == []
