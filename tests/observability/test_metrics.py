"""What the metrics say of receivers that get nothing."""

import time

from streams.domain.receivers import ReceiverRecord
from streams.observability.metrics import Metrics
from tests.support.partitions import holder


def restricted(page: bytes) -> dict[str, float]:
    """Samples of the gauge by state."""
    prefix = 'campaign_streams_receivers_restricted{state="'
    lines = [line for line in page.decode().splitlines() if line.startswith(prefix)]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def test_receivers_that_get_nothing_are_counted_once_each() -> None:
    held, metrics, now = holder(), Metrics("1.0"), time.time()
    assert restricted(metrics.page(held.here)[0]) == {"paused": 0.0, "disabled": 0.0}
    for partition in held.here.values():
        partition.receivers.note("gone", ReceiverRecord("disabled", "t", now))
        partition.receivers.note("busy", ReceiverRecord("paused", "t", now, now + 3600))
        partition.receivers.note("was busy", ReceiverRecord("paused", "t", now - 60, now - 30))
        partition.receivers.note("back", ReceiverRecord("enabled", "t", now))
    assert restricted(metrics.page(held.here)[0]) == {"paused": 1.0, "disabled": 1.0}
