"""What the metrics say of receivers that get nothing, and of statuses that nobody knows."""

import time
from collections import Counter

import pytest
from structlog.testing import capture_logs

from streams.domain.commits import Commit, SuppressedTransition
from streams.domain.events import Reason, Rejected
from streams.domain.notification.stage import Suppressed
from streams.domain.receivers import ReceiverRecord, failing
from streams.domain.table import Folded
from streams.observability.metrics import Metrics
from tests.support.partitions import STATUS_GROUPS, holder
from tests.support.transitions import firing


def restricted(page: bytes) -> dict[str, float]:
    """Samples of the gauge by state."""
    prefix = 'campaign_streams_receivers_restricted{state="'
    lines = [line for line in page.decode().splitlines() if line.startswith(prefix)]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def test_receivers_that_get_nothing_are_counted_once_each() -> None:
    held, metrics, now = holder(), Metrics("1.0"), time.time()
    assert restricted(metrics.page(held.here)[0]) == {
        "failing": 0.0,
        "paused": 0.0,
        "disabled": 0.0,
    }
    for partition in held.here.values():
        partition.receivers.note("gone", ReceiverRecord("disabled", "t", now))
        partition.receivers.note("busy", ReceiverRecord("paused", "t", now, now + 3600))
        partition.receivers.note("was busy", ReceiverRecord("paused", "t", now - 60, now - 30))
        partition.receivers.note("fails", failing(None, "t", now - 9, "no", now))
        partition.receivers.note("back", ReceiverRecord("enabled", "t", now))
    assert restricted(metrics.page(held.here)[0]) == {
        "failing": 1.0,
        "paused": 1.0,
        "disabled": 1.0,
    }


def test_what_a_commit_held_is_counted() -> None:
    metrics = Metrics("1.0")
    commit = Commit(
        1,
        seconds=0.2,
        counted=7,
        engagement=2,
        skipped=Counter({"other": 3}),
        rejected=[Rejected(0, Reason.NOT_JSON, "")] * 4,
        late=5,
        expired=9,
        folded=Folded(6, 8),
        suppressed=[SuppressedTransition(firing(), Suppressed("no-receiver", "nobody"))],
    )
    for _ in range(2):
        metrics.committed(commit, STATUS_GROUPS)
    page = metrics.page({})[0].decode()
    for sample in (
        'events_total{kind="send",outcome="counted"} 10.0',
        'events_total{kind="engagement",outcome="counted"} 4.0',
        'events_total{kind="other",outcome="skipped"} 6.0',
        'events_total{kind="any",outcome="dead_letter"} 8.0',
        'dead_letters_total{reason="not-json"} 8.0',
        "late_events_total 10.0",
        "expired_events_total 18.0",
        'other_events_total{kind="names"} 12.0',
        'notifications_suppressed_total{reason="no-receiver"} 2.0',
        'other_events_total{kind="campaigns"} 16.0',
        "flush_seconds_count 2.0",
    ):
        assert sample in page


def test_why_nobody_is_notified_is_logged() -> None:
    why = Suppressed("no-receiver", "no receiver is configured")
    with capture_logs() as logs:
        Metrics("1.0").committed(
            Commit(1, suppressed=[SuppressedTransition(firing(), why)]), STATUS_GROUPS
        )
    assert logs == [
        {
            "log_level": "info",
            "event": "notification suppressed",
            "alert_id": "a",
            "campaign_id": "c",
            "rule": "failing",
            "type": "campaign.alert.firing",
            "reason": "no-receiver",
            "detail": "no receiver is configured",
        }
    ]


def test_a_status_in_no_group_is_counted_and_named_once() -> None:
    metrics, groups = Metrics("1.0"), STATUS_GROUPS
    with capture_logs() as logs:
        for _ in range(2):
            metrics.unrecognised({"Success": 5, "failed!": 2}, groups)
    assert b"campaign_streams_unrecognised_attempts_total 14.0" in metrics.page({})[0]
    named = {each["status"]: each["did_you_mean"] for each in logs}
    assert len(logs) == 2
    assert named == {"Success": "SUCCESS", "failed!": "FAILURE"}


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        *(("Success", "SUCCESS"), ("success ", "SUCCESS"), ("failure", "FAILURE")),
        *(("daily cap", "DAILY_CAP"), ("quiet-time", "QUIET_TIME"), ("THROTLED", "THROTTLED")),
        *(("A_STATUS_OF_TOMORROW", None), ("S" * 100_000, None), ("", None)),
    ],
)
def test_what_a_status_seems_to_mean(status: str, meant: str | None) -> None:
    assert STATUS_GROUPS.nearest(status) == meant
