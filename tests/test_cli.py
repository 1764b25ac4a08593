"""The command line as people use it: processes, signals, exit codes, and one line for what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import __version__, cli, commands, config, demo, demonstration, logs, serving
from exporter.catalogue import SCHEMA
from exporter.config import Settings
from exporter.demonstration import PlatformError
from exporter.options import PREFIX
from exporter.poller import Poller
from exporter.serving import ListenError, Reloader
from exporter.telemetry import Telemetry
from tests.test_web import Poller as FakePoller

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAM = (sys.executable, "-m", "exporter")
DEADLINE_S = 90.0
LOOK_S = 0.02
DURATION = "must be a duration from 0s to 3660d: seconds, or text such as 500ms, 30s, 5m, 1h, 2d"
MOMENT = "must be a time from 1970 to 2999: ISO 8601 such as 2026-11-21T17:40:00Z, or Unix seconds"
URL = "must be an http:// or https:// URL of host, port and path only"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A platform's database with one hand-off."""
    path = tmp_path / "orchestration.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        demo.create_schema(connection)
        connection.execute(
            "INSERT INTO handoff_events (session_id, timestamp, target_model, success, cost) VALUES (?, ?, ?, 1, 0.5)",
            ("s", "2026-11-21 17:00:00", "claude"),
        )
    return path


pytestmark = pytest.mark.usefixtures("logs_as_before")


def environment(**variables: str) -> dict[str, str]:
    """The tests' own environment with our variables as given."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**rest, **{PREFIX + name: value for name, value in variables.items()}}


def ran(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(**variables),
        cwd=REPOSITORY,
    )


def until(condition: Callable[[], object], what: str) -> None:
    """Look again and again until something is so.

    Raises: AssertionError if it is not so in time.
    """
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not in {DEADLINE_S:g} s: {what}"
        time.sleep(LOOK_S)


class Served:
    """The program as a process that serves, on a port of the system's choosing; it logs to a file."""

    def __init__(self, folder: Path, *arguments: str | Path, command: str = "serve", **variables: str) -> None:
        self.log_path, self.out_path = folder / "log", folder / "out"
        whole = [*PROGRAM, command, "--web.listen-address", "127.0.0.1:0", *map(str, arguments)]
        with self.log_path.open("w") as log, self.out_path.open("w") as out:
            self.process = subprocess.Popen(whole, stdout=out, stderr=log, env=environment(**variables), cwd=REPOSITORY)

    def __enter__(self) -> Served:
        until(lambda: "listening" in self.log or self.process.poll() is not None, "it listens")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_path.read_text()

    @property
    def url(self) -> str:
        """Where it listens, by its log."""
        found = re.search(r'msg="listening" address=(\S+)', self.log)
        assert found, self.log
        return f"http://{found[1]}"

    def get(self, path: str, data: bytes | None = None) -> tuple[int, str]:
        """Ask; POST if there is something to send."""
        try:
            with urllib.request.urlopen(self.url + path, data, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self) -> bool:
        """Whether everything was read once."""
        return self.get("/-/ready")[0] == 200

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Tell it to stop; the exit code, and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S), time.monotonic() - began


# ── what is wrong, in one line ─────────────────────────────────────────────────────────────────────────────────

