"""What happens to real database files: no counter falls, nothing is counted twice, nothing is lost.

What is published is compared with a ledger that the test's platform keeps of every row it ever committed.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.demo.schema import TABLES
from tests.cases import later
from tests.running import MODES, Books, Clock, Polling, Shown, assert_exact

pytestmark = pytest.mark.bulk

REWINDS = "orchestration_exporter_source_rewinds_total"
UNCERTAIN = "orchestration_exporter_rewind_uncertain_rows_total"
READ = (
    "orchestration_sessions",
    "handoff_events",
    "subagent_invocations",
    "task_outcomes",
    "claude_code_hooks",
    "routing_decisions",
)
ALL_OVER_S = 8 * 3600.0
"""After so long every hand-off in flight and every open session is over."""

BACKUP = """
import sqlite3, sys
source, target = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2], timeout=10)
source.backup(target)
source.close()
target.close()
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """A platform that writes and an exporter that polls it, on one clock."""

    books: Books
    polling: Polling

    async def exact(self, *others: Books) -> Shown:
        """What is shown once all was read: what was committed, and no counter ever fell."""
        shown = await self.polling.settled()
        assert_exact(shown, self.books, *others)
        assert self.polling.falls == []
        return shown

    async def over(self, *others: Books) -> Shown:
        """The same at the very end, after a restart: every session ended once, nothing is in flight."""
        for books in (self.books, *others):
            books.vanish()
        await self.polling.restart()
        # rows that a checkpoint held do not time out in the first minute after a start
        self.polling.clock.advance(70.0)
        await self.polling.polled()
        self.polling.clock.advance(ALL_OVER_S)
        await self.polling.polled()
        self.polling.clock.advance(70.0)
        shown = await self.exact(*others)
        started = shown.by_labels("orchestration_sessions_started_total")
        for labels, value in started.items():
            assert shown.total("orchestration_sessions_ended_total", **dict(labels)) == value, dict(labels)
        assert shown.total("orchestration_sessions_active") == 0
        return shown

    async def stopped_for(self, change: Awaitable[object]) -> None:
        """Let something happen while the exporter is stopped."""
        await self.polling.stop()
        await change
        await self.polling.start(until_ready=False)
        await self.polling.polled()
        self.polling.clock.advance(6.0)
        await self.polling.until(lambda: self.polling.poller.ready, "ready")


@pytest.fixture(params=[MODES[0], *later(*MODES[1:])])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    """A platform with some rows, in each journal mode, and an exporter that has read them."""
    clock = Clock()
    async with Books(tmp_path / "platform" / "orchestration.db", clock, mode=request.param) as books:
        await books.traffic()
        async with Polling(books.path, tmp_path / "state", clock) as polling:
            scene = Scene(books, polling)
            await scene.exact()
            yield scene


async def run(*command: object) -> None:
    """Run a program to its good end, in a process of its own: a file this one closes loses its locks."""
    await asyncio.to_thread(subprocess.run, [*map(str, command)], check=True, timeout=30)


# ── the checks themselves ────────────────────────────────────────────────────────────────────────────────────


async def test_a_row_lost_or_counted_twice_is_noticed(scene: Scene) -> None:
    """The comparison with the ledger names the metric and both values; one label wrong is two differences."""
    (labels, value), *_ = scene.polling.shown.by_labels("orchestration_tasks_total").items()
    scene.books.ledger.add("tasks_total", **dict(labels))
    [said] = scene.books.ledger.differences(scene.polling.shown)
    assert said.startswith("orchestration_tasks_total")
    assert said.endswith(f"committed {value + 1}, published {value}")
    scene.books.ledger.add("tasks_total", -1.0, **{**dict(labels), "model": "another"})
    assert len(scene.books.ledger.differences(scene.polling.shown)) == 2


def test_a_counter_that_falls_or_goes_is_noticed() -> None:
    """Gauges may fall, and so may the process's own."""
    before = Shown({'a_total{b="c"}': 2.0, "d_sum": 1.5, "e": 9.0, "f_bucket": 1.0, "process_cpu_total": 3.0})
    after = Shown({'a_total{b="c"}': 1.0, "d_sum": 1.5, "e": 1.0, "process_cpu_total": 0.0})
    assert before.falls(after) == ['a_total{b="c"}: 2.0 -> 1.0', "f_bucket: 1.0 -> None"]
    assert after.falls(before) == []


