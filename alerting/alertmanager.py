"""Alertmanager's configuration: the route tree, what inhibits what, mute windows and receivers, as data.

What is made depends on the receivers (`receivers.yaml`, or a site's own file), on the names of the tenants' labels
(`thresholds.yaml`), and on what the alerts are about. It is understood by Alertmanager 0.25 (Debian 12) and later,
unless a site asks for what only later ones can.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import yaml

from alerting.groups import alerts
from alerting.groups.anomalies import WORSE
from alerting.groups.availability import EXPORTER_DOWN, SOURCE_DOWN, WATCHDOG
from alerting.groups.handoffs import LOCAL_MODEL_DOWN
from alerting.receivers import DAYS, Email, MuteWindow, Receiver, Receivers, Slack, Smtp, Teams, Webhook

TEMPLATES = Path(__file__).with_name("templates")
NOBODY = "alertmanager-only"
"""The receiver that tells nobody: its alerts are seen in Alertmanager's pages and Grafana's only."""
DEAD_MANS_SWITCH = "dead-mans-switch"
INSTEAD = {"oncall": ("team",), "team": ("oncall",), "finance": ("team", "oncall"), "quality": ("team", "oncall")}
"""Who is told in place of somebody who is not configured, in this order."""

QUALITY = ("handoffs", "sessions", "anomalies")
"""The alert groups whose warnings are read once a day."""
_LESS = "warning|info"

Config = dict[str, Any]


def told(receivers: Receivers, who: str) -> str:
    """The name of the receiver that gets what is meant for ``who``."""
    candidates = (who, *INSTEAD[who])
    return next((name for name in candidates if name in receivers.people), NOBODY)


def config(receivers: Receivers, tenant_labels: Sequence[str]) -> Config:
    """The whole configuration, as the values of its YAML."""
    intervals = [_interval(window, receivers.time_zone) for window in receivers.mute_windows]
    return {
        **({"global": _mail(receivers.smtp)} if receivers.smtp else {}),
        "templates": ["templates/*.tmpl"],
        **({"time_intervals": intervals} if intervals else {}),
        "route": _route(receivers, tenant_labels),
        "inhibit_rules": inhibitions(tenant_labels, {label for alert in alerts() for label in alert.of}),
        "receivers": _receivers(receivers),
    }


class _Plain(yaml.SafeDumper):
    """YAML without aliases: a list that stands in two places is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        """Say yes to everything."""
        return True


def text(made: Config) -> str:
    """A configuration as YAML."""
    head = "# Made by `python -m alerting`: change alerting/ or the receivers' file, not this.\n"
    return head + yaml.dump(made, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)


def files(receivers: Receivers, tenant_labels: Sequence[str]) -> dict[Path, str]:
    """The text of each file, by its path below Alertmanager's configuration folder."""
    templates = {Path("templates") / path.name: path.read_text() for path in sorted(TEMPLATES.glob("*.tmpl"))}
    return {Path("alertmanager.yml"): text(config(receivers, tenant_labels)), **templates}


# ── routes ───────────────────────────────────────────────────────────────────────────────────────────────────


def _route(receivers: Receivers, tenant_labels: Sequence[str]) -> Config:
    """The tree: the root has no matchers, so that no alert is without a receiver, others' alerts included.

    The first child that matches takes an alert; only a page on money goes on, to those who look after it.
    """
    of_tenant = ["source", *tenant_labels]
    oncall, team, finance = (told(receivers, who) for who in ("oncall", "team", "finance"))
    muted = {"mute_time_intervals": [w.name for w in receivers.mute_windows]} if receivers.mute_windows else {}
    digest = {
        "receiver": told(receivers, "quality"),
        "group_by": of_tenant,
        # an hour to gather what begins together, then once a day what is new, what still holds and what ended;
        # repeated a little before the day is over, for at exactly a day it would be every other one
        **_timing("1h", "1d", "23h"),
    }
    # the same receiver must not be told of one alert twice
    not_paged = [] if finance != oncall else ['severity!="critical"']
    routes = [
        {
            "receiver": DEAD_MANS_SWITCH if receivers.dead_mans_switch else NOBODY,
            "matchers": [f'alertname="{WATCHDOG.name}"'],
            **_timing("0s", "1m", "5m"),
        },
        {
            "receiver": oncall,
            "matchers": ['severity="critical"'],
            "continue": True,
            **_timing("15s", "2m", "4h"),
        },
        {
            "receiver": finance,
            "matchers": ['alert_group="money"', *not_paged],
            "group_by": [*of_tenant, "budget"],
            **_timing("30s", "1h", "1d"),
            **muted,
        },
        {"matchers": [f'alert_group=~"{"|".join(QUALITY)}"', f'severity=~"{_LESS}"'], **digest},
        {"matchers": ['severity="info"'], **digest},
        # the root cannot be muted, and who is paged is not told again here
        *([{"receiver": team, "matchers": ['severity!="critical"'], **muted}] if muted else []),
    ]
    return {
        "receiver": team,
        "group_by": ["alertname", *of_tenant, "project"],
        **_timing("30s", "5m", "1d"),
        "routes": routes,
    }


