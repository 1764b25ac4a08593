"""The page at `/docs`: every metric of a source, what it means, and its labels."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.spec import Label, Metric
from exporter.web.frame import HOME, Links, document, moment, section, text


def page(metrics: Sequence[Metric], *, now: float, home: str, links: Links) -> str:
    """The reference of ``metrics``, in their order; ``home`` is the overview's address."""
    rows = "".join(_row(metric) for metric in metrics)
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Metric", "Type", "Labels"))
    table = (
        '<div class="scroll" tabindex="0" role="group" aria-label="Metrics"><table class="reference"><thead>'
        f"<tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    note = f"{len(metrics)} metrics, beside those of the process; each has the label source, too"
    return document(
        title="What the metrics mean",
        heading=HOME.format(home=text(home)),
        links=links,
        main='<h1 class="title">What the metrics mean</h1>\n' + section("metrics", "Metrics", table, note=note),
        foot=f"As of {moment(now, now)}.",
    )


def _row(metric: Metric) -> str:
    labels = "<br>".join(_label(label) for label in metric.labels)
    return (
        f'<tr><th scope="row"><span class="id">{text(metric.name).replace("_", "_<wbr>")}</span>'
        f'<span class="soft means">{text(metric.help)}</span></th><td>{metric.type}</td><td>{labels}</td></tr>'
    )


def _label(label: Label) -> str:
    values = f' <span class="soft">{text(", ".join(label.closed))}</span>' if label.closed else ""
    return f"{text(label.name)}{values}"
