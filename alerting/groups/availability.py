"""Whether anything that the others say can be believed: the exporter, its sources, and who watches them.

These ask for the exporter's own metrics and for Prometheus's and Alertmanager's: what guards the others guards none
of them. Only silence of the tables (`DATA_STALE`) is about the tables, and needs a source that is current.
"""

from __future__ import annotations

from alerting import foreign, thresholds
from alerting.guards import JOIN, KNOWN, current, disturbed, quantile, ratio, total, usual
from alerting.rules import COUNT, SERVED, SHARE, Alert, Group
from exporter import telemetry
from exporter.catalogue import own
from exporter.promql import NOW, Expr, binary, select, vector

LIMITS = thresholds.load()
_OF = LIMITS.availability
_JOB = LIMITS.site.job
_OURS = "~.+;orchestration-.+"
"""Our rule groups: Prometheus puts the file's name in front."""

EXPORTER_DOWN = Alert(
    name="OrchestrationExporterDown",
    expr=binary(select(foreign.UP, job=_JOB).value(), "==", 0),
    for_="5m",
    severity="critical",
    group="availability",
    summary="The exporter cannot be scraped.",
    description="Prometheus has not been able to scrape {{ $labels.instance }} for 5 minutes: up is {{ $value }}. "
    "All other alerts on it are blind.",
    dashboard="orchestration-exporter",
    of=("job", "instance"),
)
EXPORTER_ABSENT = Alert(
    name="OrchestrationExporterAbsent",
    expr=Expr(f"absent({select(foreign.UP, job=_JOB).value()})"),
    for_="10m",
    severity="critical",
    group="availability",
    summary="Prometheus has no exporter to scrape.",
    description="Prometheus has known no target of job {{ $labels.job }} for 10 minutes ({{ $value }} job missing): "
    "nothing about the platform is watched.",
    dashboard="orchestration-exporter",
    of=("job",),
)
SOURCE_DOWN = Alert(
    name="OrchestrationSourceDown",
    expr=binary(select(own.UP).value(), "==", 0),
    for_="5m",
    severity="critical",
    group="availability",
    summary="The exporter serves old numbers of a source, for it cannot read it or cannot save what it read.",
    description=f"{SERVED} has not been current for 5 minutes: orchestration_up is {{{{ $value }}}}. What is shown "
    "is as old as its last success.",
    dashboard="orchestration-exporter",
    of=JOIN,
)


def _silent(window: str) -> Expr:
    """No row in a window in which there were enough in each of the weeks before.

    In each, not in their median: work at night and on weekends is done in lumps, now in this hour and now in that.
    """

    def rows(ended: str) -> Expr:
        return select(own.ROWS_READ).increase(window, ended).sum(without=["table"])

    expected = binary(usual(rows, 0), ">=", _OF.stale_rows)
    return binary(expected, "unless", binary(total(own.ROWS_READ, window), ">", 0))


