"""`make e2e-compose`: the stack in Docker for real, where no registry of images can be reached.

    python -m tests.composed        as root; needs docker, docker-compose, debootstrap and, for dockerd, iptables

Stand-ins for the images are made of a minimal Debian with its own Prometheus and Alertmanager; the exporter's is that
of our Dockerfile, on the same Debian. There is no Grafana among them, so it is left out. A writer outside has the
database open the whole time. Everything happens in a copy of the checkout, and is gone afterwards; the Debian root is
kept in the cache folder. Each step prints how long it took.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.processes import OF_ROWS, until
from tests.realtools import free_port
from tests.running import Shown
from tests.sqlite_platform import REPOSITORY
from tools.bring import cache_folder

SUITE = "bookworm"
PACKAGES = "ca-certificates,openssl,prometheus,prometheus-alertmanager,python3,python3-venv"
BASE, PROMETHEUS, ALERTMANAGER = (f"standin/{name}:1.0" for name in ("debian", "prometheus", "alertmanager"))
STANDINS = {
    PROMETHEUS: 'RUN install -d -o 65534 -g 65534 /prometheus\nENTRYPOINT ["/usr/bin/prometheus"]',
    ALERTMANAGER: 'RUN install -d -o 65534 -g 65534 /alertmanager\nENTRYPOINT ["/usr/bin/prometheus-alertmanager"]',
}
SERVICES = ("exporter", "prometheus", "alertmanager")
JOBS = {"orchestration-exporter", "prometheus", "alertmanager"}
WRITER = 4321
"""The user of the platform outside: nobody else can read its database."""
ROOM_BYTES = 120 * 1024 * 1024
TARGET_S = 60.0
QUERIES = (
    "orchestration_up == 1",
    "sum(orchestration_handoffs_total) > 0",
    "sum(orchestration_cost_usd_total) > 0",
    "sum(orchestration_tasks_total) > 0",
    "orchestration_exporter_build_info",
)


def run(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path = REPOSITORY) -> str:
    """What a command prints; its whole output and an AssertionError where it fails."""
    done = subprocess.run(
        [str(each) for each in command], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is done, and how long it took."""
    began_s = time.monotonic()
    yield
    print(f"{time.monotonic() - began_s:7.1f} s  {what}", flush=True)


# ── what it is made of ───────────────────────────────────────────────────────────────────────────────────────


