"""What gauges say of partitions, of the worker's state, and of the event loop."""

import asyncio

import pytest

from streams.domain.receivers import failing
from streams.domain.silences.silence import CompiledSilence
from streams.observability.metrics import Metrics
from streams.observability.process import EVERY, watch_event_loop
from streams.observability.state_gauges import WorkerState
from tests.support.deliveries import webhook_to
from tests.support.partitions import counts, holder
from tests.support.silences import silence_of

T0 = 1_795_428_000
NOW = T0 + 60.0


def samples(metrics: Metrics, name: str) -> dict[str, float]:
    """Values by labels of one metric, as it is written."""
    lines = metrics.families.registry
    return {
        ",".join(f"{label}={value}" for label, value in sorted(sample.labels.items())): sample.value
        for family in lines.collect()
        for sample in family.samples
        if sample.name == f"campaign_streams_{name}"
    }


def read(metrics: Metrics) -> None:
    metrics._partitions.read({}, NOW)
    metrics.state.read()


def test_series_are_there_before_anything_happens() -> None:
    metrics = Metrics("1")
    metrics.expect(["spike"], [webhook_to("https://a.example", "ops")])
    read(metrics)
    assert samples(metrics, "alerts")["rule=spike,state=firing"] == 0
    assert samples(metrics, "receiver_deliveries") == {
        f"receiver=ops,state={state}": 0 for state in ("pending", "given-up", "delivered")
    }
    assert samples(metrics, "oldest_pending_delivery_age_seconds") == {"receiver=ops": 0}
    assert samples(metrics, "receiver_state")["receiver=ops,state=enabled"] == 1
    assert sum(samples(metrics, "receiver_state").values()) == 1
    attempts = samples(metrics, "webhook_attempts_total")
    assert attempts["kind=webhook,receiver=ops,result=delivered"] == 0
    assert set(attempts.values()) == {0}
    transitions = samples(metrics, "alert_transitions_total")
    assert transitions["rule=spike,type=campaign.alert.firing"] == 0
    for name in (
        "dead_letters_total",
        "notifications_suppressed_total",
        "commits_total",
        "fetches_total",
        "task_losses_total",
        "receiver_changes_total",
        "other_events_total",
    ):
        assert set(samples(metrics, name).values()) == {0}, name


def test_the_oldest_delivery_that_waits() -> None:
    held, metrics = holder(), Metrics("1")
    metrics.expect([], [webhook_to("https://a.example", "ops")])
    for at, name in enumerate("abc"):
        held.add(name, T0, counts({"SUCCESS": 60, "FAILURE": 40}))
        for partition in held.here.values():
            partition.evaluate(NOW - 100 + 10 * at)
    for partition in held.here.values():
        for delivery in partition.deliveries.deliveries():
            if delivery.campaign_id == "a":
                partition.deliveries.failed(delivery, "410 Gone", None)
    metrics._partitions.read(held.here, NOW)
    assert samples(metrics, "oldest_pending_delivery_age_seconds") == {"receiver=ops": 90}
    deliveries = samples(metrics, "receiver_deliveries")
    assert deliveries["receiver=ops,state=pending"] == 2
    assert deliveries["receiver=ops,state=given-up"] == 1
    assert samples(metrics, "outbox_deliveries")["state=pending"] == 2
    assert samples(metrics, "alerts")["rule=failure-spike,state=firing"] == 3
    # A clock that was set back makes no negative age.
    metrics._partitions.read(held.here, NOW - 1000)
    assert samples(metrics, "oldest_pending_delivery_age_seconds") == {"receiver=ops": 0}


def test_a_source_partition_is_as_far_as_whoever_heard_last_of_it() -> None:
    held, metrics = holder(), Metrics("1")
    held.here[0].table.observe(7, T0 * 1000, NOW)
    held.here[1].table.observe(7, T0 * 1000 + 500, NOW)
    held.here[1].table.observe(8, T0 * 1000, NOW)
    metrics._partitions.read(held.here, NOW)
    assert samples(metrics, "source_event_time_seconds") == {
        "partition=7": T0 + 0.5,
        "partition=8": T0,
    }
    metrics._partitions.read({}, NOW)
    assert samples(metrics, "source_event_time_seconds") == {}


