"""Settings: what is refused and in which words, who wins over whom, and what the schema and the docs say of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from exporter import commands, config, options, telemetry, yamlfile
from exporter.backfill.options import BackfillOptions
from exporter.catalogue import SCHEMA
from exporter.config import Settings
from exporter.options import OPTIONS, PREFIX, ConfigError, Flags, Option
from exporter.settingtypes import Seconds, reachable, short

DOCS = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
FILE = options.CONFIG_FILE.path
SOURCE = "name: a, database: x.db"


def load(
    text: str | None = None, *, folder: Path, flags: Flags | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Load settings from a file of that text, if any, from flags, and from an environment."""
    given = dict(flags or {})
    if text is not None:
        (folder / "c.yml").write_text(text)
        given[FILE] = str(folder / "c.yml")
    return config.load(flags=given, environ=environ or {}, metrics=SCHEMA.metrics)


# ── what is refused ────────────────────────────────────────────────────────────────────────────────────────────

DURATION = "must be a duration from {}: seconds, or text such as 500ms, 30s, 5m, 1h, 2d"
WHOLE = "must be a whole number"
LIST = "must be a list"
SCOPE = "must be all, or one of {project: NAME}, {model: NAME} and {tenant: NAME}"
TENANT = "sources: [{name: x, database: d, labels: {tenant: acme}}]"
MAPPING = "must be a mapping of keys to values"
TEXT = "must be text (in quotes, if YAML reads it as something else)"
ADDRESS = "must be HOST:PORT, [IPV6]:PORT or :PORT, the port from 0 to 65535"
URL_PATH = "must be a path such as {}: letters, digits and _ . ~ - between /"
URL = "must be an http:// or https:// URL of host, port and path only"
LEVEL = "must be 'debug', 'info', 'warning' or 'error'"
ZONE = "must be a time zone of the IANA database, such as UTC or Europe/Berlin"

