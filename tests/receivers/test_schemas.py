"""What is sent is what the published schemas describe, and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import jsonschema
import orjson
import pytest

from streams.api.routes import ROUTES
from streams.domain import transitions
from streams.domain.group_transitions import GroupTransitionType
from streams.domain.receiver_events import ReceiverEventType
from streams.domain.transitions import TransitionType
from streams.receivers.samples import samples, trial_delivery
from tests.support.cloudevents import event_of
from tests.support.deliveries import delivery_of, webhook_to
from tests.support.kinds import events
from tests.support.schemas import PUBLISHED, check, check_data
from tests.support.transitions import explained

DOMAIN = Path(__file__).parents[1] / "domain"
BODIES = {
    path.stem if path.parent.parent == DOMAIN else f"group-{path.stem}": path.read_bytes()
    for path in [*DOMAIN.glob("golden/*.json"), *DOMAIN.glob("causes/golden/*.json")]
}
"""The golden files of the domain: bodies of native webhooks."""
TYPES = {
    *get_args(TransitionType),
    *get_args(GroupTransitionType),
    *get_args(ReceiverEventType),
}


def test_every_type_is_among_the_golden_files() -> None:
    assert {orjson.loads(body)["type"] for body in BODIES.values()} == TYPES


@pytest.mark.parametrize("name", BODIES)
def test_a_native_webhook_is_as_described(name: str) -> None:
    body = BODIES[name]
    request = webhook_to("https://a.example/").render(delivery_of("a.1", body.decode()), 0.0)
    check(orjson.loads(request.body))


@pytest.mark.parametrize("mode", ["structured", "binary"])
@pytest.mark.parametrize("name", BODIES)
def test_the_data_of_a_cloud_event_is_as_described(name: str, mode: str) -> None:
    body = BODIES[name].decode()
    request = events(mode=mode).render(delivery_of("a.1", body), 0.0)
    event = event_of(request.headers, request.body)
    check_data(event["type"], event["data"])


@pytest.mark.parametrize("type_", get_args(TransitionType))
def test_all_that_an_alert_can_have_is_described(type_: TransitionType) -> None:
    check(_json(transitions.encode(explained(type_))))
    trial = trial_delivery("ops", "1", type_, 0.0, 60.0)
    check(_json(bytes(trial.transition)))
    for sample in samples("rule", "critical", {"team": "crm"}, "channel"):
        check(_json(transitions.encode(sample)))


@pytest.mark.parametrize("name", BODIES)
def test_what_is_not_described_is_noticed(name: str) -> None:
    value = _json(BODIES[name])
    for changed in (
        {**value, "more": 1},
        {**value, "data": {**value["data"], "more": 1}},
        {**value, "data": {**value["data"], "summary": None}},
        {**value, "type": f"{value['type']}s"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            check(changed)


def test_the_schemas_are_published() -> None:
    paths = {route.path for route in ROUTES}
    assert {f"/v1/schemas/{name}" for name in PUBLISHED} <= paths
    for make in PUBLISHED.values():
        jsonschema.Draft202012Validator.check_schema(make())


def _json(body: bytes) -> Mapping[str, Any]:
    found: Mapping[str, Any] = orjson.loads(body)
    return found
