"""What the configuration of own tables refuses, each in one line, and what its documents say of it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import BaseModel

from exporter import config
from exporter.catalogue import SCHEMA
from exporter.config import Settings
from exporter.options import CONFIG_FILE, ConfigError
from exporter.tablesettings import (
    OwnCounterSettings,
    OwnGaugeSettings,
    OwnHistogramSettings,
    OwnLabelSettings,
    TableSettings,
)
from tests.sqlite_platform import REPOSITORY

GOOD = """\
sources: [{name: a, database: x.db, labels: {tenant: t}}]
tables:
- table: t
  time: at
  identity: [at]
  final_when: done
  labels:
    l: {column: c}
    m: {column: d, values: [x, y]}
  counters:
  - {name: a_total, help: A., labels: [l, m]}
  histograms:
  - {name: b_seconds, help: B., value: v, buckets: [1, 2]}
  gauges:
  - {name: c, help: C., reading: newest, value: v, labels: [l]}
  - {name: d, help: D., reading: sum_open, labels: [m]}
"""
TEXT = "must be text (in quotes, if YAML reads it as something else)"
NAME = "must be a metric's name: a-z 0-9 _, a letter first"
LABEL = "must be a label name: A-Z a-z 0-9 _, no digit or __ first"
SQL = "must be 1 to 128 characters of ASCII, no space first or last"
PATH = 'must be a JSON path such as $.region, $.tags[0] or $."a b".c'
SENTENCE = "must be a sentence: it ends in a full stop, and is one line"


def load(text: str, folder: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Load settings from a file of that text."""
    (folder / "c.yml").write_text(text)
    return config.load(flags={CONFIG_FILE.path: str(folder / "c.yml")}, environ=environ or {}, metrics=SCHEMA.metrics)


def refusal(text: str, folder: Path, environ: Mapping[str, str] | None = None) -> str:
    """The line that a wrong file is told in."""
    with pytest.raises(ConfigError) as caught:
        load(text, folder, environ)
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(f"{folder}/", "")


