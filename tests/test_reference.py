"""docs/metrics.md is what the declarations make; what the README says of metrics, options and files is true."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import yaml

from exporter import cli, reference, telemetry
from exporter.catalogue import METRICS
from exporter.labels import without_label
from exporter.options import OPTIONS
from exporter.reference import render
from exporter.spec import Col, Histogram, Is, Metric, Reading, stored_in

pytestmark = pytest.mark.bulk

REPOSITORY = Path(__file__).resolve().parent.parent
COMMITTED = REPOSITORY / "docs" / "metrics.md"
RENDERED = render(METRICS)
README = (REPOSITORY / "README.md").read_text()
BY_NAME = {metric.name: metric for metric in METRICS}
HANDOFFS = BY_NAME["orchestration_handoffs_total"]
DURATION = BY_NAME["orchestration_handoff_duration_seconds"]


def section(text: str, name: str) -> str:
    """What a reference says of one metric."""
    return text.split(f"\n### `{name}`\n")[1].split("\n## ")[0].split("\n### ")[0]


# ── docs/metrics.md ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_committed_reference_is_current() -> None:
    """If this fails: orchestration-exporter reference > docs/metrics.md"""
    assert COMMITTED.read_text() == RENDERED


def changed(name: str, metric: Metric) -> list[Metric]:
    """The catalogue with one metric in another's place."""
    return [metric if found.name == name else found for found in METRICS]


@pytest.mark.parametrize(
    "metrics",
    [
        METRICS[:-1],
        METRICS[::-1],
        changed(HANDOFFS.name, replace(HANDOFFS, name="orchestration_delegations_total")),
        changed(HANDOFFS.name, replace(HANDOFFS, help="Hand-offs.")),
        changed(HANDOFFS.name, without_label(HANDOFFS, "project")),
        changed(HANDOFFS.name, replace(HANDOFFS, of=(replace(HANDOFFS.feeds[0], value="cost"),))),
        changed(HANDOFFS.name, replace(HANDOFFS, of=(replace(HANDOFFS.feeds[0], at="first"),))),
        changed(HANDOFFS.name, replace(HANDOFFS, of=(replace(HANDOFFS.feeds[0], where=(Is("success", 1),)),))),
        changed(DURATION.name, replace(DURATION, exemplars=False)),
        changed(DURATION.name, replace(DURATION, buckets=(0.5, 1.0))),
        changed(
            DURATION.name,
            replace(
                DURATION,
                of=(replace(DURATION.feeds[0], labels={**DURATION.feeds[0].labels, "model": Col("source_model")}),),
            ),
        ),
    ],
)
def test_the_comparison_fails_on_a_change(metrics: list[Metric]) -> None:
    """A metric more or less, another order, and each part of a declaration."""
    assert COMMITTED.read_text() != render(metrics)


