"""All dashboards, in the order in which they are read."""

from __future__ import annotations

from dashboards.agents import AGENTS
from dashboards.board import Board
from dashboards.budgets import BUDGETS
from dashboards.cost import COST
from dashboards.exporter_health import EXPORTER
from dashboards.handoffs import HANDOFFS
from dashboards.overview import OVERVIEW
from dashboards.routing import ROUTING
from dashboards.sessions import SESSIONS
from dashboards.slo import SLO
from dashboards.tools import TOOLS
from dashboards.wallboard import WALLBOARD

BOARDS: tuple[Board, ...] = (
    *(OVERVIEW, HANDOFFS, COST, BUDGETS, SESSIONS, AGENTS, TOOLS, ROUTING, SLO, EXPORTER, WALLBOARD),
)