DATA_STALE = Alert(
    name="OrchestrationDataStale",
    expr=current(binary(_silent("1h"), "or", _silent("1d"))),
    for_="30m",
    severity="warning",
    group="availability",
    summary="The platform writes nothing at a time of the week at which it usually does.",
    description=f"{SERVED} is read without error, but no row came in the last hour (or in the last day, where hours "
    f"have few); at the same time of the weeks before it was {COUNT} or more.",
    dashboard="orchestration-exporter",
    of=JOIN,
)
POLLS_FAILING = Alert(
    name="OrchestrationPollsFailing",
    expr=binary(
        ratio(
            total(telemetry.POLLS, "15m", outcome="failure"),
            total(telemetry.POLLS, "15m", outcome=KNOWN),
        ),
        ">",
        _OF.polls_failing_ratio,
    ),
    for_="10m",
    keep_firing_for="10m",
    severity="warning",
    group="availability",
    summary="Most polls of a source fail.",
    description=f"{SERVED}: {SHARE} of the polls failed in the last 15 minutes "
    f"(more than {_OF.polls_failing_ratio:.0%}).",
    dashboard="orchestration-exporter",
    of=JOIN,
)
POLLS_SLOW = Alert(
    name="OrchestrationPollsSlow",
    expr=binary(quantile(0.9, telemetry.POLL_DURATION, "15m"), ">", _OF.poll_seconds),
    for_="15m",
    keep_firing_for="15m",
    severity="warning",
    group="availability",
    summary="Reading a source takes long.",
    description=f"{SERVED}: one poll in ten took more than {{{{ $value | humanizeDuration }}}} in the last 15 minutes "
    f"(limit {_OF.poll_seconds:g} s).",
    dashboard="orchestration-exporter",
    of=JOIN,
)
ROWS_REJECTED = Alert(
    name="OrchestrationRowsRejected",
    expr=binary(
        ratio(
            binary(total(own.ROWS_REJECTED, "1h", "table"), ">=", _OF.rejected_rows),
            total(own.ROWS_READ, "1h", "table"),
        ),
        ">",
        _OF.rejected_ratio,
    ),
    for_="10m",
    keep_firing_for="15m",
    severity="warning",
    group="availability",
    summary="Many rows of a table have values that cannot be used.",
    description=f"{SERVED}: values unusable in the last hour are {SHARE} of the rows "
    f"read from {{{{ $labels.table }}}} (more than {_OF.rejected_ratio:.0%}). What depends on them is too low.",
    dashboard="orchestration-exporter",
    of=(*JOIN, "table"),
)
LABEL_OVERFLOW = Alert(
    name="OrchestrationLabelOverflow",
    expr=binary(total(own.LABEL_OVERFLOW, "1h", "metric"), ">", _OF.overflow_rows),
    for_="5m",
    keep_firing_for="30m",
    severity="warning",
    group="availability",
    summary="A metric has more label values than are admitted, and counts the rest together.",
    description=f"{SERVED}: {{{{ $labels.metric }}}} counted {COUNT} rows of the last hour under "
    f"__other__ (more than {_OF.overflow_rows}).",
    dashboard="orchestration-exporter",
    of=(*JOIN, "metric"),
)
SOURCE_REWOUND = Alert(
    name="OrchestrationSourceRewound",
    expr=binary(total(own.SOURCE_REWINDS, "1h"), ">=", 0.5),
    for_="0s",
    severity="warning",
    group="availability",
    summary="A source's database was restored or replaced.",
    description=f"{SERVED}: its past changed {COUNT} times in the last hour. Totals stay; rows "
    "read again are told apart by their digests.",
    dashboard="orchestration-exporter",
    of=JOIN,
)
COUNTING_DISTURBED = Alert(
    name="OrchestrationCountingDisturbed",
    expr=disturbed("1h"),
    for_="0s",
    severity="info",
    group="availability",
    summary="Increases of a source are not to be believed for now, and alerts on them are silent.",
    description=f"{SERVED}: {COUNT} times in the last hour counting began anew, a database was "
    "restored or rows came late. Alerts on increases are silent for as long as they look back.",
    dashboard="orchestration-exporter",
    of=JOIN,
)
ROWS_DROPPED = Alert(
    name="OrchestrationRowsDropped",
    expr=binary(total(own.IN_FLIGHT_DROPPED, "1h", "table"), ">=", 0.5),
    for_="0s",
    keep_firing_for="15m",
    severity="warning",
    group="availability",
    summary="More rows are in flight than are kept, so that results of the oldest are lost.",
    description=f"{SERVED}: {COUNT} rows of {{{{ $labels.table }}}} were counted without their "
    "result in the last hour, because max_in_flight was reached.",
    dashboard="orchestration-exporter",
    of=(*JOIN, "table"),
)
CHECKPOINT_FAILING = Alert(
    name="OrchestrationCheckpointFailing",
    expr=binary(select(telemetry.CHECKPOINT_FAILURES).increase("15m"), ">=", _OF.checkpoint_failures),
    for_="0s",
    keep_firing_for="5m",
    severity="warning",
    group="availability",
    summary="The exporter cannot save its state, and shows nothing newer until it can.",
    description=f"{{{{ $labels.instance }}}}: saving failed {COUNT} times in the last 15 minutes.",
    dashboard="orchestration-exporter",
    of=("job", "instance"),
)
RELOAD_FAILED = Alert(
    name="OrchestrationReloadFailed",
    expr=binary(select(telemetry.RELOAD_SUCCESSFUL).value(), "==", 0),
    for_="5m",
    severity="warning",
    group="availability",
    summary="The exporter's configuration file was changed and cannot be used.",
    description="{{ $labels.instance }} goes on with the configuration before: its last reload failed (successful is "
    "{{ $value }}).",
    dashboard="orchestration-exporter",
    of=("job", "instance"),
)
SCRAPE_TOO_BIG = Alert(
    name="OrchestrationScrapeTooBig",
    expr=binary(
        binary(select(foreign.SAMPLES_SCRAPED, job=_JOB).value(), "/", LIMITS.site.sample_limit),
        ">",
        _OF.near_sample_limit,
    ),
    for_="15m",
    severity="warning",
    group="availability",
    summary="The exporter's scrape nears the limit beyond which Prometheus throws it away.",
    description="{{ $labels.instance }} gives {{ $value | humanizePercentage }} of the "
    f"{LIMITS.site.sample_limit} samples that a scrape may have (more than {_OF.near_sample_limit:.0%}).",
    dashboard="orchestration-exporter",
    of=("job", "instance"),
)
LOGINS_FAILING = Alert(
    name="OrchestrationLoginsFailing",
    expr=binary(select(telemetry.AUTH_FAILURES).increase("5m"), ">", _OF.failed_logins),
    for_="0s",
    keep_firing_for="15m",
    severity="warning",
    group="availability",
    summary="Somebody tries passwords on the exporter, or a client has a wrong one.",
    description=f"{{{{ $labels.instance }}}} refused {COUNT} log-ins in 5 minutes (more than {_OF.failed_logins}).",
    dashboard="orchestration-exporter",
    of=("job", "instance"),
)
CERTIFICATE_EXPIRING = Alert(
    name="OrchestrationCertificateExpiring",
    expr=binary(binary(select(telemetry.CERTIFICATE_END).value(), "-", NOW), "<", _OF.certificate_days * 86400),
    for_="1h",
    severity="warning",
    group="availability",
    summary="The exporter's TLS certificate expires soon; then Prometheus cannot scrape it.",
    description="The certificate of {{ $labels.instance }} is valid for {{ $value | humanizeDuration }} more "
    f"(less than {_OF.certificate_days} days).",
    dashboard="orchestration-exporter",
    of=("job", "instance"),
)


