"""A Prometheus data folder with days of the demo's history, made once and kept by what made it."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from exporter import config, demo
from exporter.backfill.progress import Progress
from exporter.backfill.run import Wanted, backfill
from exporter.catalogue import SCHEMA
from exporter.source.sqlite import SqliteSource
from tests.demoruns import NOW_S, written_history
from tests.realtools import Tools
from tools.bring import REPOSITORY, cache_folder

KEPT = 8


@dataclass(frozen=True, slots=True)
class History:
    """``blocks`` is a Prometheus data folder, ``database`` what it was made of; both end at Unix time ``end``."""

    blocks: Path
    database: Path
    end: float

    def copied(self, to: Path) -> Path:
        """A copy of the blocks for a Prometheus, which changes its folder; start it with a long retention."""
        return Path(shutil.copytree(self.blocks, to))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a history is made of.

    ``shown_days`` are those of its end that have samples (0: all), for what compares with a month before needs rows of
    then. ``metric`` is a regular expression of whole metric names, ``past`` has the demo's incidents, ``outages`` the
    times without samples (Unix seconds), ``budgets`` are the configuration's, as JSON.
    """

    days: float
    step_s: float = 60.0
    shown_days: float = 0
    metric: str = ""
    seed: int = 1
    end: float = NOW_S
    past: tuple[demo.Incident, ...] = ()
    outages: tuple[tuple[float, float], ...] = ()
    budgets: str = "[]"
    job: str = "orchestration"


def history(tools: Tools, **asked: Any) -> History:
    """The history asked for, in the words of `Asked`; made if it is not kept."""
    wanted = Asked(**asked)
    arguments = (wanted, tools.version)
    kept = cache_folder() / "history"
    folder = kept / hashlib.sha256(f"{_sources()} {arguments}".encode()).hexdigest()[:24]
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(prefix="making-", dir=kept) as making:
                make(Path(making), tools, wanted)
                Path(making).rename(folder)
                Path(making).mkdir()  # for TemporaryDirectory to remove
            _forget_oldest(kept, folder)
        os.utime(folder)
    return History(folder / "blocks", folder / "platform.db", wanted.end)


def make(folder: Path, tools: Tools, asked: Asked) -> History:
    """The history asked for, in a folder of the caller's: one that ends now is of no use to anybody else."""
    database = folder / "platform.db"
    platform = demo.Settings(seed=asked.seed, history_s=asked.days * 86400.0, past=asked.past)
    written_history(database, platform, asked.end).close()
    flags = {
        ("database",): str(database),
        ("storage", "path"): str(folder / "none"),
        ("budgets",): asked.budgets,
    }
    settings = config.load(flags=flags, environ={}, metrics=SCHEMA.metrics, needs_source=True)
    wanted = Wanted(
        output=folder / "blocks",
        start=asked.end - asked.shown_days * 86400.0 if asked.shown_days else None,
        to=asked.end,
        step_s=asked.step_s,
        metric=re.compile(asked.metric) if asked.metric else None,
        job=asked.job,
        instance="localhost:10477",
        outages=asked.outages,
        promtool=str(tools.promtool),
    )
    made = backfill(
        settings=settings,
        of=settings.sources[0],
        schema=SCHEMA,
        source=SqliteSource(database),
        wanted=wanted,
        progress=Progress(StringIO()),
    )
    with ThreadPoolExecutor(1) as thread:  # the test that asks may have a loop of its own running
        thread.submit(asyncio.run, made).result()
    return History(folder / "blocks", database, asked.end)


def _sources() -> str:
    """A digest of all that the numbers follow from."""
    digest = hashlib.sha256()
    for path in sorted((REPOSITORY / "exporter").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _forget_oldest(kept: Path, but: Path) -> None:
    found = [path for path in kept.iterdir() if path.is_dir() and not path.name.startswith("making-")]
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        if path != but:
            shutil.rmtree(path, ignore_errors=True)