BAD_FILES = [
    ("- a", 'c.yml:1: ["a"]: ' + MAPPING),
    ("just text", 'c.yml:1: "just text": ' + MAPPING),
    ("a: 1", "c.yml:1 a: 1: no such key"),
    ("\n\npoll_intervall: 5s", 'c.yml:3 poll_intervall: "5s": no such key; did you mean poll_interval?'),
    ("poll_interval: 1\npoll_interval: 2", "c.yml:2 poll_interval: 1: the key is given twice"),
    ("web: {telemetry_path: /a, telemetry_path: /b}", 'c.yml:1 web.telemetry_path: "/a": the key is given twice'),
    ("poll_interval: [1", "c.yml:1: \"poll_interval: [1\": not YAML: expected ',' or ']', but got '<stream end>'"),
    ("a: &x 1\nb: *x", 'c.yml:2: "b: *x": not YAML: aliases are not allowed'),
    ("a: !!int x", 'c.yml:1 a: "x": tags are not allowed: tag:yaml.org,2002:int'),
    (
        "a: !!python/object:os.system x",
        'c.yml:1 a: "x": tags are not allowed: tag:yaml.org,2002:python/object:os.system',
    ),
    ("1: x", 'c.yml:1: "1": a key must be text (in quotes, if YAML reads it as something else)'),
    ("a: 1\n---\nb: 2", 'c.yml:2: "---": not YAML: but found another document'),
    ("a: \x07", 'c.yml:1: "\\u0007": not YAML: a character it must not have'),
    ("[" * 40 + "]" * 40, 'c.yml:1 {}: "…": nested too deeply: at most 32 levels'.format("[0]" * 33)),
    ("poll_interval: fast", 'c.yml:1 poll_interval: "fast": ' + DURATION.format("0.1s to 1h")),
    ("poll_interval: true", "c.yml:1 poll_interval: true: " + DURATION.format("0.1s to 1h")),
    ("poll_interval:", "c.yml:1 poll_interval: null: " + DURATION.format("0.1s to 1h")),
    ("poll_interval: 2h", 'c.yml:1 poll_interval: "2h": ' + DURATION.format("0.1s to 1h")),
    ("poll_interval: -1", "c.yml:1 poll_interval: -1: " + DURATION.format("0.1s to 1h")),
    ("session_idle_timeout: 0s", 'c.yml:1 session_idle_timeout: "0s": ' + DURATION.format("1s to 366d")),
    ("in_flight_timeout: 1w", 'c.yml:1 in_flight_timeout: "1w": ' + DURATION.format("1s to 366d")),
    ("new_series_hold: {}", "c.yml:1 new_series_hold: {}: " + DURATION.format("0s to 1h")),
    ("query_timeout: 1e400", "c.yml:1 query_timeout: Infinity: " + DURATION.format("0.1s to 1h")),
    ("max_in_flight: 1.5", "c.yml:1 max_in_flight: 1.5: " + WHOLE),
    ("max_in_flight: '5'", 'c.yml:1 max_in_flight: "5": ' + WHOLE),
    ("max_in_flight: true", "c.yml:1 max_in_flight: true: " + WHOLE),
    ("max_in_flight: 0", "c.yml:1 max_in_flight: 0: must be at least 1"),
    ("max_label_values: -1", "c.yml:1 max_label_values: -1: must be at least 1"),
    ("max_series_per_metric: 99999999", "c.yml:1 max_series_per_metric: 99999999: must be at most 10000000"),
    ("naive_time_zone: Europe/Nowhere", 'c.yml:1 naive_time_zone: "Europe/Nowhere": ' + ZONE),
    ("naive_time_zone: ../x", 'c.yml:1 naive_time_zone: "../x": ' + ZONE),
    ("naive_time_zone: 1", "c.yml:1 naive_time_zone: 1: " + TEXT),
    ("time_zone: Mars/Base", 'c.yml:1 time_zone: "Mars/Base": ' + ZONE),
    ("storage: {rebuild_ledger: 1}", "c.yml:1 storage.rebuild_ledger: 1: must be true or false"),
    ("models: [a]", 'c.yml:1 models: ["a"]: ' + MAPPING),
    ("models: {a: {tier: free}}", "c.yml:1 models.a.tier: \"free\": must be 'paid' or 'local'"),
    ("models: {a: {vendr: x}}", 'c.yml:1 models.a.vendr: "x": no such key; did you mean vendor?'),
    (
        "model_aliases: {a: b, b: c}",
        'c.yml:1 model_aliases: {"a": "b", "b": "c"}: '
        "must not lead from one alias to another: a is b, and that is one, too",
    ),
    ("budgets: [{name: a, period: day}]", "c.yml:1 budgets[0].limit_usd: (not given): is required"),
    ("budgets: [{name: a, limit_usd: 0, period: day}]", "c.yml:1 budgets[0].limit_usd: 0: must be more than 0.0"),
    (
        "budgets: [{name: a, limit_usd: 5, period: year}]",
        "c.yml:1 budgets[0].period: \"year\": must be 'day', 'week' or 'month'",
    ),
    ("budgets: [{name: a, limit_usd: 5, period: day, scope: some}]", 'c.yml:1 budgets[0].scope: "some": ' + SCOPE),
    ("budgets: [{name: a, limit_usd: 5, period: day, scope: {}}]", "c.yml:1 budgets[0].scope: {}: " + SCOPE),
    ("budgets: [{name: a, limit_usd: 5, period: day, scope: 1}]", "c.yml:1 budgets[0].scope: 1: " + MAPPING),
    (
        "budgets:\n- name: a\n  limit_usd: 5\n  period: day\n  scope: {project: b, model: c}",
        'c.yml:5 budgets[0].scope: {"project": "b", "model": "c"}: ' + SCOPE,
    ),
    (
        "budgets: [{name: a, limit_usd: 5, period: day, scope: {projct: b}}]",
        'c.yml:1 budgets[0].scope.projct: "b": no such key; did you mean project?',
    ),
    (
        f"{TENANT}\nbudgets: [{{name: a, limit_usd: 5, period: day, scope: {{tenant: acm}}}}]",
        'c.yml:2 budgets[0].scope: "acm": is no source\'s label tenant; did you mean acme?',
    ),
    (
        f"{TENANT}\nbudgets: [{{name: a, limit_usd: 5, period: day, scope: {{tenant: acme}}, source: x}}]",
        'c.yml:2 budgets[0].source: "x": a tenant\'s budget belongs to all of its sources: leave source out',
    ),
    (
        "sources: [{name: x, database: d}, {name: y, database: e}]\nbudgets:\n- {name: a, limit_usd: 5, period: day}",
        'c.yml:3 budgets[0]: "a": needs source, for there are several: x, y',
    ),
    (
        f"{TENANT}\nbudgets: [{{name: a, limit_usd: 5, period: day, source: xx}}]",
        'c.yml:2 budgets[0].source: "xx": no such source; did you mean x?',
    ),
    ("sources: {}", "c.yml:1 sources: {}: " + LIST),
    ("sources: []", "c.yml:1 sources: []: must not be empty"),
    (
        "sources:\n- {name: a, database: x}\n- {name: b, database: y}\n- name: a\n  database: z",
        'c.yml:4 sources[2].name: "a": is the name of sources[0] already',
    ),
    (
        "sources:\n- {name: a, database: x, labels: {tenant: t}}\n- {name: b, database: y}",
        "c.yml:3 sources[1].labels: {}: must have the names that sources[0].labels has: tenant",
    ),
    (
        "sources:\n- {name: a, database: x}\n- name: b\n  database: y\n  labels: {tenant: t}",
        'c.yml:5 sources[1].labels: {"tenant": "t"}: must have the names that sources[0].labels has: none',
    ),
    (
        "sources:\n- {name: a, database: x, labels: {r: u, t: v}}\n- name: b\n  database: y\n  labels: {t: v, r: u}",
        'c.yml:5 sources[1].labels: {"t": "v", "r": "u"}: must differ in a value from sources[0].labels',
    ),
    ("sources: [a]", 'c.yml:1 sources[0]: "a": ' + MAPPING),
    ("sources:\n- name: a", "c.yml:2 sources[0].database: (not given): is required"),
    ("sources:\n- database: a", "c.yml:2 sources[0].name: (not given): is required"),
    (
        "sources:\n- {name: a, database: 5}",
        "c.yml:2 sources[0].database: 5: " + TEXT,
    ),
    ("sources:\n- {name: a, database: ''}", 'c.yml:2 sources[0].database: "": must be a path'),
    (
        "sources:\n- {name: a b, database: x}",
        'c.yml:2 sources[0].name: "a b": must be 1 to 64 of A-Z a-z 0-9 _ . -, a letter or digit first',
    ),
    (f"sources: [{{{SOURCE}, label: 1}}]", "c.yml:1 sources[0].label: 1: no such key; did you mean labels?"),
    (f"sources: [{{{SOURCE}, labels: [a]}}]", 'c.yml:1 sources[0].labels: ["a"]: ' + MAPPING),
    (
        f"sources: [{{{SOURCE}, labels: {{model: a}}}}]",
        'c.yml:1 sources[0].labels.model: "a": model is a label of the exporter\'s own: take another name',
    ),
    (
        f"sources: [{{{SOURCE}, labels: {{job: a}}}}]",
        'c.yml:1 sources[0].labels.job: "a": job is a label of the exporter\'s own: take another name',
    ),
    (
        f"sources: [{{{SOURCE}, labels: {{__a: b}}}}]",
        'c.yml:1 sources[0].labels.__a: "__a": must be a label name: A-Z a-z 0-9 _, no digit or __ first',
    ),
    (f"sources: [{{{SOURCE}, labels: {{tenant: 1}}}}]", "c.yml:1 sources[0].labels.tenant: 1: " + TEXT),
    (
        f"sources: [{{{SOURCE}, labels: {{tenant: ''}}}}]",
        'c.yml:1 sources[0].labels.tenant: "": must be 1 to 128 characters, none of them a control character',
    ),
    ("labels: {drop: []}", "c.yml:1 labels.drop: []: " + MAPPING),
    ("labels: {drops: {}}", "c.yml:1 labels.drops: {}: no such key; did you mean drop?"),
    (
        "labels: {drop: {orchestration_handoffs_total: project}}",
        'c.yml:1 labels.drop.orchestration_handoffs_total: "project": ' + LIST,
    ),
    (
        "labels: {drop: {orchestration_handoff_total: [project]}}",
        'c.yml:1 labels.drop.orchestration_handoff_total[0]: "orchestration_handoff_total": no such metric; '
        "did you mean orchestration_handoffs_total?",
    ),
    (
        "labels: {drop: {orchestration_handoffs_total: [outcome]}}",
        "c.yml:1 labels.drop.orchestration_handoffs_total[0]: \"outcome\": label 'outcome' of "
        "orchestration_handoffs_total cannot be dropped: only open labels of counters and histograms can",
    ),
    (
        "labels: {drop: {orchestration_handoffs_total: [agent]}}",
        'c.yml:1 labels.drop.orchestration_handoffs_total[0]: "agent": orchestration_handoffs_total has no label '
        "'agent'; it has project, model, outcome",
    ),
    ("labels: {drop: {Bad-Name: [x]}}", 'c.yml:1 labels.drop.Bad-Name: "Bad-Name": must be the full name of a metric'),
    ("web: 5", "c.yml:1 web: 5: " + MAPPING),
    ("web:\n  listen_adress: x", 'c.yml:2 web.listen_adress: "x": no such key; did you mean listen_address?'),
    ("web: {listen_address: []}", "c.yml:1 web.listen_address: []: must not be empty"),
    ("web: {listen_address: 10477}", "c.yml:1 web.listen_address: 10477: " + LIST),
    ("web:\n  listen_address:\n  - ':1'\n  - b", 'c.yml:4 web.listen_address[1]: "b": ' + ADDRESS),
    ("web: {listen_address: '::1:80'}", 'c.yml:1 web.listen_address[0]: "::1:80": ' + ADDRESS),
    ("web: {telemetry_path: metrics}", 'c.yml:1 web.telemetry_path: "metrics": ' + URL_PATH.format("/metrics")),
    ("web: {telemetry_path: /}", 'c.yml:1 web.telemetry_path: "/": ' + URL_PATH.format("/metrics")),
    ("web: {telemetry_path: '/{x}'}", 'c.yml:1 web.telemetry_path: "/{x}": ' + URL_PATH.format("/metrics")),
    *(
        (
            f"web: {{telemetry_path: {path}}}",
            f'c.yml:1 web.telemetry_path: "{path}": must not be one of the exporter\'s other routes',
        )
        for path in ("/-/ready", "/docs", "/sessions", "/sessions/x")
    ),
    ("web: {route_prefix: x}", 'c.yml:1 web.route_prefix: "x": ' + URL_PATH.format("/exporter")),
    ("web: {route_prefix: /a/../b}", 'c.yml:1 web.route_prefix: "/a/../b": ' + URL_PATH.format("/exporter")),
    ("web: {external_url: 'ftp://x'}", 'c.yml:1 web.external_url: "ftp://x": ' + URL),
    ("web: {external_url: 'http://u:p@x/'}", 'c.yml:1 web.external_url: "http://u:p@x/": ' + URL),
    ("web: {enable_lifecycle: yes}", 'c.yml:1 web.enable_lifecycle: "yes": must be true or false'),
    ("storage: {path: 1}", "c.yml:1 storage.path: 1: " + TEXT),
    ("storage: {path: ''}", 'c.yml:1 storage.path: "": must be a path'),
    ("storage: {folder: x}", 'c.yml:1 storage.folder: "x": no such key'),
    ("log: {level: loud}", 'c.yml:1 log.level: "loud": ' + LEVEL),
    ("log: {level: 3}", "c.yml:1 log.level: 3: " + LEVEL),
    ("log: {format: xml}", "c.yml:1 log.format: \"xml\": must be 'logfmt' or 'json'"),
]


