"""A test alert to a receiver of each kind: what it gets, and when it is resolved."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from streams.receivers.cloudevents import CloudEventsReceiver
from streams.receivers.outcomes import Delivered, GiveUp, Retry
from streams.receivers.receiver import Receiver
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import Guard
from streams.webhooks.hooks import Hooks
from streams.webhooks.trials import Exchange, Trial
from tests.support import alertmanager, cloudevents, pagerduty, slack
from tests.support.deliveries import webhook_to
from tests.support.kinds import channel, manager, pager
from tests.support.receiver import Answer, Check, Collector, hang, is_signed, reset, status

MARK = "[TEST] "


def events(mode: str) -> Receiver:
    return CloudEventsReceiver.model_validate(
        {"name": "events", "url": "https://a.example/", "mode": mode}
    )


MAKERS: dict[str, tuple[Callable[[], Receiver], Check]] = {
    "webhook": (lambda: webhook_to("https://a.example/"), is_signed),
    "cloudevents structured": (lambda: events("structured"), cloudevents.event_of),
    "cloudevents binary": (lambda: events("binary"), cloudevents.event_of),
    "pagerduty": (pager, pagerduty.event_of),
    "slack": (channel, slack.message_of),
    "alertmanager": (manager, alertmanager.alert_of),
}


async def tried(
    receiver: Receiver,
    *answers: Answer,
    check: Check = lambda _, __: None,
    allow: tuple[str, ...] = ("127.0.0.0/8",),
) -> tuple[list[Exchange], Collector]:
    """Send a test alert over loopback; the answers are those of the server, one a request."""

    def client_with(hooks: Hooks) -> WebhookClient:
        return WebhookClient(Guard(allow), allow_http=True, hooks=hooks)

    async with Collector(*answers, check=check) as collector:
        url = f"http://127.0.0.1:{collector.port}/hook"
        to = receiver.model_copy(update={"url": url})
        exchanges = [each async for each in Trial(client_with).exchanges(to)]
    assert collector._errors == []
    return exchanges, collector


@pytest.mark.parametrize("name", MAKERS)
async def test_each_kind_gets_a_marked_alert_that_fires_and_is_resolved(name: str) -> None:
    make, check = MAKERS[name]
    exchanges, collector = await tried(make(), check=check)
    assert [each.transition.split(".")[-1] for each in exchanges] == ["firing", "resolved"]
    assert [each.outcome for each in exchanges] == [Delivered(204)] * 2
    bodies = [each.requests[0].body for each in exchanges]
    assert bodies == [each.body for each in collector.arrivals]
    for arrival in collector.arrivals:
        assert MARK.encode() in arrival.body
        assert b"test-alert" in arrival.body
        assert b"campaign-streams-test" in arrival.body
        assert b"nothing is wrong" in arrival.body


async def test_pagerduty_opens_one_incident_and_closes_it() -> None:
    api = pagerduty.PagerDuty()
    exchanges, collector = await tried(pager(), api.enqueue, api.enqueue)
    assert api.refusals == []
    assert list(api.alerts.values()) == [[["trigger", "resolve"]]]
    assert [each.value["payload"]["severity"] for each in collector.arrivals] == ["info"] * 2
    assert [each.accepted for each in exchanges] == [True, True]


async def test_alertmanager_has_one_alert_that_ends() -> None:
    api = alertmanager.Alertmanager(time.time)
    exchanges, _ = await tried(manager(), api.post_alerts, api.post_alerts)
    assert (api.refusals, len(api.alerts), api.firing()) == ([], 1, [])
    (alert,) = api.alerts.values()
    assert alert["labels"] == {
        "alertname": "test-alert",
        "severity": "info",
        "campaign_id": "campaign-streams-test",
        "test": "true",
    }
    assert len(exchanges) == 2


async def test_a_webhook_gets_one_alert_with_ids_of_its_own_each_time() -> None:
    _, collector = await tried(webhook_to("https://a.example/"))
    first, second = (each.value for each in collector.arrivals)
    assert first["data"]["alert_id"] == second["data"]["alert_id"]
    assert [each["data"]["sequence"] for each in (first, second)] == [1, 2]
    assert first["data"]["ends_at"] is None
    assert second["data"]["ends_at"] >= second["data"]["starts_at"] == first["data"]["starts_at"]
    assert collector.ids() == [f"{first['data']['alert_id']}.{n}" for n in (1, 2)]
    _, again = await tried(webhook_to("https://a.example/"))
    assert set(again.ids()).isdisjoint(collector.ids())


async def test_what_is_sent_and_answered_is_seen_also_of_a_success() -> None:
    exchanges, collector = await tried(
        webhook_to("https://a.example/"), status(200, "got it", x_id="7"), status(202)
    )
    (first,) = exchanges[0].requests
    lines = first.head.decode().split("\r\n")
    assert lines[0] == "POST /hook HTTP/1.1"
    sent = dict(line.split(": ", 1) for line in lines[1:] if line)
    assert {name.lower(): value for name, value in sent.items()} == collector.arrivals[0].headers
    assert first.answer is not None
    assert (first.answer.status, first.answer.excerpt) == (200, b"got it")
    assert first.answer.headers["x-id"] == "7"


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (status(500, "no"), 1),  # it does not have the alert
        (status(410), 1),
        (status(302), 1),
        (reset, 2),  # it may have it
        (hang, 2),
    ],
)
async def test_only_an_alert_that_the_receiver_may_have_is_resolved(
    answer: Answer, count: int
) -> None:
    exchanges, collector = await tried(webhook_to("https://a.example/", timeout=0.3), answer)
    assert [each.accepted for each in exchanges] == [False, True][:count]
    assert len(collector.arrivals) == count


async def test_nothing_is_sent_to_an_address_that_is_not_allowed() -> None:
    exchanges, collector = await tried(webhook_to("https://a.example/"), allow=())
    (only,) = exchanges
    assert isinstance(only.outcome, Retry)
    assert only.outcome.failure == "forbidden"
    assert (only.requests, collector.arrivals) == ((), [])


async def test_http_is_refused_unless_it_is_allowed() -> None:
    def client_with(hooks: Hooks) -> WebhookClient:
        return WebhookClient(Guard(["127.0.0.0/8"]), hooks=hooks)

    to = webhook_to("http://127.0.0.1:9/")
    exchanges = [each async for each in Trial(client_with).exchanges(to)]
    assert [type(each.outcome) for each in exchanges] == [GiveUp]


async def test_a_template_that_fails_for_the_test_alert_is_told() -> None:
    receiver = pager(title="{{ labels.team }}")
    exchanges, collector = await tried(receiver, status(202), status(202))
    failures: list[Any] = [(each.part, each.reason) for e in exchanges for each in e.failures]
    assert failures == [("title", "there is no 'team'")] * 2
    assert all(each.value["payload"]["summary"].startswith(MARK) for each in collector.arrivals)
