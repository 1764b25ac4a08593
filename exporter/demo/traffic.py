"""A session from its first prompt to its last, as the stream of transactions the platform commits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random

from exporter.demo import cast
from exporter.demo.calls import hook, subagent_call, tool_call
from exporter.demo.incidents import Forecast, Weather
from exporter.demo.rows import Event, Statement, event_time, insert
from exporter.demo.turns import ORCHESTRATOR, Turn, activity, close_turn, open_turn, plan_turn

_ENDED_SHARE = 0.1
_EARLY_EVENTS_SHARE = 0.08
_NO_ROW_SHARE = 0.005
_BUDGET_SHARE = 0.6
_RETRY_SHARE = 0.6
_TOKENS_PER_TURN = 3_000

_ADD_TASK = """UPDATE orchestration_sessions
SET total_tasks = total_tasks + 1, completed_tasks = completed_tasks + :success,
    failed_tasks = failed_tasks + 1 - :success, total_cost = total_cost + :cost,
    total_savings = total_savings + :savings, claude_tokens_used = claude_tokens_used + :claude_tokens,
    deepseek_tokens_used = deepseek_tokens_used + :deepseek_tokens,
    mcp_tool_invocations = mcp_tool_invocations + :tools WHERE session_id = :session_id"""
_SPEND_BUDGET = """UPDATE token_budgets
SET claude_tokens_used = claude_tokens_used + :claude_tokens,
    deepseek_tokens_used = deepseek_tokens_used + :deepseek_tokens,
    current_budget = current_budget - :claude_tokens - :deepseek_tokens,
    budget_exhausted = current_budget - :claude_tokens - :deepseek_tokens <= 0, updated_at = :now
WHERE session_id = :session_id"""
_END = "UPDATE orchestration_sessions SET end_time = :now WHERE session_id = :session_id"


@dataclass(frozen=True, slots=True)
class Session:
    """What is settled when a session begins; seconds since its stream began.

    `row_delay_s` is how long after its first event the session's row is committed: 0 before it, None never.
    """

    number: int
    session_id: str
    project: str
    description: str
    start_s: float
    until_s: float
    think_s: float
    budget_tokens: int | None
    ends: bool
    row_delay_s: float | None


def dice(name: str) -> Random:
    """Dice that fall the same way wherever and whenever they have this name."""
    return Random(name)  # noqa: S311 - no secret is made of them


def plan_session(
    rng: Random, projects: Sequence[str], *, number: int, span_s: tuple[float, float], think_s: float
) -> Session:
    """Throw the dice for a session that opens nothing outside `span_s`, and pauses `think_s` on the mean."""
    start_s, until_s = span_s
    [project] = rng.choices(projects, [1 / (rank + 2) for rank in range(len(projects))])
    expected = max(3.0, (until_s - start_s) / (think_s + 9))
    budget = int(expected * _TOKENS_PER_TURN * rng.choice((1.2, 1.8, 3.0)) / 1_000 + 1) * 1_000
    odds = rng.random()
    late = rng.uniform(1.0, 4.0) if odds < _NO_ROW_SHARE + _EARLY_EVENTS_SHARE else 0.0
    return Session(
        number=number,
        session_id=f"claude_realtime_{rng.randrange(10**9, 2 * 10**9)}_{number:06x}",
        project=project,
        description=rng.choice(cast.DESCRIPTIONS),
        start_s=start_s,
        until_s=until_s,
        think_s=think_s,
        budget_tokens=budget if rng.random() < _BUDGET_SHARE else None,
        ends=rng.random() < _ENDED_SHARE,
        row_delay_s=None if odds < _NO_ROW_SHARE else late,
    )


def session_events(session: Session, rng: Random, forecast: Forecast) -> Iterator[Event]:
    """All transactions of one session in order of time; no turn begins that would end after `until_s`."""
    at_s = end_s = session.start_s
    if session.row_delay_s == 0:
        yield Event(at_s, open_session(rng, session))
    failed: Turn | None = None
    for number in count():
        at_s += rng.expovariate(1 / session.think_s) if number else 0.5
        weather = forecast(at_s)
        turn = plan_turn(rng, weather, key=f"{session.number}_{number}", failed=failed)
        if at_s + turn.response_s > session.until_s:
            break
        steps = list(_turn_events(session, turn, at_s, rng, weather))
        if number == 0 and session.row_delay_s:
            delay_s = min(session.row_delay_s, 0.9 * turn.response_s)
            steps = sorted([*steps, Event(at_s + delay_s, open_session(rng, session))], key=event_time)
        yield from steps
        at_s = end_s = at_s + turn.response_s
        failed = turn if turn.error and turn.model.local and rng.random() < _RETRY_SHARE else None
    if session.ends:
        yield Event(end_s, _end_session(rng, session))


def open_session(rng: Random, session: Session) -> tuple[Statement, ...]:
    """The session's row, its first prompt, and its token budget if it has one."""
    row = insert(
        "orchestration_sessions",
        session_id=session.session_id,
        project_name=session.project,
        task_description=session.description,
        metadata='{"v": 1}',
    )
    statements = [row, activity("session_start", session.session_id)]
    if rng.random() < 0.5:
        statements.append(hook(rng, session.session_id, "UserPromptSubmit", "prompt"))
    if session.budget_tokens is not None:
        budget = insert(
            "token_budgets",
            session_id=session.session_id,
            project_name=session.project,
            initial_budget=session.budget_tokens,
            current_budget=session.budget_tokens,
            priority_level=rng.choice(("low", "medium", "high")),
        )
        statements.append(budget)
    return tuple(statements)


