"""Many real files and one real server: broken sources beside whole ones, and a configuration that changes meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.catalogue import SCHEMA
from exporter.cli import run
from tests.running import Books, Clock, Exporter, Shown, assert_exact, until
from tests.test_failures import half_copied, locked, missing, no_database, without_tables

POLLS = "orchestration_exporter_polls_total"
BREAKING = {
    "missing": missing,
    "no-database": no_database,
    "locked": locked,
    "half-copied": half_copied,
    "without-tables": without_tables,
}
WHOLE = tuple(f"whole-{number:02}" for number in range(15))


class Sources(Exporter):
    """An exporter of several sources, by a file that can be changed and read again."""

    def __init__(self, folder: Path, sources: Mapping[str, Path], **settings: Any) -> None:
        super().__init__(folder / "none.db", folder / "state")
        self.file = folder / "exporter.yml"
        at = self.command.index("--database")
        self.command[at : at + 2] = ["--config.file", str(self.file), "--web.enable-lifecycle"]
        self.write(sources, **settings)

    def write(self, sources: Mapping[str, Path], **settings: Any) -> None:
        """Write the file; what runs does not read it by itself."""
        given = [
            {"name": name, "database": str(path), "labels": {"tenant": f"of {name}"}} for name, path in sources.items()
        ]
        self.file.write_text(yaml.safe_dump({"sources": given, **settings}))

    def reload(self) -> tuple[int, str]:
        """POST /-/reload."""
        request = urllib.request.Request(f"{self.url}/-/reload", b"", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    def of(self, source: str) -> Shown:
        """What is served of one source alone, without its constant label; nothing where it is not served."""
        code, text = self.get(f"/metrics?source={source}")
        return Shown.of(text.replace(f',tenant="of {source}"', "")) if code == 200 else Shown()

    def are_exact(self, books: Mapping[str, Books], names: Collection[str]) -> bool:
        """Whether each of these is up and shows what was committed."""
        with contextlib.suppress(AssertionError):
            for name in names:
                shown = self.of(name)
                assert shown.total("orchestration_up") == 1.0
                assert_exact(shown, books[name])
            return True
        return False


async def written(folder: Path, names: Sequence[str], clock: Clock, *, in_flight: int = 1) -> dict[str, Books]:
    """A platform for each of these names, which has written some rows and is stopped."""
    made = {}
    for number, name in enumerate(names):
        mode = "delete" if name == "locked" or number % 2 else "wal"
        made[name] = Books(folder / name / "orchestration.db", clock, mode=mode, name=name)
        async with made[name] as books:
            await books.traffic(1, in_flight=in_flight)
    return made


def past() -> Clock:
    """A clock of the past, so that nothing is written in the future."""
    clock = Clock()
    clock.advance(-10_000.0)
    return clock


@pytest.mark.bulk
async def test_broken_sources_harm_and_delay_no_other(tmp_path: Path) -> None:
    """Of 20 sources 5 are broken, each in its way: the others are exact, and polled as if these were not there.

    The locked one's poll takes as long as it waits for the lock; were polls one after the other, all would take that.
    """
    books = await written(tmp_path, (*WHOLE, *BREAKING), past())
    exporter = Sources(tmp_path, {name: each.path for name, each in books.items()})
    async with contextlib.AsyncExitStack() as broken:
        for name, breaks in BREAKING.items():
            await broken.enter_async_context(breaks(books[name]))
        with exporter:
            until(lambda: exporter.get("/-/ready")[0] == 200 and exporter.are_exact(books, WHOLE))
            whole = exporter.shown()
            for name in BREAKING:
                assert exporter.of(name).total("orchestration_up") == 0.0
            down = [
                series for series, value in whole.samples.items() if series.startswith("orchestration_up{") if not value
            ]
            assert sorted(re.findall(r'source="([^"]+)"', "".join(down))) == sorted(BREAKING)
            told = [re.findall(r" source=(\S+)", line)[0] for line in exporter.lines("error", "critical")]
            assert sorted(told) == sorted(BREAKING)

            before = {name: exporter.of(name).total(POLLS) for name in books}
            async with books["whole-00"] as writing:
                await writing.traffic(1)
            until(lambda: exporter.of("locked").total(POLLS) >= before["locked"] + 2)
            assert exporter.are_exact(books, WHOLE)
            polls = {name: exporter.of(name).total(POLLS) - before[name] for name in books}
            assert min(polls[name] for name in WHOLE) > 2 * polls["locked"], polls

            await broken.aclose()
            until(lambda: exporter.are_exact(books, books))
            assert exporter.falls == []


@pytest.mark.bulk
async def test_a_changed_file_is_applied_while_rows_are_written(tmp_path: Path) -> None:
    """Sources come and go, rules change, by HTTP and by SIGHUP: at no scrape is a counter lower, and all is exact."""
    books = await written(tmp_path, ("one", "two", "three"), past(), in_flight=0)
    paths = {name: each.path for name, each in books.items()}
    exporter = Sources(tmp_path, {name: paths[name] for name in ("one", "two")})
    with exporter:
        until(lambda: exporter.are_exact(books, ("one", "two")))
        async with books["one"] as writing:
            stop = asyncio.Event()
            writer = asyncio.create_task(_write(writing, stop))
            await asyncio.to_thread(_change, exporter, paths)
            stop.set()
            await writer
        until(lambda: exporter.are_exact(books, ("one", "three")))
        assert exporter.get("/metrics?source=two") == (404, "no such source: there is one, three\n")
        assert 'source="two"' not in exporter.get("/metrics")[1]
        assert [fall for fall in exporter.falls if 'source="two"' not in fall] == []


async def _write(books: Books, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await books.traffic(1, in_flight=0)
        await asyncio.sleep(0.02)


def _change(exporter: Sources, paths: Mapping[str, Path]) -> None:
    """Change the file again and again, and scrape in between."""
    for idle_s in (1_800, 900):
        exporter.write(paths, session_idle_timeout=idle_s)
        assert exporter.reload() == (200, "")
        until(lambda: exporter.of("three").total("orchestration_up") == 1.0 and exporter.up() == 3.0)
        enough = exporter.of("one").total(POLLS) + 3
        until(lambda enough=enough: exporter.shown() and exporter.of("one").total(POLLS) >= enough)
    exporter.write({name: path for name, path in paths.items() if name != "two"}, session_idle_timeout=900)
    exporter.process.send_signal(signal.SIGHUP)
    until(lambda: exporter.shown() and exporter.get("/metrics?source=two")[0] == 404)


async def test_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    """One clear line in the answer and in the log; what runs goes on as it was, and is exact."""
    books = await written(tmp_path, ("one", "two"), past())
    exporter = Sources(tmp_path, {name: each.path for name, each in books.items()})
    with exporter:
        until(lambda: exporter.are_exact(books, books))
        text = exporter.file.read_text()
        exporter.file.write_text(text.replace("name: two", "name: one"))

        code, told = exporter.reload()

        error = r"exporter\.yml:\d+ sources\[1\]\.name: \"one\": is the name of sources\[0\] already"
        assert code == 500
        assert re.fullmatch(rf"the old configuration stays: \S+{error}\n", told)
        [line] = exporter.lines("error")
        assert 'msg="configuration is wrong, the old one stays"' in line
        assert exporter.shown().total("orchestration_exporter_config_last_reload_successful") == 0.0
        async with books["two"] as writing:
            await writing.traffic(1)
        until(lambda: exporter.are_exact(books, books))

        exporter.file.write_text(text)
        assert exporter.reload() == (200, "")
        assert exporter.shown().total("orchestration_exporter_config_last_reload_successful") == 1.0


async def test_commands_take_each_source_in_turn(tmp_path: Path, capsys: Any) -> None:
    """`once` prints all as one, `check` and `indexes` say which they speak of; one that fails fails the command."""
    books = await written(tmp_path, ("one", "two"), past())
    exporter = Sources(tmp_path, {name: each.path for name, each in books.items()})

    def ran(command: str) -> tuple[int, str]:
        code = run([command, "--config.file", str(exporter.file)], {}, SCHEMA)
        return code, capsys.readouterr().out

    async def done(command: str) -> tuple[int, str]:
        return await asyncio.to_thread(ran, command)

    code, told = await done("once")
    assert code == 0
    assert len(re.findall(r"(?m)^# TYPE orchestration_handoffs_total ", told)) == 1
    assert set(re.findall(r'source="([^"]+)"', told)) == {"one", "two"}

    code, told = await done("check")
    lines = told.splitlines()
    assert code == 0
    assert [line.partition(": ")[0] for line in lines if "check passed" in line] == ["one", "two"]
    assert {line.partition(": ")[0] for line in lines} == {"one", "two"}

    code, told = await done("indexes")
    assert (code, re.findall(r"(?m)^-- (\S+): /", told)) == (0, ["one", "two"])

    async with missing(books["one"]):
        assert (await done("once"))[0] == 1
        code, told = await done("check")
    assert (code, "one: check failed" in told, "two: check passed" in told) == (1, True, True)