def test_the_process_own_metrics_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that client_python keeps stand in the same file."""
    polls = replace(telemetry.POLLS, help="Polls.")
    monkeypatch.setattr(reference, "DECLARATIONS", (polls, *telemetry.DECLARATIONS[1:]))

    assert COMMITTED.read_text() != render(METRICS)


def test_every_metric_has_one_section_in_order() -> None:
    """By topic, the topics by their first metric; the overview links to each that is made from the tables."""
    text = RENDERED

    *topics, process = re.split(r"^## .*$", text.split("\n## Overview\n")[1], flags=re.MULTILINE)[1:]
    found = [re.findall(r"^### `(.*)`$", topic, re.MULTILINE) for topic in topics]
    assert [sorted(names, key=list(BY_NAME).index) for names in found] == found
    assert [names[0] for names in found if names] == sorted((n[0] for n in found if n), key=list(BY_NAME).index)
    assert sorted(name for names in found for name in names) == sorted(BY_NAME)
    assert re.findall(r"^### `(.*)`$", process, re.MULTILINE) == [d.name for d in telemetry.DECLARATIONS]
    linked = re.findall(r"^\| \[`(.*)`\]\(#\1\)", text, re.MULTILINE)
    assert linked == [name for names in found for name in names]


def test_topics_gather_metrics_that_are_apart() -> None:
    """Metrics of one table stand together, whatever stands between them in the catalogue."""
    first, second, third = (BY_NAME[f"orchestration_{n}_total"] for n in ("handoffs", "tasks", "handoff_routes"))

    topics = re.findall(r"^##+ (.*)$", render([first, second, third]), re.MULTILINE)

    assert topics[1:6] == [
        "From `handoff_events`",
        f"`{first.name}`",
        f"`{third.name}`",
        "From `task_outcomes`",
        f"`{second.name}`",
    ]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_section_says_all_that_makes_the_numbers(metric: Metric) -> None:
    """Type, HELP, every label with its values, every column of a table, every bucket."""
    text = section(RENDERED, metric.name)

    assert text.strip().startswith(f"*{metric.type.capitalize()}")
    assert metric.help.replace("__other__", "`__other__`") in text
    for label in metric.labels:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{label.name}` |"))
        assert all(f"`{value}`" in row for value in label.closed)
        assert label.closed or "| open" in row
    for feed in metric.feeds:
        if not feed.table.virtual:
            for name in (*feed.value_columns(), *feed.key_columns()):
                stored = stored_in(feed.table.column(name))
                assert reference._column(feed.table, name) in text or f"`{stored}` is" in text
        assert feed.table.label in text or feed.table.virtual
    if isinstance(metric, Histogram):
        assert f"Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}\n" in text


@pytest.mark.parametrize(
    "name, others",
    [
        (
            "handoffs_total",
            "handoff_routes_total, handoff_task_types_total, handoff_escalations_total, unpriced_events_total",
        ),
        ("tasks_total", "task_types_total, task_errors_total"),
        (
            "cost_usd_total",
            "session_cost_usd, baseline_cost_usd_total, budget_spend_usd_total, subagent_cost_usd_total, "
            "mcp_tool_cost_usd_total, task_cost_usd_total, routing_cost_usd_total",
        ),
        ("subagent_cost_usd_total", "cost_usd_total, baseline_cost_usd_total"),
        ("task_cost_usd_total", "cost_usd_total"),
        ("mcp_tool_calls_total", ""),
        ("sessions_started_total", ""),
        ("handoff_tokens_total", "routing_tokens_total"),
        ("routing_decisions_total", "routing_results_total"),
        ("routing_results_total", "routing_decisions_total"),
        ("model_calls_total", ""),
    ],
)
def test_what_not_to_add_up_is_found(name: str, others: str) -> None:
    """The same rows under other labels, and what a HELP warns of, both ways; not sub-agents and tools."""
    text = section(RENDERED, f"orchestration_{name}")

    found = re.findall(r"^- Never add to (.*)$", text, re.MULTILINE)

    wanted = [f"`orchestration_{other}`" for other in others.split(", ") if other]
    assert found == ([", ".join(wanted)] if wanted else [])


def test_everything_a_reference_needs_to_say_is_known() -> None:
    """Each way a gauge is read, each reason of rejection, each column of the rows we make, each label of our own."""
    (rejected,) = [label for m in METRICS for label in m.labels if label.pool == "rejection"]
    made = {
        name for m in METRICS for f in m.feeds if f.table.virtual for name in (*f.value_columns(), *f.key_columns())
    }

    assert set(reference._READINGS) == set(get_args(Reading))
    assert tuple(reference._REASONS) == rejected.closed
    assert made <= reference._MADE.keys()
    assert {name for declared in telemetry.DECLARATIONS for name in declared.labels} <= reference._OWN_LABELS.keys()


def test_the_markdown_is_well_formed() -> None:
    """One newline at the end, no space at a line's end, no two empty lines, tables with as many cells in each row."""
    text = RENDERED

    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\n\n\n" not in text
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert not re.search(r"(?<!`)__\w", re.sub(r"`[^`\n]*`", "`", text))


def test_the_command_prints_it(tmp_path: Path) -> None:
    """As it is, and without the labels that a configuration drops."""
    file = tmp_path / "settings.yaml"
    file.write_text(f"labels: {{drop: {{{HANDOFFS.name}: [project]}}}}\n")
    command = [sys.executable, "-m", "exporter", "reference"]

    plain = subprocess.run(command, capture_output=True, cwd=REPOSITORY, check=True).stdout.decode()
    dropped = subprocess.run([*command, "--config.file", file], capture_output=True, cwd=REPOSITORY, check=True).stdout

    assert plain == render(METRICS)
    assert "`project`" not in section(dropped.decode(), HANDOFFS.name)


