"""Alerts against the published description of Alertmanager's API v2."""

from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from pydantic import SecretStr, ValidationError

from streams.domain.transitions import Evidence, Transition, TransitionType
from streams.receivers.alertmanager import ENDED
from streams.receivers.outcomes import Answer, Delivered, GiveUp, Retry
from tests.support.alertmanager import alert_of, seconds_of
from tests.support.kinds import manager, names, rendered
from tests.support.transitions import explained

NOW = 1_795_500_000.25


def alert(transition: Transition, **changes: Any) -> dict[str, Any]:
    request = rendered(manager(**changes), transition, NOW)
    assert (request.method, request.url) == ("POST", "https://am.example/api/v2/alerts")
    return alert_of(request.headers, request.body)


@pytest.mark.parametrize("type_", get_args(TransitionType))
def test_every_transition_is_the_same_alert(type_: TransitionType) -> None:
    found = alert(explained(type_), fires_for="2h")
    assert found["labels"] == {
        "alertname": "failing",
        "severity": "critical",
        "campaign_id": "a",
        "app_id": "a",
        "treatment_id": "a",
        "channel_type": "a",
        "team": "crm",
        "on_call": "a",
    }
    assert found["startsAt"] == "2026-11-23T10:00:42Z"
    if type_ in ENDED:
        assert found["endsAt"] == "2026-11-23T11:00:00Z"
    else:
        assert seconds_of(found["endsAt"]) == NOW + 7200


def test_what_ended_is_what_does_not_fire() -> None:
    assert set(get_args(TransitionType)) - ENDED == {
        "campaign.alert.firing",
        "campaign.alert.reminder",
        "campaign.alert.acknowledged",
    }


def test_it_fires_from_each_attempt_on() -> None:
    first, second = (
        alert_of(r.headers, r.body)
        for r in (rendered(manager(), explained(), NOW), rendered(manager(), explained(), NOW + 60))
    )
    assert seconds_of(second["endsAt"]) - seconds_of(first["endsAt"]) == 60
    assert {**first, "endsAt": ""} == {**second, "endsAt": ""}


def test_what_goes_on_firing_is_told_together() -> None:
    request = manager(fires_for="2h", token="s3cret").render_firing(
        [explained("campaign.alert.reminder"), explained("campaign.alert.reminder", name="b")], NOW
    )
    assert (request.method, request.url) == ("POST", "https://am.example/api/v2/alerts")
    assert request.headers["Authorization"] == "Bearer s3cret"
    alerts = orjson.loads(request.body)
    assert [each["labels"]["campaign_id"] for each in alerts] == ["a", "b"]
    assert [seconds_of(each["endsAt"]) for each in alerts] == [NOW + 7200] * 2
    for each in alerts:
        alert_of(request.headers, orjson.dumps([each]))


@pytest.mark.parametrize(
    ("changes", "least"),
    [({"fires_for": "2m"}, "130s"), ({"resend_interval": "1h"}, "7210s")],
)
def test_what_fires_is_told_again_in_time(changes: dict[str, Any], least: str) -> None:
    """Once more than it has to be, as one may fail."""
    with pytest.raises(ValidationError, match=f"twice resend_interval and timeout, {least}, or"):
        manager(**changes)
    assert manager(resend_interval="1m", timeout="10s", fires_for="130s").fires_for == 130.0


@given(names)
def test_any_name(name: str) -> None:
    found = alert(explained(name=name))
    assert found["labels"].get("campaign_id", "") == name
    assert found["annotations"]["alert_id"] == "a"


@given(names)
def test_any_label(name: str) -> None:
    """Names become valid ones, and cannot take the place of the alert's own."""
    made = explained()
    made.data.labels = {f"9{name}": "x", f"é{name}": "y", "alertname": name, "campaign_id": name}
    labels = alert(made)["labels"]
    assert (labels["alertname"], labels["campaign_id"]) == ("failing", "a")


def test_labels_of_a_campaign_have_no_empty_ones() -> None:
    made = explained()
    made.data.treatment_id = made.data.channel_type = made.data.app_id = None
    made.data.labels = {"team": ""}
    assert alert(made)["labels"].keys() == {"alertname", "severity", "campaign_id"}


def test_without_links_and_explanation() -> None:
    made = explained()
    made.data.links = made.data.explanation = None
    found = alert(made)
    assert "generatorURL" not in found
    assert not {"windows_url", "excess", "usual_rate"} & found["annotations"].keys()


def test_what_people_read_is_written_for_them() -> None:
    found = alert(explained(name="GCM"))["annotations"]
    assert found["summary"] == (
        "failing in campaign GCM, treatment GCM, channel GCM: 40 of 100 attempts (40.0%)"
    )
    assert found["description"] == "failing firing in campaign GCM: 40 of 100 attempts (40.0%)"
    assert (found["rate"], found["usual_rate"]) == ("40.0%", "1.2%")
    assert found["excess"] == "97% in channel GCM with treatment GCM: 40 of 50 attempts (80.0%)"
    ended = alert(explained("campaign.alert.resolved", name="GCM"))["annotations"]
    assert ended["summary"] == (
        "failing in campaign GCM, treatment GCM, channel GCM is over: "
        "40 of 100 attempts (40.0%), peak 40.0%"
    )


def test_a_campaign_without_attempts() -> None:
    made = explained(name="GCM")
    made.data.evidence = Evidence(0, 0, 0.0, None, None, {})
    assert alert(made)["annotations"]["summary"].endswith(
        ": no attempts since 2026-11-23T10:00:00Z"
    )


def test_the_token() -> None:
    assert "Authorization" not in rendered(manager(), explained()).headers
    to = manager(token=SecretStr("s3cret"))
    assert rendered(to, explained()).headers["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(to) + to.model_dump_json()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200, {}), Delivered(200)),
        (Answer(400, {}, b'"x"'), GiveUp("status", 'HTTP status 400: "x"')),
        (Answer(500, {}), Retry("status", "HTTP status 500")),
    ],
)
def test_answers(answer: Answer, outcome: object) -> None:
    assert manager().outcome_of(answer, 0.0) == outcome
