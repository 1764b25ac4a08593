"""From a broken source to a request at a receiver, and back: the exporter, Prometheus and Alertmanager for real."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerting import __main__ as command
from alerting import alertmanager, receivers, thresholds
from alerting.groups.availability import SOURCE_DOWN
from exporter.demo.schema import TABLES
from tests.processes import Serving
from tests.realalerts import Alertmanager, Told, until
from tests.realserver import POLL_S
from tests.realtools import (
    WAIT_TIMEOUT_S,
    AlertTools,
    Missing,
    Prometheus,
    Tools,
    alertmanager_versions,
    cannot_run,
)

pytestmark = pytest.mark.slow

JOB = "orchestration-exporter"
EVALUATIONS_S = 3.0
"""So many seconds of evaluations, and as many chances for Alertmanager to repeat itself."""


def its_alertmanager(tools: Tools) -> AlertTools:
    """Old beside old and new beside new, as they are installed."""
    here = alertmanager_versions()
    if not here:
        cannot_run(Missing("Alertmanager"))
    return here[0] if tools.release < (3, 0) else here[-1]


def impatient_rules(folder: Path) -> list[Path]:
    """Copies of all rule files, in which a source that is down need not be down for long."""
    folder.mkdir()
    found = []
    for path, text in command.files().items():
        if not path.is_relative_to(command.RULES):
            continue
        document = yaml.safe_load(text)
        rules = [rule for group in document["groups"] for rule in group["rules"]]
        for rule in rules:
            if rule.get("alert") == SOURCE_DOWN.name:
                rule["for"] = "1s"
        found.append(folder / path.name)
        found[-1].write_text(yaml.safe_dump(document, sort_keys=False))
    return found


def impatient_routes(folder: Path, told: Told) -> Path:
    """The configuration of a site with everybody, in which no group waits for more."""
    people = [f"{who}: {{webhook: {{url: '{told.url(f'/{who}')}'}}}}" for who in ("oncall", "team", "quality")]
    given = receivers.parse("\n".join([*people, f"dead_mans_switch: {{url: '{told.url('/watch')}'}}"]))
    labels = thresholds.load().tenant_labels
    made = alertmanager.config(given, labels)
    for route in (made["route"], *made["route"]["routes"]):
        route |= {"group_wait": "1s", "group_interval": "1s"}
    for path, text in alertmanager.files(given, labels).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "alertmanager.yml").write_text(alertmanager.text(made))
    return folder / "alertmanager.yml"


async def evaluated(prometheus: Prometheus, seconds: float) -> None:
    """Return when the rules have been evaluated for so long from now."""

    async def last() -> float:
        groups: list[dict[str, Any]] = (await prometheus.api("rules"))["groups"]
        [group] = [each for each in groups if each["name"] == "orchestration-availability"]
        return datetime.fromisoformat(group["lastEvaluation"]).timestamp()

    began, deadline = await last(), time.monotonic() + WAIT_TIMEOUT_S
    while not await last() > began + seconds:
        assert time.monotonic() < deadline, "the rules are not evaluated"
        await asyncio.sleep(POLL_S)


async def test_a_broken_source_is_told_once_and_its_repair_once(prometheus_tools: Tools, tmp_path: Path) -> None:
    """The database is gone: one page with its numbers and links; it is back: one notice. The watchdog is heard."""
    database, gone = tmp_path / "platform.db", tmp_path / "gone.db"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.executescript(TABLES)
    tools = its_alertmanager(prometheus_tools)
    async with Told() as told:
        exporter = Serving(tmp_path / "exporter", database, {"poll_interval": 0.2})
        routes = impatient_routes(tmp_path / "alertmanager", told)
        with exporter:
            await asyncio.to_thread(exporter.start)
            async with Alertmanager(tools, routes, tmp_path / "alerts") as alerts:
                intervals = {f"{name}_interval": "200ms" for name in ("scrape", "evaluation")}
                links = {"grafana_url": "https://grafana.example.com", "runbooks_url": "https://docs.example.com"}
                top = {
                    "global": {**intervals, "scrape_timeout": "200ms", "external_labels": links},
                    "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alerts.address]}]}]},
                }
                rules = impatient_rules(tmp_path / "rules")
                folder = tmp_path / "prometheus"
                prometheus = Prometheus(
                    prometheus_tools,
                    folder,
                    targets=[exporter.address],
                    job=JOB,
                    rule_files=rules,
                    top=top,
                    # what is sent before it has found its Alertmanager is lost, and sent again after this
                    flags=["--rules.alert.resend-delay=1s"],
                )
                async with prometheus:
                    await prometheus.wait_for("orchestration_up == 1")
                    await until(lambda: told.at("/watch"), "watched")
                    assert told.at("/oncall") == []

                    database.rename(gone)
                    await until(lambda: told.at("/oncall"), "paged")
                    await evaluated(prometheus, EVALUATIONS_S)
                    assert len(told.at("/oncall")) == 1

                    gone.rename(database)
                    await until(lambda: len(told.at("/oncall")) == 2, "told that it is over")
                    await evaluated(prometheus, EVALUATIONS_S)
    firing, resolved = told.at("/oncall")
    check(firing, "firing", exporter.address)
    check(resolved, "resolved", exporter.address)
    assert told.at("/team") == told.at("/quality") == []
    assert {each["status"] for each in told.at("/watch")} == {"firing"}


def check(told: dict[str, Any], status: str, instance: str) -> None:
    """One alert, its labels, its numbers and its links."""
    [alert] = told["alerts"]
    links = {"grafana_url", "runbooks_url"}
    assert (told["status"], alert["status"], told["receiver"]) == (status, status, "oncall")
    assert {name: value for name, value in alert["labels"].items() if name not in links} == {
        "alertname": SOURCE_DOWN.name,
        "severity": "critical",
        "alert_group": "availability",
        "job": JOB,
        "instance": instance,
        "source": "default",
    }
    annotations = alert["annotations"]
    assert annotations["summary"] == SOURCE_DOWN.summary
    assert f"Source default of {instance}" in annotations["description"]
    assert annotations["runbook_url"] == f"https://docs.example.com/{SOURCE_DOWN.name}.md"
    assert annotations["dashboard_url"].startswith("https://grafana.example.com/d/orchestration-exporter?")