# ── README.md ────────────────────────────────────────────────────────────────────────────────────────────────

FAMILIES = {metric.name: metric.label_names for metric in METRICS}
FAMILIES |= {declared.name: declared.labels for declared in telemetry.DECLARATIONS}
SAMPLE = re.compile(r"\borchestration_[a-z_]+\b")
QUERIES = re.findall(r"^```promql\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def family_of(sample: str) -> str:
    """The metric that a sample's name belongs to; the name itself where there is none."""
    stem = re.sub(r"_(bucket|sum|count)$", "", sample)
    return stem if isinstance(BY_NAME.get(stem), Histogram) else sample


def wrong_names(text: str) -> list[str]:
    """Names in a text that look like metrics and are none."""
    return sorted({name for name in SAMPLE.findall(text) if family_of(name) not in FAMILIES})


def wrong_labels(query: str) -> list[str]:
    """Labels a query matches or groups by that none of its metrics has."""
    known = {label for name in SAMPLE.findall(query) for label in FAMILIES.get(family_of(name), ())}
    groups = re.findall(r"\b(?:by|on) \(([^)]*)\)", query)
    used = {name.strip() for group in groups for name in group.split(",") if name.strip()}
    used |= set(re.findall(r'[{,]\s*([a-z_]+)\s*(?:=~|!~|!=|=)\s*"', query))
    return sorted(used - known - {"le", "source", "job", "instance"})


def test_the_readme_names_metrics_and_labels_there_are() -> None:
    """In its text and in its queries."""
    assert wrong_names(README) == []
    assert len(QUERIES) == 1
    assert [wrong_labels(query) for query in re.split(r"\n\n", QUERIES[0])] == [[]] * (QUERIES[0].count("\n\n") + 1)


def test_a_wrong_name_or_label_is_told() -> None:
    """Misspelt metrics, a counter's sum, labels that the metric does not have."""
    assert wrong_names("rate(orchestration_handoff_total[5m])") == ["orchestration_handoff_total"]
    assert wrong_names("orchestration_handoffs_total_sum") == ["orchestration_handoffs_total_sum"]
    assert wrong_labels('sum by (agent) (orchestration_handoffs_total{kind="x"})') == ["agent", "kind"]


def test_the_queries_of_the_readme_are_promql(promtool: Path, tmp_path: Path) -> None:
    """As rules, which promtool parses."""
    expressions = [re.sub(r"^#.*\n", "", query, flags=re.MULTILINE) for query in QUERIES[0].split("\n\n")]
    rules = [{"record": f"readme:query:{n}", "expr": text} for n, text in enumerate(expressions)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "readme", "rules": rules}]}))

    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(expressions)} rules found" in done.stdout


def test_the_scrape_configuration_of_the_readme_is_one(promtool: Path, tmp_path: Path) -> None:
    """promtool takes it."""
    (snippet,) = re.findall(r"^```yaml\n(scrape_configs:.*?)^```", README, re.MULTILINE | re.DOTALL)
    file = tmp_path / "prometheus.yml"
    file.write_text(snippet)

    done = subprocess.run([promtool, "check", "config", file], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_names_commands_and_options_there_are() -> None:
    """Every command, and no flag that no command takes."""
    options = {option.flag for command in cli.COMMANDS.values() for option in command.options}
    options |= {option.flag for option in OPTIONS} | {"--help", "--version"}
    options |= {"--enable-feature"}  # Prometheus's own

    assert [name for name in cli.COMMANDS if f"`{name}" not in README] == []
    assert sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]*[a-z]", README)) - options) == []


def broken_links(file: Path) -> list[str]:
    """Relative links of a Markdown file that lead nowhere, in this file or another."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text()):
        name, _, anchor = target.partition("#")
        if "://" in name:
            continue
        path = file.parent / name if name else file
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(f"{file.name}: {target}")
    return broken


def anchors(file: Path) -> set[str]:
    """The anchors that a Markdown file's headings get."""
    titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere(tmp_path: Path) -> None:
    """In the README and in every document; one that does not is found."""
    files = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    bad = tmp_path / "bad.md"
    bad.write_text("# One\n[a](nowhere.md) [b](#two) [c](#one) [d](https://example.org/x)\n")

    assert [link for file in files for link in broken_links(file)] == []
    assert broken_links(bad) == ["bad.md: nowhere.md", "bad.md: #two"]
