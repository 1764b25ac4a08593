"""What is known of models beside the tables: spellings that are joined, vendors, tiers; and how rows name vendors."""

from __future__ import annotations

import pytest

from exporter.advance import Engine
from exporter.catalogue import SCHEMA
from exporter.catalogue.tables import CALLS, CAPACITIES, ROUTING
from exporter.config import SourceSettings
from exporter.context import Rules
from exporter.gauges import read_state
from exporter.models import Models
from exporter.rules import fingerprint, models_of, rules_of
from exporter.spec import Table
from exporter.state import Row, State
from tests.model import settings

INFO = "orchestration_model_info"


@pytest.mark.parametrize(
    "model, tier",
    [
        ("claude", "paid"),
        ("claude-sonnet", "paid"),
        ("Claude 3", "paid"),
        ("CLAUDE", "paid"),
        ("deepseek", "local"),
        ("DeepSeek-V3", "local"),
        ("gpt", "unknown"),
        ("my-claude", "unknown"),
        ("unknown", "unknown"),
        ("__other__", "unknown"),
        ("deepseek-api", "paid"),
        ("llama", "local"),
    ],
)
def test_the_tier_is_configured_or_told_by_the_name(model: str, tier: str) -> None:
    """How the name begins, in upper or lower case; what is configured goes before that, by the exact name."""
    models = Models(tiers={"deepseek-api": "paid", "llama": "local"})

    assert models.tier(model) == tier


def test_spellings_are_joined() -> None:
    """One that no alias names stays as it is."""
    models = Models(aliases={"sonnet": "claude-sonnet"})

    assert [models.name(text) for text in ("sonnet", "claude-sonnet", "Sonnet")] == [
        *("claude-sonnet", "claude-sonnet", "Sonnet"),
    ]


def test_what_is_configured_is_in_label_values() -> None:
    """Trimmed as the tables' own names are: else no row would ever have that name."""
    found = models_of(
        settings(
            model_aliases={" sonnet ": "claude-sonnet "},
            models={" claude ": {"vendor": "Anthropic"}, "llama": {"tier": "local"}, "plain": {}},
        )
    )

    assert dict(found.aliases) == {"sonnet": "claude-sonnet"}
    assert (dict(found.vendors), dict(found.tiers)) == ({"claude": "Anthropic"}, {"llama": "local"})


def test_rules_with_the_same_models_are_the_same() -> None:
    """Rules can be keys: what was worked out for them is found again."""
    one, two = (Rules(models=Models(aliases={"a": "b"})) for _ in range(2))

    assert one == two
    assert hash(one) == hash(two)
    assert one != Rules(models=Models(aliases={"a": "c"}))


@pytest.mark.parametrize(
    "metric, alias, tier, zone",
    [
        ("handoffs_total", True, False, False),
        ("handoff_routes_total", True, False, False),
        ("model_calls_total", True, False, False),
        ("handoff_escalations_total", True, True, False),
        ("ledger", True, False, True),
        ("sessions_started_total", False, False, False),
        ("subagent_invocations_total", False, False, False),
        ("hook_executions_total", False, False, False),
        ("ledger_cost_usd", False, False, False),
        ("model_info", False, False, False),
    ],
)
def test_what_a_setting_makes_anew(metric: str, *, alias: bool, tier: bool, zone: bool) -> None:
    """An alias all that has models in its labels, a tier the escalations, a time zone the ledger; gauges nothing."""
    declared = {found.name: found for found in SCHEMA.counted}[f"orchestration_{metric}"]

    def made(**values: object) -> str:
        chosen = settings(**values)
        source = chosen.sources[0]
        assert isinstance(source, SourceSettings)
        return fingerprint(declared, rules_of(chosen, source), SCHEMA)

    assert (made(model_aliases={"a": "b"}) != made()) is alias
    assert (made(models={"a": {"tier": "paid"}}) != made()) is tier
    assert (made(time_zone="Europe/Berlin") != made()) is zone
    assert made(models={"a": {"vendor": "v"}}) == made()