@pytest.mark.parametrize("text, line", BAD_FILES)
def test_a_wrong_file_is_told_in_one_line(text: str, line: str, tmp_path: Path) -> None:
    """The line has file, line number, key, value and rule."""
    with pytest.raises(ConfigError) as caught:
        load(text, folder=tmp_path)

    assert str(caught.value) == f"{tmp_path}/{line}".replace("\n", " ")


BAD_VARIABLES = [
    ("POLL_INTERVAL", "fast", '"fast": ' + DURATION.format("0.1s to 1h")),
    ("SESSION_IDLE_TIMEOUT", "-1", '"-1": ' + DURATION.format("1s to 366d")),
    ("IN_FLIGHT_TIMEOUT", "1y", '"1y": ' + DURATION.format("1s to 366d")),
    ("NEW_SERIES_HOLD", "2h", '"2h": ' + DURATION.format("0s to 1h")),
    ("QUERY_TIMEOUT", "nan", '"nan": ' + DURATION.format("0.1s to 1h")),
    ("MAX_IN_FLIGHT", "many", '"many": ' + WHOLE),
    ("MAX_LABEL_VALUES", "0", "0: must be at least 1"),
    ("MAX_SERIES_PER_METRIC", "1e3", '"1e3": ' + WHOLE),
    ("NAIVE_TIME_ZONE", "Mars", '"Mars": ' + ZONE),
    ("LABELS_DROP", "{a: [b", "\"{a: [b\": not YAML: expected ',' or ']', but got '<stream end>'"),
    ("LABELS_DROP", "x", ' labels.drop: "x": ' + MAPPING),
    ("LABELS_DROP", "{a: [b]}", ' labels.drop.a[0]: "a": no such metric'),
    ("SOURCES", "x", ' sources: "x": ' + LIST),
    ("SOURCES", "[{name: a}]", " sources[0].database: (not given): is required"),
    ("SOURCES", "[{a: 1, a: 2}]", " [0].a: 1: the key is given twice"),
    ("WEB_LISTEN_ADDRESS", ":1,,", '"": ' + ADDRESS),
    ("WEB_TELEMETRY_PATH", "x", '"x": ' + URL_PATH.format("/metrics")),
    ("WEB_EXTERNAL_URL", "x", '"x": ' + URL),
    ("WEB_ROUTE_PREFIX", "x", '"x": ' + URL_PATH.format("/exporter")),
    ("WEB_ENABLE_LIFECYCLE", "yes", '"yes": must be true or false'),
    ("LOG_LEVEL", "INFO", '"INFO": ' + LEVEL),
    ("LOG_FORMAT", "x", "\"x\": must be 'logfmt' or 'json'"),
]