def debian() -> Path:
    """A minimal Debian as a tar, made once."""
    kept = cache_folder() / f"debian-{SUITE}-stack.tar"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "root"
            run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, root])
            run(["tar", "-C", root, "--exclude=./var/cache/apt/*.bin", "-cf", f"{kept}.new", "."])
        Path(f"{kept}.new").rename(kept)
    return kept


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[dict[str, str]]:
    """A dockerd of our own, as the environment that leads to it; gone with all it has."""
    address = f"unix://{folder}/docker.sock"
    command = ["dockerd", "--host", address, "--data-root", folder / "data", "--exec-root", folder / "exec"]
    with (folder / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            [*map(str, command), "--pidfile", str(folder / "pid")], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    env = {**os.environ, "DOCKER_HOST": address}
    env.pop("DOCKER_CONTEXT", None)
    try:
        until(lambda: succeeds(["docker", "info"], env) or process.poll() is not None, "dockerd")
        assert process.poll() is None, (folder / "dockerd.log").read_text()[-2000:]
        yield env
    finally:
        process.terminate()
        process.wait(60)


def succeeds(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a command ends well."""
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0


def images(env: Mapping[str, str], folder: Path) -> None:
    """The stand-ins, by the names that the image variables give."""
    run(["docker", "import", debian(), BASE], env=env)
    folder.mkdir()
    for name, steps in STANDINS.items():
        (folder / "Dockerfile").write_text(f"FROM {BASE}\n{steps}\n")
        run(["docker", "build", "--quiet", "--tag", name, folder], env=env)


def checkout(folder: Path) -> Path:
    """A copy of the files that git has or would add, with the wheels that the stand-in's Python needs."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in run(listing).split("\0"):
        if name and (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    machine = os.uname().machine
    platforms = [
        f"--platform=manylinux{version}_{machine}" for version in ("2014", *(f"_2_{n}" for n in range(17, 37)))
    ]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    run([*pip, "--python-version=3.11", *platforms, "--requirement=requirements.lock", f"--dest={folder / 'wheels'}"])
    return folder


# ── the platform outside ─────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def platform(folder: Path) -> Iterator[Path]:
    """A database that only its own user can read, and that user writing into it as fast as it can."""
    folder.mkdir(mode=0o711)
    os.chown(folder, WRITER, WRITER)
    database = folder / "orchestration.db"
    as_writer = ["setpriv", f"--reuid={WRITER}", f"--regid={WRITER}", "--clear-groups"]
    # the stand-in's owner may not enter the checkout: the demo is copied to where it may
    shutil.copytree(REPOSITORY / "exporter", folder.parent / "code" / "exporter")
    python = [shutil.which("python3", path="/usr/bin") or sys.executable, "-m", "exporter.demo", str(database)]
    command = ["sh", "-c", 'umask 077; exec "$@"', "sh", *python]
    where = {"cwd": folder.parent / "code"}
    subprocess.run(
        [*as_writer, *command, "--history", "3d", "--duration", "0s"], check=True, capture_output=True, **where
    )
    lives = [*as_writer, *command, "--history", "0s", "--speed", "100"]
    writer = subprocess.Popen(lives, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **where)
    try:
        until(lambda: Path(f"{database}-wal").exists(), "the writer")
        yield database
        assert writer.poll() is None, "the writer ended before it was told to"
    finally:
        writer.send_signal(signal.SIGTERM)
        assert writer.wait(30) == 0, "the writer failed"


def unharmed(database: Path) -> int:
    """Hold the database to be whole, its own, and left alone; return its hand-offs that have a result."""
    beside = {path.name: path.stat() for path in database.parent.iterdir()}
    assert set(beside) <= {database.name, f"{database.name}-wal", f"{database.name}-shm"}, beside
    assert {(stat.st_uid, stat.st_mode & 0o777) for stat in beside.values()} == {(WRITER, 0o600)}, beside
    if f"{database.name}-wal" in beside:
        return 0  # in use: who looks as another user might leave files behind
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        [count] = conn.execute("SELECT count(*) FROM handoff_events WHERE success IN (0, 1)").fetchone()
    return int(count)


# ── the stack ────────────────────────────────────────────────────────────────────────────────────────────────


class Stack:
    """What `make up` started in a checkout."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in SERVICES}
        ports = {f"{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        self.env = {
            **env,
            **ports,
            "BASE_IMAGE": BASE,
            "PIP_NO_INDEX": "1",
            "DEMO_HISTORY": "2d",
            "PROMETHEUS_IMAGE": PROMETHEUS,
            "ALERTMANAGER_IMAGE": ALERTMANAGER,
            "COMPOSE_PROJECT_NAME": "composed",
            "SERVICES": " ".join(SERVICES),
        }

    def make(self, target: str, **variables: str) -> str:
        """What `make` prints."""
        said = run(["make", target], env={**self.env, **variables}, cwd=self.folder)
        for line in said.splitlines():
            if re.match(r"(image|started|healthy|data)  ", line):
                print(f"           {target}: {line}")
        return said

    def docker(self, *arguments: str) -> str:
        """What `docker` prints."""
        return run(["docker", *arguments], env=self.env).strip()

    def container(self, service: str) -> dict[str, Any]:
        """What Docker knows of a service's container."""
        label = f"label=com.docker.compose.service={service}"
        name = self.docker("ps", "--all", "--quiet", "--filter", label)
        found: dict[str, Any] = json.loads(self.docker("inspect", name))[0]
        return found

    def is_healthy(self, service: str) -> bool:
        """Whether its health check succeeds."""
        return bool(self.container(service)["State"]["Health"]["Status"] == "healthy")

    def ask(self, path: str, **parameters: str) -> Any:
        """What Prometheus answers."""
        url = f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/{path}?{urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        found: list[dict[str, Any]] = self.ask("query", query=expr)["result"]
        return found

    def shown(self) -> Shown:
        """What the exporter shows, asked with Prometheus's user over TLS."""
        secrets = self.folder / "secrets"
        user = f"prometheus:{(secrets / 'prometheus-password').read_text()}"
        request = urllib.request.Request(f"https://127.0.0.1:{self.ports['exporter']}/metrics")
        request.add_header("Authorization", f"Basic {b64encode(user.encode()).decode()}")
        context = ssl.create_default_context(cafile=str(secrets / "ca.crt"))
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return Shown.of(answer.read().decode())


def works(stack: Stack) -> None:
    """Hold targets, rules and data to be there."""

    def up() -> set[str]:
        targets = stack.ask("targets", state="active")["activeTargets"]
        return {each["labels"]["job"] for each in targets if each["health"] == "up"}

    until(lambda: up() == JOBS, "all targets up", look_s=0.5)
    files = [yaml.safe_load(path.read_text()) for path in (stack.folder / "provisioning/prometheus/rules").iterdir()]
    wanted = sum(len(group["rules"]) for file in files for group in file["groups"])

    def rules() -> list[dict[str, Any]]:
        return [rule for group in stack.ask("rules")["groups"] for rule in group["rules"]]

    # groups of long intervals are not evaluated yet: `make e2e` asks what they ask
    until(lambda: any(rule["health"] == "ok" for rule in rules()), "rules", look_s=0.5)
    assert (len(rules()), [rule for rule in rules() if rule["health"] == "err"]) == (wanted, [])
    for query in QUERIES:
        until(lambda query=query: stack.query(query), query, look_s=0.5)  # type: ignore[misc]


def is_locked_in(stack: Stack) -> None:
    """Hold containers to what the compose file says, by what Docker made of it."""
    secrets = {path.read_text() for path in (stack.folder / "secrets").iterdir()}
    for service in SERVICES:
        found = stack.container(service)
        host, config = found["HostConfig"], found["Config"]
        assert host["ReadonlyRootfs"], service
        assert not host["Privileged"], service
        assert host["CapDrop"] == ["ALL"], service
        assert host["Memory"] > 0, service
        assert host["NanoCpus"] > 0, service
        assert int(config["User"].split(":")[0]) > 0, service
        assert not any(secret in json.dumps(found) for secret in secrets), service
    exporter = stack.container("exporter")
    assert exporter["Config"]["User"] == f"{WRITER}:{WRITER}"
    assert {mount["Destination"]: mount["RW"] for mount in exporter["Mounts"]}["/database"] is False
    name = exporter["Name"]
    assert not succeeds(["docker", "exec", name, "touch", "/database/x"], stack.env)
    assert not succeeds(["docker", "exec", name, "touch", "/opt/x"], stack.env)
    contents = stack.docker("exec", name, "ls", "/opt/orchestration-exporter/bin")
    assert not {"pip", "gcc"} & set(contents.split()), contents
    sizes = [
        int(stack.docker("image", "inspect", "--format", "{{.Size}}", image)) for image in (exporter["Image"], BASE)
    ]
    for line in stack.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines():
        print(f"           memory: {line}")
    print(f"           the image is {(sizes[0] - sizes[1]) / 1e6:.0f} MB above its base")
    assert sizes[0] - sizes[1] < ROOM_BYTES


def survives(stack: Stack) -> None:
    """Kill the exporter's process as a crash would; it is back, and no counter has fallen."""
    before, state = stack.shown(), stack.container("exporter")["State"]
    os.kill(state["Pid"], signal.SIGKILL)
    until(lambda: stack.container("exporter")["RestartCount"] == 1, "restarted", look_s=0.2)
    until(lambda: stack.is_healthy("exporter"), "healthy again", look_s=0.5)
    # those of the process itself begin anew with it, as they should
    falls = [line for line in before.falls(stack.shown()) if line.startswith(OF_ROWS)]
    assert falls == []
    scraped = time.time()
    until(lambda: stack.query(f"timestamp(orchestration_up) > {scraped}"), "scraped again", look_s=0.5)
    for name in ("handoffs", "tasks", "cost_usd", "sessions_started"):
        assert stack.query(f"resets(orchestration_{name}_total[10m]) > 0") == [], name


def comes_back(stack: Stack, backup: Path) -> None:
    """Save everything, lose everything, restore it: totals and samples go on from the copy."""
    shown, began = stack.shown(), min_time(stack)
    stack.make("backup", TO=str(backup))
    # compose makes all volumes, Grafana's too
    kept = (*SERVICES, "grafana", "secrets")
    assert {path.name for path in backup.iterdir()} == {"env", *(f"{name}.tar" for name in kept)}
    assert backup.stat().st_mode & 0o077 == 0
    stack.make("down", VOLUMES="1")
    shutil.rmtree(stack.folder / "secrets")
    (stack.folder / ".env").unlink()
    stack.make("restore", FROM=str(backup))
    stack.make("up")
    assert [line for line in shown.falls(stack.shown()) if line.startswith(OF_ROWS)] == []
    assert stack.shown().total("orchestration_exporter_source_rewinds_total") == 0
    assert min_time(stack) == began


def min_time(stack: Stack) -> float:
    """When Prometheus's first sample of the exporter is from."""
    found = stack.query("min_over_time(timestamp(orchestration_up)[1h:1s])")
    return min(float(each["value"][1]) for each in found)


def nothing_is_left(stack: Stack) -> None:
    """Hold everything that Compose made to be gone."""
    label = ("--quiet", "--filter", "label=com.docker.compose.project=composed")
    for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        assert stack.docker(*kind, *label) == "", kind


def counts_all(stack: Stack, database: Path) -> None:
    """After the writer's end, the exporter's total is SQL's."""
    rows = unharmed(database)

    def counted() -> float:
        shown = stack.shown()
        return sum(shown.total("orchestration_handoffs_total", outcome=outcome) for outcome in ("success", "failure"))

    until(lambda: counted() == rows, f"{rows} hand-offs counted, but {counted()}", look_s=0.5)
    print(f"           {rows} hand-offs in the database, as many counted")


def exercise(stack: Stack, data: Path) -> None:
    """All of it, in its order."""
    with contextlib.ExitStack() as stopping:
        with platform(data) as database:
            stopping.callback(stack.make, "down", VOLUMES="1")
            with step("the exporter's image is built, the stack is up on a database in use"):
                stack.make("up", DATABASE=str(database))
            with step("targets up, rules loaded, data there"):
                works(stack)
            with step("containers hold what the compose file promises"):
                is_locked_in(stack)
            with step("the exporter killed and back, no counter fallen"):
                survives(stack)
            with step("saved, forgotten, and brought back"):
                comes_back(stack, data.parent / "backup")
            with step("down with its volumes"):
                stack.make("down", VOLUMES="1")
                nothing_is_left(stack)
            began_s = time.monotonic()
            with step("make up with images at hand, until there is data in Prometheus"):
                stack.make("up")
            assert time.monotonic() - began_s < TARGET_S
            unharmed(database)
            with step("the exporter on the host, scraped there"):
                # its environment on this machine comes from pip's own index
                stack.make("up", EXPORTER="host", PIP_NO_INDEX="", EXPORTER_IMAGE=stack.container("exporter")["Image"])
                works(stack)
            with step("back in its container"):
                stack.make("up")
                works(stack)
        with step("the writer ended: the database is whole, and counted to the row"):
            counts_all(stack, database)
        with step("on the simulated platform"):
            stack.make("up", DATABASE="demo")
            works(stack)
        with step("down with its volumes"):
            stopping.pop_all().close()
            nothing_is_left(stack)
    assert unharmed(database)


def main() -> int:
    """Run it; exit code 1 at the first thing that is not as it should be."""
    missing = [name for name in ("docker", "docker-compose", "dockerd", "debootstrap") if not shutil.which(name)]
    if missing or os.geteuid():
        print(f"needs root and {', '.join(missing) or 'nothing else'}", file=sys.stderr)
        return 2
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="composed-") as made:
        folder = Path(made)
        folder.chmod(0o711)
        with contextlib.ExitStack() as running:
            with step("dockerd"):
                (folder / "docker").mkdir()
                env = running.enter_context(daemon(folder / "docker"))
            with step("stand-in images"):
                images(env, folder / "images")
            with step("a copy of the checkout, and wheels"):
                (folder / "checkout").mkdir()
                stack = Stack(checkout(folder / "checkout"), env)
            exercise(stack, folder / "platform")
    print(f"{time.monotonic() - began_s:7.1f} s  in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