def test_a_circuit_that_is_open() -> None:
    held, metrics = holder(), Metrics("1")
    metrics.expect([], [webhook_to("https://a.example", name) for name in ("ops", "chat")])
    held.here[0].receivers.note("ops", failing(None, "t", NOW - 9, "no", NOW))
    metrics._partitions.read(held.here, NOW)
    states = samples(metrics, "receiver_state")
    assert {labels for labels, value in states.items() if value} == {
        "receiver=ops,state=failing",
        "receiver=chat,state=enabled",
    }


def test_the_state_of_a_worker() -> None:
    metrics = Metrics("1")
    read(metrics)
    assert samples(metrics, "ready") == samples(metrics, "live") == {"": 0}
    silences = [
        CompiledSilence(silence_of("now", "a=b", now=NOW)),
        CompiledSilence(silence_of("over", "a=b", now=NOW - 7200)),
        CompiledSilence(silence_of("later", "a=b", now=NOW + 60)),
        CompiledSilence(silence_of("later too", "a=b", now=NOW + 60)),
    ]
    metrics.state.follow(
        WorkerState(
            lambda: (True, ["the clock is off"]),
            lambda: True,
            lambda: {"running": 3, "restoring": 1},
            lambda: silences,
            lambda: NOW,
        )
    )
    read(metrics)
    assert samples(metrics, "ready") == samples(metrics, "live") == {"": 1}
    assert samples(metrics, "tasks") == {
        "state=restoring": 1,
        "state=running": 3,
        "state=suspended": 0,
        "state=lost": 0,
    }
    assert samples(metrics, "silences") == {
        "state=active": 1,
        "state=expired": 1,
        "state=pending": 2,
    }


async def test_how_late_the_event_loop_is() -> None:
    delays: list[float] = []
    late = iter((0.0, 0.5, -0.1))
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        assert seconds == EVERY
        try:
            now += seconds + next(late)
        except StopIteration:
            raise asyncio.CancelledError from None

    with pytest.raises(asyncio.CancelledError):
        await watch_event_loop(delays.append, clock=lambda: now, sleep=sleep)
    assert delays == pytest.approx([0.0, 0.5, 0.0])


def test_methods_that_are_made_up_are_one_series() -> None:
    metrics = Metrics("1")
    for method in ("GET", "BREW", "X" * 1000, ""):
        metrics.http.answered(method, "/v1/rules", 200, 0.1)
    requests = samples(metrics, "http_requests_total")
    assert requests == {
        "method=GET,route=/v1/rules,status=200": 1,
        "method=other,route=/v1/rules,status=200": 3,
    }


def test_what_expires() -> None:
    metrics = Metrics("1")
    metrics.http.expect([], {"grafana": NOW})
    metrics.http.certificate_expires(NOW)
    assert samples(metrics, "http_token_expiry_timestamp_seconds") == {"name=grafana": NOW}
    assert samples(metrics, "http_certificate_expiry_timestamp_seconds") == {"": NOW}


def test_commits_and_fetches() -> None:
    metrics = Metrics("1")
    for outcome in ("refused", "failed", "failed"):
        metrics.commit_failed(outcome)
    metrics.fetched("answered", {"events": 100, "repartition": 0})
    metrics.fetched("failed", {})
    assert samples(metrics, "commits_total") == {
        "outcome=committed": 0,
        "outcome=refused": 1,
        "outcome=failed": 2,
    }
    assert samples(metrics, "fetches_total") == {"outcome=answered": 1, "outcome=failed": 1}
    assert samples(metrics, "fetched_bytes_total") == {"topic=events": 100, "topic=repartition": 0}
