"""What a real Alertmanager does with the configuration: what it keeps to itself, and what it says, to whom."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from alerting import alertmanager, receivers, thresholds
from alerting.receivers import DAYS
from tests import inhibition
from tests.realalerts import EXTERNAL_URL, Alertmanager, Mailbox, Told, until
from tests.realserver import POLL_S
from tests.realtools import WAIT_TIMEOUT_S, AlertTools
from tests.test_security import authority, pem

TENANT_LABELS = thresholds.load().tenant_labels
OF_OLD = 'alertmanager: "0.25"\n'


def hurried(route: dict[str, Any]) -> None:
    """Make a route and those below it wait for nothing: what is asked is who is told what, not when."""
    route |= {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"}
    for child in route.get("routes", ()):
        hurried(child)


def configured(folder: Path, settings: str, rules: Sequence[Mapping[str, Any]] | None = None) -> Path:
    """The path of a hurried alertmanager.yml of such receivers; `rules`: other inhibition than the real one."""
    given = receivers.parse(settings)
    made = alertmanager.config(given, TENANT_LABELS)
    hurried(made["route"])
    if rules is not None:
        made["inhibit_rules"] = [*rules]
    files = {**alertmanager.files(given, TENANT_LABELS), Path("alertmanager.yml"): alertmanager.text(made)}
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder / "alertmanager.yml"


# ── inhibition ───────────────────────────────────────────────────────────────────────────────────────────────

SOURCE = {"job": "orchestration", "source": "one", "tenant": "acme"}


def alert(severity: str, group: str, case: str, **labels: str) -> dict[str, str]:
    """An alert on a source of one tenant, each case on an instance of its own; a label that is empty is not there."""
    name = {"alertname": f"Orchestration{severity.title()}"}
    made = {**name, "severity": severity, "alert_group": group, "instance": case, **SOURCE, **labels}
    return {key: value for key, value in made.items() if value}


GRAVE = [alert("critical", "availability", case) for case in ("a", "b", "c", "d", "e", "f")]
SOURCE_DOWN = alert("critical", "availability", "g", alertname="OrchestrationSourceDown")
EXPORTER_DOWN = alert("critical", "availability", "h", alertname="OrchestrationExporterDown", source="", tenant="")
ABSENT = {"alertname": "OrchestrationExporterAbsent", "severity": "critical", "alert_group": "availability"}
LOCAL_DOWN = alert("warning", "handoffs", "k", alertname="OrchestrationLocalModelDown")
BROKEN = alert("critical", "money", "i", budget="all")
FOLLOWED = alert("warning", "handoffs", "j", project="shop", model="local")
MUTED = [
    alert("warning", "availability", "a"),
    alert("info", "availability", "a"),
    alert("warning", "handoffs", "g", project="shop"),
    alert("warning", "money", "g", budget="all"),
    alert("info", "sessions", "g"),
    alert("warning", "handoffs", "h"),
    alert("warning", "availability", "h", source="two", tenant="other"),
    alert("warning", "money", "i", budget="all"),
    alert("info", "handoffs", "j", project="shop", model="local"),
    alert("info", "anomalies", "k", alertname="OrchestrationFailureAnomaly"),
]
"""Each has something graver of the same object beside it."""
HEARD = [
    # another source, tenant, job, instance, group; a page
    alert("warning", "availability", "b", source="two"),
    alert("warning", "availability", "c", tenant="other"),
    alert("warning", "availability", "d", job="another"),
    alert("warning", "handoffs", "e"),
    alert("critical", "availability", "f", alertname="OrchestrationAnother"),
    # a source is down: another tenant's source of the same name, another source, a page on money
    alert("warning", "handoffs", "g", tenant="other"),
    alert("warning", "handoffs", "g", source="two"),
    alert("critical", "money", "g", budget="all"),
    # an exporter is down, and another's alerts go on
    alert("warning", "handoffs", "h", job="another"),
    # nothing says of what object an absence is
    {"alertname": "OrchestrationNotified", "severity": "warning", "alert_group": "availability"},
    # another budget, project and model; a warning does not mute a warning
    alert("warning", "money", "i", budget="shop"),
    alert("warning", "money", "i", budget="all", project="shop"),
    alert("info", "handoffs", "j", project="other", model="local"),
    alert("info", "handoffs", "j", project="shop", model="paid"),
    alert("warning", "handoffs", "j", project="shop", model="local", alertname="OrchestrationAnother"),
    # a local model is down: what a paid one fails at, what else is unusual, and another source's failures
    alert("warning", "handoffs", "k", alertname="OrchestrationHandoffsFailing", model="paid"),
    alert("info", "anomalies", "k", alertname="OrchestrationHandoffSurge"),
    alert("info", "anomalies", "k", alertname="OrchestrationFailureAnomaly", source="two"),
]
"""None of these has."""
GRAVER = [*GRAVE, SOURCE_DOWN, EXPORTER_DOWN, ABSENT, LOCAL_DOWN, BROKEN, FOLLOWED]


async def states(tools: AlertTools, config: Path, folder: Path, muted: int) -> dict[frozenset[tuple[str, str]], str]:
    """The states of all alerts above, once as many are muted as should be, and no fewer than all are there."""
    async with Alertmanager(tools, config, folder) as running:
        await running.post(*GRAVER, *HEARD, *MUTED)
        deadline = asyncio.get_running_loop().time() + WAIT_TIMEOUT_S
        while True:
            found = await running.states()
            is_settled = len(found) == len([*GRAVER, *HEARD, *MUTED]) and [*found.values()].count("suppressed") >= muted
            if is_settled or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(POLL_S)


def suppressed(found: Mapping[frozenset[tuple[str, str]], str]) -> list[dict[str, str]]:
    """The labels of what is muted."""
    return [dict(labels) for labels, state in found.items() if state == "suppressed"]


async def test_what_is_muted_and_what_is_not(alertmanager_tools: AlertTools, tmp_path: Path) -> None:
    """What something graver of the same object is told beside, and nothing else: tenants and sources apart."""
    rules = alertmanager.inhibitions(TENANT_LABELS, ("project", "model", "budget"))
    found = await states(alertmanager_tools, configured(tmp_path, OF_OLD, rules), tmp_path / "run", len(MUTED))

    muted = suppressed(found)
    judged = inhibition.muted(inhibition.inhibitions(rules), [*GRAVER, *HEARD, *MUTED])
    assert judged == MUTED, "what months are judged by"
    assert [each for each in MUTED if each not in muted] == []
    assert [each for each in muted if each not in MUTED] == []
    assert {state for labels, state in found.items() if dict(labels) not in MUTED} == {"active"}


async def test_a_rule_on_labels_that_are_missing_mutes_everything(
    alertmanager_tools: AlertTools, tmp_path: Path
) -> None:
    """What the rules guard against is real: without it, an absence mutes a warning that has no object, either."""
    naive = [
        {"source_matchers": ['severity="critical"'], "target_matchers": ['severity="warning"'], "equal": ["source"]}
    ]
    config = configured(tmp_path, OF_OLD, naive)
    found = await states(alertmanager_tools, config, tmp_path / "run", len(MUTED))

    muted = suppressed(found)
    assert any(each["alertname"] == "OrchestrationNotified" for each in muted)
    judged = inhibition.muted(inhibition.inhibitions(naive), [*GRAVER, *HEARD, *MUTED])
    assert sorted(map(sorted, map(dict.items, judged))) == sorted(map(sorted, map(dict.items, muted)))


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────

HOSTILE = '<!channel> "a & b" [x](http://evil.example.com) + *'
ANNOTATIONS = {
    "summary": "The source cannot be read.",
    "description": f"Source one has been down for 12.5 minutes: {HOSTILE} <b>bold</b>",
    "runbook_url": "https://docs.example.com/runbooks/OrchestrationSourceSlow",
    "dashboard_url": "https://grafana.example.com/d/orchestration-exporter?var-source=one",
}
EXTERNAL = {"grafana_url": "https://grafana.example.com", "runbooks_url": "https://docs.example.com"}
"""Prometheus's external labels, which all alerts have and none is about."""
SLOW = {
    "alertname": "OrchestrationSourceSlow",
    "severity": "warning",
    "alert_group": "availability",
    "job": "orchestration",
    "instance": "exporter:10477",
    "source": "one",
    "tenant": "acme",
    "project": HOSTILE,
}


