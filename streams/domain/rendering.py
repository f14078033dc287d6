"""What receivers and the API are shown of an alert: its figures, a sentence, and links."""

from urllib.parse import quote

from msgspec import UNSET, UnsetType

from streams.domain.alert_records import Alert, HighestCounts
from streams.domain.counts import largest_counts
from streams.domain.detectors.detector import Figures
from streams.domain.names import NAMELESS, Names
from streams.domain.pages import alert_page, campaign_page
from streams.domain.transitions import (
    AlertData,
    EpisodeTotals,
    Evidence,
    Explanation,
    Links,
    Peak,
    SliceExcess,
    Span,
    named,
    rfc3339,
)
from streams.domain.windows import MS

EVIDENCE_STATUSES = 50
EVIDENCE_BYTES = 8 * 1024
"""How many statuses the evidence lists, and how long their names may be together. The figures are
in the alert, its transition and each delivery, and all of these are records with a bound."""

LONGEST_VALUE = 60
"""Characters of a value of a slice, or of a status, in a summary; it is whole elsewhere."""

_MINUTE = 60
_MOST = 0.5
_DIMENSIONS = {
    "channel_type": "channel",
    "treatment_id": "treatment",
    "delivery_type": "delivery type",
}


def describe(alert: Alert, base_url: str | None, names: Names = NAMELESS) -> AlertData:
    """Return an alert as receivers and the API show it.

    Args:
        alert: the alert.
        base_url: of the API, without a slash at its end; null for no links.
        names: of campaigns and apps.
    """
    campaign_name = names.campaigns.of(alert.scope.campaign_id) or UNSET
    attempts, hits = alert.totals
    return AlertData(
        alert_id=alert.alert_id,
        sequence=alert.sequence,
        rule=alert.rule,
        severity=alert.severity,
        campaign_id=alert.scope.campaign_id,
        treatment_id=alert.scope.treatment_id,
        delivery_type=None,
        channel_type=alert.scope.channel_type,
        app_id=alert.app_id,
        starts_at=rfc3339(alert.starts_at or alert.pending_since),
        ends_at=rfc3339(alert.ends_at) if alert.ends_at is not None else None,
        window=Span(rfc3339(alert.window_start), rfc3339(alert.window_end)),
        evidence=alert.evidence,
        peak=peak_of(alert.highest),
        totals=EpisodeTotals(attempts, hits, _share(hits, attempts), rfc3339(alert.since)),
        summary=_summary(alert, campaign_name),
        labels=alert.labels,
        links=_links(alert, base_url),
        explanation=alert.explanation,
        cause=alert.steps[-1].cause if alert.steps else None,
        acknowledged=alert.acknowledged,
        episode=alert.occurrence,
        first_starts_at=rfc3339(alert.first_starts_at)
        if alert.first_starts_at is not None
        else None,
        campaign_name=campaign_name,
        app_name=names.apps.of(alert.app_id) or UNSET,
    )


def peak_of(highest: HighestCounts) -> Peak:
    """Return the highest figures of an episode as receivers and the API show them."""
    return Peak(
        highest.attempts,
        highest.hits,
        round(highest.rate, 6),
        Span(rfc3339(highest.start), rfc3339(highest.end)),
    )


def evidence_of(figures: Figures) -> Evidence:
    """Return the figures that a decision was made on; of its statuses, the largest."""
    seen, bound = figures.stretch.seen, figures.lower_bound
    return Evidence(
        attempts=seen.attempts,
        hits=seen.hits,
        rate=round(seen.rate, 6),
        lower_bound=round(bound, 6) if bound is not None else None,
        baseline_rate=figures.baseline_rate,
        counts=largest_counts(seen.counts, EVIDENCE_STATUSES, EVIDENCE_BYTES),
        # As they are after a restart: JSON does not tell whether 25 is a whole number.
        figures={name: float(value) for name, value in figures.others.items()},
        since=rfc3339(
            figures.since / MS if figures.since is not None else figures.stretch.start,
        ),
    )


def _links(alert: Alert, base_url: str | None) -> Links | None:
    if base_url is None:
        return None
    campaign = quote(alert.scope.campaign_id, safe="")
    return Links(
        windows=f"{base_url}/v1/campaigns/{campaign}/windows",
        alert=f"{base_url}/v1/alerts/{alert.alert_id}",
        alert_page=alert_page(base_url, alert.alert_id),
        campaign_page=campaign_page(base_url, alert.scope.campaign_id),
    )


def _share(hits: int, attempts: int) -> float:
    return round(hits / attempts, 6) if attempts else 0.0


def _summary(alert: Alert, campaign_name: str | UnsetType) -> str:
    seen = alert.evidence
    where = "".join(
        f", {name} {value}"
        for name, value in (
            ("treatment", alert.scope.treatment_id),
            ("channel", alert.scope.channel_type),
        )
        if value is not None
    )
    state = f"{alert.state} again" if alert.is_live and alert.occurrence > 1 else alert.state
    text = (
        f"{alert.rule} {state} in campaign {named(alert.scope.campaign_id, campaign_name)}{where}"
    )
    if alert.ends_at is not None:
        began = alert.starts_at if alert.starts_at is not None else alert.pending_since
        text += f" after {_duration(alert.ends_at - began)}"
    if not seen.attempts:
        text += f": no attempts since {rfc3339(alert.window_start)}"
    else:
        since = f" since {seen.since}" if seen.since is not None else ""
        text += f": {seen.hits:,} of {seen.attempts:,} attempts ({seen.rate:.1%}){since}"
    if alert.ends_at is not None:
        highest, (attempts, hits) = alert.highest, alert.totals
        if highest.attempts:
            text += f"; peak {highest.hits:,} of {highest.attempts:,} ({highest.rate:.1%})"
        text += f"; in all {hits:,} of {attempts:,} since {rfc3339(alert.since)}"
        return text + _explained(alert.explanation)
    return text + _explained(alert.explanation) + _acknowledged(alert)


def _acknowledged(alert: Alert) -> str:
    return f"; acknowledged by {_short(alert.acknowledged.by)}" if alert.acknowledged else ""


def _explained(explanation: Explanation | None) -> str:
    """Say what is usual, and what explains the excess; nothing if there is none.

    Parts of the campaign are counted in whole windows, so the text says which these are; of all
    parts together it has the counts of the decision, and none of windows.
    """
    if explanation is None or not explanation.statuses:
        return ""
    part, is_known = explanation.slice, explanation.usual is not None
    text = f", usually {explanation.usual_rate:.1%}" if is_known else ""
    if part is None:
        text += "; all parts alike"
    else:
        text += (
            f"; {part.share:.0%} of the excess is {named_slice(part)}: "
            f"{part.rate:.1%} in the windows since {explanation.window.start}"
        )
        text += f", usually {part.usual_rate:.1%}" if is_known else ""
    largest, *others = explanation.statuses
    if others and largest.share >= _MOST:
        text += f"; {largest.share:.0%} of it has status {_short(largest.status)}"
    return text


def named_slice(part: SliceExcess) -> str:
    """Name a slice for people: "channel GCM with treatment 1"; long values are cut."""
    return " with ".join(
        f"{_DIMENSIONS[name]} {_short(value)}" if value is not None else f"no {_DIMENSIONS[name]}"
        for name, value in part.dimensions.items()
    )


def _short(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"


def _duration(seconds: float) -> str:
    """Write a duration for people: seconds, minutes, or hours and minutes."""
    if seconds < _MINUTE:
        return f"{max(0, round(seconds))} s"
    hours, minutes = divmod(round(seconds / _MINUTE), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
