"""Transitions for tests of what becomes of them."""

from streams.domain.transitions import AlertData, EpisodeTotals, Evidence, Peak, Span, Transition


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