MATCHERS = [f"{name}={json.dumps(value)}" for name, value in sorted(SLOW.items())]
"""What a silence of this alert holds for."""


class Links(HTMLParser):
    """The links of a page, the elements it is made of, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.elements: set[str] = set()
        self.text = ""
        self._link = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Note it."""
        self.elements.add(tag)
        self._link = dict(attrs).get("href") or ""

    def handle_data(self, data: str) -> None:
        """Note the text, of a link as its name."""
        self.text += data
        if self._link:
            self.links[data] = self._link
            self._link = ""


def silenced(link: str) -> list[str]:
    """The matchers that a link to a new silence is filled in with."""
    head, _, filters = link.partition("?filter=")
    assert head == f"{EXTERNAL_URL}/#/silences/new"
    assert re.fullmatch(r"[\w%.~-]+", filters), filters
    text = unquote(filters)
    assert text[0] + text[-1] == "{}"
    return re.findall(r'\w+="(?:[^"\\]|\\.)*"', text)


def can_teams(tools: AlertTools) -> bool:
    """Whether this Alertmanager is one that can tell Teams."""
    return tools.release >= receivers.TEAMS_SINCE


def secret(folder: Path, name: str, value: str) -> Path:
    """The path of a file with a secret."""
    (folder / name).write_text(f"{value}\n")
    return folder / name


