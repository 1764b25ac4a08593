"""Alertmanager's configuration: who is told of what, as real Alertmanagers and amtools have it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from alerting import __main__ as command
from alerting import alertmanager, receivers, thresholds
from alerting.receivers import DAYS, MuteWindow, Receivers
from tests.realalerts import amtool as run
from tests.realalerts import receivers_of
from tests.test_receivers import FULL, MANUAL

GROUPS = ("availability", "handoffs", "sessions", "money", "service-levels", "anomalies")
SEVERITIES = ("critical", "warning", "info")
TENANT_LABELS = thresholds.load().tenant_labels
PEOPLE = {
    "oncall": "oncall: {slack: {api_url_file: /run/secrets/slack}}",
    "team": "team: {webhook: {url: 'http://team.example.com/in'}}",
    "finance": "finance: {email: {to: money@example.com}}",
    "quality": "quality: {email: {to: quality@example.com}}",
    "dead-mans-switch": "dead_mans_switch: {url: 'http://watch.example.com/in'}",
}
SMTP = "smtp: {host: 'mail.example.com:25', sender: alerts@example.com, require_tls: false}"
OF_OLD = 'alertmanager: "0.25"'


def settings(*people: str, more: str = SMTP) -> Receivers:
    """The settings of a site that has these."""
    return receivers.parse("\n".join([OF_OLD, more, *(PEOPLE[name] for name in people)]))


def written(folder: Path, given: Receivers, tenant_labels: Sequence[str] = TENANT_LABELS) -> Path:
    """The path of alertmanager.yml, after all files were written into the folder."""
    for path, text in alertmanager.files(given, tenant_labels).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder / "alertmanager.yml"


# ── amtool ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_amtool_has_nothing_to_say_of_any_variation(amtool: Path, tmp_path: Path) -> None:
    """Whoever is configured, and nobody: what is made is loaded, and no receiver is named that is not there."""
    sizes = range(len(PEOPLE) + 1)
    files = [
        written(tmp_path / "-".join(["with", *some]), settings(*some))
        for some in itertools.chain.from_iterable(itertools.combinations(PEOPLE, size) for size in sizes)
    ]

    as_it_comes = command.REPOSITORY / command.ALERTMANAGER / "alertmanager.yml"
    code, said = run(amtool, "check-config", as_it_comes, *files)

    assert len(files) == 32
    assert (code, said.count("Checking ")) == (0, 33), said


def test_amtool_takes_a_site_with_everything(amtool: Path, tmp_path: Path) -> None:
    """Teams and URLs by file are for later ones: Debian's says so, and it is the reason to have the version said."""
    code, said = run(amtool, "check-config", written(tmp_path, receivers.parse(FULL)))

    if " 0.25." in run(amtool, "--version")[1]:
        assert code != 0
        assert re.findall(r"field (\w+) not found", said) == ["url_file", "msteamsv2_configs"]
    else:
        assert code == 0, said
        assert "6 receivers" in said


def test_mute_windows_are_taken(amtool: Path, tmp_path: Path) -> None:
    """Time zones, days and hours, by old ones and new ones."""
    windows = "mute_windows: [{name: nights, begin: '20:00', end: '07:00'}, {name: weekends, days: sunday}]"
    site = settings("team", more=f"{SMTP}\ntime_zone: Europe/Berlin\n{windows}")

    code, said = run(amtool, "check-config", written(tmp_path, site))

    assert code == 0, said


def meant(severity: str, group: str) -> list[str]:
    """Who is told of an alert where everybody is configured."""
    if severity == "critical":
        return ["oncall", "finance"] if group == "money" else ["oncall"]
    if group == "money":
        return ["finance"]
    if group in ("handoffs", "sessions", "anomalies") or severity == "info":
        return ["quality"]
    return ["team"]


def test_every_severity_and_group_reaches_who_is_meant(amtool: Path, tmp_path: Path) -> None:
    """Pages, money, the digest, the rest, the watchdog, and alerts that are none of ours."""
    config = written(tmp_path, settings(*PEOPLE))

    for severity, group in itertools.product(SEVERITIES, GROUPS):
        labels = [f"severity={severity}", f"alert_group={group}", "alertname=OrchestrationX", "source=s"]
        assert receivers_of(amtool, config, labels) == meant(severity, group), labels
    watchdog = ["alertname=OrchestrationWatchdog", "severity=info", "alert_group=availability"]
    assert receivers_of(amtool, config, watchdog) == ["dead-mans-switch"]
    assert receivers_of(amtool, config, ["alertname=SomebodyElses"]) == ["team"]


PAGE = ["severity=critical", "alert_group=availability"]
MONEY_PAGE, MONEY = ["severity=critical", "alert_group=money"], ["severity=warning", "alert_group=money"]
DIGEST, TICKET = ["severity=warning", "alert_group=handoffs"], ["severity=warning", "alert_group=service-levels"]
WATCHDOG = ["alertname=OrchestrationWatchdog", "severity=info", "alert_group=availability"]