T, L, C = "c.yml:3 tables[0].table", "c.yml:8 tables[0].labels.l", "c.yml:11 tables[0].counters[0]"
H, N, D = "c.yml:13 tables[0].histograms[0]", "c.yml:15 tables[0].gauges[0]", "c.yml:16 tables[0].gauges[1]"
WRONG = [
    # the table
    ("table: t\n", "table:\n", f"{T}: null: {TEXT}"),
    ("table: t\n", "table: ' t'\n", f'{T}: " t": {SQL}'),
    ("table: t\n", 'table: "t\\n"\n', f'{T}: "t\\n": {SQL}'),
    ("table: t\n", "table: Täble\n", f'{T}: "Täble": {SQL}'),
    ("- table: t\n", "- cursor: t\n", "c.yml:3 tables[0].table: (not given): is required"),
    (
        "table: t\n",
        "table: Handoff_Events\n",
        f'{T}: "Handoff_Events": is one of the platform\'s tables, which are read as they are',
    ),
    (
        "table: t\n",
        "table: token_budgets\n",
        f'{T}: "token_budgets": is one of the platform\'s tables, which are read as they are',
    ),
    ("table: t\n", "table: sqlite_master\n", f'{T}: "sqlite_master": must not be one of SQLite\'s own tables'),
    ("  time: at\n", "  tim: at\n", 'c.yml:4 tables[0].tim: "at": no such key; did you mean time?'),
    ("  time: at\n", "", "c.yml:3 tables[0].time: (not given): is required where rows are counted"),
    ("  identity: [at]\n", "", "c.yml:3 tables[0].identity: (not given): is required where rows are counted"),
    ("[at]", "[]", "c.yml:5 tables[0].identity: (not given): is required where rows are counted"),
    ("[at]", "at", 'c.yml:5 tables[0].identity: "at": must be a list'),
    ("[at]", "[at, AT]", 'c.yml:5 tables[0].identity: ["at", "at"]: must not name a column twice'),
    ("done\n", "done\n  append_only: 1\n", "c.yml:7 tables[0].append_only: 1: must be true or false"),
    ("done\n", "done\n  cursor: ''\n", f'c.yml:7 tables[0].cursor: "": {SQL}'),
    ("done\n", "done\n  source: b\n", 'c.yml:7 tables[0].source: "b": no such source'),
    (
        "  final_when: done\n",
        "",
        'c.yml:15 tables[0].gauges[1].reading: "sum_open": needs final_when in the table: else no row is open',
    ),
    # labels
    ("l: {column: c}", "l: {column: c, path: region}", f'{L}.path: "region": {PATH}'),
    ("l: {column: c}", "l: {column: c, path: $}", f'{L}.path: "$": {PATH}'),
    ("l: {column: c}", "l: {column: c, path: '$.a''b'}", f'{L}.path: "$.a\'b": {PATH}'),
    ("l: {column: c}", "l: {column: c, path: '$.a[#-1]'}", f'{L}.path: "$.a[#-1]": {PATH}'),
    ("l: {column: c}", "l: {path: $.a}", f"{L}.column: (not given): is required"),
    ("l: {column: c}", "l: c", f'{L}: "c": must be a mapping of keys to values'),
    ("    l: {", "    le: {", 'c.yml:8 tables[0].labels.le: "le": is taken: give the label another name'),
    ("    l: {", "    1l: {", f'c.yml:8 tables[0].labels.1l: "1l": {LABEL}'),
    ("    l: {", "    __l: {", f'c.yml:8 tables[0].labels.__l: "__l": {LABEL}'),
    (
        "    l: {",
        "    tenant: {",
        'c.yml:8 tables[0].labels.tenant: "tenant": is a constant label of the sources: give the label another name',
    ),
    (
        "    l: {",
        "    o: {column: c}\n    l: {",
        'c.yml:8 tables[0].labels.o: "o": is a label of none of the table\'s metrics',
    ),
    ("[x, y]", "[x, x]", 'c.yml:9 tables[0].labels.m.values: ["x", "x"]: must not have a value twice'),
    ("[x, y]", "[x, 1]", f"c.yml:9 tables[0].labels.m.values[1]: 1: {TEXT}"),
    (
        "[x, y]",
        "[__other__]",
        'c.yml:9 tables[0].labels.m.values: ["__other__"]: must not have __other__, which stands for what is beyond '
        "a cap",
    ),
    # names
    ("a_total", "a", f'{C}.name: "a": must end in _total, for it is a counter\'s'),
    ("b_seconds", "b_seconds_total", f'{H}.name: "b_seconds_total": must not end in _total: no counter'),
    ("a_total", "A_total", f'{C}.name: "A_total": {NAME}'),
    ("a_total", "a_count_total", f'{C}.name: "a_count_total": must not have _count at its end'),
    ("{name: c,", "{name: c_sum,", f'{N}.name: "c_sum": must not have _sum at its end'),
    ("a_total", "orchestration_a_total", f'{C}.name: "orchestration_a_total": must not begin with orchestration_'),
    ("a_total", "process_a_total", f'{C}.name: "process_a_total": must not begin with process_'),
    ("{name: c,", "{name: a_gauge,", f'{N}.name: "a_gauge": must not name its type: gauge'),
    (
        "b_seconds",
        "b_ms",
        f'{H}.name: "b_ms": must be in base units: seconds rather than ms (scale converts)',
    ),
    (
        "{name: c,",
        "{name: c_percent,",
        f'{N}.name: "c_percent": must be in base units: ratio rather than percent (scale converts)',
    ),
    ("{name: c,", "{name: a,", f'{N}.name: "a": is the name of another metric already'),
    ("{name: d,", "{name: c,", f'{D}.name: "c": is the name of another metric already'),
    # metrics
    ("help: A.", "help: A", f'{C}.help: "A": {SENTENCE}'),
    ("help: A.", 'help: "A\\nb."', f'{C}.help: "A\\nb.": {SENTENCE}'),
    ("help: A., ", "", f"{C}.help: (not given): is required"),
    ("labels: [l, m]", "labels: [l, mm]", f'{C}.labels[1]: "mm": no such label of the table; did you mean m?'),
    ("labels: [l, m]", "labels: [l, l]", f'{C}.labels[1]: "l": must not be given twice'),
    ("labels: [l, m]", "value: v, minimum: -1", f"{C}.minimum: -1.0: must be at least 0: a counter never falls"),
    ("labels: [l, m]", "value: v, maximum: 0", f"{C}.minimum: 0.0: must be less than maximum: 0"),
    ("labels: [l, m]", "value: v, scale: 0", f"{C}.scale: 0: must be more than 0.0"),
    ("labels: [l, m]", "value: v, maximum: .inf", f'{C}.maximum: ".inf": must be a number'),
    ("labels: [l, m]", "buckets: [1]", f"{C}.buckets: [1]: no such key here"),
    ("buckets: [1, 2]", "buckets: []", f"{H}.buckets: []: must not be empty"),
    ("buckets: [1, 2]", "buckets: [1, 1]", f"{H}.buckets: [1, 1]: must increase: 1 after 1"),
    ("buckets: [1, 2]", "buckets: [1, x]", f'{H}.buckets[1]: "x": must be a number'),
    (", buckets: [1, 2]", "", f"{H}.buckets: (not given): is required"),
    (
        "buckets: [1, 2]",
        "buckets: [1, 2], minimum: -1",
        f"{H}.minimum: -1.0: must be at least 0 where no bucket is below: else the sum of the values could fall",
    ),
    ("help: B., value: v", "help: B.", f"{H}.value: (not given): is required"),
    (
        "reading: newest, value: v",
        "reading: newest",
        f"{N}.value: (not given): is required where the newest row is read",
    ),
    ("reading: newest", "reading: oldest", f"{N}.reading: \"oldest\": must be 'newest' or 'sum_open'"),
    ("reading: newest, ", "", f"{N}.reading: (not given): is required"),
    (
        "labels: [l, m]",
        "labels: [l]",
        f'{D}.labels: ["m"]: needs a counter of the table that has these labels, too: it says where 0 is open',
    ),
]


