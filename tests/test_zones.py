"""The ledger's time zone: kept with it, refused when it is another, and the ledger made anew where that is wanted."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from exporter.config import ConfigError
from exporter.demo.schema import INDEXES, TABLES
from tests.model import Platform
from tests.processes import Looping
from tests.running import Exporter, until
from tests.sqlite_platform import REPOSITORY
from tests.test_poller import handoff, session

LEDGER = "orchestration_ledger_cost_usd"
ZONE = "Asia/Kathmandu"
"""5:45 ahead: the tests begin at 12:00 UTC on 2 March, at 17:45 there."""
HOUR_S, DAY_S = 3600.0, 86_400.0


@pytest.fixture
def platform() -> Platform:
    """A hand-off of today, one of yesterday evening in UTC that is today's in Kathmandu, and one of last month."""
    made = Platform()
    session(made, "s")
    for seconds, cost in ((-20 * DAY_S, 16.0), (-16 * HOUR_S, 4.0), (-HOUR_S, 1.0)):
        handoff(made, cost=cost, seconds=seconds)
    return made


async def test_another_zone_is_refused(platform: Platform, tmp_path: Path) -> None:
    """Days of one zone cannot be added up to those of another: one line that names both and what helps."""
    async with Looping(platform, tmp_path) as looping:
        assert looping.shown.total(LEDGER, period="day") == 1.0
        await looping.stop()

        with pytest.raises(ConfigError) as caught:
            await looping.start(time_zone=ZONE)

        assert str(caught.value) == (
            'time_zone: "Asia/Kathmandu": the ledger that is kept has the days of UTC: --rebuild-ledger makes it anew'
        )
        looping._task = None


async def test_the_ledger_is_made_anew_from_the_rows(platform: Platform, tmp_path: Path) -> None:
    """By the days of the other zone; no counter begins anew, and the next start needs no word."""
    async with Looping(platform, tmp_path) as looping:
        since = looping.counting_since
        storage = {"path": str(tmp_path), "rebuild_ledger": True}
        await looping.restart(time_zone=ZONE, storage=storage)

        assert looping.shown.total(LEDGER, period="day") == 5.0
        assert looping.shown.total(LEDGER, period="previous_month") == 16.0
        assert looping.shown.total("orchestration_cost_usd_total") == 21.0
        assert looping.counting_since == since

        await looping.restart(storage={"path": str(tmp_path)})
        assert looping.shown.total(LEDGER, period="day") == 5.0


async def test_days_of_which_rows_are_gone_stay(platform: Platform, tmp_path: Path) -> None:
    """Retention took last month's row: what was booked for it is all that is known."""
    async with Looping(platform, tmp_path) as looping:
        platform.sql("DELETE FROM handoff_events WHERE id = 1")
        await looping.advance(1)
        storage = {"path": str(tmp_path), "rebuild_ledger": True}
        await looping.restart(time_zone=ZONE, storage=storage)

        assert looping.shown.total(LEDGER, period="previous_month") == 16.0

    async with Looping(platform, tmp_path / "fresh") as fresh:
        assert fresh.shown.total(LEDGER, period="previous_month") == 0.0


async def test_a_rebuilt_ledger_goes_on(platform: Platform, tmp_path: Path) -> None:
    """What is booked afterwards is added, once, and late rows go to their day."""
    async with Looping(platform, tmp_path) as looping:
        await looping.restart(storage={"path": str(tmp_path), "rebuild_ledger": True})
        handoff(platform, cost=32.0, seconds=-20 * DAY_S)
        handoff(platform, cost=2.0)
        shown = await looping.advance(1)

        assert shown.total(LEDGER, period="day") == 3.0
        assert shown.total(LEDGER, period="previous_month") == 48.0


def test_the_command_ends_with_exit_code_2(tmp_path: Path) -> None:
    """Wrong input, told in one line, however many sources would say it."""
    sources = [f"- {{name: {name}, database: {written(tmp_path / f'{name}.db')}}}" for name in ("one", "two")]
    config = tmp_path / "c.yml"
    config.write_text("\n".join(["sources:", *sources]))
    exporter = Exporter(tmp_path / "none.db", tmp_path / "state", "--config.file", str(config))
    at = exporter.command.index("--database")
    del exporter.command[at : at + 2]
    with exporter:
        until(lambda: exporter.get("/-/ready")[0] == 200)
    config.write_text("\n".join([f"time_zone: {ZONE}", "sources:", *sources]))

    done = subprocess.run(
        exporter.command, cwd=REPOSITORY, env=exporter.env, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if "error" in line] == [
        'orchestration-exporter: error: time_zone: "Asia/Kathmandu": '
        "the ledger that is kept has the days of UTC: --rebuild-ledger makes it anew"
    ]


def written(path: Path) -> Path:
    """The platform's tables in a real file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES + INDEXES)
    return path