BAD_ARGUMENTS = [
    (
        "",
        f"--database: (not given): a database is needed: --database PATH, {PREFIX}DATABASE, or sources: in the file",
    ),
    ("serv", 'command: "serv": no such command; did you mean serve?'),
    (
        "xyz",
        'command: "xyz": no such command: they are serve, once, check, explain, backfill, health, demo, reference, '
        "indexes, config-schema",
    ),
    ("once twice", 'argument: "twice": not expected here; a command comes first, a value after its flag'),
    ("--log.level info once", 'argument: "once": not expected here; a command comes first, a value after its flag'),
    ("--databse x", '--databse: "x": no such flag; did you mean --database?'),
    ("--data=x", '--data: "x": no such flag; did you mean --database?'),
    ("-x", "-x: (not given): no such flag"),
    ("reference --database x", '--database: "x": no such flag'),
    ("config-schema --create", "--create: (not given): no such flag"),
    ("--web.config.fil x", '--web.config.fil: "x": no such flag; did you mean --web.config.file?'),
    ("--database", "--database: (not given): needs a value"),
    ("--config.file", "--config.file: (not given): needs a value"),
    ("--web.enable-lifecycle=yes", '--web.enable-lifecycle: "yes": takes no value'),
    ("--database=", '--database: "": must be a path'),
    ("--storage.path=", '--storage.path: "": must be a path'),
    ("--log.level loud", "--log.level: \"loud\": must be 'debug', 'info', 'warning' or 'error'"),
    ("--log.format xml", "--log.format: \"xml\": must be 'logfmt' or 'json'"),
    (
        "--web.listen-address 10477",
        '--web.listen-address: "10477": must be HOST:PORT, [IPV6]:PORT or :PORT, the port from 0 to 65535',
    ),
    (
        "--web.telemetry-path metrics",
        '--web.telemetry-path: "metrics": must be a path such as /metrics: letters, digits and _ . ~ - between /',
    ),
    (
        "--web.route-prefix x",
        '--web.route-prefix: "x": must be a path such as /exporter: letters, digits and _ . ~ - between /',
    ),
    ("--web.external-url x", f'--web.external-url: "x": {URL}'),
    ("--config.file /nowhere.yml", '--config.file: "/nowhere.yml": cannot be read: No such file or directory'),
    ("once --database x --now yesterday", f'--now: "yesterday": {MOMENT}'),
    ("once --database x --now 1e400", f'--now: "1e400": {MOMENT}'),
    ("once --database x --now 9999-12-31", f'--now: "9999-12-31": {MOMENT}'),
    ("health --url ftp://x", f'--url: "ftp://x": {URL}'),
    ("health --url http://x:99999/", f'--url: "http://x:99999/": {URL}'),
    (
        "health --web.listen-address :0",
        '--web.listen-address: ":0": only the server knows its port: give --url',
    ),
    ("demo --history long", f'--history: "long": {DURATION}'),
    ("demo --speed fast", '--speed: "fast": must be a number'),
    ("demo --speed 0", "--speed: 0.0: must be more than 0.0"),
    ("demo --speed nan", "--speed: NaN: must be a number"),
    ("demo --seed 1.5", '--seed: "1.5": must be a whole number'),
    ("demo --seed=-1", "--seed: -1: must be at least 0"),
    (
        "demo --incident fire",
        f"--incident: [\"fire\"]: must be one of {', '.join(demo.INCIDENTS)}: 'fire'",
    ),
]