def team(folder: Path, tools: AlertTools, told: Told, mailbox: Mailbox) -> str:
    """The settings of a team that is told in every way this version has."""
    lines = [
        f"alertmanager: '{tools.version.rpartition('.')[0]}'",
        f"smtp: {{host: '{mailbox.address}', sender: alerts@example.com, require_tls: false}}",
        "team:",
        f"  slack: {{api_url_file: {secret(folder, 'slack', told.url('/slack'))}, channel: '#team'}}",
        "  email: {to: [team@example.com, other@example.com]}",
        f"  webhook: {{url: '{told.url('/webhook')}', credentials_file: {secret(folder, 'token', 's3cret')}}}",
    ]
    if can_teams(tools):
        lines.append(f"  teams: {{webhook_url_file: {secret(folder, 'teams', told.url('/teams'))}}}")
    return "\n".join(lines)


async def test_everybody_is_told_with_numbers_and_links(alertmanager_tools: AlertTools, tmp_path: Path) -> None:
    """Slack, Teams, mail and a webhook, each as it reads text; what came out of a table makes no link and no call."""
    ways = {"/slack", "/webhook", *(["/teams"] if can_teams(alertmanager_tools) else [])}
    async with Told() as told, Mailbox() as mailbox:
        config = configured(tmp_path, team(tmp_path, alertmanager_tools, told, mailbox))
        async with Alertmanager(alertmanager_tools, config, tmp_path / "run") as running:
            await running.post(SLOW | EXTERNAL, annotations=ANNOTATIONS)
            await until(lambda: {path for path, _, _ in told.requests} == ways and mailbox.mails, "told")
            first = len(told.requests)
            assert [dict(labels) for labels in await running.states(*MATCHERS)] == [SLOW | EXTERNAL]
            await running.post(SLOW | EXTERNAL, annotations=ANNOTATIONS, resolved=True)
            await until(lambda: len(told.requests) == 2 * first and len(mailbox.mails) == 2, "told that it ended")

    subject = f"[warning] {ANNOTATIONS['summary']} ({HOSTILE}, one, acme)"
    check_slack(*told.at("/slack"))
    if can_teams(alertmanager_tools):
        check_teams(*told.at("/teams"))
    firing, resolved = told.at("/webhook")
    assert [firing["status"], resolved["status"]] == ["firing", "resolved"]
    assert firing["alerts"][0]["labels"] == SLOW | EXTERNAL
    assert firing["alerts"][0]["annotations"] == ANNOTATIONS
    [headers] = {head["Authorization"] for path, _, head in told.requests if path == "/webhook"}
    assert headers == "Bearer s3cret"
    assert sorted(set(mailbox.recipients)) == ["other@example.com", "team@example.com"]
    assert mailbox.mails[0]["Subject"] == subject
    assert str(mailbox.mails[-1]["Subject"]).startswith("[resolved] The source cannot be read.")
    html, text = (mailbox.mails[0].get_body([kind]) for kind in ("html", "plain"))
    assert html is not None
    assert text is not None
    check_html(html.get_content())
    check_text(text.get_content())


