"""Sample alerts: what templates are checked against, and what a test alert is made of."""

from collections.abc import Iterator, Mapping
from typing import get_args

import msgspec

from streams.domain.deliveries import Delivery, decided
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
    encode,
    rfc3339,
)

TEST_MARK = "[TEST] "
"""What summary, title and text of a test alert begin with, whatever a template says."""
TEST_ALERT = "test-"
"""What the id of a test alert begins with; the ids of others are UUIDs."""
TEST_RULE = "test-alert"
TEST_CAMPAIGN = "campaign-streams-test"

STATUSES = 50
"""As many as an alert has evidence of at most."""

_WINDOW = Span("2026-01-01T10:00:00Z", "2026-01-01T10:01:00Z")
_BEFORE = Span("2026-01-01T09:00:00Z", "2026-01-01T10:00:00Z")


def samples(
    rule: str, severity: str, labels: Mapping[str, str], scope: str
) -> Iterator[Transition]:
    """Yield transitions of every type, once with all that an alert can have and once without.

    Args:
        rule: the name of the alerts' rule.
        severity: of the rule.
        labels: of the rule.
        scope: of the rule: campaign, treatment or channel.
    """
    for kind in get_args(TransitionType):
        for data in (_full(rule, severity, labels, scope), _bare(rule, severity, labels, scope)):
            data.ends_at = "2026-01-01T11:00:00Z" if kind in ENDS else None
            yield Transition(kind, "2026-01-01T10:00:42Z", data)


def trial_delivery(
    receiver: str, number: str, kind: TransitionType, began: float, now: float
) -> Delivery:
    """Return a delivery of a transition of a test alert.

    That it is a test is in its id, its rule, its campaign, its summary and a label.

    Args:
        receiver: the name of the receiver.
        number: tells the alert from other test alerts.
        kind: the transition; the first one of the alert if it fires, otherwise the second one.
        began: when the alert began to fire (s, UTC).
        now: when the transition was decided (s, UTC).
    """
    ended = kind in ENDS
    data = _bare(TEST_RULE, "info", {"test": "true"}, "campaign")
    data.alert_id, data.campaign_id = f"{TEST_ALERT}{number}", TEST_CAMPAIGN
    data.sequence = 2 if ended else 1
    data.starts_at, data.ends_at = rfc3339(began), rfc3339(now) if ended else None
    end = int(began) // 60 * 60
    data.window = Span(rfc3339(end - 60), rfc3339(end))
    data.peak.window, data.totals.since = data.window, data.window.start
    data.summary = (
        f"{TEST_MARK}test alert of campaign-streams to receiver {receiver}, "
        + ("resolved" if ended else "firing")
        + ": nothing is wrong, and there is nothing to do"
    )
    body = msgspec.Raw(encode(Transition(kind, rfc3339(now), data)))
    return decided(data.alert_id, data.sequence, receiver, body, now, data.campaign_id)


def is_test(transition: Transition) -> bool:
    """Tell whether a transition is of a test alert."""
    return transition.data.alert_id.startswith(TEST_ALERT)


def _full(rule: str, severity: str, labels: Mapping[str, str], scope: str) -> AlertData:
    data = _bare(rule, severity, labels, scope)
    counts = {f"STATUS_{number}": 1 for number in range(STATUSES - 1)} | {"SUCCESS": 51}
    dimensions: dict[str, str | None] = {"channel_type": "GCM", "treatment_id": None}
    data.app_id = "sample-app"
    data.evidence = Evidence(100, 49, 0.49, 0.41, 0.0125, counts, {"odds": 1e4})
    data.links = Links(
        "https://campaigns.example/windows",
        "https://campaigns.example/alert",
        "https://campaigns.example/#/alert/sample",
        "https://campaigns.example/#/campaign/sample-campaign",
    )
    data.explanation = Explanation(
        window=_WINDOW,
        attempts=100,
        hits=49,
        rate=0.49,
        usual_rate=0.0125,
        expected_hits=1.25,
        usual=UsualCounts(4000, 50, _BEFORE),
        slice=SliceExcess(dimensions, 0.97, 50, 48, 0.96, 0.0125, 0.625),
        statuses=[StatusExcess("FAILURE", 0.6, 29, 0.5), StatusExcess("THROTTLED", 0.4, 20, 0.5)],
        samples=[{"event_timestamp": 1_767_261_600_000, "client.cognito_id": "sample"}],
    )
    return data


def _bare(rule: str, severity: str, labels: Mapping[str, str], scope: str) -> AlertData:
    """Return an alert without anything that one may lack."""
    return AlertData(
        alert_id="00000000-0000-4000-8000-000000000000",
        sequence=1,
        rule=rule,
        severity=severity,
        campaign_id="sample-campaign",
        treatment_id="0" if scope == "treatment" else None,
        delivery_type=None,
        channel_type="GCM" if scope == "channel" else None,
        app_id=None,
        starts_at="2026-01-01T10:00:42Z",
        ends_at=None,
        window=_WINDOW,
        evidence=Evidence(100, 40, 0.4, None, None, {"FAILURE": 40, "SUCCESS": 60}),
        peak=Peak(100, 40, 0.4, _WINDOW),
        totals=EpisodeTotals(100, 40, 0.4, _WINDOW.start),
        summary=f"{rule} firing in campaign sample-campaign: 40 of 100 attempts (40.0%)",
        labels=dict(labels),
        links=None,
    )
