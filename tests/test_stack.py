"""The stack's files: compose, image, provisioning and units, each held to its rules, and each rule shown to fail."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import exporter
from dashboards.board import PROVISIONED
from exporter.backfill.options import BackfillOptions
from exporter.source.mounts import refusal
from tests.processes import until
from tests.realtools import Missing, cannot_run
from tests.stackrules import (
    compose_breaches,
    datasource_breaches,
    filled,
    image_breaches,
    provider_breaches,
    scrape_breaches,
    variables,
)
from tools.bring import PROMETHEUS_3, REPOSITORY

COMPOSE = (REPOSITORY / "docker-compose.yml").read_text()
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
PROVISIONING = REPOSITORY / "provisioning"
DAY_S = 86_400
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": DAY_S}


def seconds(text: str) -> float:
    """A duration as Prometheus and Grafana write it."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text)
    assert found, text
    return int(found[1]) * UNITS[found[2]]


def compose() -> dict[str, Any]:
    """The compose file at its defaults, anew for who changes it."""
    read: dict[str, Any] = yaml.safe_load(filled(COMPOSE))
    return read


def provisioned(name: str) -> dict[str, Any]:
    """A file in `provisioning/`."""
    read: dict[str, Any] = yaml.safe_load((PROVISIONING / name).read_text())
    return read