def check_slack(firing: dict[str, Any], resolved: dict[str, Any]) -> None:
    """Escaped as Slack wants it: nobody is called."""
    [attachment] = firing["attachments"]
    assert firing["channel"] == "#team"
    assert attachment["color"] == "warning"
    assert attachment["title"].startswith("[warning] The source cannot be read. (")
    assert "<!channel>" not in str(firing)
    escaped = HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"down for 12.5 minutes: {escaped} &lt;b&gt;bold" in attachment["text"]
    links = {name: link for link, name in re.findall(r"<([^<>|]+)\|([^<>]+)>", attachment["text"])}
    check_links(links)
    assert resolved["attachments"][0]["color"] == "good"
    assert "until" in resolved["attachments"][0]["text"]


def check_teams(firing: dict[str, Any], resolved: dict[str, Any]) -> None:
    """A card whose only links are ours."""
    title, text = (block["text"] for block in firing["attachments"][0]["content"]["body"])
    assert title.startswith("[warning] The source cannot be read. (")
    assert "12.5 minutes" in text
    check_links(dict(re.findall(r"\[([^]]+)\]\(([^)]+)\)", text)))
    assert "[x](" not in title + text
    assert resolved["attachments"][0]["content"]["body"][0]["text"].startswith("[resolved]")


def check_html(page: str) -> None:
    """Nothing of what came out of a table is an element; nothing is fetched."""
    read = Links(page)
    assert read.elements == {"html", "head", "meta", "title", "body", "h1", "div", "p", "strong", "a"}
    assert ANNOTATIONS["description"] in read.text
    check_links(read.links)


def check_text(text: str) -> None:
    """The same without HTML, unescaped."""
    text = text.replace("\r\n", "\n")
    assert ANNOTATIONS["description"] in text
    links = {name.strip(): link for name, link in re.findall(r"^\s*([A-Z][a-z ]+): +(http\S+)$", text, re.MULTILINE)}
    check_links(links)


def check_links(links: Mapping[str, str]) -> None:
    """To the runbook, the dashboard, the query, a new silence of just these alerts, and all alerts."""
    assert set(links) == {"Runbook", "Dashboard", "Query", "Silence", "All alerts"}
    assert links["Runbook"] == ANNOTATIONS["runbook_url"]
    assert links["Dashboard"] == ANNOTATIONS["dashboard_url"]
    assert links["Query"].startswith("http://prom.example.com/graph?")
    assert links["All alerts"] == EXTERNAL_URL
    assert sorted(silenced(links["Silence"])) == MATCHERS


