"""Metrics of the platform around the work: hooks, activities, token budgets, its account, the patterns it found."""

from __future__ import annotations

from exporter.catalogue.tables import ACCOUNT, ACTIVITIES, HOOKS, PATTERNS, TOKEN_BUDGETS
from exporter.catalogue.vocabulary import (
    ACCOUNT_TIER,
    BASIS,
    EVENT,
    HOOK,
    KIND,
    OUTCOME,
    PATTERN,
    PERIOD_TYPE,
    PRIORITY,
    PROJECT,
    RECOMMENDED_TIER,
    SHORT_BUCKETS,
)
from exporter.spec import Col, Const, Counter, Current, Feed, Gauge, Histogram, Metric, Outcome, Project

_SPENDING = ("claude_tokens_used", "deepseek_tokens_used", "other_tokens_used")
_BASES = {"actual": "claude_cost_actual", "if_pro": "claude_cost_if_pro", "local": "deepseek_cost_actual"}
_MOST_PATTERNS = 50


def _token_budgets(*columns: str) -> tuple[Current, ...]:
    return (Current(TOKEN_BUDGETS, {"project": Project(), "priority": Col("priority_level")}, columns),)


def _account(column: str) -> tuple[Current, ...]:
    labels = {
        "tier": Col("current_tier"),
        "recommended_tier": Col("recommended_tier"),
        "period": Col("period_type"),
    }
    return (Current(ACCOUNT, labels, (column,), newest_per=("period",)),)


def _patterns(column: str) -> tuple[Current, ...]:
    labels = {"pattern": Col("pattern_name"), "kind": Col("pattern_type")}
    most = ("impact_score", _MOST_PATTERNS)
    return (Current(PATTERNS, labels, (column,), newest_per=("kind", "pattern"), most=most),)


HOOK_EXECUTIONS = Counter(
    "orchestration_hook_executions_total",
    "Executions of hooks (claude_code_hooks), by type of hook.",
    (HOOK, OUTCOME),
    (Feed(HOOKS, {"hook": Col("hook_type"), "outcome": Outcome("success")}),),
)
HOOK_DURATION = Histogram(
    "orchestration_hook_duration_seconds",
    "Processing time of hooks (claude_code_hooks.processing_time).",
    (HOOK,),
    (Feed(HOOKS, {"hook": Col("hook_type")}, "processing_time"),),
    buckets=SHORT_BUCKETS,
)
ACTIVITIES_TOTAL = Counter(
    "orchestration_activities_total",
    "Activities that the platform announced (live_activities), by type of event.",
    (EVENT,),
    (Feed(ACTIVITIES, {"event": Col("event_type")}),),
)
TOKEN_BUDGET = Gauge(
    "orchestration_token_budget_tokens",
    "Tokens that active sessions may use (token_budgets.initial_budget).",
    (PROJECT, PRIORITY),
    reading="current",
    of=_token_budgets("initial_budget"),
)
TOKEN_BUDGET_USED = Gauge(
    "orchestration_token_budget_used_tokens",
    "Tokens that active sessions have used of their budgets (token_budgets, all models).",
    (PROJECT, PRIORITY),
    reading="current",
    of=_token_budgets(*_SPENDING),
)
TOKEN_BUDGETS_EXHAUSTED = Gauge(
    "orchestration_token_budgets_exhausted",
    "Active sessions whose token budget is exhausted (token_budgets.budget_exhausted).",
    (PROJECT, PRIORITY),
    reading="current",
    of=_token_budgets("budget_exhausted"),
)
ACCOUNT_COST = Gauge(
    "orchestration_account_cost_usd",
    "Cost of the account by the platform's newest analysis of each period (claude_account_analysis): actual, if_pro "
    "(what the Pro tier would cost) and local (the local model's). Views of one account: do not add them up.",
    (ACCOUNT_TIER, PERIOD_TYPE, BASIS),
    reading="current",
    of=tuple(
        Current(
            ACCOUNT,
            {"tier": Col("current_tier"), "period": Col("period_type"), "basis": Const(basis)},
            (column,),
            newest_per=("period",),
        )
        for basis, column in _BASES.items()
    ),
)
ACCOUNT_SAVINGS = Gauge(
    "orchestration_account_projected_savings_usd",
    "What changing to the recommended tier would save, by the platform's newest analysis of each period "
    "(claude_account_analysis.projected_savings); negative where it would cost more.",
    (ACCOUNT_TIER, RECOMMENDED_TIER, PERIOD_TYPE),
    reading="current",
    of=_account("projected_savings"),
)
ACCOUNT_CONFIDENCE = Gauge(
    "orchestration_account_transition_confidence_ratio",
    "Confidence of the platform's recommended tier (claude_account_analysis.transition_confidence).",
    (ACCOUNT_TIER, RECOMMENDED_TIER, PERIOD_TYPE),
    reading="current",
    of=_account("transition_confidence"),
)
PATTERN_FREQUENCY = Gauge(
    "orchestration_pattern_frequency",
    f"How often the platform saw a pattern (pattern_analysis.frequency); the {_MOST_PATTERNS} of most impact.",
    (PATTERN, KIND),
    reading="current",
    of=_patterns("frequency"),
)
PATTERN_IMPACT = Gauge(
    "orchestration_pattern_impact_score",
    f"Impact of a pattern on the platform's scale (pattern_analysis.impact_score); the {_MOST_PATTERNS} highest.",
    (PATTERN, KIND),
    reading="current",
    of=_patterns("impact_score"),
)

METRICS: tuple[Metric, ...] = (
    HOOK_EXECUTIONS,
    HOOK_DURATION,
    ACTIVITIES_TOTAL,
    TOKEN_BUDGET,
    TOKEN_BUDGET_USED,
    TOKEN_BUDGETS_EXHAUSTED,
    ACCOUNT_COST,
    ACCOUNT_SAVINGS,
    ACCOUNT_CONFIDENCE,
    PATTERN_FREQUENCY,
    PATTERN_IMPACT,
)
