"""Spellings of one model are one series, wherever its name is: counters, gauges, the ledger, budgets, `model_info`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from exporter.catalogue import METRICS, SCHEMA
from exporter.models import POOL
from tests.model import CALLS, CAPACITIES, HANDOFFS, ROUTING, SESSIONS, TASKS, Platform
from tests.processes import Looping, scan_of
from tests.running import Shown
from tests.test_poller import SINCE, at

OF_MODELS = [metric for metric in METRICS if any(label.pool == POOL for label in metric.labels)]
"""All that has a model in its labels."""
TIERED = "orchestration_handoff_escalations_total"
WITHOUT = [metric.name for metric in METRICS if metric.feeds and metric not in OF_MODELS and metric.name != TIERED]
ALIASES = {"sonnet": "claude-sonnet", "claude": "claude-sonnet", "ds": "deepseek"}


def used(platform: Platform, models: tuple[str, str, str, str] = ("claude-sonnet", "sonnet", "claude", "ds")) -> None:
    """A session in which models are used under these names, everywhere a name can be; the last is the local one."""
    platform.insert(SESSIONS, session_id="s", start_time=at(-600.0), project_name="p")
    for number, name in enumerate(models, 1):
        local = name == models[-1]
        platform.insert(HANDOFFS, session_id="s", timestamp=at(-60.0), task_type="t", target_model=name, success=1,
                        source_model=name, cost=0.1 * number, tokens_used=10, response_time=1.0, confidence_score=0.5,
                        savings=0.3)  # fmt: skip
        platform.insert(HANDOFFS, session_id="s", timestamp=at(-50.0), task_type=f"retry of {name}",
                        target_model=models[-1], success=0, tokens_used=1)  # fmt: skip
        platform.insert(HANDOFFS, session_id="s", timestamp=at(-40.0), task_type=f"retry of {name}",
                        target_model=name, success=None if local else 1)  # fmt: skip
        platform.insert(TASKS, session_id="s", timestamp=at(-60.0), model_used=name, success=0, cost=0.1 * number,
                        error_type="e", quality_score=4.0)  # fmt: skip
        platform.insert(ROUTING, session_id="s", timestamp=at(-60.0), selected_model=name, selected_vendor=f"v{number}",
                        execution_success=1, confidence_score=0.5, actual_cost=0.1, actual_tokens=1,
                        actual_duration=1.0)  # fmt: skip
        platform.insert(CALLS, model_name=name, timestamp=at(-70.0), error_count=1, retry_count=1, response_time=1.0,
                        quality_score=0.5)  # fmt: skip
        platform.insert(CAPACITIES, model_name=name, capacity_threshold=number / 10, cost_per_token=number / 100,
                        availability_score=number / 10)  # fmt: skip


def models_in(shown: Shown, name: str) -> set[str]:
    """The models that a metric's series name."""
    ends = ("", "_bucket", "_count", "_sum")
    found = {pair for end in ends for labels in shown.by_labels(name + end) for pair in labels}
    return {value for label, value in found if label in ("model", "source_model")}


async def read(platform: Platform, storage: Path, **chosen: object) -> Shown:
    """What is shown of it after a first scan."""
    async with Looping(platform, storage, **chosen) as looping:
        return looping.shown


def joined(shown: Shown, name: str, aliases: Mapping[str, str]) -> dict[frozenset[tuple[str, str]], float]:
    """Series by labels, added up under the names that the spellings are joined to."""
    found: dict[frozenset[tuple[str, str]], float] = {}
    for labels, value in shown.by_labels(name).items():
        key = frozenset((label, aliases.get(text, text)) for label, text in labels)
        found[key] = found.get(key, 0.0) + value
    return found


async def test_spellings_of_a_model_are_one_series_everywhere(tmp_path: Path) -> None:
    """Counters, histograms and gauges alike, whether rows are scanned or polled."""
    scanned, polled = Platform(), Platform()
    used(scanned)
    shown = await read(scanned, tmp_path / "scan", model_aliases=ALIASES)
    async with Looping(polled, tmp_path / "polls", model_aliases=ALIASES) as looping:
        used(polled)
        later = await looping.polled()

    for metric in OF_MODELS:
        for found in (shown, later):
            assert models_in(found, metric.name) <= {"claude-sonnet", "deepseek", "unknown"}, metric.name
        assert models_in(shown, metric.name) & {"claude-sonnet", "deepseek"}, metric.name
        assert models_in(later, metric.name) == models_in(shown, metric.name), metric.name
    assert shown.total("orchestration_handoffs_total", model="claude-sonnet") == 6
    assert shown.total("orchestration_handoffs_in_flight", model="deepseek") == 1


