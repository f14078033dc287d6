"""Transitions for tests of what becomes of them."""

import msgspec

from streams.domain.transition_causes import Acknowledged
from streams.domain.transitions import (
    ENDS,
    AlertData,
    EpisodeTotals,
    Evidence,
    Explanation,
    Links,
    Peak,
    SliceExcess,
    Span,
    StatusExcess,
    Transition,
    TransitionType,
    UsualCounts,
)


def firing(alert_id: str = "a", rule: str = "failing", sequence: int = 1) -> Transition:
    """Make the beginning of an alert of campaign `c`."""
    window = Span("2026-11-23T10:00:00Z", "2026-11-23T10:01:00Z")
    return Transition(
        "campaign.alert.firing",
        "2026-11-23T10:00:42Z",
        AlertData(
            alert_id=alert_id,
            sequence=sequence,
            rule=rule,
            severity="critical",
            campaign_id="c",
            treatment_id=None,
            delivery_type=None,
            channel_type=None,
            app_id="app",
            starts_at="2026-11-23T10:00:42Z",
            ends_at=None,
            window=window,
            evidence=Evidence(100, 40, 0.4, 0.32, None, {"FAILURE": 40, "SUCCESS": 60}),
            peak=Peak(100, 40, 0.4, window),
            totals=EpisodeTotals(100, 40, 0.4, "2026-11-23T10:00:00Z"),
            summary="",
            labels={},
            links=None,
        ),
    )


def explained(type_: TransitionType = "campaign.alert.firing", name: str = "a") -> Transition:
    """Make a transition of an alert with all parts; whatever comes from an event has one name."""
    window = Span("2026-11-23T10:00:00Z", "2026-11-23T10:01:00Z")
    part = SliceExcess(
        {"channel_type": name, "treatment_id": name}, 0.97, 50, 40, 0.8, 0.0125, 0.625
    )
    statuses = [StatusExcess(name, 0.6, 24, 0.5), StatusExcess("THROTTLED", 0.3, 12, 0.5)]
    sample: dict[str, str | int] = {
        "facets.email_channel.endpoint_id": name,
        "event_timestamp": 1_790_000_000_000,
    }
    usual = UsualCounts(4000, 50, Span("2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z"))
    made = firing()
    data = msgspec.structs.replace(
        made.data,
        campaign_id=name,
        treatment_id=name,
        channel_type=name,
        app_id=name,
        ends_at="2026-11-23T11:00:00Z" if type_ in ENDS else None,
        acknowledged=None if type_ in ENDS else Acknowledged(name, name, "2026-11-23T10:30:00Z"),
        evidence=Evidence(100, 40, 0.4, 0.32, 0.0125, {name: 24, "SUCCESS": 60}, {"odds": 1e4}),
        summary=f"failing firing in campaign {name}: 40 of 100 attempts (40.0%)",
        labels={"team": "crm", "on-call": name},
        links=Links(
            "https://a.example/v1/campaigns/x/windows",
            "https://a.example/v1/alerts/a",
            "https://a.example/#/alert/a",
            "https://a.example/#/campaign/a",
        ),
        explanation=Explanation(
            window, 100, 40, 0.4, 0.0125, 1.25, usual, part, statuses, [sample] if name else []
        ),
    )
    return Transition(type_, made.timestamp, data)
