"""One hand-off, from the routing decision to the outcome: what dice decide, and the rows that tell of it."""

import json
import math
from dataclasses import dataclass
from random import Random

from exporter.demo import cast
from exporter.demo.cast import Model
from exporter.demo.incidents import Weather
from exporter.demo.rows import Statement, Value, insert

ORCHESTRATOR = "claude_orchestrator"
_LOST_SHARE = 0.003  # a crashed platform never writes the result
_UNAVAILABLE_SHARE = 0.04
_UNPRICED_SHARE = 0.004  # the price list was being replaced: tokens are known, money is not
_TYPICAL_TOKENS = 2_600

_FINISH_HANDOFF = """UPDATE handoff_events
SET success = :success, response_time = :response_time, tokens_used = :tokens, cost = :cost,
    savings = :savings, claude_tokens_used = :claude_tokens, deepseek_tokens_used = :deepseek_tokens
WHERE id = :row"""
_FINISH_ROUTING = """UPDATE routing_decisions SET execution_success = :success, actual_cost = :cost,
    actual_tokens = :tokens, actual_duration = :response_time WHERE id = :row"""


@dataclass(frozen=True, slots=True)
class Turn:
    """A hand-off with its result, known before it begins; USD and seconds; `key` names its rows."""

    key: str
    task_type: str
    description: str
    source: str
    model: Model
    reason: str
    phrase: str
    available: bool
    confidence: float
    complexity: str
    estimated_tokens: int
    tokens: int
    response_s: float
    error: tuple[str, str] | None
    task_score: float | None
    answer_quality: float
    retried: bool
    lost: bool
    routing_result: bool
    reported: bool
    unpriced: bool

    @property
    def success(self) -> int:
        """1 or 0."""
        return int(self.error is None)

    @property
    def cost(self) -> float | None:
        """What the model charged; None if nobody knew its price."""
        return None if self.unpriced else priced(self.model, self.tokens)

    @property
    def savings(self) -> float | None:
        """What the paid model would have charged beyond that; None without a cost."""
        return None if self.unpriced else saved(self.model, self.tokens)

    @property
    def claude_tokens(self) -> int:
        """Its tokens, if a paid model spent them."""
        return 0 if self.model.local else self.tokens


def priced(model: Model, tokens: int) -> float:
    """The cost of that many tokens, USD."""
    return round(model.usd_per_token * tokens, 8)


def saved(model: Model, tokens: int) -> float:
    """What the paid model would have cost beyond this one, USD; 0 for a paid one."""
    return round(cast.SONNET.usd_per_token * tokens - priced(model, tokens), 8) if model.local else 0.0


def plan_turn(rng: Random, weather: Weather, *, key: str, failed: Turn | None) -> Turn:
    """Throw the dice for one hand-off; after a `failed` local one it is the retry on a paid model."""
    [route] = rng.choices(cast.ROUTES, cast.ROUTE_WEIGHTS)
    blip = rng.random() < _UNAVAILABLE_SHARE
    model, reason, phrase = _choose(rng, weather, route, retry=failed is not None, blip=blip)
    tokens = min(400_000, max(150, int(_spread(rng, _TYPICAL_TOKENS, 0.6) * weather.tokens)))
    chance = min(0.995, rng.betavariate(model.quality * 14, (1 - model.quality) * 14))
    refused = weather.local_down and model.local
    error = _error(rng, chance, refused=refused)
    confidence = min(0.99, max(0.05, chance + rng.gauss(0, 0.05))) * weather.confidence
    task_type = failed.task_type if failed else rng.choice(route.task_types)
    return Turn(
        key=key,
        # As an agent does that names its tasks after the tickets it works on.
        task_type=f"{task_type} {key}" if weather.tickets and not failed else task_type,
        description=failed.description if failed else rng.choice(cast.DESCRIPTIONS),
        source=failed.model.name if failed else ORCHESTRATOR,
        model=model,
        reason=reason,
        phrase=phrase,
        available=not (weather.local_down or reason == cast.UNAVAILABLE),
        # The platform itself cuts the confidence of a fallback to a tenth.
        confidence=round(confidence * (0.1 if reason == cast.UNAVAILABLE else 1.0), 4),
        complexity=rng.choices(("low", "medium", "high"), (4, 4, 2))[0],
        estimated_tokens=int(tokens * rng.uniform(0.6, 1.3)),
        tokens=tokens,
        response_s=_response_s(rng, model, tokens, weather, error),
        error=error,
        task_score=_task_score(rng, failed=error is not None),
        answer_quality=round(min(1.0, max(0.0, rng.gauss(model.quality, 0.05))), 3),
        retried=rng.random() < 0.07,
        lost=rng.random() < _LOST_SHARE,
        routing_result=rng.random() < 0.95,
        reported=rng.random() < 0.4,
        unpriced=rng.random() < _UNPRICED_SHARE,
    )


def _choose(rng: Random, weather: Weather, route: cast.Route, *, retry: bool, blip: bool) -> tuple[Model, str, str]:
    """Model, reason and phrase of a route under this weather."""
    [model] = rng.choices(route.models, route.weights)
    tried_anyway = rng.random() < 0.35
    if not model.local and rng.random() < weather.dearest_share:
        model = cast.OPUS
    if retry:
        reason = cast.UNAVAILABLE if weather.local_down else "complex_reasoning_needed"
        return cast.SONNET, reason, "Retry on Claude after a failed DeepSeek attempt"
    if model.local and (blip or (weather.local_down and not tried_anyway)):
        return cast.SONNET, cast.UNAVAILABLE, f"{route.phrase}; {cast.UNAVAILABLE_PHRASE}"
    return model, route.reason, route.phrase


