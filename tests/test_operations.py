"""What docs/operations.md tells an operator to do, done as it is written there."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.realtools import Missing, cannot_run
from tests.sqlite_platform import INSERT, Platform
from tools.bring import REPOSITORY

DOC = (REPOSITORY / "docs" / "operations.md").read_text()
UNITS = REPOSITORY / "provisioning" / "systemd"
EXPOSURE_MAX = 2.0
"""Of 10, as `systemd-analyze security` rates it; below 2 it says OK, whatever it is that listens."""


def commands(heading: str) -> list[str]:
    """The blocks of shell below a heading, up to the next."""
    (text,) = re.findall(rf"(?ms)^#+ {heading}\n(.*?)(?=^#+ |\Z)", DOC)
    return re.findall(r"(?ms)^```sh\n(.*?)^```", text)


def do(block: str, **env: Path) -> str:
    """Run a block as a person would; what it prints."""
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", **{name: str(path) for name, path in env.items()}}
    done = subprocess.run(["sh", "-euc", block], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(path: Path) -> list[int]:
    """The ids of all rows of a database that is whole."""
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [number for (number,) in conn.execute("SELECT id FROM t ORDER BY id")]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform in WAL mode that has written ten hand-offs, of which the file itself knows none."""
    if not shutil.which("sqlite3"):
        cannot_run(Missing("sqlite3"))
    with closing(Platform(tmp_path / "live.db")) as found:
        found.sql("PRAGMA wal_autocheckpoint = 0")
        for _ in range(10):
            found.sql(INSERT)
        yield found


def test_a_backup_of_a_database_in_use_is_whole(platform: Platform, tmp_path: Path) -> None:
    """The online backup has every committed row; a copy of the file has not."""
    online, _ = commands("The platform's database")
    database, copy = tmp_path / "live.db", tmp_path / "copy.db"

    assert do(online, DATABASE=database, COPY=copy).strip() == "ok"

    shutil.copy(database, tmp_path / "plain.db")
    assert rows(copy) == list(range(1, 11))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        rows(tmp_path / "plain.db")


def test_a_restore_brings_back_what_was_saved(platform: Platform, tmp_path: Path) -> None:
    """After a crash the old log lies there still: the restore removes it, and the copy is what was saved."""
    online, restore = commands("The platform's database")
    database, copy = tmp_path / "live.db", tmp_path / "copy.db"
    do(online, DATABASE=database, COPY=copy)
    for _ in range(5):
        platform.sql(INSERT)
    platform.kill()
    for name in ("live.db-wal", "live.db-shm"):
        shutil.copy(tmp_path / name, tmp_path / name.replace("live", "careless"))
    shutil.copy(copy, tmp_path / "careless.db")

    do(restore, DATABASE=database, COPY=copy)

    assert rows(database) == list(range(1, 11))
    # over the log that was there, SQLite makes of the copy what it was not
    assert rows(tmp_path / "careless.db") != list(range(1, 11))


# ── systemd ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    if not shutil.which("systemd-analyze"):
        cannot_run(Missing("systemd"))
    text = (UNITS / "orchestration-exporter.service").read_text()
    program = "/opt/orchestration-exporter/bin/orchestration-exporter"
    assert text.count(program) == 1
    made = tmp_path / "orchestration-exporter.service"
    made.write_text(text.replace(program, "/bin/true"))
    return made


def analysed(command: str, unit: Path, *options: str) -> tuple[int, str]:
    """What systemd says of a unit."""
    done = subprocess.run(
        ["systemd-analyze", command, *options, str(unit)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_unit_is_valid_and_shut_in(unit: Path) -> None:
    """systemd finds nothing wrong with it, and rates it as little exposed."""
    assert analysed("verify", unit, "--man=no") == (0, "")

    _, said = analysed("security", unit, "--offline=true")

    (level,) = re.findall(r"Overall exposure level .*: ([0-9.]+)", said)
    assert float(level) < EXPOSURE_MAX


@pytest.mark.parametrize("there, instead", [("Type=exec", "Typ=exec"), ("TimeoutStopSec=15s", "TimeoutStopSec=soon")])
def test_a_unit_that_is_not_valid_is_caught(unit: Path, there: str, instead: str) -> None:
    """A key or a value that systemd does not know is told."""
    unit.write_text(unit.read_text().replace(there, instead))

    assert analysed("verify", unit, "--man=no")[1] != ""


def test_a_unit_that_is_open_is_caught(unit: Path) -> None:
    """Without its hardening it would be rated worse."""
    kept = [line for line in unit.read_text().splitlines() if not re.match("Protect|Private|Restrict|System|Cap", line)]
    unit.write_text("\n".join(kept))

    (level,) = re.findall(r"Overall exposure level .*: ([0-9.]+)", analysed("security", unit, "--offline=true")[1])

    assert float(level) > EXPOSURE_MAX


def test_the_unit_starts_the_exporter_as_it_is() -> None:
    """Every flag in it is one of `serve`."""
    flags = re.findall(r"(--[a-z.]+)=", (UNITS / "orchestration-exporter.service").read_text())
    told = subprocess.run(
        [sys.executable, "-m", "exporter", "serve", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )

    assert flags == ["--config.file", "--web.config.file", "--storage.path"]
    assert set(flags) <= set(re.findall(r"--[a-z.]+", told.stdout))