@pytest.mark.parametrize("name, value, line", BAD_VARIABLES)
def test_a_wrong_variable_is_told_in_one_line(name: str, value: str, line: str, tmp_path: Path) -> None:
    """The line has the variable's name, its value and the rule."""
    with pytest.raises(ConfigError) as caught:
        load(folder=tmp_path, environ={PREFIX + name: value})

    shown = f"{PREFIX}{name}{line}" if line.startswith(" ") else f"{PREFIX}{name}: {line}"
    assert str(caught.value) == shown


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    """A missing file, a folder, and bytes that are no UTF-8 are told by the flag."""
    (tmp_path / "latin.yml").write_bytes(b"log: {level: \xe4}")
    wrong = {
        "none.yml": "cannot be read: No such file or directory",
        ".": "cannot be read: Is a directory",
        "latin.yml": "must be UTF-8: invalid continuation byte at byte 13",
    }

    for name, rule in wrong.items():
        with pytest.raises(ConfigError) as caught:
            load(folder=tmp_path, flags={FILE: str(tmp_path / name)})
        path = str(tmp_path / name)
        shown = path if len(path) <= 78 else f"{path[:79]}…"
        assert str(caught.value).startswith(f'--config.file: "{shown}'), caught.value
        assert str(caught.value).endswith(f": {rule}")


