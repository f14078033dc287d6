"""Events against the published documents of PagerDuty's Events API v2."""

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import orjson
import pytest
from hypothesis import given
from pydantic import ValidationError

from streams.domain.transitions import Transition, TransitionType
from streams.receivers.outcomes import Answer, Delivered, GiveUp, Retry
from streams.receivers.pagerduty import ACTIONS, LARGEST_EVENT, PAUSE_S
from streams.terminal import printable
from tests.support.kinds import HOSTILE, names, pager, rendered
from tests.support.pagerduty import ROUTING_KEY, event_of
from tests.support.transitions import explained

INVALID = b'{"status":"invalid event","errors":["Length of \'routing_key\' is incorrect"]}'


def event(transition: Transition, **changes: Any) -> dict[str, Any]:
    request = rendered(pager(**changes), transition)
    assert request.method == "POST"
    return event_of(request.headers, request.body)


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value:
            yield from strings_in(each)
            if isinstance(value, dict):
                yield from strings_in(value[each])


def test_every_transition_has_an_action() -> None:
    assert ACTIONS.keys() == set(get_args(TransitionType))


@pytest.mark.parametrize("type_", get_args(TransitionType))
def test_an_alert_has_one_key(type_: TransitionType) -> None:
    found = event(explained(type_))
    assert found["dedup_key"] == "a"
    actions = {"firing": "trigger", "reminder": "trigger", "acknowledged": "acknowledge"}
    assert found["event_action"] == actions.get(type_.split(".")[-1], "resolve")


@given(names)
def test_any_name_is_whole_in_the_details(name: str) -> None:
    found = event(explained(name=name))
    assert found["event_action"] == "trigger"
    assert found["routing_key"] == ROUTING_KEY
    details = found["payload"]["custom_details"]
    assert details["campaign_id"] == printable(name)
    assert details["explanation"]["slice"]["dimensions"]["channel_type"] == printable(name)
    assert details["evidence"]["counts"][printable(name)] == 24
    assert all(map(str.isprintable, strings_in(found)))
    for field in ("summary", "source", "component", "group"):
        assert found["payload"].get(field, "").isprintable()


@pytest.mark.parametrize("severity", ["critical", "error", "warning", "info"])
def test_severities_are_the_same(severity: str) -> None:
    made = explained()
    made.data.severity = severity
    assert event(made)["payload"]["severity"] == severity


def test_a_long_summary_keeps_its_end() -> None:
    summary = event(explained(name="x" * 4000))["payload"]["summary"]
    assert len(summary) == 1024
    assert summary.endswith("x: 40 of 100 attempts (40.0%)")


def test_what_is_too_large_goes_without_details() -> None:
    made = explained()
    made.data.labels = {"runbook": "x" * LARGEST_EVENT}
    assert "custom_details" not in event(made)["payload"]


def test_nothing_that_is_needed_is_empty() -> None:
    made = explained(name="")
    made.data.summary = ""
    payload = event(made)["payload"]
    assert (payload["summary"], payload["source"]) == ("failing", "failing")


def test_without_links() -> None:
    made = explained()
    made.data.links = None
    assert not {"links", "client_url"} & event(made).keys()


def test_without_an_explanation() -> None:
    made = explained()
    made.data.explanation = None
    assert "explanation" not in event(made)["payload"]["custom_details"]


def test_an_attempt_is_the_same_at_any_time() -> None:
    assert rendered(pager(), explained(), 0.0) == rendered(pager(), explained(), 1e9)


def test_the_url() -> None:
    assert rendered(pager(), explained()).url == "https://events.pagerduty.com/v2/enqueue"
    other = "https://events.example.com/v2/enqueue"
    assert rendered(pager(url=other), explained()).url == other


def test_the_key_does_not_show() -> None:
    assert ROUTING_KEY not in repr(pager()) + pager().model_dump_json()
    with pytest.raises(ValidationError, match="printable ASCII without spaces"):
        pager(routing_key=f"{ROUTING_KEY} ")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(202, {}), Delivered(202)),
        (Answer(429, {}), Retry("status", "HTTP status 429", PAUSE_S)),
        (Answer(429, {"retry-after": "7"}), Retry("status", "HTTP status 429", 7.0)),
        (Answer(500, {}), Retry("status", "HTTP status 500")),
        (Answer(403, {}), Retry("status", "HTTP status 403")),
        (Answer(400, {}, INVALID), GiveUp("status", f"HTTP status 400: {INVALID.decode()}")),
    ],
)
def test_answers(answer: Answer, outcome: object) -> None:
    assert pager().outcome_of(answer, 0.0) == outcome


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_no_part_of_the_event(name: str) -> None:
    request = rendered(pager(), explained(name=name))
    assert msgspec.json.decode(request.body) == orjson.loads(request.body)
    assert orjson.loads(request.body)["event_action"] == "trigger"
