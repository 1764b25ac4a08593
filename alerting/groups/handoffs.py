"""How hand-offs go: whether they succeed, how long they take, and whether their confidence can be trusted."""

from __future__ import annotations

from alerting import thresholds
from alerting.guards import (
    JOIN,
    KNOWN,
    LOCAL,
    also,
    but_while_down,
    current,
    past_local_model,
    quantile,
    ratio,
    steady,
    total,
)
from alerting.rules import SHARE, SOURCE, Alert, Group
from exporter.catalogue import handoffs
from exporter.promql import NOW, Expr, Recorded, binary, select

_OF = thresholds.load().handoffs
_MODEL = f"{SOURCE}, model {{{{ $labels.model }}}}"
_BY_MODEL = (*JOIN, "model")
_LOW, _HIGH = str(_OF.low_confidence), str(_OF.overconfident_above)


def _low_confidence(window: str, offset: str = "") -> Expr:
    """The share of hand-offs decided with low confidence, by model; absent where there were few.

    Those for which the local model was unavailable are left out: the platform cuts their confidence to a tenth, so that
    it tells nothing of the model that stood in, of which they are the more the less else it does.
    """
    kept = ["outcome", "le"]
    low = select(handoffs.HANDOFF_CONFIDENCE, "_bucket", le=_LOW).increase(window, offset).sum(without=kept)
    every = select(handoffs.HANDOFF_CONFIDENCE, "_count").increase(window, offset).sum(without=["outcome"])
    routed = select(handoffs.HANDOFF_ROUTES, reason=handoffs.ESCALATION.unavailable).increase(window, offset)
    stood_in = binary(routed.sum(without=["source_model", "reason", "outcome"]), "or", binary(0, "*", every))
    return binary(binary(low, "-", stood_in), "/", binary(binary(every, "-", stood_in), ">=", _OF.few_events))


def _confident(outcome: str) -> Expr:
    """Results of a day that were decided with high confidence: buckets are cumulative, so a difference."""
    every = total(handoffs.HANDOFF_CONFIDENCE, "1d", "model", part="_count", outcome=outcome)
    below = total(handoffs.HANDOFF_CONFIDENCE, "1d", "model", part="_bucket", le=_HIGH, outcome=outcome)
    return binary(every, "-", below)


UNAVAILABLE = past_local_model("source:handoff_unavailable:ratio_1h")
USUAL_SECONDS = Recorded(
    "model:handoff_success_seconds:p50_7d",
    binary(quantile(0.5, handoffs.HANDOFF_DURATION, "7d", "model", outcome="success"), ">=", 0),  # leaves NaN out
    _BY_MODEL,
)
USUAL_LOW_CONFIDENCE = Recorded("model:handoff_low_confidence:ratio_7d", _low_confidence("7d", "1d"), _BY_MODEL)