async def test_what_is_joined_is_the_sum_of_what_was_apart(tmp_path: Path) -> None:
    """Of the counters; of capacities the newest row of all spellings counts, of vendors the newest that names one."""
    platform = Platform()
    used(platform)
    apart = await read(platform, tmp_path / "apart")
    together = await read(platform, tmp_path / "together", model_aliases=ALIASES)

    for metric in OF_MODELS:
        if metric.type == "counter" and metric.feeds:
            wanted = joined(apart, metric.name, ALIASES)
            found = together.by_labels(metric.name)
            assert {labels: round(value, 9) for labels, value in found.items()} == {
                labels: round(value, 9) for labels, value in wanted.items()
            }
    assert together.total("orchestration_model_capacity_threshold_ratio", model="claude-sonnet") == 0.3
    info = {frozenset({("model", "claude-sonnet"), ("vendor", "v3"), ("tier", "paid")}): 1.0,
            frozenset({("model", "deepseek"), ("vendor", "v4"), ("tier", "local")}): 1.0}  # fmt: skip
    assert together.by_labels("orchestration_model_info") == info


async def test_tiers_and_budgets_go_by_the_name_that_is_joined(tmp_path: Path) -> None:
    """`ds` is no local model by its own name; a budget of a model has what all of its spellings cost."""
    platform = Platform()
    used(platform)
    budget = {"name": "b", "limit_usd": 1.0, "period": "month", "scope": {"model": "claude-sonnet"}}
    without = await read(platform, tmp_path / "without", budgets=[budget])
    shown = await read(platform, tmp_path / "with", budgets=[budget], model_aliases=ALIASES)

    assert without.total(TIERED, reason="retry") == 0
    assert shown.total(TIERED, reason="retry") == 3
    assert round(without.total("orchestration_budget_spent_usd"), 9) == 0.1
    assert round(shown.total("orchestration_budget_spent_usd"), 9) == 0.6
    for name in ("cost_usd", "baseline_cost_usd", "net_savings_usd", "tokens", "handoffs"):
        gauge = f"orchestration_ledger_{name}"
        assert scan_of(shown, gauge).keys() == scan_of(without, gauge).keys() != set()


async def test_an_alias_that_is_added_later_joins_the_past(tmp_path: Path) -> None:
    """What has models is made anew from the rows, and counting begins anew; all else keeps its totals to the last
    digit, though rows of theirs are gone.
    """
    platform, storage = Platform(), tmp_path / "state"
    used(platform)
    async with Looping(platform, storage) as looping:
        before = looping.shown
        platform.sql(f"DELETE FROM {HANDOFFS} WHERE id <= 2")
        platform.sql(f"DELETE FROM {TASKS} WHERE id <= 2")
        looping.wall += 100.0
        await looping.restart(model_aliases=ALIASES)
        shown = looping.shown
        since = looping.counting_since

    fresh = await read(platform, tmp_path / "fresh", model_aliases=ALIASES)
    for metric in OF_MODELS:
        assert models_in(shown, metric.name) <= {"claude-sonnet", "deepseek", "unknown"}, metric.name
        if metric.feeds:
            assert scan_of(shown, metric.name) == scan_of(fresh, metric.name), metric.name
    assert since == SINCE + 100.0
    assert scan_of(shown, TIERED) == scan_of(fresh, TIERED) != scan_of(before, TIERED)
    assert shown.by_labels("orchestration_model_info") == fresh.by_labels("orchestration_model_info")
    assert scan_of(shown, *WITHOUT) == scan_of(before, *WITHOUT) != {}
    assert scan_of(before, *WITHOUT) != scan_of(fresh, *WITHOUT)


def test_there_is_something_to_test() -> None:
    """Metrics with models, and ledger feeds whose model is a name."""
    assert len(OF_MODELS) > 25
    assert SCHEMA.ledger is not None
    assert POOL in {label.pool for label in SCHEMA.ledger.labels}
