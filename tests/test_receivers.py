"""A site's receivers: what the file may say, and one line for what it must not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alerting import receivers

MANUAL = Path(__file__).resolve().parent.parent / "docs" / "alerting.md"
FULL = """\
oncall:
  slack: {api_url_file: /run/secrets/slack, channel: "#oncall"}
  webhook: {url_file: /run/secrets/pager}
team:
  teams: {webhook_url_file: /run/secrets/teams}
  email: {to: team@example.com}
finance:
  email: {to: [money@example.com, head@example.com]}
quality:
  webhook: {url: "https://digest.example.com/in", credentials_file: /run/secrets/token}
dead_mans_switch: {url: "https://watch.example.com/a"}
smtp:
  host: mail.example.com:587
  sender: alerts@example.com
  username: alerts
  password_file: /run/secrets/smtp
time_zone: Europe/Berlin
mute_windows:
  - {name: nights, begin: "20:00", end: "07:00"}
  - {name: weekends, days: [saturday, sunday]}
"""


def test_a_full_file_is_taken() -> None:
    """Every key there is; one address is a list of one."""
    found = receivers.parse(FULL)

    assert list(found.people) == ["oncall", "team", "finance", "quality"]
    assert found.team is not None
    assert found.team.email is not None
    assert found.team.email.to == ("team@example.com",)
    assert [window.name for window in found.mute_windows] == ["nights", "weekends"]


def test_the_projects_own_file_configures_nobody() -> None:
    """It works with nothing configured, and so does a file that is empty."""
    assert receivers.load() == receivers.parse("") == receivers.parse("{}")
    assert not receivers.load().people
    assert receivers.load().dead_mans_switch is None


def test_the_manuals_example_is_taken_and_its_table_is_whole() -> None:
    """docs/alerting.md: what is copied from it works, and every key of the file stands in it."""
    text = MANUAL.read_text()
    [example] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)

    found = receivers.parse(example)

    assert list(found.people) == ["oncall", "team", "finance", "quality"]
    models = (receivers.Slack, receivers.Teams, receivers.Email, receivers.Webhook, receivers.Receiver, receivers.Smtp)
    names = {name for model in (*models, receivers.Receivers, receivers.MuteWindow) for name in model.model_fields}
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("channel:", "chanel:", "line 2: oncall.slack.chanel: is no key here"),
        ("finance:", "accounting:", "line 7: accounting: is no key here"),
        ('"#oncall"', '"#on call"', "line 2: oncall.slack.channel: '#on call': must be a channel"),
        ("/run/secrets/slack", "secrets/slack", "line 2: oncall.slack.api_url_file: must be the abs"),
        ("{url_file: /run/secrets/pager}", "{}", "line 3: oncall.webhook: must have either url or"),
        ("{url_file: /run/secrets/pager}", "{url_file: /a, url: 'http://b'}", "oncall.webhook: must have either url"),
        ("{url_file: /run/secrets/pager}", "{url: 'http://u:secret@b/'}", "oncall.webhook.url: must be an http"),
        ("{webhook_url_file: /run/secrets/teams}", "yes", "line 5: team.teams: 'yes': Input should be a valid dict"),
        ("{webhook_url_file: /run/secrets/teams}", "{}", "line 5: team.teams.webhook_url_file: is missing"),
        ("to: team@example.com", "to: Team <team@example.com>", "team.email.to.0: 'Team <team@example.com>': must be"),
        ("[money@example.com, head@example.com]", "[]", r"line 8: finance.email.to: .*at least 1 item"),
        ("mail.example.com:587", "mail.example.com", "line 13: smtp.host: 'mail.example.com': must be HOST:PORT"),
        ("  username: alerts\n", "", "line 12: smtp: username and password_file go together"),
        ("username: alerts", "username: alerts\n  require_tls: false", "smtp: require_tls: false: a password must not"),
        ("Europe/Berlin", "Mars", "time_zone: 'Mars': must be a time zone"),
        ('begin: "20:00"', "begin: 8pm", "mute_windows.0.begin: '8pm': must be a time from"),
        ('begin: "20:00"', 'begin: "24:00"', "mute_windows.0.begin: '24:00': must be a time from"),
        ("[saturday, sunday]", "[caturday]", "mute_windows.1.days.0: 'caturday': Input should be 'monday'"),
        ("name: weekends", "name: nights", "mute_windows: .*each must have a name of its own: nights"),
        ("time_zone", "alertmanager: 0.30\ntime_zone", "alertmanager: 0.3: must be a version of Alertmanager from"),
        ("time_zone", 'alertmanager: "0.26"\ntime_zone', "oncall.webhook.url_file: Alertmanager 0.26 cannot"),
        ("time_zone", 'alertmanager: "0.27"\ntime_zone', "team.teams: Alertmanager 0.27 cannot, 0.28 and later can"),
        ("time_zone", 'alertmanager: "0.24"\ntime_zone', "alertmanager: '0.24': must be a version of"),
        ("finance:", "finance:\nfinance:", "line 8: the key is given twice"),
        ("smtp:", "smtp:\n\t", "not YAML"),
    ],
)  # fmt: skip
def test_what_the_file_must_not_say(old: str, new: str, says: str) -> None:
    """The line, the key, its value and the rule, in one line."""
    assert old in FULL
    with pytest.raises(receivers.ReceiversError, match=says) as raised:
        receivers.parse(FULL.replace(old, new, 1))
    assert "\n" not in str(raised.value)


def test_mail_needs_a_server() -> None:
    """Who has no server cannot be written to; the addresses are named."""
    with pytest.raises(receivers.ReceiversError, match=r"team.email: 'a@example.com': needs a server, under smtp"):
        receivers.parse("team: {email: {to: a@example.com}}")


def test_a_receiver_without_a_way_to_be_told_is_refused() -> None:
    """Leaving it out and leaving it empty are not the same."""
    for empty in ("team: {}", "team: {slack: }"):
        with pytest.raises(receivers.ReceiversError, match="line 1: team: must have one of slack, teams, email, web"):
            receivers.parse(empty)
    assert receivers.parse("team:").people == {}


@pytest.mark.parametrize("text", ["- a", "just text", "1"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    """A list, a text, a number."""
    with pytest.raises(receivers.ReceiversError, match=r"line 1: .*dictionary"):
        receivers.parse(text)


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("api_url_file: /run/secrets/slack", "api_url: 'https://x/S3CR3T'", "oncall.slack.api_url: is no key here"),
        ("api_url_file: /run/secrets/slack", "api_url_file: 'https://x/S3CR3T'", "slack.api_url_file: must be the abs"),
        ("https://watch.example.com/a", "https://x/a?key=S3CR3T", "dead_mans_switch.url: must be an http"),
        ("password_file: /run/secrets/smtp", "password: S3CR3T", "smtp.password: is no key here"),
    ],
)
def test_a_secret_that_was_written_into_the_file_is_not_repeated(old: str, new: str, says: str) -> None:
    """Whoever writes the URL instead of the path of its file does not find it in a log."""
    with pytest.raises(receivers.ReceiversError, match=says) as raised:
        receivers.parse(FULL.replace(old, new, 1))

    assert "S3CR3T" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """It is not there, it is no text, or it says something wrong."""
    bad, binary = tmp_path / "bad.yaml", tmp_path / "binary.yaml"
    bad.write_text("x: 1")
    binary.write_bytes(b"\xff")

    for path, says in ((tmp_path / "none.yaml", "No such file"), (bad, "line 1: x:"), (binary, "is no UTF-8")):
        with pytest.raises(receivers.ReceiversError, match=rf"{re.escape(str(path))}: {says}"):
            receivers.load(path)