# ── retention ────────────────────────────────────────────────────────────────────────────────────────────────


async def delete_read(scene: Scene, where: str = "1") -> None:
    """The platform deletes rows that were read."""
    for table in READ:
        await scene.books.sql(f"DELETE FROM {table} WHERE {where}")


async def test_retention_at_the_low_end_changes_nothing(scene: Scene) -> None:
    """Old rows go while new ones come, half of the hand-offs, then all that is there; then VACUUM."""
    await delete_read(scene, "id <= 2")
    await scene.books.traffic()
    await scene.exact()

    scene.books.vanish()
    await delete_read(scene)
    await scene.exact()
    await scene.books.sql("VACUUM")
    await scene.books.traffic()
    await scene.exact()

    assert (await scene.over()).total(REWINDS) == 0


async def test_retention_while_the_exporter_is_stopped_changes_nothing(scene: Scene) -> None:
    """Rows that were read are gone when it comes back."""

    async def retention() -> None:
        scene.books.vanish()
        await delete_read(scene)
        await scene.books.traffic()

    await scene.stopped_for(retention())
    await scene.exact()
    assert (await scene.over()).total(REWINDS) == 0


# ── restore ──────────────────────────────────────────────────────────────────────────────────────────────────


async def by_rename(backup: Path, path: Path) -> None:
    """Put a copy in the file's place at one stroke."""
    aside = shutil.copyfile(backup, path.with_name("aside"))
    Path(aside).replace(path)


async def by_copying(backup: Path, path: Path) -> None:
    """Copy over the file in place."""
    await run("cp", backup, path)


async def by_backup_api(backup: Path, path: Path) -> None:
    """Have SQLite copy the pages into the file, in a transaction of its own."""
    await run(sys.executable, "-c", BACKUP, backup, path)


Restore = Callable[[Path, Path], Awaitable[None]]
RESTORES = [by_rename, by_copying, *later(by_backup_api)]


async def backed_up(scene: Scene, name: str = "backup.db") -> tuple[Path, int]:
    """An online backup of the running platform, and the highest id of its hand-offs."""
    backup = scene.books.path.with_name(name)
    await run(sys.executable, "-c", BACKUP, scene.books.path, backup)
    [[top]] = await scene.books.sql("SELECT max(id) FROM handoff_events")
    return backup, top


@pytest.mark.parametrize("watching,sessions", [(True, 1), (False, 6)], ids=["watching-shorter", "stopped-longer"])
@pytest.mark.parametrize("restore", RESTORES)
async def test_an_older_copy_that_grows_differently_adds_what_is_new(
    scene: Scene, restore: Restore, watching: bool, sessions: int
) -> None:
    """Ids come again with other rows, fewer or more than were lost; whether the exporter watched it or not."""
    backup, top = await backed_up(scene)
    await scene.books.traffic()
    await scene.exact()

    async def restored() -> None:
        await scene.books.close()
        await restore(backup, scene.books.path)
        if watching:
            await scene.polling.polled()
        await scene.books.open()
        await scene.books.traffic(sessions)

    scene.books.vanish(above=top)
    await (restored() if watching else scene.stopped_for(restored()))
    await scene.exact()
    await scene.books.traffic()
    shown = await scene.over()
    assert shown.total(REWINDS) > 0
    assert shown.total(UNCERTAIN) == 0


@pytest.mark.parametrize("restore", RESTORES)
async def test_a_copy_restored_twice_is_counted_once(scene: Scene, restore: Restore) -> None:
    """Back to the backup, on, back to what was there in between, on: each row once."""
    backup, top = await backed_up(scene)
    await scene.books.traffic()
    await scene.exact()
    between, _ = await backed_up(scene, "between.db")
    scene.books.vanish(above=top)

    for copy in (backup, between, backup):
        await scene.books.close()
        await restore(copy, scene.books.path)
        await scene.books.open()
        await scene.polling.settled()
        await scene.books.traffic(in_flight=0)
        await scene.exact()
    await scene.over()