FAILING = Alert(
    name="OrchestrationHandoffsFailing",
    expr=steady(
        but_while_down(
            binary(
                ratio(
                    binary(total(handoffs.HANDOFFS_TOTAL, "1h", "model", outcome="failure"), ">=", _OF.failures),
                    total(handoffs.HANDOFFS_TOTAL, "1h", "model", outcome=KNOWN),
                ),
                ">",
                _OF.failure_ratio,
            ),
            UNAVAILABLE,
            "1h",
        ),
        "1h",
    ),
    for_="10m",
    keep_firing_for="15m",
    severity="warning",
    group="handoffs",
    summary="Many hand-offs to a model fail.",
    description=f"{_MODEL}: {SHARE} of the hand-offs with a result failed in the last "
    f"hour (more than {_OF.failure_ratio:.0%}), {_OF.failures} or more.",
    dashboard="orchestration-handoffs",
    of=_BY_MODEL,
)
_RECENT = quantile(0.5, handoffs.HANDOFF_DURATION, "6h", "model", outcome="success")
SLOW = Alert(
    name="OrchestrationHandoffsSlow",
    expr=steady(
        also(
            binary(
                binary(binary(_RECENT, ">", _OF.latency_floor_seconds), "/", USUAL_SECONDS.select()),
                ">=",
                _OF.latency_growth,
            ),
            binary(
                total(handoffs.HANDOFF_DURATION, "6h", "model", part="_count", outcome="success"),
                ">=",
                _OF.few_events,
            ),
            "model",
        ),
        "6h",
    ),
    for_="15m",
    keep_firing_for="30m",
    severity="warning",
    group="handoffs",
    summary="Successful hand-offs to a model take much longer than they did in the last week.",
    description=f'{_MODEL}: the median of the last 6 hours is {{{{ $value | printf "%.1f" }}}} times that of 7 days '
    f"(at least {_OF.latency_growth:g} times, and above {_OF.latency_floor_seconds:g} s).",
    dashboard="orchestration-handoffs",
    of=_BY_MODEL,
)
_WAITING = binary(select(handoffs.HANDOFFS_IN_FLIGHT).over("min", "30m"), ">=", _OF.waiting)
"""A result that is lost stays in flight until its timeout: so a few are no sign of a model that hangs."""
STUCK = Alert(
    name="OrchestrationHandoffStuck",
    expr=current(
        also(
            binary(binary(NOW, "-", select(handoffs.HANDOFF_OLDEST).value()), ">", _OF.oldest_in_flight_seconds),
            _WAITING,
            "model",
        )
    ),
    for_="5m",
    severity="warning",
    group="handoffs",
    summary="Hand-offs to a model have been waiting for their results for very long.",
    description=f"{_MODEL}: {_OF.waiting} or more have waited for 30 minutes; the oldest hand-off "
    f"without a result began {{{{ $value | humanizeDuration }}}} ago "
    f"(more than {_OF.oldest_in_flight_seconds / 60:g} minutes).",
    dashboard="orchestration-handoffs",
    of=_BY_MODEL,
)
LOW_CONFIDENCE = Alert(
    name="OrchestrationHandoffConfidenceLow",
    expr=steady(
        also(
            binary(_low_confidence("1d"), ">", _OF.low_confidence_ratio),
            binary(_low_confidence("1d"), ">", binary(_OF.low_confidence_growth, "*", USUAL_LOW_CONFIDENCE.select())),
            "model",
        ),
        "1d",
    ),
    for_="30m",
    keep_firing_for="1h",
    severity="warning",
    group="handoffs",
    summary="Hand-offs to a model are decided with less confidence than in the week before.",
    description=f"{_MODEL}: {SHARE} of the hand-offs of the last day, but for those that found the local model "
    f"unavailable, had a confidence of at most {_LOW} (more than {_OF.low_confidence_ratio:.0%}, and "
    f"{_OF.low_confidence_growth:g} times the 7 days before).",
    dashboard="orchestration-handoffs",
    of=_BY_MODEL,
)
OVERCONFIDENT = Alert(
    name="OrchestrationHandoffsOverconfident",
    expr=steady(
        but_while_down(
            binary(
                ratio(binary(_confident("failure"), ">=", _OF.failures), _confident(KNOWN), _OF.few_events),
                ">",
                _OF.overconfident_failures,
            ),
            UNAVAILABLE,
            "1d",
        ),
        "1d",
    ),
    for_="30m",
    keep_firing_for="1h",
    severity="warning",
    group="handoffs",
    summary="Hand-offs decided with great confidence fail too often, so that confidence says nothing.",
    description=f"{_MODEL}: {SHARE} of the hand-offs decided with a confidence above "
    f"{_HIGH} failed in the last day (more than {_OF.overconfident_failures:.0%}), "
    f"{_OF.failures} or more.",
    dashboard="orchestration-handoffs",
    of=_BY_MODEL,
)

_NO_SUCCESS = binary(
    also(_WAITING, LOCAL, "model"),
    f"unless on ({', '.join(_BY_MODEL)})",
    binary(total(handoffs.HANDOFFS_TOTAL, "30m", "model", outcome="success"), ">", 0),
)
LOCAL_MODEL_DOWN = Alert(
    name="OrchestrationLocalModelDown",
    expr=binary(
        steady(binary(UNAVAILABLE.select(), ">", _OF.unavailable_ratio), "1h"),
        "or",
        current(binary(1, "+", binary(0, "*", _NO_SUCCESS.aggregate("max", without=["model"])))),
    ),
    for_="5m",
    keep_firing_for="15m",
    severity="warning",
    group="handoffs",
    summary="The local model does not take work, so that it fails or is paid for.",
    description=f"{SOURCE}: {SHARE} of the hand-offs went past the local model as "
    f"unavailable in the last hour (more than {_OF.unavailable_ratio:.0%}), or it had work for 30 minutes and finished "
    "none (100%).",
    dashboard="orchestration-routing",
    of=JOIN,
)
ESCALATIONS = Alert(
    name="OrchestrationHandoffsEscalated",
    expr=steady(
        also(
            binary(
                ratio(
                    total(handoffs.HANDOFF_ESCALATIONS, "6h", reason="retry"),
                    total(handoffs.HANDOFFS_TOTAL, "6h"),
                ),
                ">",
                _OF.escalated_ratio,
            ),
            binary(total(handoffs.HANDOFF_ESCALATIONS, "6h", reason="retry"), ">=", _OF.escalations),
        ),
        "6h",
    ),
    for_="15m",
    keep_firing_for="30m",
    severity="warning",
    group="handoffs",
    summary="Much work is paid for after the local model has failed at it.",
    description=f"{SOURCE}: {SHARE} of the hand-offs of the last 6 hours repeated on a "
    f"paid model what the local one had failed at (more than {_OF.escalated_ratio:.0%}).",
    dashboard="orchestration-routing",
    of=JOIN,
)

GROUP = Group(
    "handoffs",
    (FAILING, SLOW, STUCK, LOW_CONFIDENCE, OVERCONFIDENT, LOCAL_MODEL_DOWN, ESCALATIONS),
    recorded=(UNAVAILABLE,),
    slow=(USUAL_SECONDS, USUAL_LOW_CONFIDENCE),
)
