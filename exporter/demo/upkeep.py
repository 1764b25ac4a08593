"""What the platform writes for itself: model capacities, its analyses, and the removal of old activities."""

from random import Random

from exporter.demo import cast
from exporter.demo.incidents import Weather
from exporter.demo.rows import Statement, Value, insert

CLEAN_UP = Statement("DELETE FROM live_activities WHERE timestamp < datetime(:now, '-7 days')", {})
_CAPACITY = """UPDATE model_capacity_thresholds SET availability_score = :availability, speed_score = :speed,
    last_updated = :now WHERE model_name = :model"""
_PERIODS = {"daily": 1, "weekly": 7, "monthly": 30}
_ANALYSIS = """INSERT INTO claude_account_analysis
(timestamp, period_type, period_start, period_end, current_tier, claude_tokens_used, deepseek_tokens_used,
 total_interactions, claude_cost_actual, claude_cost_if_pro, deepseek_cost_actual,
 combined_effectiveness_score, max_tier_equivalent_score, recommended_tier, projected_savings,
 transition_confidence)
VALUES (:now, :period, datetime(:now, :back), :now, 'max', :claude_tokens, :deepseek_tokens, :interactions,
        :actual, :if_pro, :local, :score, :equivalent, 'pro', :savings, :confidence)"""
_PATTERNS = (
    ("success", "coding_tasks_to_deepseek", "Coding tasks succeed on the local model", 0.8),
    ("failure", "timeouts_on_long_context", "Time-outs follow long contexts", 0.6),
    ("routing", "complex_reasoning_to_claude", "Complex reasoning is sent to Claude", 0.7),
    ("subagent", "security_scan_before_release", "Security scans cluster before releases", 0.4),
)


def configure() -> tuple[Statement, ...]:
    """The capacity table of a new platform: one row a model."""
    return tuple(
        insert(
            "model_capacity_thresholds",
            model_name=model.name,
            vendor=model.vendor,
            capacity_threshold=0.9 if model.local else 0.8,
            cost_per_token=model.usd_per_token,
            quality_score=model.quality,
        )
        for model in cast.MODELS
    )


def capacities(rng: Random, weather: Weather) -> tuple[Statement, ...]:
    """How available and fast each model is now, 0..1."""
    return tuple(
        Statement(
            _CAPACITY,
            {
                "model": model.name,
                "availability": 0.0 if weather.local_down and model.local else round(rng.uniform(0.97, 1.0), 3),
                "speed": round(min(1.0, rng.uniform(0.8, 1.0) / weather.latency), 3),
            },
        )
        for model in cast.MODELS
    )


def analyses(rng: Random) -> tuple[Statement, ...]:
    """A row of each pattern, and of the account for each period."""
    patterns = (
        insert(
            "pattern_analysis",
            pattern_type=kind,
            pattern_name=name,
            description=description,
            frequency=rng.randint(5, 120),
            confidence=round(rng.uniform(0.6, 0.98), 3),
            impact_score=round(impact * rng.uniform(0.8, 1.2), 3),
            recommendations="[]",
        )
        for kind, name, description, impact in _PATTERNS
    )
    return (*patterns, *(_account(rng, period) for period in _PERIODS))


def _account(rng: Random, period: str) -> Statement:
    """The account as of now; thrown, not summed up, for sums would depend on the hour the demo began."""
    days = _PERIODS[period]
    actual = round(days * rng.uniform(5.0, 8.0), 4)
    values: dict[str, Value] = {
        "period": period,
        "back": f"-{days} days",
        "claude_tokens": int(actual / cast.SONNET.usd_per_token),
        "deepseek_tokens": int(days * rng.uniform(0.8e6, 1.1e6)),
        "interactions": int(days * rng.uniform(350, 450)),
        "actual": actual,
        "if_pro": round(actual * 0.7, 4),
        "local": round(actual * 0.02, 4),
        "score": round(rng.uniform(0.75, 0.95), 3),
        "equivalent": round(rng.uniform(0.6, 0.9), 3),
        "savings": round(actual * 0.3, 4),
        "confidence": round(rng.uniform(0.5, 0.9), 3),
    }
    return Statement(_ANALYSIS, values)