def test_what_is_wrong_in_a_file_is_wrong_even_under_a_flag(tmp_path: Path) -> None:
    """A flag that covers a wrong value does not hide it."""
    with pytest.raises(ConfigError, match=r"c\.yml:1 log\.level"):
        load("log: {level: loud}", folder=tmp_path, flags={("log", "level"): "info"})


def test_a_long_value_is_cut_and_stays_on_its_line(tmp_path: Path) -> None:
    """Whatever is in a value, the error is one short line of visible characters."""
    with pytest.raises(ConfigError) as caught:
        load(folder=tmp_path, environ={PREFIX + "LOG_LEVEL": "x\n\x1b[31m\udcff" * 1000})

    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


def test_an_unknown_variable_is_told() -> None:
    """A variable with our prefix that is no option is an error, with a hint."""
    with pytest.raises(ConfigError) as caught:
        options.check_environment(OPTIONS, {"PATH": "x", PREFIX + "POLL_INTERVALL": "1s"})

    hint = f"did you mean {PREFIX}POLL_INTERVAL?"
    assert str(caught.value) == f'{PREFIX}POLL_INTERVALL: "1s": no such variable; {hint}'


@pytest.mark.parametrize(
    "name", ["PORT", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_METRICS", "PORT_10477_TCP", "PORT_10477_TCP_ADDR"]
)
def test_what_kubernetes_sets_is_left_alone(name: str) -> None:
    """A service called orchestration-exporter puts such variables into every container."""
    options.check_environment(OPTIONS, {PREFIX + name: "tcp://10.0.0.1:10477"})


def test_a_needed_source_is_asked_for(tmp_path: Path) -> None:
    """Without any database the line names the three ways to give one."""
    with pytest.raises(ConfigError) as caught:
        config.load(flags={}, environ={}, metrics=SCHEMA.metrics, needs_source=True)

    ways = f"--database PATH, {PREFIX}DATABASE, or sources: in the file"
    assert str(caught.value) == f"--database: (not given): a database is needed: {ways}"


# ── who wins ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_flag_wins_over_variable_over_file_over_default(tmp_path: Path) -> None:
    """Each layer covers the ones below it, and leaves what it does not name."""
    text = "log: {level: error, format: json}\nmax_in_flight: 5\npoll_interval: 3s"
    environ = {PREFIX + "LOG_LEVEL": "warning", PREFIX + "MAX_IN_FLIGHT": "6", PREFIX + "POLL_INTERVAL": ""}

    settings = load(text, folder=tmp_path, environ=environ, flags={("log", "level"): "debug"})

    assert settings.log == config.LogSettings(level="debug", format="json")
    assert (settings.max_in_flight, settings.poll_interval, settings.query_timeout) == (6, 3.0, 10.0)


def test_a_given_database_is_the_only_source(tmp_path: Path) -> None:
    """--database makes one source named default; a variable may not contradict another variable."""
    text = f"sources: [{{{SOURCE}, labels: {{tenant: t}}}}]"
    sources = f"[{{{SOURCE}}}]"

    by_flag = load(text, folder=tmp_path, flags={("database",): "y.db"}, environ={PREFIX + "SOURCES": sources})

    assert [(each.name, str(each.database), dict(each.labels)) for each in by_flag.sources] == [("default", "y.db", {})]
    with pytest.raises(ConfigError, match=rf'{PREFIX}DATABASE: "y": cannot be given together with {PREFIX}SOURCES'):
        load(folder=tmp_path, environ={PREFIX + "SOURCES": sources, PREFIX + "DATABASE": "y"})


def test_every_variable_reaches_its_setting(tmp_path: Path) -> None:
    """Numbers, lists, YAML and words given as text become what the file would give."""
    environ = {
        "SOURCES": "[{name: a, database: /x.db, labels: {tenant: t}}]",
        "POLL_INTERVAL": "500ms",
        "SESSION_IDLE_TIMEOUT": "90",
        "MAX_LABEL_VALUES": "7",
        "LABELS_DROP": "{orchestration_handoffs_total: [project]}",
        "WEB_LISTEN_ADDRESS": ":1, [::1]:2",
        "WEB_ENABLE_LIFECYCLE": "TRUE",
        "STORAGE_PATH": "s",
    }

    settings = load(folder=tmp_path, environ={PREFIX + name: value for name, value in environ.items()})

    assert dict(settings.sources[0].labels) == {"tenant": "t"}
    assert (settings.poll_interval, settings.session_idle_timeout, settings.max_label_values) == (0.5, 90.0, 7)
    assert dict(settings.labels.drop) == {"orchestration_handoffs_total": ("project",)}
    assert settings.web.listen_address == (":1", "[::1]:2")
    assert settings.web.enable_lifecycle
    assert settings.storage.path == Path("s")


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    """A relative path in the file starts at its folder; one of a flag does not."""
    text = f"sources: [{{{SOURCE}}}]\nstorage: {{path: state}}"

    settings = load(text, folder=tmp_path)
    by_flag = load(text, folder=tmp_path, flags={("storage", "path"): "s"})

    assert (settings.sources[0].database, settings.storage.path) == (tmp_path / "x.db", tmp_path / "state")
    assert by_flag.storage.path == Path("s")


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    """Neither an attribute nor a mapping within."""
    settings = load(f"sources: [{{{SOURCE}, labels: {{tenant: t}}}}]", folder=tmp_path)

    with pytest.raises(ValueError, match="frozen"):
        settings.poll_interval = 5.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.sources[0].labels["tenant"] = "u"  # type: ignore[index]


@pytest.mark.parametrize(
    "url, prefix, wanted",
    [
        ("", "", ""),
        ("", "/", ""),
        ("", "/a/b/", "/a/b"),
        ("https://host:1/x/", "", "/x"),
        ("https://host/x", "/", ""),
        ("https://host", "", ""),
    ],
)
def test_the_prefix_is_the_path_of_the_url_unless_given(url: str, prefix: str, wanted: str) -> None:
    """As Prometheus does; a given prefix of one slash is none."""
    assert config.WebSettings(external_url=url, route_prefix=prefix).prefix == wanted


@pytest.mark.parametrize(
    "address, wanted",
    [
        (":1", "127.0.0.1:1"),
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("[::]:1", "[::1]:1"),
        ("a.b:1", "a.b:1"),
        ("[::1]:1", "[::1]:1"),
    ],
)
def test_an_address_for_all_interfaces_is_reached_by_loopback(address: str, wanted: str) -> None:
    """Nobody can connect to 0.0.0.0 everywhere."""
    assert reachable(address) == wanted


def test_labels_of_the_exporters_own_are_reserved() -> None:
    """No constant label can clash with one of a metric, the process's own included."""
    own = {label for declared in telemetry.DECLARATIONS for label in declared.labels}

    assert own <= config.RESERVED_LABELS


# ── YAML ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_plain_words_mean_what_they_do_in_yaml_1_2() -> None:
    """What YAML 1.1 turns into booleans, dates, octal and base-60 numbers is text."""
    text = "[no, 1:30, 2026-01-01, 010, 0x10, 1_000, .inf, =, <<, 1, -2, 1.5, 1e3, true, ~, '5', ]"

    assert yamlfile.parse(text).data == [
        *("no", "1:30", "2026-01-01", "010", "0x10", "1_000", ".inf", "=", "<<"),
        *(1, -2, 1.5, 1000.0, True, None, "5"),
    ]


def test_every_value_knows_its_line() -> None:
    """Keys, list items and nested values are found by their paths."""
    lines = yamlfile.parse("a:\n  - x\n  - b: 1\n    c: [1,\n     2]\n").lines

    assert lines == {
        (): 1,
        ("a",): 1,
        ("a", 0): 2,
        ("a", 1): 3,
        ("a", 1, "b"): 3,
        ("a", 1, "c"): 4,
        ("a", 1, "c", 0): 4,
        ("a", 1, "c", 1): 5,
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "\ufeff", "---\n"])
def test_an_empty_file_is_no_error(text: str, tmp_path: Path) -> None:
    """A file without a value leaves the defaults."""
    assert load(text, folder=tmp_path) == Settings()


