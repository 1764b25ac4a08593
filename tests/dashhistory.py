"""The past of a platform in a Prometheus's storage: what the exporter would have shown at moments of then.

Rows newer than a moment are taken out of a copy of the database and the rest is read once, as of that moment; what
`once` prints becomes blocks by promtool. Slow for many moments, and exact for each.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import yaml

from tests.processes import environment
from tests.realtools import Tools
from tests.sqlite_platform import REPOSITORY

BUDGETS = (
    {"name": "all", "limit_usd": 2000.0, "period": "month"},
    {"name": "billing", "limit_usd": 500.0, "period": "week", "scope": {"project": "billing-api"}},
)
_TIMES = {"orchestration_sessions": "start_time", "token_budgets": "created_at"}


def past(database: Path, moments: Iterable[float], folder: Path, labels: str) -> str:
    """Return as OpenMetrics what was shown at each of the moments (Unix time), with ``labels`` on every series.

    Raises: CalledProcessError if the exporter cannot read the copy.
    """
    copy, config = folder / "past.db", folder / "past.yml"
    shutil.copyfile(database, copy)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    source = {"name": "default", "database": str(copy)}
    config.write_text(yaml.safe_dump({"sources": [source], "budgets": list(BUDGETS)}))
    texts = [(moment, _shown(copy, config, moment)) for moment in sorted(moments, reverse=True)]
    return _families([(moment, text) for moment, text in reversed(texts)], labels)


def _shown(database: Path, config: Path, moment: float) -> str:
    """What `once` prints as of a moment; rows newer than it are gone from the database afterwards."""
    at = datetime.fromtimestamp(moment, UTC)
    with closing(sqlite3.connect(database)) as connection, connection:
        named = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        for (table,) in named.fetchall():
            column = _TIMES.get(table, "timestamp")
            if column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}:
                connection.execute(f"DELETE FROM {table} WHERE {column} > ?", (f"{at:%Y-%m-%d %H:%M:%S}",))
    command = [
        sys.executable,
        "-m",
        "exporter",
        "once",
        "--config.file",
        str(config),
        "--now",
        f"{at:%Y-%m-%dT%H:%M:%SZ}",
    ]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def _families(texts: Sequence[tuple[float, str]], labels: str) -> str:
    """Several expositions as one: each family in one piece, each sample with its time."""
    heads: dict[str, str] = {}
    samples: dict[str, list[str]] = {}
    for moment, text in texts:
        family = ""
        for line in text.split("\n"):
            if match := re.match(r"# TYPE (\S+) (\S+)", line):
                family = match[1].removesuffix("_total") if match[2] == "counter" else match[1]
                heads[family] = f"# TYPE {family} {match[2]}"
            elif line and not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                name, _, rest = series.partition("{")
                own = f"{labels},{rest}" if rest else f"{labels}}}"
                samples.setdefault(family, []).append(f"{name}{{{own} {value} {moment:.0f}")
    parts = ["\n".join([heads[family], *lines]) for family, lines in samples.items()]
    return "\n".join([*parts, "# EOF", ""])


def stored(tools: Tools, openmetrics: str, folder: Path) -> Path:
    """Return a storage folder for a Prometheus that holds those samples.

    Raises: CalledProcessError with promtool's words.
    """
    text, storage = folder / "past.om", folder / "storage"
    text.write_text(openmetrics)
    command = [tools.promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(storage)]
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return storage