# ── replacement ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "watching,sessions",
    [(True, 3), (True, 1), (False, 8)],
    ids=["watching-same ids", "watching-fewer", "stopped-more"],
)
@pytest.mark.parametrize("replace", [by_rename, *later(by_copying)])
async def test_another_database_in_its_place_adds_all_its_rows(
    scene: Scene, tmp_path: Path, replace: Restore, watching: bool, sessions: int
) -> None:
    """The same ids with other rows: all of them are new."""
    other = Books(tmp_path / "other" / "other.db", scene.polling.clock, mode=scene.books.mode, name="b")
    async with other:
        await other.traffic(sessions)

    async def replaced() -> None:
        await scene.books.close()
        await replace(other.path, scene.books.path)

    scene.books.vanish()
    await (replaced() if watching else scene.stopped_for(replaced()))
    await scene.exact(other)
    other.path = scene.books.path
    async with other:
        await other.traffic()
        await scene.exact(other)
        shown = await scene.over(other)
    assert shown.total(REWINDS) > 0


# ── changes within the file ──────────────────────────────────────────────────────────────────────────────────


async def test_vacuum_changes_nothing(scene: Scene) -> None:
    """Also where rows are missing, and with new ones at once."""
    await delete_read(scene, "id = 3")
    await scene.books.sql("VACUUM")
    await scene.exact()
    await scene.books.traffic()
    await scene.books.sql("VACUUM")
    await scene.exact()
    assert (await scene.over()).total(REWINDS) == 0


async def test_the_journal_mode_changes_nothing(scene: Scene) -> None:
    """To the other one and back, with rows in each."""
    for mode in (*MODES, scene.books.mode):
        for _ in range(50):
            if await scene.books.sql(f"PRAGMA journal_mode = {mode}") == [[mode]]:
                break
        else:
            pytest.fail(f"the journal mode was never {mode}")
        await scene.books.traffic()
        await scene.exact()
    assert (await scene.over()).total(REWINDS) == 0


def rebuilding(table: str) -> list[str]:
    """The statements that give a table new columns, in front and behind, as SQLite's documentation says."""
    create = next(" ".join(found.split()) for found in TABLES.split(";") if f"CREATE TABLE {table} (" in found)
    create = create.replace(table, "rebuilt", 1)
    create = create.replace(" session_id TEXT", " tenant TEXT DEFAULT 'acme', session_id TEXT", 1)
    old = "id, session_id, " + ("start_time" if table == "orchestration_sessions" else "timestamp")
    others = {
        "orchestration_sessions": "project_name, end_time",
        "handoff_events": "task_type, source_model, target_model, success, cost, savings, tokens_used, response_time"
        ", metadata",
    }
    columns = f"{old}, {others[table]}"
    return [
        create,
        "ALTER TABLE rebuilt ADD COLUMN region TEXT DEFAULT 'eu'",
        f"INSERT INTO rebuilt ({columns}) SELECT {columns} FROM {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE rebuilt RENAME TO {table}",
    ]


@pytest.mark.parametrize("at_once", [True, False], ids=["in a transaction", "step by step"])
@pytest.mark.parametrize("table", ["handoff_events", "orchestration_sessions"])
async def test_a_table_rebuilt_with_new_columns_changes_nothing(scene: Scene, table: str, at_once: bool) -> None:
    """Without a transaction the table is away for a moment: the source is down until it is back."""
    statements = rebuilding(table)
    if at_once:
        await scene.books.transaction(statements)
    else:
        for statement in statements:
            await scene.books.sql(statement)
            await scene.polling.polled()
        assert scene.polling.polls("failure") > 0
    await scene.exact()
    for id_ in list(scene.books.in_flight):
        await scene.books.finish(id_)
    await scene.books.traffic()
    await scene.exact()
    assert (await scene.over()).total(REWINDS) == 0


async def test_a_table_rebuilt_with_a_lower_sequence_is_counted_on(scene: Scene) -> None:
    """The newest rows were deleted, then the table was rebuilt: their ids are given again."""
    await scene.books.sql("DELETE FROM handoff_events WHERE id > 4")
    scene.books.vanish(above=4)
    await scene.exact()
    await scene.books.transaction(rebuilding("handoff_events"))
    await scene.exact()
    await scene.books.traffic()
    await scene.exact()
    assert (await scene.over()).total(REWINDS) > 0