def _timing(wait: str, interval: str, repeat: str) -> Config:
    return {"group_wait": wait, "group_interval": interval, "repeat_interval": repeat}


def _interval(window: MuteWindow, time_zone: str) -> Config:
    """A mute window as Alertmanager has them: none goes over midnight, so one that does is two."""
    end = "24:00" if window.end == "00:00" else window.end
    days: list[str] = [*window.days]
    parts = [(days, window.begin, end)]
    if window.begin >= end:
        next_days = [DAYS[(DAYS.index(day) + 1) % len(DAYS)] for day in days]
        parts = [(days, window.begin, "24:00"), (next_days, "00:00", end)]
    return {
        "name": window.name,
        "time_intervals": [
            {"weekdays": weekdays, "times": [{"start_time": begin, "end_time": until}], "location": time_zone}
            for weekdays, begin, until in parts
        ],
    }


# ── inhibition ───────────────────────────────────────────────────────────────────────────────────────────────


def inhibitions(tenant_labels: Sequence[str], about: Collection[str]) -> list[Config]:
    """What is not told while something graver is told of the same object; never a page.

    ``about`` are the labels by which alerts name their objects: what has one is of another object than what has not.

    A label that both alerts lack is equal to Alertmanager: each rule therefore names one that the first must have.
    What is muted is not told when it ends, either: a page that was begun has to be ended.
    """
    place = ["job", "instance"]
    source = [*place, "source", *tenant_labels]
    what = ["alert_group", *source, *sorted({*about} - {*source})]
    return [
        _inhibition([f'alertname="{EXPORTER_DOWN.name}"', 'instance!=""'], _LESS, place),
        _inhibition([f'alertname="{SOURCE_DOWN.name}"', 'source!=""'], _LESS, source),
        # of the same hand-offs; what a paid model fails at is told by itself
        _inhibition([f'alertname="{LOCAL_MODEL_DOWN.name}"', 'source!=""'], "info", source, of=WORSE.name),
        _inhibition(['severity="critical"', 'instance!=""'], _LESS, what),
        _inhibition(['severity="warning"', 'instance!=""'], "info", what),
    ]


def _inhibition(source: list[str], severities: str, equal: list[str], *, of: str = "") -> Config:
    target = [*([f'alertname="{of}"'] if of else []), f'severity=~"{severities}"']
    return {"source_matchers": source, "target_matchers": target, "equal": equal}


# ── receivers ────────────────────────────────────────────────────────────────────────────────────────────────


def _receivers(receivers: Receivers) -> list[Config]:
    people = [{"name": name, **_ways(person)} for name, person in receivers.people.items()]
    watcher = receivers.dead_mans_switch
    switch = [{"name": DEAD_MANS_SWITCH, "webhook_configs": [_webhook(watcher, ends=False)]}] if watcher else []
    return [{"name": NOBODY}, *people, *switch]


def _ways(person: Receiver) -> Config:
    return {
        **({"slack_configs": [_slack(person.slack)]} if person.slack else {}),
        **({"msteamsv2_configs": [_teams(person.teams)]} if person.teams else {}),
        **({"email_configs": [_email(person.email)]} if person.email else {}),
        **({"webhook_configs": [_webhook(person.webhook, ends=True)]} if person.webhook else {}),
    }


def _slack(slack: Slack) -> Config:
    return {
        "api_url_file": slack.api_url_file,
        **({"channel": slack.channel} if slack.channel else {}),
        "send_resolved": True,
        **{key: _template(f"slack.{key}") for key in ("color", "title", "text")},
        "fallback": _template("slack.title"),
        "title_link": "{{ .ExternalURL }}",
    }


def _teams(teams: Teams) -> Config:
    title, text = (_template(f"teams.{key}") for key in ("title", "text"))
    return {"webhook_url_file": teams.webhook_url_file, "send_resolved": True, "title": title, "text": text}


def _email(email: Email) -> Config:
    return {
        "to": ", ".join(email.to),
        "send_resolved": True,
        "headers": {"Subject": _template("subject")},
        "html": _template("email.html"),
        "text": _template("text"),
    }


def _webhook(webhook: Webhook, *, ends: bool) -> Config:
    bearer = {"http_config": {"authorization": {"credentials_file": webhook.credentials_file}}}
    return {
        **({"url": webhook.url} if webhook.url else {"url_file": webhook.url_file}),
        "send_resolved": ends,
        **(bearer if webhook.credentials_file else {}),
    }


def _mail(smtp: Smtp) -> Config:
    password = {"smtp_auth_username": smtp.username, "smtp_auth_password_file": smtp.password_file}
    return {
        "smtp_smarthost": smtp.host,
        "smtp_from": smtp.sender,
        **(password if smtp.username else {}),
        "smtp_require_tls": smtp.require_tls,
    }


def _template(name: str) -> str:
    return f'{{{{ template "orchestration.{name}" . }}}}'