def _ours(failures: telemetry.Declaration) -> Expr:
    return select(failures, rule_group=_OURS).increase("15m").sum("job", "instance", "rule_group")


RULES_FAILING = Alert(
    name="OrchestrationRulesFailing",
    expr=binary(
        binary(_ours(foreign.RULE_FAILURES), "+", _ours(foreign.RULES_MISSED)),
        ">=",
        1,
    ),
    for_="5m",
    keep_firing_for="15m",
    severity="warning",
    group="availability",
    summary="Prometheus cannot evaluate some of these rules, or not in time.",
    description=f"{{{{ $labels.rule_group }}}} on {{{{ $labels.instance }}}}: {COUNT} evaluations failed or "
    "were left out in the last 15 minutes.",
    dashboard="orchestration-exporter",
    of=("job", "instance", "rule_group"),
)
NOTIFICATIONS_DROPPED = Alert(
    name="OrchestrationNotificationsDropped",
    expr=binary(
        binary(select(foreign.NOTIFICATIONS_DROPPED).increase("15m").sum("job", "instance"), ">=", 1),
        "or",
        binary(select(foreign.ALERTMANAGERS).value(), "==", 0),
    ),
    for_="5m",
    keep_firing_for="10m",
    severity="warning",
    group="availability",
    summary="Prometheus has no Alertmanager that takes its alerts.",
    description=f"{{{{ $labels.instance }}}} dropped {COUNT} alerts in the last 15 minutes; 0 says that it "
    "knows no Alertmanager at all.",
    dashboard="orchestration-exporter",
    of=("job", "instance"),
)
NOTIFICATIONS_FAILING = Alert(
    name="OrchestrationNotificationsFailing",
    expr=binary(
        select(foreign.NOTIFICATIONS_FAILED).increase("15m").sum("job", "instance", "integration"),
        ">=",
        1,
    ),
    for_="5m",
    keep_firing_for="15m",
    severity="warning",
    group="availability",
    summary="Alertmanager cannot deliver alerts to a receiver.",
    description=f"{{{{ $labels.instance }}}}: {COUNT} notifications by {{{{ $labels.integration }}}} failed in "
    "the last 15 minutes, after all attempts.",
    dashboard="orchestration-exporter",
    of=("job", "instance", "integration"),
)
WATCHDOG = Alert(
    name="OrchestrationWatchdog",
    expr=vector(1),
    for_="0s",
    severity="info",
    group="availability",
    summary="This alert always fires, so that its absence tells that alerting is broken.",
    description="Alerting works from Prometheus to the receiver. A dead man's switch "
    "expects this and calls without it.",
    dashboard="orchestration-exporter",
)

GROUP = Group(
    "availability",
    (
        *(EXPORTER_DOWN, EXPORTER_ABSENT, SOURCE_DOWN, DATA_STALE),
        *(POLLS_FAILING, POLLS_SLOW, ROWS_REJECTED, LABEL_OVERFLOW, SOURCE_REWOUND, COUNTING_DISTURBED, ROWS_DROPPED),
        *(CHECKPOINT_FAILING, RELOAD_FAILED, SCRAPE_TOO_BIG, LOGINS_FAILING, CERTIFICATE_EXPIRING),
        *(RULES_FAILING, NOTIFICATIONS_DROPPED, NOTIFICATIONS_FAILING, WATCHDOG),
    ),
)