EDITS = {
    "an unread column": ("UPDATE {} SET task_description = 'edited'", ("handoff_events",), {}),
    "a counted number": ("UPDATE {} SET cost = 9.5", ("handoff_events",), {"cost": 9.5}),
    "a label": ("UPDATE {} SET target_model = 'renamed'", ("handoff_events",), {"target_model": "renamed"}),
    "times": ("UPDATE {} SET timestamp = datetime(timestamp, '-1 hour')", READ[1:], {}),
    "starts": ("UPDATE {} SET start_time = datetime(start_time, '-1 hour')", READ[:1], {}),
    "session ids": ("UPDATE {} SET session_id = 'x' || session_id", READ, {}),
    "session ids of events": ("UPDATE {} SET session_id = NULL", READ[1:], {"project": "unknown"}),
}


@pytest.mark.parametrize(
    "scene,watching",
    [
        pytest.param("wal", False, id="wal-stopped"),
        pytest.param("delete", True, id="delete-watching", marks=pytest.mark.slow),
    ],
    indirect=["scene"],
)
@pytest.mark.parametrize("edit", EDITS)
async def test_a_column_edited_in_all_rows_counts_nothing_again(scene: Scene, edit: str, watching: bool) -> None:
    """Rows that were read and rows that were not: only these count, as they are now."""
    statement, tables, overrides = EDITS[edit]

    async def edited() -> None:
        if overrides:
            scene.books.overrides = overrides
        if not watching:
            await scene.books.traffic()
        await scene.books.transaction([statement.format(table) for table in tables])

    if watching:
        await edited()
    else:
        await scene.stopped_for(edited())
    await scene.exact()
    for id_ in list(scene.books.in_flight):
        await scene.books.finish(id_)
    scene.books.overrides = {}
    for key, project in scene.books.sessions:
        await scene.books.handoff("x" + key if edit == "session ids" else key, project)
    await scene.books.traffic()
    await scene.exact()
    assert (await scene.over()).total(REWINDS) == 0


async def test_a_sequence_reset_after_all_rows_were_deleted_counts_the_new_ones(scene: Scene) -> None:
    """Ids begin at 1 again; every row under them is new, be they fewer or more than before."""
    scene.books.vanish()
    for sessions in (1, 5):
        await delete_read(scene)
        await scene.books.sql("DELETE FROM sqlite_sequence")
        scene.books.vanish()
        await scene.polling.settled()
        await scene.books.traffic(sessions)
        await scene.exact()
    assert (await scene.over()).total(REWINDS) > 0


async def test_a_sequence_reset_between_two_looks_counts_the_new_ones(scene: Scene) -> None:
    """Deleted, reset and filled again past the old end, all in one transaction."""

    async def reset() -> None:
        await delete_read(scene)
        await scene.books.sql("DELETE FROM sqlite_sequence")
        await scene.books.traffic(6)

    scene.books.vanish()
    await scene.stopped_for(reset())
    await scene.exact()
    await scene.over()


async def replace_session(scene: Scene, key: str, project: str, **values: str) -> None:
    """INSERT OR REPLACE, which gives a session's row another id."""
    columns = "".join(f", {name}" for name in values)
    literals = "".join(f", {value}" for value in values.values())
    await scene.books.sql(
        f"INSERT OR REPLACE INTO orchestration_sessions (session_id, project_name, start_time{columns}) "
        f"SELECT session_id, project_name, start_time{literals} FROM orchestration_sessions WHERE session_id = '{key}'"
    )
    [[found]] = await scene.books.sql(f"SELECT project_name FROM orchestration_sessions WHERE session_id = '{key}'")
    assert found == project


async def test_a_session_row_replaced_is_the_same_session(scene: Scene) -> None:
    """Open, it keeps what it did; closed by the replacement, it ends once; over, it does not start again."""
    for key, project in scene.books.sessions[-2:]:
        await replace_session(scene, key, project)
        await scene.books.handoff(key, project)
        await scene.exact()
    key, project = scene.books.sessions[0]
    await replace_session(scene, key, project, end_time=f"'{scene.books.now()}'")
    scene.polling.clock.advance(70.0)
    shown = await scene.exact()
    assert shown.total("orchestration_sessions_ended_total", end="closed") == 1

    await replace_session(scene, key, project)
    await scene.books.handoff(key, project)
    await scene.exact()
    shown = await scene.over()
    assert shown.total("orchestration_sessions_ended_total") == len(scene.books.sessions)
    assert shown.total("orchestration_sessions_ended_total", end="lost") == 0
    assert shown.total(REWINDS) == 0
