"""Cost and savings: who spends what on which model, and what hand-offs save."""

from __future__ import annotations

from dashboards.board import Board, Row
from dashboards.limits import LIMITS, SHARED
from dashboards.panels import COUNT, PER_HOUR, Column, Look, Query, bars, stat, table, timeseries
from dashboards.questions import RATE, ask, savings_rate, share, some
from exporter.catalogue import agents, handoffs, money, platform, tasks
from exporter.promql import Expr, binary

SPEND, BASELINE = ask.total(money.COST), ask.total(money.BASELINE_COST)
SUCCEEDED = "success"


def _per_task(*by: str) -> Expr:
    """Money per successful task."""
    return share(ask.total(money.COST, *by), ask.total(tasks.TASKS_TOTAL, *by, outcome=SUCCEEDED))


headline = (
    stat(
        "Spend",
        "Money spent in the time range, on hand-offs, sub-agents and tools.",
        Query(SPEND),
        Look("currencyUSD", decimals=2),
    ),
    stat(
        "Saved by hand-offs",
        "What the same work would have cost without hand-offs, minus what it did cost, in the time range. Negative "
        "where hand-offs cost more than they spare.",
        Query(binary(BASELINE, "-", SPEND)),
        Look("currencyUSD", decimals=2),
    ),
    stat(
        "Optimisation rate",
        "What share of the hand-offs' baseline was saved. The platform aims for 95%.",
        Query(
            savings_rate(
                ask.total(money.BASELINE_COST, component="handoff"), ask.total(money.COST, component="handoff")
            )
        ),
        Look("percentunit", LIMITS.optimisation, decimals=1),
    ),
    stat(
        "Net savings this month",
        "Savings of what succeeded minus the cost of what failed, since the first of the month: work that must be done "
        "again has saved nothing.",
        Query(ask.now(money.LEDGER_NET_SAVINGS, period="month")),
        Look("currencyUSD", decimals=2),
    ),
    stat(
        "Spend per successful task",
        "All money spent in the time range over the tasks that succeeded.",
        Query(_per_task()),
        Look("currencyUSD", decimals=4),
    ),
    stat(
        "Unpriced events",
        "Hand-offs and sub-agents that used tokens and have no cost: the spend lacks them.",
        Query(ask.total(money.UNPRICED)),
        Look(COUNT, decimals=0),
    ),
)

course = (
    timeseries(
        "Spend and baseline per hour",
        "What was spent, and what the same work would have cost without hand-offs: the distance is what is saved.",
        [
            Query(ask.per_hour(money.COST), "spend"),
            Query(ask.per_hour(money.BASELINE_COST), "without hand-offs"),
        ],
        Look("currencyUSD", low=0),
    ),
    timeseries(
        "Savings rate",
        "The share of the baseline that hand-offs saved; and net of failures: what failed hand-offs cost is taken off, "
        "and what they would have saved is not counted.",
        [
            Query(
                savings_rate(
                    ask.total(money.BASELINE_COST, over=RATE, component="handoff"),
                    ask.total(money.COST, over=RATE, component="handoff"),
                ),
                "all hand-offs",
            ),
            Query(
                share(
                    binary(
                        ask.total(money.BASELINE_COST, over=RATE, component="handoff", outcome=SUCCEEDED),
                        "-",
                        ask.total(money.COST, over=RATE, component="handoff"),
                    ),
                    ask.total(money.BASELINE_COST, over=RATE, component="handoff"),
                ),
                "net of failures",
            ),
        ],
        Look("percentunit", LIMITS.optimisation, high=1),
        limits=True,
    ),
    timeseries(
        "Spend by project per hour",
        "Who spends.",
        [Query(ask.per_hour(money.COST, "project"), "{{project}}")],
        Look("currencyUSD", low=0),
        stacked=True,
    ),
    timeseries(
        "Hand-offs' spend by model per hour",
        "Which model the money goes to. Hand-offs only: sub-agents and tools have no model.",
        [Query(ask.per_hour(money.COST, "model", component="handoff"), "{{model}}")],
        Look("currencyUSD", low=0),
        stacked=True,
    ),
    timeseries(
        "Spend by component per hour",
        "What the money goes to: hand-offs, sub-agents, MCP tools.",
        [Query(ask.per_hour(money.COST, "component"), "{{component}}")],
        Look("currencyUSD", low=0),
        stacked=True,
    ),
    timeseries(
        "Spend per successful task by project",
        "Money over successful tasks, by project: what a result costs.",
        [
            Query(
                share(
                    ask.total(money.COST, "project", over=RATE),
                    ask.total(tasks.TASKS_TOTAL, "project", over=RATE, outcome=SUCCEEDED),
                ),
                "{{project}}",
            )
        ],
        Look("currencyUSD", low=0),
    ),
)


TOP = some(ask.total(money.COST, "project")).top(10)


def _top(vector: Expr) -> Expr:
    """Of the ten projects that spent most."""
    return binary(vector, "and on (project)", TOP)


