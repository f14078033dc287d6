"""What the kinds that may be told of other receivers make of such events."""

from typing import get_args

import msgspec
import pytest

from streams.domain import receiver_events, transitions
from streams.domain.deliveries import Delivery
from streams.domain.receiver_events import ReceiverChange
from streams.domain.transitions import rfc3339
from streams.receivers.cloudevents import CloudEventsReceiver
from streams.receivers.receiver import HttpReceiver, Receiver
from streams.receivers.registry import KINDS
from streams.receivers.webhook import WebhookReceiver
from tests.support.cloudevents import event_of
from tests.support.deliveries import webhook_to
from tests.support.kinds import channel
from tests.support.slack import links_of, message_of, texts_of
from tests.support.transitions import firing

NOW = 1_795_428_000.0
HOSTILE = "HTTP status 503: <!channel> <https://bad.example|here> & ]]>"


def event(change: ReceiverChange, reason: str | None = HOSTILE) -> Delivery:
    return receiver_events.delivery_of("watcher", change, "ops", NOW - 60, reason, NOW)


def made(kind: type[Receiver]) -> HttpReceiver:
    if kind is WebhookReceiver:
        return webhook_to("https://a.example/")
    if kind is CloudEventsReceiver:
        return CloudEventsReceiver(name="events", url="https://a.example/")
    return channel()


@pytest.mark.parametrize("change", get_args(ReceiverChange))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.told_of_receivers])
def test_every_kind_that_may_be_told_renders_every_event(
    kind: type[Receiver], change: ReceiverChange
) -> None:
    request = made(kind).render(event(change), NOW)
    assert b"ops" in request.body
    assert request.body == made(kind).render(event(change), NOW + 60).body


def test_a_webhook_has_the_event_as_it_is() -> None:
    body = msgspec.json.decode(made(WebhookReceiver).render(event("failing"), NOW).body)
    assert body == {
        "type": "receiver.failing",
        "timestamp": rfc3339(NOW),
        "data": {
            "receiver": "ops",
            "failing_since": rfc3339(NOW - 60),
            "reason": HOSTILE,
            "summary": f"receiver ops fails since {rfc3339(NOW - 60)}: {HOSTILE}",
        },
    }


def test_a_cloud_event_is_about_the_receiver() -> None:
    request = made(CloudEventsReceiver).render(event("disabled"), NOW)
    found = event_of(request.headers, request.body)
    assert (found["type"], found["subject"]) == ("receiver.disabled", "receiver.ops")


def test_a_message_mentions_and_links_nobody() -> None:
    request = channel().render(event("failing"), NOW)
    found = message_of(request.headers, request.body)
    assert links_of(found) == []
    assert any("receiver ops fails" in text for text in texts_of(found))


def test_a_transition_is_no_such_event() -> None:
    assert receiver_events.read(msgspec.Raw(transitions.encode(firing()))) is None
    read = receiver_events.read(event("recovered", None).transition)
    assert read is not None
    assert read.type == "receiver.recovered"


def test_events_about_one_receiver_are_in_order_and_have_ids_of_their_own() -> None:
    first = event("failing")
    then = receiver_events.delivery_of("watcher", "recovered", "ops", NOW - 60, None, NOW + 0.001)
    assert first.alert_id == then.alert_id
    assert first.sequence < then.sequence
    assert len({first.delivery_id, then.delivery_id}) == 2
