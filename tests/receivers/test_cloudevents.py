"""Events against the specification: what is required, and how it looks on the wire."""

from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from pydantic import SecretStr, ValidationError

from streams.receivers.cloudevents import CloudEventsReceiver
from streams.receivers.receiver import Request
from tests.support.cloudevents import event_of
from tests.support.deliveries import delivery_of

DATA = '{"campaign_id":"c","summary":"ü \\" ","rate":0.1}'
TRANSITION = (
    f'{{"type":"campaign.alert.firing","timestamp":"2026-11-23T10:00:42.500Z","data":{DATA}}}'
)
EXPECTED = {
    "specversion": "1.0",
    "id": "a.1",
    "source": "/campaign-streams",
    "type": "campaign.alert.firing",
    "time": "2026-11-23T10:00:42.500Z",
    "subject": "c",
    "datacontenttype": "application/json",
    "data": orjson.loads(DATA),
}


def receiver(**changes: Any) -> CloudEventsReceiver:
    return CloudEventsReceiver(name="events", url="https://a.example/in?x=1", **changes)


def render(campaign_id: str = "c", **changes: Any) -> Request:
    delivery = delivery_of("a.1", TRANSITION)
    delivery.campaign_id = campaign_id
    return receiver(**changes).render(delivery, 0.0)


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_the_event_is_the_same_in_both_modes(mode: str) -> None:
    request = render(mode=mode)
    assert (request.method, request.url) == ("POST", "https://a.example/in?x=1")
    assert event_of(request.headers, request.body) == EXPECTED


def test_structured() -> None:
    request = render()
    assert request.headers == {"Content-Type": "application/cloudevents+json"}
    assert request.body.endswith(f'"data":{DATA}}}'.encode())


def test_binary() -> None:
    request = render(mode="binary", source="https://a.example/100%25")
    assert request.headers == {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "a.1",
        "ce-source": "https://a.example/100%2525",
        "ce-type": "campaign.alert.firing",
        "ce-time": "2026-11-23T10:00:42.500Z",
        "ce-subject": "c",
    }
    assert request.body == DATA.encode()


@pytest.mark.parametrize(
    "campaign_id", ['a/b "ü" 100%', "\n\x00\x7f\x85", "\U0001f600", "x" * 3000]
)
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_any_campaign_can_be_the_subject(campaign_id: str, mode: str) -> None:
    request = render(campaign_id, mode=mode)
    event = event_of(request.headers, request.body)
    assert unquote(event["subject"], errors="strict") == campaign_id


def test_an_attempt_is_the_same_at_any_time() -> None:
    delivery, to = delivery_of("a.1", TRANSITION), receiver(mode="binary")
    assert to.render(delivery, 0.0) == to.render(delivery, 1e9)


def test_the_token() -> None:
    to = receiver(token=SecretStr("s3cret"))
    request = to.render(delivery_of("a.1", TRANSITION), 0.0)
    assert request.headers["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(to) + to.model_dump_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token": "a b"}, "printable ASCII without spaces"),
        ({"token": "a\r\nX: y"}, "printable ASCII without spaces"),
        ({"token": "ü"}, "printable ASCII without spaces"),
        ({"source": ""}, "expected a URI or a path"),
        ({"source": "a b"}, "expected a URI or a path"),
        ({"mode": "batched"}, "'structured' or 'binary'"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        receiver(**changes)