@pytest.mark.parametrize(
    "people, told",
    [
        ((), ["alertmanager-only"] * 6),
        (("dead-mans-switch",), ["alertmanager-only"] * 5 + ["dead-mans-switch"]),
        (("team",), ["team"] * 5 + ["alertmanager-only"]),
        (("oncall",), ["oncall"] * 5 + ["alertmanager-only"]),
        (("finance",), [*["alertmanager-only", "alertmanager-only,finance", "finance"], *["alertmanager-only"] * 3]),
        (("quality",), [*["alertmanager-only"] * 3, "quality", *["alertmanager-only"] * 2]),
        (("oncall", "team"), ["oncall", "oncall,team", "team", "team", "team", "alertmanager-only"]),
        (("team", "finance"), ["team", "team,finance", "finance", "team", "team", "alertmanager-only"]),
        (("oncall", "finance"), ["oncall", "oncall,finance", "finance", "oncall", "oncall", "alertmanager-only"]),
        (("team", "quality"), ["team", "team", "team", "quality", "team", "alertmanager-only"]),
    ],
)
def test_who_is_not_there_is_stood_in_for(
    amtool: Path, tmp_path: Path, people: tuple[str, ...], told: list[str]
) -> None:
    """Nothing is lost while there is somebody to tell, nobody is told twice, and the watchdog bothers nobody."""
    config = written(tmp_path, settings(*people))

    alerts = (PAGE, MONEY_PAGE, MONEY, DIGEST, TICKET, WATCHDOG)
    assert [",".join(receivers_of(amtool, config, labels)) for labels in alerts] == told


def test_a_muted_site_routes_the_same(amtool: Path, tmp_path: Path) -> None:
    """Mute windows need a route of their own for the rest; a page does not reach the team through it."""
    site = settings(*PEOPLE, more=f"{SMTP}\nmute_windows: [{{name: nights, begin: '20:00', end: '07:00'}}]")
    config = written(tmp_path, site)

    found = [",".join(receivers_of(amtool, config, labels)) for labels in (PAGE, MONEY_PAGE, MONEY, DIGEST, TICKET)]

    assert found == ["oncall", "oncall,finance", "finance", "quality", "team"]
    assert receivers_of(amtool, config, ["alertname=SomebodyElses"]) == ["team"]


def test_the_manuals_table_of_routes_has_their_times() -> None:
    """docs/alerting.md, a row a route; two routes make the digest."""
    root, children = routes(settings(*PEOPLE))
    units = {"s": "s", "m": "min", "h": "h", "d": "d"}

    def times(route: Mapping[str, Any]) -> str:
        found = [route[f"{key}"] for key in ("group_wait", "group_interval", "repeat_interval")]
        return " | ".join(f"{each[:-1]} {units[each[-1]]}" for each in found)

    rows = re.findall(r"\| (\d+ \w+ \| \d+ \w+ \| \d+ \w+) \|$", MANUAL.read_text(), re.MULTILINE)

    watchdog, page, money, quality, info = map(times, children)
    assert rows == [watchdog, page, money, quality, times(root)]
    assert info == quality


# ── as data ──────────────────────────────────────────────────────────────────────────────────────────────────


def routes(site: Receivers, tenant_labels: Sequence[str] = TENANT_LABELS) -> tuple[Mapping[str, Any], list[Any]]:
    """The root and its children."""
    root = alertmanager.config(site, tenant_labels)["route"]
    return root, root["routes"]


def test_the_root_takes_everything_and_groups_by_tenant() -> None:
    """It has no matchers; a group never mixes two sources, nor two tenants by whatever name a site has for them."""
    root, children = routes(settings(*PEOPLE), ["tenant", "region"])

    assert "matchers" not in root
    assert root["group_by"] == ["alertname", "source", "tenant", "region", "project"]
    for child in children:
        assert set(child.get("group_by", root["group_by"])) >= {"source", "tenant", "region"}
    [money] = [child for child in children if child["receiver"] == "finance"]
    assert money["group_by"] == ["source", "tenant", "region", "budget"]


def test_quality_is_told_once_a_day_and_the_watchdog_at_short_intervals() -> None:
    """A digest gathers for a day; it is repeated within the day, for at exactly a day it would be every other one."""
    _, children = routes(settings(*PEOPLE))

    digests = [child for child in children if child["receiver"] == "quality"]
    assert {(each["group_wait"], each["group_interval"], each["repeat_interval"]) for each in digests} == {
        ("1h", "1d", "23h")
    }
    [watchdog] = [child for child in children if child["receiver"] == "dead-mans-switch"]
    assert (watchdog["group_wait"], watchdog["group_interval"], watchdog["repeat_interval"]) == ("0s", "1m", "5m")


def test_only_what_is_no_page_can_be_muted() -> None:
    """Neither on-call, nor the watchdog, nor a digest, which would be lost for a day if its hour were muted."""
    windows = "mute_windows: [{name: nights, begin: '20:00', end: '07:00'}]"
    _, children = routes(settings(*PEOPLE, more=f"{SMTP}\n{windows}"))

    muted = [child["receiver"] for child in children if "mute_time_intervals" in child]

    assert muted == ["finance", "team"]


