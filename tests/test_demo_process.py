"""The simulated platform as a process: started like a platform, stopped without a trace."""

import ast
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from exporter import demo
from tests.demoruns import connect, contents

ROOT = Path(__file__).parent.parent


def imported(source: str) -> set[str]:
    """The top-level packages a module imports."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        name.partition(".")[0] for name in plain | {n.module or "." for n in nodes if isinstance(n, ast.ImportFrom)}
    }


def test_only_the_standard_library_is_needed() -> None:
    """The demo starts without what the exporter needs, and knows nothing of it."""
    modules = list(Path(demo.__file__).parent.glob("*.py"))
    assert len(modules) > 5
    for module in modules:
        source = module.read_text(encoding="utf-8")
        assert imported(source) <= sys.stdlib_module_names | {"exporter"}
        assert set(re.findall(r"from exporter[\w.]*", source)) <= set(
            re.findall(r"from exporter\.demo[\w.]*", source)
        ) | {"from exporter.demo"}
    assert not imported("import yaml") <= sys.stdlib_module_names


def start(path: Path, *options: str) -> subprocess.Popen[str]:
    """The demo as the `demo` command starts it: a process of its own."""
    command = [sys.executable, "-m", "exporter.demo", str(path), *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def wait_for(condition: Callable[[], bool]) -> None:
    """Return as soon as it holds; fail after a minute."""
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def grown(path: Path, size_bytes: int) -> Callable[[], bool]:
    """Whether the log beside a database has reached that size."""
    log = path.with_name(f"{path.name}-wal")
    return lambda: log.exists() and log.stat().st_size >= size_bytes


def assert_ended(process: subprocess.Popen[str], path: Path, rows: int) -> None:
    """It exited 0 without a word, left one sound file and at least so many rows."""
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    with closing(connect(path)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert sum(len(found) for found in contents(conn).values()) >= rows


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """It says when the past is there, lives, and on a signal exits 0 with its log put away."""
    path = tmp_path / "demo.db"
    with start(path, "--history", "2d", "--speed", "100") as process:
        assert process.stdout is not None
        assert re.fullmatch(r"ready history_rows=\d{4,} seconds=[\d.]+\n", process.stdout.readline())
        wait_for(grown(path, 50_000))
        process.send_signal(number)
        assert_ended(process, path, rows=1_000)


def test_a_signal_in_the_past_leaves_none_of_it(tmp_path: Path) -> None:
    """History is all or nothing, so that the next start writes it whole."""
    path = tmp_path / "demo.db"
    with start(path, "--history", "3000d") as process:
        wait_for(grown(path, 2_000_000))
        process.terminate()
        assert_ended(process, path, rows=0)
    with closing(connect(path)) as conn:
        assert not any(contents(conn).values())


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """The end of stdin is the end of the parent; words on stdin are not."""
    path = tmp_path / "demo.db"
    with start(path, "--history", "0", "--speed", "100", "--stop-on-stdin-eof") as process:
        assert process.stdin is not None
        process.stdin.write("still here\n")
        process.stdin.flush()
        wait_for(grown(path, 700_000))
        process.stdin.close()
        process.stdin = None
        assert_ended(process, path, rows=20)


@pytest.mark.parametrize("limit", [("--max-rows", "50"), ("--duration", "0.5s")])
def test_it_ends_by_itself(tmp_path: Path, limit: tuple[str, str]) -> None:
    """After so many rows, or so long."""
    with start(tmp_path / "demo.db", "--history", "1h", "--speed", "1000", *limit) as process:
        assert_ended(process, tmp_path / "demo.db", rows=50)


@pytest.mark.parametrize(
    "options,code,said",
    [
        (["--history", "30"], 2, "demo: argument --history: a duration is .*: '30'"),
        (["--speed", "0"], 2, "demo: .*: speed must be a number above 0: 0.0"),
        (["--incident", "rain"], 2, "demo: argument --incident: must be one of model-outage, .*: 'rain'"),
        ([], 1, "demo: .*/demo.db: file is not a database"),
    ],
)
def test_wrong_input_is_named_in_one_line(tmp_path: Path, options: list[str], code: int, said: str) -> None:
    """On stderr, with exit code 2; a file that cannot be written is 1."""
    (tmp_path / "demo.db").write_text("This is a letter to a friend, not a database. " * 20)
    with start(tmp_path / "demo.db", *options) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert re.fullmatch(f"{said}\n", errors)
    assert output == ""