@pytest.mark.parametrize("arguments, line", BAD_ARGUMENTS)
def test_wrong_arguments_are_told_in_one_line(arguments: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the flag, its value and the rule; the exit code is 2, and nothing is on stdout."""
    code = cli.run(arguments.split(), {}, SCHEMA)

    assert (code, *capsys.readouterr()) == (2, "", f"orchestration-exporter: error: {line}\n")


@pytest.mark.parametrize(
    "name, value, command, rule",
    [
        ("ONCE_NOW", "soon", "once", f'"soon": {MOMENT}'),
        ("HEALTH_URL", "x", "health", f'"x": {URL}'),
        ("INDEXES_CREATE", "perhaps", "indexes", '"perhaps": must be true or false'),
        ("DEMO_HISTORY", "-1d", "demo", f'"-1d": {DURATION}'),
        ("DEMO_SPEED", "x", "demo", '"x": must be a number'),
        ("DEMO_SEED", "x", "demo", '"x": must be a whole number'),
        (
            "DEMO_INCIDENT",
            "x",
            "demo",
            f"[\"x\"]: must be one of {', '.join(demo.INCIDENTS)}: 'x'",
        ),
        ("DEMO_NO_SERVE", "x", "demo", '"x": must be true or false'),
        ("LOG_LEVEL", "x", "reference", "\"x\": must be 'debug', 'info', 'warning' or 'error'"),
        ("POLL_INTERVALS", "1s", "reference", f'"1s": no such variable; did you mean {PREFIX}POLL_INTERVAL?'),
        ("STORAGE_PATH", "x\0", "once", '"x\\u0000": must be a path'),
    ],
)
def test_a_wrong_variable_is_told_in_one_line(
    name: str, value: str, command: str, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the variable."""
    code = cli.run([command], {PREFIX + "DATABASE": "x", PREFIX + name: value}, SCHEMA)

    assert (code, *capsys.readouterr()) == (2, "", f"orchestration-exporter: error: {PREFIX}{name}: {rule}\n")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_reads_the_file(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong file is an error of each command, exit code 2."""
    (tmp_path / "c.yml").write_text("sources:\n  - a\n")

    code = cli.run([command, "--config.file", str(tmp_path / "c.yml")], {}, SCHEMA)

    told = f'orchestration-exporter: error: {tmp_path}/c.yml:2 sources[0]: "a": must be a mapping of keys to values\n'
    assert (code, *capsys.readouterr()) == (2, "", told)


def test_a_wrong_input_to_the_process_is_one_line_and_exit_code_2() -> None:
    """As a process, too, with bytes that are no text in an argument."""
    arguments: list[str | bytes] = [*PROGRAM, "--log.level", b"\xff\xfe"]
    done = subprocess.run(arguments, capture_output=True, check=False, env=environment())

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b'orchestration-exporter: error: --log.level: "\\udcff\\udcfe": must be valid UTF-8\n'


# ── help ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It lists each flag with words, and how to give it otherwise."""
    with pytest.raises(SystemExit) as left:
        cli.run([command, "--help"], {}, SCHEMA)

    text = capsys.readouterr().out
    assert left.value.code == 0
    for option in (*cli.COMMANDS[command].options,):
        assert option.flag in text
        assert option.help
    assert "--config.file" in text
    assert f"{PREFIX}LOG_LEVEL" in text


def test_help_without_a_command_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """All of them with what they do, and the options of serve."""
    with pytest.raises(SystemExit):
        cli.run(["--help"], {}, SCHEMA)

    text = capsys.readouterr().out
    for name, command in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", text, re.MULTILINE)
    assert "--web.listen-address" in text


def test_the_version_is_told() -> None:
    """By the process, with Python's."""
    done = ran("--version")

    assert done.returncode == 0
    assert done.stdout.startswith(f"orchestration-exporter {__version__} (Python 3.")


# ── commands that end ──────────────────────────────────────────────────────────────────────────────────────────


def test_once_prints_the_exposition(database: Path) -> None:
    """On stdout, in text 0.0.4, with nothing on stderr; --now takes ISO 8601 and Unix seconds."""
    iso = ran("once", "--database", database, "--now", "2026-11-21T17:40:00Z")
    naive = ran("once", "--now=2026-11-21 17:40:00", DATABASE=str(database))
    epoch = ran("once", "--database", database, "--now", "1795282800")

    assert (iso.returncode, iso.stderr) == (0, "")
    assert 'orchestration_cost_usd_total{component="handoff",model="claude",outcome="success"' in iso.stdout
    assert naive.stdout == epoch.stdout == iso.stdout
    assert 'orchestration_counting_since_timestamp_seconds{source="default"} 1.7952828e+09' in iso.stdout


def test_once_uses_the_file(database: Path, tmp_path: Path) -> None:
    """The source's name and labels, and dropped labels."""
    (tmp_path / "c.yml").write_text(
        "sources: [{name: prod, database: orchestration.db, labels: {tenant: acme}}]\n"
        "labels: {drop: {orchestration_handoffs_total: [project, model]}}\n"
    )

    done = ran("once", "--config.file", tmp_path / "c.yml")

    assert 'orchestration_handoffs_total{outcome="success",source="prod",tenant="acme"} 1.0\n' in done.stdout


def test_what_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    """A database that is not there, or is none: exit code 1."""
    (tmp_path / "text.db").write_text("not a database " * 1_000)

    for name in ("none.db", "text.db"):
        done = ran("once", "--database", tmp_path / name)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(rf"orchestration-exporter: error: {tmp_path}/{name}: [^\n]+\n", done.stderr)


def test_check_says_whether_all_is_well(database: Path, tmp_path: Path) -> None:
    """Lines on stdout; exit code 0, or 1 if something keeps us from reading."""
    good, bad = ran("check", "--database", database), ran("check", "--database", tmp_path / "none.db")

    assert (good.returncode, bad.returncode) == (0, 1)
    assert "handoff_events: 1 row" in good.stdout
    assert "none.db" in bad.stdout
    assert "Traceback" not in bad.stderr


def test_indexes_are_printed_and_created(tmp_path: Path) -> None:
    """First what is missing, as SQL; then, with --create, nothing is."""
    path = tmp_path / "x.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE handoff_events (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp)")

    missing = ran("indexes", "--database", path)
    created = ran("indexes", "--database", path, "--create")
    again = ran("indexes", "--database", path)

    assert "CREATE INDEX" in missing.stdout
    assert [done.returncode for done in (missing, created, again)] == [0, 0, 0]
    assert "CREATE INDEX" not in again.stdout


def test_the_schema_is_json() -> None:
    """That of the configuration, whatever else is given."""
    done = ran("config-schema", LOG_LEVEL="error")

    assert json.loads(done.stdout) == config.json_schema()


def test_the_reference_is_markdown(tmp_path: Path) -> None:
    """All metrics, with the labels that the configuration leaves."""
    (tmp_path / "c.yml").write_text("labels: {drop: {orchestration_handoffs_total: [project, model]}}\n")

    whole, dropped = ran("reference"), ran("reference", "--config.file", tmp_path / "c.yml")

    assert whole.stdout.startswith("# ")
    assert all(metric.name in whole.stdout for metric in SCHEMA.metrics)
    assert dropped.returncode == 0
    assert dropped.stdout != whole.stdout


def test_a_reader_that_goes_away_is_no_error(database: Path) -> None:
    """`once | head` ends without a word."""
    command = [*PROGRAM, "once", "--database", str(database)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()

    assert told == b""
    assert process.returncode == 1


# ── serving ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_serve_is_the_default_and_serves(database: Path, tmp_path: Path) -> None:
    """Metrics, page, readiness and health; SIGTERM ends it with 0, and a restart counts on."""
    for _ in range(2):
        with Served(tmp_path, "--database", database, "--storage.path", tmp_path / "state") as server:
            until(server.is_ready, "it is ready")
            assert ran("health", "--url", server.url).returncode == 0
            assert 'model="claude",outcome="success"' in server.get("/metrics")[1]
            assert str(database) in server.get("/")[1]
            code, seconds = server.stop()

        assert (code, seconds < 5.0) == (0, True)
        assert server.log.splitlines()[-1].endswith('msg="stopped"')
        assert "Traceback" not in server.log


def test_a_database_that_is_not_there_is_no_reason_to_end(tmp_path: Path) -> None:
    """It serves `up 0`, is healthy and not ready, and says what is wrong."""
    with Served(tmp_path, "--database", tmp_path / "none.db", "--storage.path", tmp_path / "state") as server:
        until(lambda: 'orchestration_up{source="default"} 0.0' in server.get("/metrics")[1], "up 0 is served")
        codes = [server.get(path)[0] for path in ("/-/healthy", "/-/ready", "/")]
        done = ran("health", "--url", server.url)
        assert server.stop(signal.SIGINT)[0] == 0

    assert codes == [200, 503, 200]
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"orchestration-exporter: error: {server.url}: not ready: 503\n"


def test_health_asks_where_the_settings_say(tmp_path: Path) -> None:
    """The first listen address, with the prefix; nobody there is exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = ran("health", "--web.listen-address", f":{port}", "--web.route-prefix", "/x")

    assert done.returncode == 1
    told = rf"orchestration-exporter: error: http://127\.0\.0\.1:{port}/x/-/ready: no answer: .*refused\n"
    assert re.fullmatch(told, done.stderr)


def test_an_address_in_use_is_told_in_one_line(database: Path, tmp_path: Path) -> None:
    """Exit code 1, before anything is read."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = ran("--database", database, "--storage.path", tmp_path / "s", "--web.listen-address", address)

    assert done.returncode == 1
    assert done.stderr == f"orchestration-exporter: error: --web.listen-address: {address}: Address already in use\n"


def test_several_addresses_are_listened_on(database: Path, tmp_path: Path) -> None:
    """The flag can be repeated; each is logged with its real port."""
    more = ("--web.listen-address", "[::1]:0", "--storage.path", tmp_path / "state")
    with Served(tmp_path, "--database", database, *more) as server:
        until(lambda: len(re.findall(r'msg="listening" address=(\S+)', server.log)) == 2, "both listen")
        found = re.findall(r'msg="listening" address=(\S+)', server.log)

    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", found[0])
    assert re.fullmatch(r"\[::1\]:[1-9]\d*", found[1])


def test_logs_are_json_when_asked_for(database: Path, tmp_path: Path) -> None:
    """One object a line, with time, level and phrase."""
    with Served(tmp_path, "--database", database, "--storage.path", tmp_path / "s", LOG_FORMAT="json") as server:
        server.stop()

    lines = [json.loads(line) for line in server.log.splitlines()]
    assert {"ts", "level", "msg"} <= set(lines[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", lines[0]["ts"])
    assert [line["msg"] for line in lines][-2:] == ["stopping", "stopped"]


def reload_gauge(server: Served) -> str:
    """Return whether the last reload succeeded, as it is served."""
    found = re.search(r"^orchestration_exporter_config_last_reload_successful (\S+)$", server.get("/metrics")[1], re.M)
    assert found
    return found[1]


def test_sighup_and_post_reload_the_file(database: Path, tmp_path: Path) -> None:
    """What it says is applied at once; what needs a restart is told so; a wrong file changes nothing."""
    file = tmp_path / "c.yml"
    source = f"sources: [{{name: a, database: {database.name}}}]\n"
    rest = f"{source}storage: {{path: state}}\nweb: {{enable_lifecycle: true}}\n"
    file.write_text(rest)
    with Served(tmp_path, "--config.file", file) as server:
        file.write_text(rest + "log: {level: debug}\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: 'msg="configuration applied" changed=log' in server.log, "the file was read")
        server.get("/-/healthy")
        until(lambda: "request answered" in server.log, "a debug line is logged")

        file.write_text(rest + "poll_interval: fast\n")
        code, told = server.get("/-/reload", b"")
        assert (code, "c.yml:4 poll_interval" in told) == (500, True)
        assert 'msg="configuration is wrong, the old one stays"' in server.log
        assert reload_gauge(server) == "0.0"

        file.write_text(rest.replace("path: state", "path: other") + "poll_interval: 2s\n")
        assert server.get("/-/reload", b"") == (200, "")
        assert 'msg="configuration applied" changed=poll_interval,log' in server.log
        assert re.search(r"a restart is needed to apply all of the configuration\" waiting=storage\.path", server.log)
        assert reload_gauge(server) == "1.0"
        assert server.stop()[0] == 0


def test_a_scrape_in_hand_is_finished_before_it_ends(database: Path, tmp_path: Path) -> None:
    """A client that reads slowly gets its last byte after SIGTERM; one that never reads holds nothing up."""
    with Served(tmp_path, "--database", database, "--storage.path", tmp_path / "state") as server:
        until(server.is_ready, "it is ready")
        host, port = server.url.removeprefix("http://").split(":")
        with contextlib.ExitStack() as clients:
            slow, stuck = (clients.enter_context(socket.socket()) for _ in range(2))
            for client in (slow, stuck):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                client.connect((host, int(port)))
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * (1 if client is slow else 200))
            head = slow.recv(1_000)
            server.process.send_signal(signal.SIGTERM)
            until(lambda: "stopping" in server.log, "it is stopping")
            began = time.monotonic()
            rest = b"".join(iter(lambda: slow.recv(65_536), b""))
            code = server.process.wait(DEADLINE_S)

    length = re.search(rb"Content-Length: (\d+)", head)
    assert length
    assert len((head + rest).partition(b"\r\n\r\n")[2]) == int(length[1])
    assert (code, time.monotonic() - began < 5.0) == (0, True)


def test_a_bug_in_the_poller_ends_the_process(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, the traceback in the log as one line: old numbers must not be served as new."""

    async def run(self: Poller) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Poller, "run", run)
    given = ["--database", str(database), "--storage.path", str(tmp_path / "s"), "--web.listen-address", "127.0.0.1:0"]
    logging.root.handlers.clear()

    code = cli.run(given, {}, SCHEMA)

    lines = capsys.readouterr().err.splitlines()
    assert code == 1
    assert 'level=critical msg="stopped by a bug"' in lines[-1]
    assert "ZeroDivisionError: a bug" in lines[-1]


class Idle(FakePoller):
    """A poller that has nothing to do."""

    async def run(self) -> None:
        """Wait to be cancelled."""
        await asyncio.Event().wait()

    def apply(self, settings: Settings) -> None:
        """Do nothing by them either."""


def test_what_hangs_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    """A read that never returns, in a thread that Python would wait for, ends with 0 within five seconds."""
    code = (
        "import sys, os, threading, time\n"
        "from exporter import cli\n"
        "from exporter.catalogue import SCHEMA\n"
        "from exporter.poller import Poller\n"
        "async def run(self):\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    import asyncio\n"
        "    await asyncio.to_thread(time.sleep, 60)\n"
        "Poller.run = run\n"
        "sys.exit(cli.run(sys.argv[1:], os.environ, SCHEMA))\n"
    )
    arguments = ["--database", str(tmp_path / "x.db"), "--web.listen-address", "127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True, env=environment(), cwd=REPOSITORY
    ) as process:
        assert process.stderr is not None
        assert "listening" in process.stderr.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        told = process.stderr.read()

    assert (process.returncode, time.monotonic() - began < 5.0) == (0, True)
    assert "stopped without waiting for what was in hand" in told


# ── the demo ───────────────────────────────────────────────────────────────────────────────────────────────────


def simulators(path: Path) -> list[str]:
    """Return the processes that simulate a platform in that folder."""
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "exporter.demo " in line and str(path) in line]


def test_the_demo_serves_a_simulated_platform(tmp_path: Path) -> None:
    """It prints where, has a past, and takes the platform with it when it ends."""
    given = ("--history", "1d", "--speed", "100", "--storage.path", tmp_path / "state")
    with Served(tmp_path, *given, command="demo") as server:
        until(server.is_ready, "it is ready")
        line = server.out_path.read_text()
        shown = server.get("/metrics")[1]
        assert simulators(tmp_path)
        code, seconds = server.stop(signal.SIGINT)

    assert line == f"A simulated platform and its metrics: {server.url}/ and {server.url}/metrics (Ctrl-C ends them)\n"
    assert re.search(r'rows_read_total\{source="default",table="handoff_events"\} [1-9]', shown)
    assert (code, seconds < 5.0) == (0, True)
    assert simulators(tmp_path) == []
    assert (tmp_path / "state" / "demo.db").exists()


def test_the_demo_dies_with_a_platform_that_dies(tmp_path: Path) -> None:
    """One line and exit code 1, rather than a page about nothing."""
    with Served(tmp_path, "--history", "0s", "--storage.path", tmp_path / "state", command="demo") as server:
        listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        (pid,) = [
            int(line.split()[0]) for line in listed.splitlines() if "exporter.demo " in line and str(tmp_path) in line
        ]
        os.kill(pid, signal.SIGKILL)
        code = server.process.wait(DEADLINE_S)

    told = "orchestration-exporter: error: the simulated platform stopped by itself, with exit code -9"
    assert (code, server.log.splitlines()[-1]) == (1, told)


def test_the_demo_does_not_write_into_a_database_of_others(database: Path, tmp_path: Path) -> None:
    """A demo.db that no demo made is left as it is: exit code 1."""
    with contextlib.closing(sqlite3.connect(tmp_path / "demo.db")) as connection:
        connection.execute("CREATE TABLE precious (id INTEGER)")

    done = ran("demo", "--storage.path", tmp_path, "--history", "0s")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "orchestration-exporter: error: the simulated platform did not start"
    )


def test_the_demo_without_a_server_only_simulates(tmp_path: Path) -> None:
    """It prints where the database is, and leaves it there."""
    command = [*PROGRAM, "demo", "--no-serve", "--history", "1d", "--storage.path", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(), cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        code = process.wait(DEADLINE_S)

    assert line == f"A simulated platform writes {tmp_path}/demo.db (Ctrl-C ends it)\n"
    assert code == 130
    assert simulators(tmp_path) == []
    with contextlib.closing(sqlite3.connect(tmp_path / "demo.db")) as connection:
        assert connection.execute("SELECT count(*) FROM handoff_events").fetchone()[0] > 0


# ── parts ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo's folder in the place of a file: one line, exit code 1."""
    (tmp_path / "file").write_text("")

    code = cli.run(["demo", "--storage.path", str(tmp_path / "file" / "x")], {}, SCHEMA)

    assert code == 1
    assert (
        capsys.readouterr().err
        == f"orchestration-exporter: error: {tmp_path}/file/x: cannot be made: Not a directory\n"
    )


def test_the_demo_has_a_folder_of_its_own_for_as_long_as_it_runs() -> None:
    """Unless a folder is given, database and state are in one that is gone afterwards."""
    with demonstration.folder(None) as (path, state):
        assert path.parent == state
        assert state.stat().st_mode & 0o777 == 0o700

    assert not state.parent.exists()


@pytest.mark.parametrize("error", [ListenError("x"), PlatformError("x"), commands.CommandError("x")])
def test_what_the_world_did_is_one_line_however_deep(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """Task groups wrap it; it is told without a traceback all the same."""

    def fail(call: commands.Call) -> int:
        raise ExceptionGroup("tasks", [ExceptionGroup("more", [error])])

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cli.COMMANDS, "once", cli.Command("Fail.", fail))
        code = cli.run(["once"], {}, SCHEMA)

    assert (code, capsys.readouterr().err) == (1, "orchestration-exporter: error: x\n")


@pytest.mark.parametrize("host", ["300.1.1.1", "no-such-host.invalid", "a..b"])
async def test_an_address_that_is_none_of_ours_is_told(host: str, tmp_path: Path) -> None:
    """In one line, whatever the resolver says."""
    settings = Settings(web=config.WebSettings(listen_address=(f"{host}:0",), allow_open=True))

    with pytest.raises(ListenError) as caught:
        await serving.serve(
            settings=settings,
            poller=Idle(),
            telemetry=Telemetry({}, now=1.0),
            load=lambda: settings,
        )

    assert re.fullmatch(rf"--web\.listen-address: {re.escape(host)}:0: [^\n]+", str(caught.value))


def test_a_reload_applies_what_changed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """What was applied is not told again; what waits for a restart is, each time, and is not handed on."""
    web, storage = config.WebSettings(telemetry_path="/m"), config.StorageSettings(path=Path("/elsewhere"))
    loaded = Settings(log=config.LogSettings(level="warning"), max_in_flight=5, web=web, storage=storage)
    applied: list[Settings] = []
    reloader = Reloader(Settings(), load=lambda: loaded, apply=applied.append, telemetry=Telemetry({}, now=1.0))
    logging.root.handlers.clear()

    assert [reloader(), reloader()] == ["", ""]

    told = 'level=warning msg="a restart is needed to apply all of the configuration" waiting='
    told += "web.telemetry_path,storage.path"
    assert [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()] == [told, told]
    assert logging.getLogger("exporter").level == logging.WARNING
    assert applied == [Settings(log=config.LogSettings(level="warning"), max_in_flight=5)]


def test_a_reload_names_what_it_changed(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line; nothing, when nothing did, and then nothing is applied."""
    loaded = Settings(max_in_flight=5, poll_interval=2.0)
    applied: list[Settings] = []
    reloader = Reloader(Settings(), load=lambda: loaded, apply=applied.append, telemetry=Telemetry({}, now=1.0))
    logging.root.handlers.clear()
    logs.configure("info", "logfmt")

    assert [reloader(), reloader()] == ["", ""]

    lines = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        'level=info msg="configuration applied" changed=poll_interval,max_in_flight',
        'level=info msg="configuration read; nothing changed"',
    ]
    assert applied == [loaded]


def test_values_in_logfmt_stay_on_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Line breaks, quotes, escape sequences and empty values cannot be taken for something else."""
    logging.root.handlers.clear()
    logs.configure("info", "logfmt")

    logs.get("exporter.x").info("a phrase", a="x\ny\x1b[31m", b='"', c=None, d=True, e="", f="ü", g=1.5)
    logging.getLogger("somebody.else").warning("told %s", "so")

    ours, other = capsys.readouterr().err.splitlines()
    assert ours.partition(" ")[2] == (r'level=info msg="a phrase" a="x\ny\u001b[31m" b="\"" c= d=true e="" f=ü g=1.5')
    assert other.partition(" ")[2] == 'level=warning msg="told so" logger=somebody.else'


def test_libraries_do_not_log_their_details(capsys: pytest.CaptureFixture[str]) -> None:
    """At debug, ours are logged and theirs are not: aiosqlite's hold the rows it reads."""
    logging.root.handlers.clear()
    logs.configure("debug", "logfmt")

    logging.getLogger("aiosqlite").debug("executing SELECT secret")
    logs.get("exporter.x").debug("ours")

    assert re.fullmatch(r'ts=\S+ level=debug msg="ours"\n', capsys.readouterr().err)