# ── the schema ─────────────────────────────────────────────────────────────────────────────────────────────────

GOOD_FILES = [
    "",
    "{}",
    f"sources: [{{{SOURCE}}}]",
    f"sources: [{{{SOURCE}, labels: {{tenant: 'a b', _x1: ü}}}}]",
    "poll_interval: 1\nsession_idle_timeout: 1.5h\nin_flight_timeout: 2d\nquery_timeout: 500ms\nnew_series_hold: 0",
    "max_in_flight: 1\nmax_label_values: 1000000\nmax_series_per_metric: 5\nnaive_time_zone: Europe/Berlin",
    "labels: {}\nweb: {}\nstorage: {}\nlog: {}",
    "labels: {drop: {orchestration_handoffs_total: [project, model]}}",
    "web: {listen_address: ':1', telemetry_path: /a/b-c.d, external_url: 'https://h:1/x/', route_prefix: /y/}",
    "web: {listen_address: [':1', '[::1]:2', 'h.example:65535'], enable_lifecycle: true, route_prefix: ''}",
    "storage: {path: ../x, rebuild_ledger: true}\nlog: {level: debug, format: json}",
    "time_zone: Asia/Kathmandu\nmodels: {claude: {vendor: anthropic, tier: paid}, x: {}}\nmodel_aliases: {a: b, c: b}",
    "budgets: [{name: a, limit_usd: 0.5, period: day}, {name: b, limit_usd: 5, period: week, scope: all}]",
    f"{TENANT}\nbudgets: [{{name: a, limit_usd: 5, period: month, scope: {{tenant: acme}}}}]",
    "budgets: [{name: a, limit_usd: 5, period: month, scope: {project: p}}]",
    "budgets: [{name: a, limit_usd: 5, period: month, scope: {model: m}}]",
]
# rules that JSON Schema cannot say
BEYOND_THE_SCHEMA = (
    *(
        "zone: Europe/",
        "zone: ../x",
        "zone: Mars/",
        *("model_aliases: {a: b, b: c}", "{tenant: acm}", "source: x}", "name: y, database: e}", "source: xx}"),
        "poll_interval: 2h",
        "session_idle_timeout: 0s",
        "new_series_hold: 2h",
        *("/-/ready", "/docs", "/sessions"),
    ),
    *("orchestration_handoff_total", "[outcome]", "[agent]", "{model: a}", "{job: a}", "name: b"),
)


KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
SAID = {"type", "properties", "patternProperties", "additionalProperties", "required", "items", "anyOf", "enum"}
SAID |= {"pattern", "minLength", "minimum", "maximum", "minItems", "maxItems", "$ref", "exclusiveMinimum"}
SAID |= {"minProperties", "maxProperties"}
UNSAID = {"$schema", "$defs", "title", "description", "default"}


def schema_errors(schema: Mapping[str, Any], value: object, root: Mapping[str, Any]) -> Iterator[str]:
    """Say what of ``value`` breaks ``schema``: the part of JSON Schema that ours is written in, and no more."""
    assert set(schema) <= SAID | UNSAID, sorted(schema)
    if "$ref" in schema:
        yield from schema_errors(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)
    if "anyOf" in schema and all(list(schema_errors(each, value, root)) for each in schema["anyOf"]):
        yield f"none of anyOf: {value!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"not in enum: {value!r}"
    if "type" in schema and not is_a(schema["type"], value):
        yield f"not {schema['type']}: {value!r}"
    elif isinstance(value, dict):
        yield from object_errors(schema, value, root)
    elif isinstance(value, list):
        yield from array_errors(schema, value, root)
    elif isinstance(value, str):
        if not re.search(schema.get("pattern", ""), value) or len(value) < schema.get("minLength", 0):
            yield f"pattern: {value!r}"
    elif is_a("number", value) and (
        not schema.get("minimum", value) <= value <= schema.get("maximum", value)
        or value <= schema.get("exclusiveMinimum", value - 1)
    ):
        yield f"limits: {value!r}"


def is_a(kind: str, value: object) -> bool:
    """Whether JSON Schema calls a value that; a boolean is no number."""
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def array_errors(schema: Mapping[str, Any], value: list[Any], root: Mapping[str, Any]) -> Iterator[str]:
    """Say what of a list breaks ``schema``."""
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"items: {value!r}"
    for item in value:
        yield from schema_errors(schema.get("items", {}), item, root)


def object_errors(schema: Mapping[str, Any], value: dict[str, Any], root: Mapping[str, Any]) -> Iterator[str]:
    """Say what of a mapping breaks ``schema``."""
    yield from (f"missing {name}" for name in schema.get("required", ()) if name not in value)
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        yield f"properties: {value!r}"
    for name, item in value.items():
        patterns = [each for pattern, each in schema.get("patternProperties", {}).items() if re.search(pattern, name)]
        matching = [*([schema["properties"][name]] if name in schema.get("properties", {}) else []), *patterns]
        if not matching and schema.get("additionalProperties") is False:
            yield f"unknown {name}"
        for each in matching:
            yield from schema_errors(each, item, root)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    return config.json_schema()


@pytest.mark.parametrize("text", GOOD_FILES)
def test_the_schema_accepts_what_the_loader_accepts(schema: dict[str, Any], text: str, tmp_path: Path) -> None:
    """Good files pass both."""
    load(text, folder=tmp_path)

    assert list(schema_errors(schema, yamlfile.parse(text).data or {}, schema)) == []