async def test_mail_goes_with_a_password_from_a_file_and_over_tls_only(
    alertmanager_tools: AlertTools, tmp_path: Path
) -> None:
    """The server is asked for TLS, its certificate is checked, then the password of the file is said."""
    ours = authority("ours")
    ours.sign(tmp_path, "server", san="mail.example.com")
    (tmp_path / "ca.crt").write_bytes(pem(ours.certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    password = secret(tmp_path, "password", "s3cret")
    if alertmanager_tools.release < (0, 27):
        password.write_text("s3cret")  # it would send the line's end along
    async with Mailbox(context) as mailbox:
        smtp = f"host: '{mailbox.address}', sender: a@example.com, username: alerts, password_file: {password}"
        config = configured(tmp_path, f"{OF_OLD}smtp: {{{smtp}}}\nteam: {{email: {{to: team@example.com}}}}")
        trusting = {"SSL_CERT_FILE": str(tmp_path / "ca.crt")}
        async with Alertmanager(alertmanager_tools, config, tmp_path / "run", env=trusting) as running:
            await running.post(SLOW, annotations=ANNOTATIONS)
            await until(lambda: mailbox.mails, "sent")

    assert mailbox.logins == ["\0alerts\0s3cret"]
    assert mailbox.recipients == ["team@example.com"]


async def test_a_digest_offers_no_silence_and_shows_twenty(alertmanager_tools: AlertTools, tmp_path: Path) -> None:
    """Several kinds of alerts have little in common: a silence of that would silence the whole source."""
    async with Told() as told, Mailbox() as mailbox:
        settings = team(tmp_path, alertmanager_tools, told, mailbox).replace("team:", "quality:", 1)
        config = configured(tmp_path, settings)
        async with Alertmanager(alertmanager_tools, config, tmp_path / "run") as running:
            many = [alert("warning", "handoffs", "x", alertname=f"Orchestration{n}", model=f"m{n}") for n in range(23)]
            await running.post(*many, annotations={**ANNOTATIONS, "runbook_url": "docs/runbooks/X.md"})
            await until(lambda: told.at("/slack") and mailbox.mails, "told")

    text = told.at("/slack")[0]["attachments"][0]["text"]
    assert "Only 20 of 23 are shown." in text
    # where the external labels do not say where runbooks are, a path is no link
    assert (text.count("Runbook: docs/runbooks/X.md"), text.count("|Dashboard>")) == (20, 20)
    assert "Silence" not in text
    assert str(mailbox.mails[0]["Subject"]) == "[warning, 23 alerts] The source cannot be read. (one, acme)"
    body = mailbox.mails[0].get_body(["html"])
    assert body is not None
    page = Links(body.get_content())
    assert page.links.keys() == {"Dashboard", "Query", "All alerts"}
    assert "Only 20 of 23 are shown." in page.text


# ── mute windows ─────────────────────────────────────────────────────────────────────────────────────────────

NOT_SENT = "Notifications not sent, route is within mute time"


async def test_a_mute_window_holds_back_all_but_pages(alertmanager_tools: AlertTools, tmp_path: Path) -> None:
    """In it the team and finance are not told, on-call is; outside of it they are."""
    others = [day for day in DAYS if abs(DAYS.index(day) - datetime.now(UTC).weekday()) % 6 > 1]
    page, ticket = alert("critical", "availability", "p"), alert("warning", "availability", "t")
    money = alert("warning", "money", "m", budget="all")
    for days, is_muted in ((list(DAYS), True), (others, False)):
        folder = tmp_path / str(is_muted)
        folder.mkdir()
        async with Told() as told:
            people = "\n".join(f"{who}: {{webhook: {{url: '{told.url(f'/{who}')}'}}}}" for who in ("oncall", "team"))
            windows = f"mute_windows: [{{name: quiet, days: [{', '.join(days)}]}}]"
            config = configured(folder, f"{OF_OLD}{people}\n{windows}")
            async with Alertmanager(alertmanager_tools, config, folder / "run") as running:
                await running.post(page, ticket, money)
                await until(lambda: told.at("/oncall"), "paged")
                if is_muted:
                    await until(lambda: running.log.count(NOT_SENT) >= 2, "both held back")
                    assert told.at("/team") == []
                else:
                    await until(lambda: len(told.at("/team")) == 2, "told")
                    assert NOT_SENT not in running.log