BY_PERIOD = "~day|week|month|previous_day|previous_week|previous_month"
periods = (
    table(
        "Calendar",
        "Money by the calendar, in the ledger's time zone: this day, week and month so far, and the whole ones before.",
        ("period",),
        (
            Column("Spend", ask.now(money.LEDGER_COST, "period", period=BY_PERIOD), "currencyUSD", decimals=2),
            Column("Baseline", ask.now(money.LEDGER_BASELINE, "period", period=BY_PERIOD), "currencyUSD", decimals=2),
            Column(
                "Net savings", ask.now(money.LEDGER_NET_SAVINGS, "period", period=BY_PERIOD), "currencyUSD", decimals=2
            ),
            Column("Hand-offs", ask.now(money.LEDGER_HANDOFFS, "period", period=BY_PERIOD), COUNT, decimals=0),
            Column("Tokens", ask.now(money.LEDGER_TOKENS, "period", period=BY_PERIOD), decimals=1),
        ),
        Look(),
    ).sized(24, 10),
    bars(
        "Against the period before",
        "This day, week and month so far over the one before up to the same point: 100% is alike.",
        [
            Query(
                share(
                    ask.now(money.LEDGER_COST, period=period),
                    ask.now(money.LEDGER_COST, period=f"previous_{period}_to_date"),
                ),
                f"this {period}",
            )
            for period in ("day", "week", "month")
        ],
        Look("percentunit", LIMITS.growth, low=0, high=SHARED.money.spike, decimals=0),
    ),
    timeseries(
        "Spend of the day so far",
        "How the day's spend adds up, and the median of the seven days before: the line crosses it on a dear day.",
        [
            Query(ask.now(money.LEDGER_COST, period="day"), "today so far"),
            Query(ask.now(money.LEDGER_MEDIAN), "median day"),
        ],
        Look("currencyUSD", low=0),
        dashed="median day",
    ),
    timeseries(
        "Spend of the month so far",
        "Month to date, and the month before up to the same point (dashed).",
        [
            Query(ask.now(money.LEDGER_COST, period="month"), "this month"),
            Query(ask.now(money.LEDGER_COST, period="previous_month_to_date"), "month before"),
        ],
        Look("currencyUSD", low=0),
        dashed="month before",
    ).sized(24, 10),
)

projects = (
    table(
        "Top ten projects",
        "The projects that spent most in the time range, what their work would have cost, and what a successful task "
        "cost them.",
        ("project",),
        (
            Column("Spend", TOP, "currencyUSD", decimals=2),
            Column("Baseline", _top(ask.total(money.BASELINE_COST, "project")), "currencyUSD", decimals=2),
            Column("Per successful task", _top(_per_task("project")), "currencyUSD", decimals=4),
            Column("Tokens", _top(ask.total(handoffs.HANDOFF_TOKENS, "project")), decimals=1),
        ),
        Look(),
    ).sized(24, 10),
)

tokens = (
    timeseries(
        "Tokens by project per hour",
        "Tokens used by hand-offs.",
        [Query(ask.per_hour(handoffs.HANDOFF_TOKENS, "project"), "{{project}}")],
        Look("short", low=0),
        stacked=True,
    ),
    timeseries(
        "Tokens by model per hour",
        "Tokens used by hand-offs.",
        [Query(ask.per_hour(handoffs.HANDOFF_TOKENS, "model"), "{{model}}")],
        Look("short", low=0),
        stacked=True,
    ),
    timeseries(
        "Tokens by agent per hour",
        "Tokens used by sub-agents.",
        [Query(ask.per_hour(agents.SUBAGENT_TOKENS, "agent"), "{{agent}}")],
        Look("short", low=0),
        stacked=True,
    ),
    timeseries(
        "Unpriced events per hour",
        "What used tokens and has no cost, by component and model: the spend lacks it.",
        [Query(ask.per_hour(money.UNPRICED, "component", "model"), "{{component}} {{model}}")],
        Look(PER_HOUR, low=0),
    ),
)

account = (
    table(
        "What the account costs",
        "The platform's newest analysis of each period: what the account cost (actual), what it would have cost on the "
        "Pro tier (if_pro), and the local models (local). Views of one account: they do not add up.",
        ("period", "tier", "basis"),
        (Column("Cost", ask.now(platform.ACCOUNT_COST, "period", "tier", "basis"), "currencyUSD", decimals=2),),
        Look(),
    ),
    table(
        "What another tier would save",
        "The tier that the platform recommends, what it would save (negative: cost more), and how sure it is.",
        ("period", "tier", "recommended_tier"),
        (
            Column(
                "Would save",
                ask.now(platform.ACCOUNT_SAVINGS, "period", "tier", "recommended_tier"),
                "currencyUSD",
                decimals=2,
            ),
            Column(
                "Confidence",
                ask.now(platform.ACCOUNT_CONFIDENCE, "period", "tier", "recommended_tier"),
                "percentunit",
                decimals=0,
            ),
        ),
        Look(),
    ),
)

views = (
    timeseries(
        "Cost of tasks by model per hour",
        "What tasks say they cost: a second view of the money above, never to be added to it.",
        [Query(ask.per_hour(tasks.TASK_COST, "model"), "{{model}}")],
        Look("currencyUSD", low=0),
        stacked=True,
    ).sized(24, 8),
)

COST = Board(
    "cost",
    "Money",
    "Orchestration / Cost and savings",
    "Who spends what on which model, what hand-offs save, net of what failed, and how this compares with the periods "
    "before.",
    (
        Row("In the time range", headline),
        Row("Spend and savings", course),
        Row("By the calendar", periods),
        Row("By project", projects),
        Row("Tokens", tokens),
        Row("The account", account),
        Row("Another view", views),
    ),
    since="now-7d",
)
