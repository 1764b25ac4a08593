"""`make e2e`: the provisioned files as they are, in real Prometheus and Alertmanager, without Docker.

Commands, environment and files are those of `docker-compose.yml` and `provisioning/`: only paths and addresses are
others, and how soon an alert is sent again. One exporter on a simulated platform, and beside it every version of
Prometheus here, each with an Alertmanager of its day.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.processes import environment
from tests.processes import until as eventually
from tests.realtools import AlertTools, Missing, Tools, cannot_run, free_port, wanted_alertmanager, wanted_prometheus
from tests.stackrules import filled
from tools.bring import REPOSITORY
from tools.credentials import make

pytestmark = [pytest.mark.slow, pytest.mark.real]

DEADLINE_S = 60.0
PROVISIONING = REPOSITORY / "provisioning"
SERVICES: Mapping[str, Any] = yaml.safe_load(filled((REPOSITORY / "docker-compose.yml").read_text()))["services"]
QUERIES = {
    "the exporter is current": "orchestration_up == 1",
    "hand-offs, by model": "sum by (model) (orchestration_handoffs_total) > 0",
    "how long they took": "histogram_quantile(0.95, sum by (le) (orchestration_handoff_duration_seconds_bucket)) > 0",
    "spend": "sum(orchestration_cost_usd_total) > 0",
    "savings": "sum(orchestration_baseline_cost_usd_total) - sum(orchestration_cost_usd_total) != 0",
    "this month's money": 'sum(orchestration_ledger_cost_usd{period="month"}) > 0',
    "budgets": "orchestration_budget_limit_usd > 0",
    "tasks that succeeded": 'sum(orchestration_tasks_total{outcome="success"}) > 0',
    "sessions": "sum(orchestration_sessions_started_total) > 0",
    "tool calls": "sum by (server) (orchestration_mcp_tool_calls_total) > 0",
    "routing decisions": "sum by (model) (orchestration_routing_decisions_total) > 0",
    "the certificate's end": "orchestration_exporter_tls_certificate_not_after_timestamp_seconds > time() + 31536000",
    "Prometheus itself": 'up{job="prometheus"} == 1 and on () prometheus_build_info',
    "Alertmanager": 'up{job="alertmanager"} == 1 and on () alertmanager_build_info',
}


def pairs() -> list[tuple[Tools | Missing, AlertTools | Missing]]:
    """Every Prometheus with an Alertmanager of its day: the oldest with the oldest, the newest with the newest."""
    prometheus, alertmanager = wanted_prometheus(), wanted_alertmanager()
    return [
        (prometheus[min(index, len(prometheus) - 1)], alertmanager[min(index, len(alertmanager) - 1)])
        for index in range(max(len(prometheus), len(alertmanager)))
    ]


@dataclass(frozen=True, slots=True)
class Here:
    """Where on this machine is what the containers have."""

    folder: Path
    exporter: str
    secrets: Path

    def moved(self, text: str, **others: str) -> str:
        """A text with the containers' paths and addresses as they are here."""
        places = {
            "/etc/orchestration-exporter/exporter.yml": str(PROVISIONING / "exporter" / "demo.yml"),
            "/etc/prometheus/rules": str(PROVISIONING / "prometheus" / "rules"),
            "/run/secrets": str(self.secrets),
            "exporter:10477": self.exporter,
            ":10477": self.exporter,
            **others,
        }
        if text in places:  # an address without a host is a part of others
            return places[text]
        for there, here in places.items():
            text = text if there == ":10477" else text.replace(there, here)
        return text