@pytest.mark.parametrize(
    "window",
    [
        MuteWindow(name="nights", begin="20:00", end="07:30"),
        MuteWindow(name="weekends", days=("saturday", "sunday")),
        MuteWindow(name="friday-night", days=("friday",), begin="22:15", end="06:00"),
        MuteWindow(name="sunday-night", days=("sunday",), begin="23:59", end="00:01"),
        MuteWindow(name="lunch", days=("monday", "wednesday"), begin="12:00", end="13:00"),
        MuteWindow(name="evenings", begin="18:00", end="00:00"),
        MuteWindow(name="round-the-clock", begin="09:00", end="09:00"),
    ],
    ids=lambda window: window.name,
)
def test_a_window_mutes_the_minutes_it_says(window: MuteWindow) -> None:
    """Every minute of a week, over midnight and over the end of the week, once by counting and once by the file."""
    site = Receivers(mute_windows=(window,), time_zone="Europe/Berlin")
    [made] = alertmanager.config(site, ["tenant"])["time_intervals"]

    def minute(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    muted = {
        DAYS.index(day) * 1440 + at
        for part in made["time_intervals"]
        for day in part["weekdays"]
        for times in part["times"]
        for at in range(minute(times["start_time"]), minute(times["end_time"]))
    }
    begin = minute(window.begin)
    length = (minute(window.end) - begin) % 1440 or 1440
    expected = {(DAYS.index(day) * 1440 + begin + at) % 10080 for day in window.days for at in range(length)}
    assert muted == expected
    assert {part["location"] for part in made["time_intervals"]} == {"Europe/Berlin"}


def loose(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rules whose `equal` labels may all be missing, or that mute a page."""
    found = []
    for rule in rules:
        held = {name for name in rule["equal"] if f'{name}!=""' in rule["source_matchers"]}
        found += [] if held else [f"{rule['source_matchers']} holds none of {rule['equal']}"]
        [severities] = [m for m in rule["target_matchers"] if m.startswith("severity=~")] or [""]
        found += [] if severities and "critical" not in severities else [f"{rule['source_matchers']} mutes pages"]
    return found


def test_no_inhibition_hangs_on_labels_that_may_all_be_missing() -> None:
    """Two alerts without an instance are not of the same instance; and no page is ever muted."""
    rules = alertmanager.inhibitions(TENANT_LABELS, ["source", "budget"])

    assert loose(rules) == []
    assert rules[-1]["equal"] == ["alert_group", "job", "instance", "source", *TENANT_LABELS, "budget"]
    assert all(set(TENANT_LABELS) <= set(rule["equal"]) for rule in rules if "source" in rule["equal"])
    bad = {"source_matchers": ['severity="critical"'], "target_matchers": ['severity=~"critical"'], "equal": ["source"]}
    assert len(loose([bad])) == 2


def test_what_is_made_is_the_same_each_time_and_names_no_secret() -> None:
    """Byte by byte; of secrets only the paths of files."""
    once, again = (alertmanager.files(receivers.parse(FULL), TENANT_LABELS) for _ in range(2))

    assert once == again
    text = once[Path("alertmanager.yml")]
    assert "&id" not in text
    assert set(re.findall(r"(\S+): /run/secrets", text)) == {
        "api_url_file",
        "url_file",
        "webhook_url_file",
        "credentials_file",
        "smtp_auth_password_file",
    }
    assert not re.search(r"^\s*(- )?(api_url|webhook_url|auth_password|smtp_auth_password|credentials):", text, re.M)


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_site_makes_its_own_of_its_receivers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written where it says, checked there, and nothing of its folder or of ours is touched."""
    site, folder = tmp_path / "receivers.yaml", tmp_path / "alertmanager"
    site.write_text(FULL)
    folder.mkdir()
    (folder / "theirs").write_text("")
    asked = ["--receivers", str(site), "--to", str(folder)]

    assert command.main([*asked, "--check"], tmp_path) == 1
    assert command.main(asked, tmp_path) == 0
    assert command.main([*asked, "--check"], tmp_path) == 0

    made = alertmanager.files(receivers.parse(FULL), TENANT_LABELS)
    there = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert there == {*made, Path("theirs")}
    assert {path.name for path in tmp_path.iterdir()} == {"receivers.yaml", "alertmanager"}
    assert "alertmanager.yml is missing: run python -m alerting" in capsys.readouterr().err


def test_settings_that_cannot_be_used_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and nothing is written; so are half of a request and a folder that cannot be."""
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    bad.write_text("team: {email: {to: nobody}}")
    good.write_text("")

    assert command.main(["--receivers", str(bad), "--to", str(tmp_path / "out")]) == 2
    assert re.fullmatch(r".*bad\.yaml: line 1: team\.email\.to\.0: 'nobody': must be .*\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
    assert command.main(["--receivers", str(good), "--to", str(good)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit, match="2"):
        command.main(["--receivers", str(good)])