def _end_session(rng: Random, session: Session) -> tuple[Statement, ...]:
    ended = Statement(_END, {"session_id": session.session_id})
    return ended, hook(rng, session.session_id, "Stop", "stop"), activity("session_end", session.session_id)


def _turn_events(session: Session, turn: Turn, at_s: float, rng: Random, weather: Weather) -> Iterator[Event]:
    """The transactions of one turn: decision and hand-off, the calls while the model works, the result."""
    tools = rng.choices((0, 1, 2, 3), (4, 3, 2, 1))[0]
    agents = int(rng.random() < 0.4)
    moments = sorted(at_s + turn.response_s * rng.uniform(0.05, 0.9) for _ in range(tools + agents))
    cost = turn.cost or 0.0
    yield Event(at_s, open_turn(session.session_id, turn))
    for number, moment_s in enumerate(moments):
        if number < tools:
            yield Event(moment_s, tool_call(rng, session.session_id, weather))
        else:
            row, agent_cost = subagent_call(rng, session.session_id, rng.choice(cast.AGENTS), parent=_parent(rng))
            cost += agent_cost
            yield Event(moment_s, (row,))
    done = close_turn(session.session_id, turn)
    if done:
        yield Event(at_s + turn.response_s, (*done, *_add_up(session, turn, cost, tools)))


def _parent(rng: Random) -> str | None:
    """Who calls a sub-agent: the orchestrator mostly, now and then another one, or nobody says who."""
    return rng.choices((ORCHESTRATOR, cast.GENERAL.name, None), (88, 9, 3))[0]


def _add_up(session: Session, turn: Turn, cost: float, tools: int) -> tuple[Statement, ...]:
    """The session's row, and its budget, moved on by one task."""
    tokens = {"claude_tokens": turn.claude_tokens, "deepseek_tokens": turn.tokens - turn.claude_tokens}
    task = tokens | {"success": turn.success, "cost": cost, "savings": turn.savings or 0.0, "tools": tools}
    statements = [Statement(_ADD_TASK, {**task, "session_id": session.session_id})]
    if session.budget_tokens is not None:
        statements.append(Statement(_SPEND_BUDGET, {**tokens, "session_id": session.session_id}))
    return tuple(statements)