def _error(rng: Random, chance: float, *, refused: bool) -> tuple[str, str] | None:
    """Type and message of what went wrong, None for success."""
    [usual] = rng.choices(cast.ERRORS, cast.ERROR_WEIGHTS)
    if refused:
        return cast.DOWN
    return None if rng.random() < chance else usual


def _response_s(rng: Random, model: Model, tokens: int, weather: Weather, error: tuple[str, str] | None) -> float:
    """Seconds to the answer: longer answers and time-outs take longer, a refused connection is quick."""
    longer = math.pow(tokens / _TYPICAL_TOKENS, 0.4)
    usual = _spread(rng, model.median_s, 0.45) * weather.latency * longer
    factor = {"timeout": 4.0, cast.DOWN[0]: 0.3}.get(error[0], 0.8) if error else 1.0
    return round(min(600.0, max(0.2, usual * factor)), 4)


def _task_score(rng: Random, *, failed: bool) -> float | None:
    """Quality of the outcome, 0..5 in halves; one in five is not rated."""
    score = rng.choice((1.0, 1.5, 2.0, 2.5)) if failed else rng.choice((3.5, 4.0, 4.0, 4.5, 4.5, 5.0))
    return None if rng.random() < 0.2 else score


def _spread(rng: Random, median: float, sigma: float) -> float:
    return rng.lognormvariate(math.log(median), sigma)


def open_turn(session_id: str, turn: Turn) -> tuple[Statement, ...]:
    """The rows of its beginning: decision and hand-off without results, tokens and money estimated."""
    factors = {"estimated_tokens": turn.estimated_tokens, "confidence": turn.confidence}
    metadata = {
        "route_reason": turn.reason,
        "deepseek_available": turn.available,
        "decision_factors": factors,
    }
    handoff = insert(
        "handoff_events",
        keeps=f"{turn.key} handoff",
        session_id=session_id,
        task_type=turn.task_type,
        task_description=turn.description,
        source_model=turn.source,
        target_model=turn.model.name,
        handoff_reason=turn.phrase,
        confidence_score=turn.confidence,
        tokens_used=turn.estimated_tokens,
        cost=priced(turn.model, turn.estimated_tokens),
        savings=saved(turn.model, turn.estimated_tokens),
        metadata=json.dumps(metadata),
        token_source="deepseek" if turn.model.local else "claude",
    )
    return (_decision(session_id, turn), handoff, activity("handoff", session_id, model=turn.model.name))


def _decision(session_id: str, turn: Turn) -> Statement:
    return insert(
        "routing_decisions",
        keeps=f"{turn.key} routing",
        session_id=session_id,
        task_description=turn.description,
        task_complexity=turn.complexity,
        quality_requirement=0.8,
        speed_requirement="normal",
        selected_model=turn.model.name,
        selected_vendor=turn.model.vendor,
        routing_score=round((turn.confidence + turn.model.quality) / 2, 4),
        confidence_score=turn.confidence,
    )


def close_turn(session_id: str, turn: Turn) -> tuple[Statement, ...]:
    """Its results: the hand-off, most decisions, the outcome of the task, sometimes a report on the model."""
    if turn.lost:
        return ()
    result: dict[str, Value] = {
        "success": turn.success,
        "response_time": turn.response_s,
        "tokens": turn.tokens,
        "cost": turn.cost,
    }
    handoff = result | {
        "savings": turn.savings,
        "claude_tokens": turn.claude_tokens,
        "deepseek_tokens": turn.tokens - turn.claude_tokens,
    }
    statements = [Statement(_FINISH_HANDOFF, handoff, uses=f"{turn.key} handoff"), _outcome(session_id, turn)]
    if turn.routing_result:
        statements.append(Statement(_FINISH_ROUTING, result, uses=f"{turn.key} routing"))
    if turn.reported:
        statements.append(_report(turn))
    if turn.error:
        statements.append(activity("task_failed", session_id, model=turn.model.name))
    return tuple(statements)


def _outcome(session_id: str, turn: Turn) -> Statement:
    error_type, error_message = turn.error or (None, None)
    return insert(
        "task_outcomes",
        session_id=session_id,
        task_id=f"task_{turn.key}",
        task_type=turn.task_type,
        task_description=turn.description,
        model_used=turn.model.name,
        success=turn.success,
        error_type=error_type,
        error_message=error_message,
        execution_time=turn.response_s,
        tokens_used=turn.tokens,
        cost=turn.cost,
        quality_score=turn.task_score,
    )


def _report(turn: Turn) -> Statement:
    return insert(
        "model_performance",
        model_name=turn.model.name,
        vendor=turn.model.vendor,
        task_type=turn.task_type,
        complexity_level=turn.complexity,
        response_time=turn.response_s,
        tokens_used=turn.tokens,
        cost=turn.cost,
        quality_score=turn.answer_quality,
        success_rate=turn.confidence,
        error_count=1 - turn.success,
        retry_count=int(turn.retried),
    )


def activity(event_type: str, session_id: str, **data: Value) -> Statement:
    """A line of the live feed."""
    return insert("live_activities", event_type=event_type, session_id=session_id, data=json.dumps(data))