@pytest.mark.parametrize("text", [text for text, _ in BAD_FILES])
def test_the_schema_refuses_what_the_loader_refuses(schema: dict[str, Any], text: str) -> None:
    """Bad files that are YAML at all fail both, but for the rules that a schema cannot say."""
    try:
        data = yamlfile.parse(text).data
    except yamlfile.YamlError:
        return

    found = list(schema_errors(schema, data, schema))

    assert bool(found) != any(part in text for part in BEYOND_THE_SCHEMA)


def test_the_schema_describes_every_setting() -> None:
    """Each key has a description, for editors to show."""
    schema = config.json_schema()
    holders = [schema, *schema["$defs"].values()]

    missing = [
        name
        for holder in holders
        for name, key in holder["properties"].items()
        if "description" not in key and "$ref" not in key
    ]

    assert missing == []


# ── the docs ───────────────────────────────────────────────────────────────────────────────────────────────────

OWN: Mapping[str, type[BaseModel]] = {
    "once": commands.OnceOptions,
    "check": commands.CheckOptions,
    "explain": commands.ExplainOptions,
    "health": commands.HealthOptions,
    "indexes": commands.IndexesOptions,
    "demo": commands.DemoOptions,
    "backfill": BackfillOptions,
}


def rows(docs: str, columns: int) -> list[list[str]]:
    """Return the cells of all table rows of that width that name a variable, without their last column."""
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in docs.splitlines()]
    return [row[:-1] for row in cells if len(row) == columns and PREFIX in "".join(row)]


def default_of(model: type[BaseModel], path: tuple[str, ...]) -> str:
    """Return a setting's default as the docs write it."""
    field = model.model_fields[path[0]]
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return default_of(type(default), path[1:])
    if any(isinstance(item, Seconds) for item in field.metadata):
        return f"`{short(default)}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    shown = default[0] if isinstance(default, tuple) and default else default
    return f"`{shown}`" if shown else "–"


def row_of(option: Option) -> list[str]:
    """Return the row that the docs should have for an option of all commands."""
    key = f"`{'.'.join(option.path)}`" if option.in_file else "–"
    default = default_of(Settings, option.path) if option.in_file else "–"
    return [key, f"`{option.flag}`" if option.flag else "–", f"`{option.variable}`", default]


def test_the_schema_that_is_kept_is_the_schema() -> None:
    """docs/config.schema.json is what `config-schema` prints: editors are pointed at it."""
    kept = (DOCS.parent / "config.schema.json").read_text()

    assert kept == json.dumps(config.json_schema(), indent=2, sort_keys=True) + "\n"


def test_the_docs_have_every_setting_with_its_names_and_default() -> None:
    """Key, flag, variable and default of each setting stand in docs/configuration.md, and no others do."""
    listed = [row for row in rows(DOCS.read_text(), 5) if row[0] not in {f"`{name}`" for name in OWN}]

    assert listed == [row_of(option) for option in OPTIONS]


def test_the_docs_have_every_option_of_single_commands() -> None:
    """Command, flag, variable and default of each."""
    listed = [row for row in rows(DOCS.read_text(), 5) if row[0] in {f"`{name}`" for name in OWN}]

    wanted = [
        [
            f"`{option.path[0]}`",
            f"`{option.flag}`" if option.flag else "–",
            f"`{option.variable}`",
            default_of(OWN[option.path[0]], option.path[1:]),
        ]
        for option in commands.COMMAND_OPTIONS
    ]
    assert listed == wanted


def test_every_setting_can_be_given_by_a_variable() -> None:
    """No key of the file is without an option."""

    def leaves(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from leaves(inner, (*above, name))
            else:
                yield (*above, name)

    assert {option.path for option in OPTIONS if option.in_file} == set(leaves(Settings))


def test_the_examples_in_the_docs_are_right(tmp_path: Path) -> None:
    """The YAML that people copy is accepted."""
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)

    found = [load(example, folder=tmp_path).sources for example in examples]

    named = [[source.labels["tenant"] for source in sources] for sources in found if sources]
    assert named == [["acme"], ["acme", "globex"]]
    assert len(found) == len(named) + 2  # models, budgets


def test_the_errors_in_the_docs_are_right(tmp_path: Path) -> None:
    """The lines that the docs show are those that the program writes."""
    shown = re.findall(r"^orchestration-exporter: error: (.*)$", DOCS.read_text(), re.MULTILINE)
    given: list[tuple[str | None, Mapping[str, str], Flags]] = [
        ("\n\npoll_intervall: 5s", {}, {}),
        (None, {PREFIX + "MAX_IN_FLIGHT": "many"}, {}),
        (None, {}, {("web", "listen_address"): ["localhost"]}),
    ]
    made = []
    for text, environ, flags in given:
        with pytest.raises(ConfigError) as caught:
            load(text, folder=tmp_path, environ=environ, flags=flags)
        made.append(str(caught.value).replace(f"{tmp_path}/c.yml", "exporter.yml"))

    assert shown == made