def test_a_good_file_is_accepted(tmp_path: Path) -> None:
    """What the wrong ones are made from, in a file and in a variable."""
    in_file = load(GOOD, tmp_path)
    tables = re.sub(r"(?s).*tables:\n", "", GOOD)
    in_variable = load("{}", tmp_path, {"ORCHESTRATION_EXPORTER_TABLES": tables})

    assert in_file.tables[0].table == in_variable.tables[0].table == "t"
    assert in_file.tables[0].given[("labels", "l", "column")] == f"{tmp_path}/c.yml:8 tables[0].labels.l.column"
    assert in_variable.tables[0].given == {("table",): "ORCHESTRATION_EXPORTER_TABLES tables[0].table"}


@pytest.mark.parametrize("good, wrong, line", WRONG, ids=[wrong.strip() for _, wrong, _ in WRONG])
def test_what_is_wrong_is_told_in_one_line(good: str, wrong: str, line: str, tmp_path: Path) -> None:
    """File, line, key, value and rule."""
    assert good in GOOD

    assert refusal(GOOD.replace(good, wrong, 1), tmp_path) == line


def test_no_table_is_listed_twice(tmp_path: Path) -> None:
    """In any case."""
    twice = GOOD + "- {table: T, counters: [{name: e_total, help: E.}], time: a, identity: [a]}\n"

    assert refusal(twice, tmp_path) == 'c.yml:17 tables[1].table: "T": is the table of tables[0] already'


def test_a_table_without_metrics_is_refused(tmp_path: Path) -> None:
    """It would be read for nothing."""
    line = refusal("tables: [{table: t}]", tmp_path)

    assert line == 'c.yml:1 tables[0]: "t": needs at least one of counters, histograms and gauges'


def test_one_row_does_not_make_countless_counters(tmp_path: Path) -> None:
    """At most a thousand, for every combination of closed values."""
    values = f"values: [{', '.join(f'v{n}' for n in range(40))}]"
    many = GOOD.replace("{column: c}", f"{{column: c, {values}}}").replace("values: [x, y]", values)

    assert refusal(many, tmp_path) == (
        f'{C}.labels: ["l", "m"]: must not have over 1,000 combinations of values that are given: 1,681'
    )


def test_a_wrong_variable_is_told_by_its_name(tmp_path: Path) -> None:
    """As everything else."""
    environ = {"ORCHESTRATION_EXPORTER_TABLES": "[{table: handoff_events}]"}

    assert refusal("{}", tmp_path, environ).startswith(
        'ORCHESTRATION_EXPORTER_TABLES tables[0].table: "handoff_events": is one of the platform\'s tables'
    )


def test_labels_of_own_metrics_can_be_dropped(tmp_path: Path) -> None:
    """Open ones, like those of the catalogue."""
    dropped = GOOD + "labels: {drop: {a_total: [l]}}\n"

    assert load(dropped, tmp_path).labels.drop["a_total"] == ("l",)
    assert "cannot be dropped" in refusal(dropped.replace("[l]}}", "[m]}}"), tmp_path)


@pytest.mark.parametrize("path", ["$.a", "$.a.b[0].c", '$."a b"', "$[3]", "$._x"])
def test_paths_that_are_accepted_are_sqlites(path: str, tmp_path: Path) -> None:
    """One that SQLite does not know would end every read of the table."""
    settings = load(GOOD.replace("l: {column: c}", f"l: {{column: c, path: '{path}'}}"), tmp_path)

    assert settings.tables[0].labels["l"].path == path
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("SELECT json_extract('{}', ?)", (path,))


# ── documents ────────────────────────────────────────────────────────────────────────────────────────────────

MODELS: tuple[tuple[str, tuple[type[BaseModel], ...]], ...] = (
    ("table", (TableSettings,)),
    ("label", (OwnLabelSettings,)),
    ("counter, histogram or gauge", (OwnCounterSettings, OwnHistogramSettings, OwnGaugeSettings)),
)


@pytest.mark.parametrize("what, models", MODELS)
def test_the_docs_have_every_key_with_its_default(what: str, models: tuple[type[BaseModel], ...]) -> None:
    """docs/configuration.md, as the models have them."""
    docs = (REPOSITORY / "docs" / "configuration.md").read_text()
    table = docs.split(f"| Key of a {what} |")[1].split("\n\n")[0]
    documented = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", table, re.MULTILINE))

    wanted = {}
    for model in models:
        for name, field in model.model_fields.items():
            default = field.get_default(call_default_factory=True)
            shown = {True: "true", False: "false"}.get(default, default) if isinstance(default, bool) else default
            is_given = not field.is_required() and shown not in (None, ()) and shown != {}
            wanted[name] = f"`{shown:g}`".replace("e+12", "e12") if isinstance(shown, float) else f"`{shown}`"
            wanted[name] = wanted[name] if is_given else "–"
    assert documented == wanted