class Stack:
    """One Prometheus and its Alertmanager, running."""

    def __init__(self, here: Here, tools: Tools, alert_tools: AlertTools) -> None:
        self.tools, self.alert_tools = tools, alert_tools
        self.folder = here.folder / str(tools)
        (self.folder / "targets").mkdir(parents=True)
        addresses = {name: f"127.0.0.1:{free_port()}" for name in ("prometheus", "alertmanager")}
        self.prometheus, self.alertmanager = (f"http://{address}" for address in addresses.values())
        moves = {
            "/etc/prometheus/targets": str(self.folder / "targets"),
            "/etc/prometheus/prometheus.yml": str(self.folder / "prometheus.yml"),
            "/etc/alertmanager": str(PROVISIONING / "alertmanager"),
            "localhost:9090": addresses["prometheus"],
            "alertmanager:9093": addresses["alertmanager"],
            "=/prometheus": f"={self.folder / 'data'}",
            "=/alertmanager": f"={self.folder / 'alerts'}",
        }
        for name in ("prometheus.yml", "targets/exporter.yml"):
            moved = here.moved((PROVISIONING / "prometheus" / name).read_text(), **moves)
            (self.folder / name).write_text(moved)
        self._commands = {
            name: [
                str(program),
                *(here.moved(flag, **moves) for flag in SERVICES[name]["command"]),
                f"--web.listen-address={addresses[name]}",
            ]
            for name, program in (("prometheus", tools.prometheus), ("alertmanager", alert_tools.alertmanager))
        }

        # an alert that fires before Prometheus has found Alertmanager (5 s, before 3.x) is sent again after a minute
        self._commands["prometheus"].append("--rules.alert.resend-delay=5s")

    def start(self, running: contextlib.ExitStack) -> None:
        """Start both, until ``running`` is left."""
        for name, command in self._commands.items():
            # Debian's Alertmanager, as it is brought, finds its default templates from the folder it is in
            cwd = self.alert_tools.alertmanager.parent if name == "alertmanager" else self.folder
            given = {key: str(value or "") for key, value in SERVICES[name].get("environment", {}).items()}
            env = {**environment(), **given}
            running.enter_context(process(command, self.folder / f"{name}.log", env=env, cwd=cwd))

    def log(self, name: str) -> str:
        """What one of them has said."""
        return (self.folder / f"{name}.log").read_text()

    def ask(self, path: str, **parameters: str) -> Any:
        """`data` of what Prometheus answers to a GET; nothing while it does not listen or is not ready."""
        answer = got(f"{self.prometheus}/api/v1/{path}?{urlencode(parameters)}")
        return answer and answer["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        answer = self.ask("query", query=expr)
        found: list[dict[str, Any]] = answer["result"] if answer else []
        return found


def until(condition: Callable[[], Any], what: str) -> Any:
    """What the condition gives once that is true; fails at the deadline."""
    return eventually(condition, what, timeout_s=DEADLINE_S, look_s=0.1)


def got(url: str) -> Any:
    """What a URL answers, or nothing while nobody does."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return None
        raise
    except OSError:
        return None


@contextlib.contextmanager
def process(
    command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, cwd: Path = REPOSITORY
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until the end of the block."""
    with log.open("wb") as file:
        running = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(30)
        finally:
            running.kill()
            running.wait()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """An exporter with TLS and users, on a platform that goes on writing."""
    folder = tmp_path_factory.mktemp("stack")
    secrets = folder / "secrets"
    make(secrets)
    place = Here(folder, f"127.0.0.1:{free_port()}", secrets)
    database = folder / "demo.db"
    past, lives = ["--history", "3d", "--duration", "0s"], ["--history", "0s", "--speed", "50"]
    writer = [sys.executable, "-m", "exporter.demo", str(database)]
    subprocess.run([*writer, *past], cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    paths = {"/database/demo.db": str(database), "/var/lib/orchestration-exporter": str(folder / "state")}
    settings = {name: place.moved(str(value), **paths) for name, value in SERVICES["exporter"]["environment"].items()}
    serve = [sys.executable, "-m", "exporter", "serve"]
    with (
        process([*writer, *lives], folder / "platform.log"),
        process(serve, folder / "exporter.log", env={**environment(), **settings}) as exporter,
    ):
        until(lambda: is_ready(place) or exporter.poll() is not None, "ready")
        assert exporter.poll() is None, (folder / "exporter.log").read_text()
        yield place


def is_ready(here: Here) -> bool:
    """What the container's health check asks."""
    try:
        with urllib.request.urlopen(f"https://{here.exporter}/-/ready", timeout=5, context=trusting(here)) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def trusting(here: Here) -> ssl.SSLContext:
    """A client that trusts the stack's authority, and no other."""
    return ssl.create_default_context(cafile=str(here.secrets / "ca.crt"))


@pytest.fixture(scope="module")
def stacks(here: Here) -> Iterator[dict[str, Stack]]:
    """All versions at once: each waits for its scrapes, which is most of the time."""
    found = {
        str(tools): Stack(here, tools, alert_tools)
        for tools, alert_tools in pairs()
        if isinstance(tools, Tools) and isinstance(alert_tools, AlertTools)
    }
    with contextlib.ExitStack() as running:
        for stack in found.values():
            stack.start(running)
        yield found


@pytest.fixture(params=pairs(), ids=lambda pair: f"{pair[0]}-{pair[1]}")
def stack(request: pytest.FixtureRequest, stacks: dict[str, Stack]) -> Stack:
    """Each version in turn."""
    for tools in request.param:
        if isinstance(tools, Missing):
            cannot_run(tools)
    return stacks[str(request.param[0])]


def test_the_configuration_is_valid(stack: Stack) -> None:
    """promtool and amtool of each version find nothing wrong, rules and templates included."""
    checks = (
        [str(stack.tools.promtool), "check", "config", str(stack.folder / "prometheus.yml")],
        [str(stack.alert_tools.amtool), "check-config", str(PROVISIONING / "alertmanager" / "alertmanager.yml")],
    )
    for check in checks:
        done = subprocess.run(check, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout


def test_it_is_ready_by_the_containers_own_checks(stack: Stack) -> None:
    """The health checks of the compose file succeed, and fail where nobody listens."""
    for name, url, program in (
        ("prometheus", stack.prometheus, stack.tools.promtool),
        ("alertmanager", stack.alertmanager, stack.alert_tools.amtool),
    ):
        _, _, *arguments = SERVICES[name]["healthcheck"]["test"]

        def passes(at: str, program: Path = program, arguments: Sequence[str] = arguments) -> bool:
            moved = [re.sub(r"http://\S+", at, each) for each in arguments]
            done = subprocess.run([str(program), *moved], capture_output=True, check=False, timeout=30)
            return done.returncode == 0

        until(lambda url=url, passes=passes: passes(url), f"{name} ready")  # type: ignore[misc]
        assert not passes(f"http://127.0.0.1:{free_port()}")


def test_every_target_is_up(stack: Stack) -> None:
    """The exporter is scraped with its user over TLS, and Prometheus and Alertmanager are."""

    def targets() -> dict[str, dict[str, Any]]:
        answer = stack.ask("targets", state="active")
        return {each["labels"]["job"]: each for each in answer["activeTargets"]} if answer else {}

    jobs = {"orchestration-exporter", "prometheus", "alertmanager"}
    until(lambda: {job for job, each in targets().items() if each["health"] == "up"} == jobs, f"up: {targets()}")

    assert targets()["orchestration-exporter"]["scrapeUrl"].startswith("https://")


@pytest.mark.parametrize("name", QUERIES)
def test_there_is_data(stack: Stack, name: str) -> None:
    """What dashboards ask for has an answer."""
    until(lambda: stack.query(QUERIES[name]), f"data: {name}")


def test_every_rule_is_loaded_and_works(stack: Stack) -> None:
    """All rules of the files are there, and none has an error, over the real metrics."""
    files = [yaml.safe_load(path.read_text()) for path in (PROVISIONING / "prometheus" / "rules").glob("*.yaml")]
    wanted = sorted(
        rule.get("alert") or rule["record"] for file in files for each in file["groups"] for rule in each["rules"]
    )

    def rules() -> list[dict[str, Any]]:
        answer = stack.ask("rules")
        return [rule for group in answer["groups"] for rule in group["rules"]] if answer else []

    until(lambda: any(rule["health"] == "ok" for rule in rules()), "an evaluation")

    assert sorted(rule["name"] for rule in rules()) == wanted
    assert [(rule["name"], rule["lastError"]) for rule in rules() if rule["health"] == "err"] == []
    # groups of long intervals wait for their turn: they are asked right away
    answers = {rule["name"]: stack.ask("query", query=rule["query"]) for rule in rules()}
    assert [name for name, answer in answers.items() if not answer or "result" not in answer] == []


def test_alerts_arrive(stack: Stack) -> None:
    """The watchdog, which always fires, has come to Alertmanager, with links to the stack's own Grafana."""

    def watchdog() -> list[dict[str, Any]]:
        alerts = got(f"{stack.alertmanager}/api/v2/alerts") or []
        return [each for each in alerts if each["labels"]["alertname"] == "OrchestrationWatchdog"]

    (alert,) = until(watchdog, "an alert")

    grafana = SERVICES["prometheus"]["environment"]["GRAFANA_URL"]
    assert alert["annotations"]["dashboard_url"].startswith(f"{grafana}/d/orchestration-")
    assert alert["labels"]["grafana_url"] == grafana
    assert "runbooks_url" not in alert["labels"]


def test_exemplars_are_kept(stack: Stack) -> None:
    """A bucket leads to a session, by the label that Grafana's data source links."""
    sources = yaml.safe_load((PROVISIONING / "grafana" / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (link,) = sources[0]["jsonData"]["exemplarTraceIdDestinations"]
    asked = {"query": "orchestration_handoff_duration_seconds_bucket", "start": str(time.time() - 3600)}

    found = eventually(
        lambda: stack.ask("query_exemplars", **asked, end=str(time.time() + 60)), "exemplars", look_s=0.1
    )

    assert {name for each in found for exemplar in each["exemplars"] for name in exemplar["labels"]} == {link["name"]}


def test_nobody_else_sees_the_exporter(here: Here) -> None:
    """Without the password it answers 401, to another authority's friends and without TLS nothing."""
    url = f"https://{here.exporter}/metrics"

    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url, timeout=10, context=trusting(here))
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(url, timeout=10, context=ssl.create_default_context())
    with pytest.raises((OSError, http.client.HTTPException), match=r"closed|reset|status"):
        urllib.request.urlopen(url.replace("https", "http"), timeout=10)
