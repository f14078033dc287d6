"""What a webhook is, at any time and after any restart."""

import time
from collections.abc import Mapping

from standardwebhooks import Webhook

from streams.domain import changelog
from streams.domain.deliveries import Delivery, DeliveryKey
from streams.receivers.receiver import Request
from tests.support.deliveries import delivery_of, webhook_to
from tests.support.receiver import SECRET

TRANSITION = '{ "type":"campaign.alert.firing",\t"data":{"rate":0.10,"summary":"\\u00fc ü"}}'


def stable(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that are the same in each attempt."""
    varying = {"webhook-timestamp", "webhook-signature"}
    return {name: value for name, value in headers.items() if name not in varying}


def render(delivery: Delivery, now: float) -> Request:
    return webhook_to("https://a.example/in?token=x").render(delivery, now)


def test_the_transition_is_sent_to_the_byte() -> None:
    request = render(delivery_of("a.1", TRANSITION), 1_790_000_000.9)
    assert (request.method, request.url) == ("POST", "https://a.example/in?token=x")
    assert request.body == TRANSITION.encode()
    assert stable(request.headers) == {
        "Content-Type": "application/json",
        "webhook-id": "a.1",
    }
    assert request.headers["webhook-timestamp"] == "1790000000"


def test_attempts_differ_in_the_time_and_what_signs_it_alone() -> None:
    delivery = delivery_of("a.1", TRANSITION)
    first = render(delivery, 1_790_000_000.0)
    # Written down and read back between two attempts, as over a restart.
    delivery.attempts, delivery.last_error = 1, "no"
    ((key, value),) = changelog.encode([(DeliveryKey("c", delivery.delivery_id), delivery)])
    assert value is not None
    _, again = changelog.decode(key, value)
    second = render(again, 1_790_000_005.0)
    assert second.body == first.body
    assert stable(second.headers) == stable(first.headers)
    assert second.headers["webhook-timestamp"] == "1790000005"
    assert second.headers["webhook-signature"] != first.headers["webhook-signature"]


def test_the_signature_is_right() -> None:
    request = webhook_to("https://a.example/").render(delivery_of(), time.time())
    assert Webhook(SECRET).verify(request.body, dict(request.headers)) == {}