def changed(made: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The same with one value otherwise, or without it where that is None; `/` leads inward."""
    made, keys = copy.deepcopy(made), path.split("/")
    inner: Any = made
    for key in keys[:-1]:
        inner = inner[int(key) if isinstance(inner, list) else key]
    if value is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return made


# ── compose ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_service_is_hardened_limited_and_checked() -> None:
    """No service is privileged, unpinned, unlimited or unchecked, or has a secret where it can be seen."""
    assert compose_breaches(compose()) == []
    assert set(compose()["services"]) == {"exporter", "platform", "prometheus", "alertmanager", "grafana"}


@pytest.mark.bulk
@pytest.mark.parametrize(
    "path, value, breach",
    [
        ("grafana/image", "grafana/grafana:latest", "not pinned"),
        ("grafana/image", "grafana/grafana", "not pinned"),
        ("grafana/privileged", True, "has privileges"),
        ("exporter/cap_add", ["SYS_ADMIN"], "has privileges"),
        ("exporter/network_mode", "host", "shares a namespace"),
        ("exporter/cap_drop", None, "keeps capabilities"),
        ("exporter/security_opt", None, "may gain privileges"),
        ("prometheus/read_only", None, "can write to its root"),
        ("prometheus/tmpfs", None, "has no tmpfs"),
        ("exporter/user", None, "user None"),
        ("exporter/user", "0:0", "user '0:0'"),
        ("exporter/user", "root", "user 'root'"),
        ("prometheus/mem_limit", None, "has no mem_limit"),
        ("prometheus/cpus", None, "has no cpus"),
        ("prometheus/pids_limit", None, "has no pids_limit"),
        ("alertmanager/healthcheck", None, "has no health check"),
        ("alertmanager/healthcheck", {"disable": True}, "has no health check"),
        ("alertmanager/logging", None, "may fill the disk"),
        ("grafana/environment/GF_SECURITY_ADMIN_PASSWORD", "admin", "secret in its environment"),
        ("grafana/environment/GF_SECURITY_SECRET_KEY", "x", "secret in its environment"),
        ("prometheus/ports", ["9090:9090"], "beyond loopback"),
        ("prometheus/ports", ["0.0.0.0:9090:9090"], "beyond loopback"),
        ("exporter/volumes", ["/srv/platform:/database"], "can write to the host"),
        ("exporter/volumes", ["/var/run/docker.sock:/s:ro"], "commands Docker"),
        ("exporter/secrets", ["nobodys"], "a secret that is none"),
    ],
)
def test_a_service_that_is_not_is_caught(path: str, value: Any, breach: str) -> None:
    """Each rule for services fails where it is broken."""
    (found,) = compose_breaches(changed(compose(), f"services/{path}", value))

    assert found.startswith(path.partition("/")[0]), found
    assert breach in found


def test_every_secret_is_a_file_that_is_made() -> None:
    """What the compose file reads is what the credentials are, and nothing of it is in git."""
    from tools.credentials import PRIVATE, PUBLIC

    files = {secret["file"] for secret in compose()["secrets"].values()}
    ignored = subprocess.run(
        ["git", "check-ignore", "secrets/exporter.key", ".env"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )

    assert files == {f"./secrets/{name}" for name in (*PUBLIC, *PRIVATE)}
    assert ignored.stdout.split() == ["secrets/exporter.key", ".env"]


def test_the_examples_of_settings_are_all_and_the_defaults() -> None:
    """`.env.example` names every variable of the compose file, with the default it has there."""
    told = dict(re.findall(r"(?m)^#?([A-Z_]+)=(\S*)$", (REPOSITORY / ".env.example").read_text()))
    from_pip = {name for name in variables(COMPOSE) if name.startswith("PIP_")}

    assert {name: {told[name]} for name in sorted(told.keys() - {"COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"})} == {
        name: defaults for name, defaults in sorted(variables(COMPOSE).items()) if name not in from_pip
    }


def test_versions_agree() -> None:
    """The stack runs the Prometheus that is tested, and the exporter of this checkout."""
    images = {name: service["image"] for name, service in compose()["services"].items()}

    assert images["prometheus"] == f"prom/prometheus:v{PROMETHEUS_3}"
    assert images["exporter"] == f"orchestration-exporter:{exporter.__version__}"
    assert f"ARG VERSION={exporter.__version__}\n" in DOCKERFILE
    assert compose()["services"]["exporter"]["build"]["args"]["BASE_IMAGE"] in DOCKERFILE


def test_what_is_measured_lasts_as_long_as_it_is_asked_for() -> None:
    """Exemplars are kept, and samples for longer than the error budget's thirty days."""
    flags = dict(each.partition("=")[::2] for each in compose()["services"]["prometheus"]["command"])

    assert "exemplar-storage" in flags["--enable-feature"].split(",")
    assert seconds(flags["--storage.tsdb.retention.time"]) > 30 * DAY_S


def succeeds(command: list[str]) -> bool:
    """Whether a command ends well."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def composer() -> list[str]:
    """The command that knows compose files, if there is one."""
    commands = (["docker", "compose"], ["docker-compose"])
    there = [each for each in commands if shutil.which(each[0]) and succeeds([*each, "version"])]
    return there[0] if there else cannot_run(Missing("docker-compose"))


@pytest.mark.parametrize("profiles", ["", "demo"])
def test_compose_takes_the_file(composer: list[str], profiles: str, tmp_path: Path) -> None:
    """`docker-compose config` finds nothing wrong, with and without the simulated platform."""
    shutil.copy(REPOSITORY / "docker-compose.yml", tmp_path)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COMPOSE_PROFILES": profiles}

    done = subprocess.run([*composer, "config"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert ("platform:" in done.stdout) >= bool(profiles)


def test_compose_refuses_a_file_that_is_wrong(composer: list[str], tmp_path: Path) -> None:
    """The same check fails on a key that compose does not know."""
    (tmp_path / "docker-compose.yml").write_text(COMPOSE.replace("mem_limit:", "memory_limit:"))

    done = subprocess.run([*composer, "config"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "memory_limit" in done.stderr


# ── the image ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_image_has_what_it_needs_and_no_more() -> None:
    """Two stages, hashes, no root, no compiler, no secret, and the exporter's own health check."""
    assert image_breaches(DOCKERFILE) == []


@pytest.mark.parametrize(
    "there, instead, breach",
    [
        ("USER 10477:10477\n", "", "runs as root"),
        ("USER 10477:10477\n", "USER 0:0\n", "runs as 0:0"),
        ("HEALTHCHECK ", "# ", "has no HEALTHCHECK"),
        ('"orchestration-exporter", "health"', '"true"', "own command"),
        ("LABEL ", "ENV ", "has no LABEL"),
        ("--require-hashes", "", "without hashes"),
        ("ARG BASE_IMAGE=python:3.13-slim-trixie", "ARG BASE_IMAGE=python:latest", "is not pinned"),
        ("FROM ${BASE_IMAGE} AS build", "FROM python:3.13 AS build", "cannot be chosen"),
        ("ARG PIP_INDEX_URL", "ARG PIP_PASSWORD=x", "has a secret"),
        ("USER 10477:10477\n", "RUN apt-get install gcc\nUSER 10477:10477\n", "has a compiler"),
        ("COPY --from=build /made/ /", "COPY . /app", "copies what no stage made"),
    ],
)
def test_an_image_that_has_not_is_caught(there: str, instead: str, breach: str) -> None:
    """Each rule for the image fails where it is broken."""
    assert DOCKERFILE.count(there) == 1

    assert breach in "\n".join(image_breaches(DOCKERFILE.replace(there, instead)))


def test_nothing_but_the_package_reaches_the_builder() -> None:
    """The build's context begins with nothing, and secrets are not let in again."""
    first, *rest = [
        line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]

    assert first == "*"
    assert {line for line in rest if line.startswith("!")} == {
        *("!exporter", "!pyproject.toml", "!README.md", "!LICENSE", "!requirements.lock", "!wheels")
    }


# ── provisioning ─────────────────────────────────────────────────────────────────────────────────────────────

SOURCES = "grafana/datasources/prometheus.yaml"
PROVIDER = "grafana/dashboards/provider.yaml"
SCRAPES = "prometheus/prometheus.yml"


def test_the_provisioning_is_as_documented() -> None:
    """Grafana's files have the keys it documents, Prometheus's its limits and credentials by file."""
    assert datasource_breaches(provisioned(SOURCES)) == []
    assert provider_breaches(provisioned(PROVIDER)) == []
    assert scrape_breaches(provisioned(SCRAPES)) == []


@pytest.mark.parametrize(
    "rule, name, path, value, breach",
    [
        (datasource_breaches, SOURCES, "apiVersion", 2, "apiVersion"),
        (datasource_breaches, SOURCES, "datasources/0/isdefault", True, "isdefault is no key"),
        (datasource_breaches, SOURCES, "datasources/0/isDefault", False, "default"),
        (datasource_breaches, SOURCES, "datasources/0/editable", True, "can be edited"),
        (datasource_breaches, SOURCES, "datasources/0/uid", None, "has no uid"),
        (datasource_breaches, SOURCES, "datasources/0/jsonData/scrapeInterval", "1m", "scrapeInterval is no key"),
        (datasource_breaches, SOURCES, "datasources/1/jsonData/httpMethod", "GET", "httpMethod is no key"),
        (provider_breaches, PROVIDER, "providers/0/disableDelete", True, "disableDelete is no key"),
        (provider_breaches, PROVIDER, "providers/0/folder", "All", "exclude each other"),
        (provider_breaches, PROVIDER, "providers/0/allowUiUpdates", True, "can be changed"),
        (provider_breaches, PROVIDER, "providers/0/options/path", None, "has no path"),
        (provider_breaches, PROVIDER, "providers/0/options/recursive", True, "recursive is no key"),
        (provider_breaches, PROVIDER, "providers/0/type", "folder", "type is not file"),
        (scrape_breaches, SCRAPES, "scrape_configs/0/sample_limit", None, "sample_limit"),
        (scrape_breaches, SCRAPES, "scrape_configs/0/body_size_limit", None, "body_size_limit"),
        (scrape_breaches, SCRAPES, "scrape_configs/0/basic_auth/password", "x", "a password in it"),
        (scrape_breaches, SCRAPES, "scrape_configs/0/authorization", {"credentials": "x"}, "credentials in it"),
        (scrape_breaches, SCRAPES, "scrape_configs/0/tls_config/insecure_skip_verify", True, "any certificate"),
        (scrape_breaches, SCRAPES, "scrape_configs/0/scheme", "http", "without TLS"),
        (scrape_breaches, SCRAPES, "scrape_configs/1/job_name", "other", "scrape itself"),
    ],
)
def test_provisioning_that_is_not_is_caught(
    rule: Callable[[dict[str, Any]], list[str]], name: str, path: str, value: Any, breach: str
) -> None:
    """Each rule for provisioned files fails where it is broken."""
    assert breach in "\n".join(rule(changed(provisioned(name), path, value)))


def test_dashboards_find_their_data_source() -> None:
    """Its uid is the one they use; its interval covers a scrape and the backfill's step."""
    (prometheus,) = [each for each in provisioned(SOURCES)["datasources"] if each["type"] == "prometheus"]
    interval = prometheus["jsonData"]["timeInterval"]

    assert prometheus["uid"] == PROVISIONED
    assert interval == "1m"
    assert seconds(interval) >= seconds(provisioned(SCRAPES)["global"]["scrape_interval"])
    assert seconds(interval) >= BackfillOptions.model_fields["step"].default


def test_paths_and_names_in_provisioned_files_are_those_of_the_containers() -> None:
    """What Prometheus and Grafana are told to read is mounted there; whom they ask is a service."""
    services = compose()["services"]
    mounts = {each.split(":")[1] for each in services["prometheus"]["volumes"]} | {
        f"/run/secrets/{name}" for name in services["prometheus"]["secrets"]
    }
    job = provisioned(SCRAPES)["scrape_configs"][0]
    asked = [job["basic_auth"]["password_file"], job["tls_config"]["ca_file"]]
    hosts = [re.sub(r"https?://([\w-]+):.*", r"\1", each["url"]) for each in provisioned(SOURCES)["datasources"]]

    assert set(asked) <= mounts
    assert set(hosts) <= services.keys()
    assert provisioned(PROVIDER)["providers"][0]["options"]["path"].startswith(
        next(each.split(":")[1] for each in services["grafana"]["volumes"] if each.startswith("./provisioning/grafana"))
    )


# ── make up ──────────────────────────────────────────────────────────────────────────────────────────────────

SCRIPT = (REPOSITORY / "tools" / "stack").read_text()


@pytest.mark.parametrize("fstype", ["fakeowner", "virtiofs", "9p", "nfs4", "fuse.sshfs", "fuse.other", "unheard-of"])
def test_a_refused_mount_is_known_by_the_exporters_own_words(fstype: str) -> None:
    """`make up` looks for what the exporter says of a mount that it does not read, whatever its type."""
    (words,) = re.findall(r"grep -Eq '([^']+)'", SCRIPT)

    assert re.search(words, str(refusal(fstype)))
    assert not re.search(words, "error   /database/orchestration.db: no such file")


DOCKER = """#!/bin/sh
# stands for Docker: it is there, builds, and says of the mount what the exporter would say
case "$*" in
*" check --database "*) echo "error   file system: fakeowner is a folder shared with a virtual machine"; exit 1 ;;
*inspect*Health*) echo healthy ;;
*network*) ;;
*"ps -q"*) echo id ;;
*promtool*) echo orchestration_up ;;
esac
echo "$*" >>"$CALLS"
"""
VENV = """#!/bin/sh
mkdir -p .venv/bin
printf '#!/bin/sh\\necho "$*" >"$CALLS.exporter"\\nexec sleep 60\\n' >.venv/bin/orchestration-exporter
chmod +x .venv/bin/orchestration-exporter
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of what `make up` uses, with stand-ins for Docker and for the environment."""
    folder = tmp_path / "checkout"
    for name in ("tools/stack", ".env.example", "docker-compose.yml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    for path, text in ((tmp_path / "bin" / "docker", DOCKER), (folder / "tools" / "venv", VENV)):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "orchestration.db").write_text("")
    return folder


def up(checkout: Path, command: str = "up", **env: str) -> subprocess.CompletedProcess[str]:
    """Call `tools/stack` there."""
    given = {"PATH": f"{checkout.parent / 'bin'}:/usr/bin:/bin", "CALLS": str(checkout.parent / "calls"), **env}
    return subprocess.run(
        ["sh", "tools/stack", command], cwd=checkout, env=given, capture_output=True, text=True, check=False
    )


def remembered(checkout: Path) -> dict[str, str]:
    """What stands in `.env`."""
    return dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", (checkout / ".env").read_text()))


def test_where_a_container_may_not_read_the_exporter_runs_on_the_host(checkout: Path) -> None:
    """It is started there with TLS and users, Prometheus gets its address, and no container of it is started."""
    database = checkout.parent / "orchestration.db"
    try:
        done = up(checkout, DATABASE=str(database), EXPORTER_USER="1000:1000")

        assert done.returncode == 0, done.stderr
        assert "on this machine, not in a container" in done.stdout
        called = (checkout.parent / "calls.exporter").read_text()
        assert f"serve --database {database} " in called
        assert "--web.config.file secrets/exporter-web.yml" in called
        started = [line for line in (checkout.parent / "calls").read_text().splitlines() if " up -d" in line]
        assert [line.split()[-3:] for line in started] == [["prometheus", "alertmanager", "grafana"]]
        targets = yaml.safe_load((checkout / remembered(checkout)["PROMETHEUS_TARGETS"] / "exporter.yml").read_text())
        assert targets == [{"targets": ["host.docker.internal:10477"]}]
    finally:
        pid = int((checkout / ".run" / "stack" / "exporter.pid").read_text())
        up(checkout, "down")
    until(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes(), "stopped")


def test_what_was_chosen_is_remembered(checkout: Path) -> None:
    """A database and its owner stand in `.env`, and the simulated platform again when it is asked for."""
    database = checkout.parent / "orchestration.db"
    database.chmod(0o644)
    (checkout.parent / "bin" / "docker").write_text(DOCKER.replace("exit 1", "exit 0"))

    assert up(checkout, DATABASE=str(database)).returncode == 0
    chosen = remembered(checkout)
    assert up(checkout, DATABASE="demo").returncode == 0

    owner = database.stat()
    assert (chosen["DATABASE_FOLDER"], chosen["DATABASE_NAME"]) == (str(database.parent), database.name)
    assert chosen["EXPORTER_USER"] == (f"{owner.st_uid}:{owner.st_gid}" if owner.st_uid else "65534:65534")
    assert "COMPOSE_PROFILES" not in chosen
    assert remembered(checkout) == {"COMPOSE_PROJECT_NAME": "orchestration", "COMPOSE_PROFILES": "demo"}


@pytest.mark.parametrize("name, rule", [("nowhere.db", "there is no such file"), ("a:b.db", "cannot mount that name")])
def test_a_database_that_cannot_be_is_refused(checkout: Path, name: str, rule: str) -> None:
    """A file that is not there, or that compose could not mount, is told in a line, and nothing is started."""
    (checkout.parent / "a:b.db").write_text("")

    done = up(checkout, DATABASE=str(checkout.parent / name))

    assert done.returncode == 1
    assert rule in done.stderr
    assert " up -d" not in (checkout.parent / "calls").read_text()