# ── vendors ──────────────────────────────────────────────────────────────────────────────────────────────────


def row(table: Table, **values: object) -> Row:
    assert values.keys() <= {column.name for column in table.columns}
    return (1, *(values.get(column.name) for column in table.columns))


def informed(models: Models, *noted: tuple[float, object, object], capacities: tuple[Row, ...] = ()) -> dict[str, str]:
    """The vendor that `model_info` shows for each model, after these times, models and vendors were read."""
    state, rules = State(SCHEMA.tables), Rules(models=models)
    engine = Engine(state, SCHEMA, rules)
    for time, model, vendor in noted:
        engine.context.note_vendors(CALLS, [row(CALLS, model_name=model, vendor=vendor)], [time])
        state.admit("model", models.name(str(model)), 100)
    state.current[CAPACITIES.name] = capacities
    for found in capacities:
        state.admit("model", models.name(str(found[1])), 100)
    shown = read_state(state, SCHEMA, rules)[INFO]
    return {model: vendor for model, vendor, _ in shown}


def capacity(model: str, vendor: str | None, time: str) -> Row:
    return row(CAPACITIES, model_name=model, vendor=vendor, last_updated=time)


def test_the_newest_row_that_names_a_vendor_tells_it() -> None:
    """By event time, not by the order of reading; a row that names none tells nothing."""
    assert informed(Models(), (20.0, "m", "new"), (10.0, "m", "old"), (30.0, "m", None), (40.0, "m", "  ")) == {
        "m": "new"
    }
    assert informed(Models(), (10.0, "m", None)) == {"m": "unknown"}


def test_a_configured_vendor_goes_before_all_rows() -> None:
    """And one of a spelling is that of the model's name."""
    models = Models(aliases={"spelling": "m"}, vendors={"n": "mine"})

    assert informed(models, (10.0, "spelling", "theirs"), (10.0, "n", "theirs")) == {"m": "theirs", "n": "mine"}


def test_capacities_name_vendors_too() -> None:
    """Where their last_updated is newer than the event; a time that cannot be used is older than all."""
    noted = (1_767_225_600.0, "m", "event")  # 2026-01-01

    def vendor(*rows: Row) -> str:
        return informed(Models(), noted, capacities=rows)["m"]

    assert vendor(capacity("m", "newer", "2026-06-01 00:00:00")) == "newer"
    assert vendor(capacity("m", "older", "2025-06-01 00:00:00")) == "event"
    assert vendor(capacity("m", None, "2026-06-01 00:00:00")) == "event"
    assert vendor(capacity("m", "timeless", "yesterday")) == "event"
    assert vendor(capacity("m", "a", "2026-07-01 00:00:00"), capacity("m", "b", "2026-06-01 00:00:00")) == "a"


def test_within_one_read_the_newest_of_a_model_counts() -> None:
    """As it would over several."""
    state = State(SCHEMA.tables)
    context = Engine(state, SCHEMA, Rules()).context
    rows = [row(ROUTING, selected_model="m", selected_vendor=vendor) for vendor in ("b", "a", "c")]

    context.note_vendors(ROUTING, rows, [20.0, 30.0, 10.0])

    assert state.vendors == {"m": (30.0, "a")}


def test_models_without_end_are_not_remembered() -> None:
    """Ten thousand vendors, and no more; those that are known go on."""
    state = State(SCHEMA.tables)
    context = Engine(state, SCHEMA, Rules()).context
    for start in (0, 6_000):
        rows = [row(CALLS, model_name=f"m{n}", vendor="v") for n in range(start, start + 6_000)]
        context.note_vendors(CALLS, rows, [10.0] * len(rows))

    context.note_vendors(CALLS, [row(CALLS, model_name="m0", vendor="new")], [20.0])

    assert len(state.vendors) == 10_000
    assert state.vendors["m0"] == (20.0, "new")
