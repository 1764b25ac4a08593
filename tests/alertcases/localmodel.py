"""Made-up series of a local model that is down: which model it is, and what goes past it."""

from __future__ import annotations

from exporter.catalogue import handoffs, models
from tests.alertcases.courses import steep
from tests.promtool import series


def two_models(steps: int, local: str, paid: str) -> dict[str, str]:
    """Which of two models is the local one."""
    return {
        series(models.MODEL_INFO, model=local, vendor="d", tier="local"): f"1x{steps}",
        series(models.MODEL_INFO, model=paid, vendor="a", tier="paid"): f"1x{steps}",
    }


def routes(a_step: float, unavailable: float, steps: tuple[int, int, int] = (30, 90, 120)) -> dict[str, str]:
    """So many hand-offs a step, a share of which finds the local model unavailable in the second part of three."""
    before, meanwhile, after = steps
    of = {"source_model": "claude-opus", "model": "claude-sonnet", "outcome": "success"}
    return {
        series(handoffs.HANDOFF_ROUTES, reason="deepseek_unavailable", **of): steep(
            (0, before), (a_step * unavailable, meanwhile), (0, after)
        ),
        series(handoffs.HANDOFF_ROUTES, reason="quality", **of): steep(
            (a_step, before), (a_step * (1 - unavailable), meanwhile), (a_step, after)
        ),
    }
