"""Messages against the published documents of Slack: limits, and what a name cannot do."""

from typing import Any, get_args

import pytest
from hypothesis import given
from pydantic import ValidationError

from streams.domain.transitions import Transition, TransitionType
from streams.receivers.outcomes import Answer, Delivered, Disable, GiveUp, Retry
from streams.receivers.slack import DIMENSIONS
from streams.receivers.texts import TITLES
from tests.support.kinds import HOSTILE, SLACK_PATH, channel, names, rendered
from tests.support.slack import links_of, message_of, shown, texts_of
from tests.support.transitions import explained

LINKS = [
    ("https://a.example/#/alert/a", "alert"),
    ("https://a.example/#/campaign/a", "campaign"),
    ("https://a.example/v1/alerts/a", "JSON"),
]


def message(transition: Transition) -> dict[str, Any]:
    request = rendered(channel(), transition)
    assert request.method == "POST"
    return message_of(request.headers, request.body)


def test_every_transition_has_a_title() -> None:
    assert TITLES.keys() == set(get_args(TransitionType))


@pytest.mark.parametrize("type_", get_args(TransitionType))
def test_every_transition(type_: TransitionType) -> None:
    found = message(explained(type_))
    assert found["blocks"][0]["text"]["text"] == f"{TITLES[type_]}: failing (critical)"
    assert found["text"].startswith(TITLES[type_])
    ended = any(text.startswith("*Ended*") for text in texts_of(found))
    assert ended == type_.endswith(("resolved", "expired"))


@given(names)
def test_no_name_mentions_or_links(name: str) -> None:
    """The stand-in refuses mentions; the links are those of the alert alone."""
    found = message(explained(name=name))
    assert links_of(found) == LINKS


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_it_is(name: str) -> None:
    fields = message(explained(name=name))["blocks"][2]["fields"]
    (campaign,) = [each["text"] for each in fields if each["text"].startswith("*Campaign*")]
    text = shown(campaign.removeprefix("*Campaign*\n"))
    assert text.isprintable()
    assert text == name or not name.isprintable() or len(name) > 100


@given(names)
def test_a_name_from_the_configuration_is_escaped_too(name: str) -> None:
    made = explained()
    made.data.labels = {f"{at}{name}": name for at in range(60)}
    assert links_of(message(made)) == LINKS


def test_a_url_cannot_end_its_link() -> None:
    made = explained()
    assert made.data.links is not None
    made.data.links.alert_page = "https://a.example/?x=1&y=<!channel>|z"
    made.data.links.campaign_page = "https://a.example/" + "%F0%9F%98%80" * 4096
    assert links_of(message(made)) == [
        ("https://a.example/?x=1&y=%3C!channel%3E%7Cz", "alert"),
        ("https://a.example/v1/alerts/a", "JSON"),
    ]
    made.data.links.campaign_page = "https://a.example/" + "a" * 950
    made.data.links.alert = "https://a.example/" + "b" * 960
    assert [name for _, name in links_of(message(made))] == ["alert", "campaign", "JSON"]
    made.data.links.alert_page = "https://a.example/" + "c" * 900
    assert [name for _, name in links_of(message(made))] == ["alert", "campaign"]


def test_with_as_little_as_there_may_be() -> None:
    made = explained(name="")
    made.data.links = made.data.explanation = None
    made.data.labels = {}
    made.data.app_id = made.data.treatment_id = made.data.channel_type = None
    made.data.summary = ""
    found = message(made)
    assert found["blocks"][1]["text"]["text"] == "Firing: failing (critical)"
    assert links_of(found) == []


def test_an_explanation_without_slice_or_statuses() -> None:
    made = explained()
    assert made.data.explanation is not None
    made.data.explanation.slice = None
    with_statuses = len(message(made)["blocks"])
    made.data.explanation.statuses = []
    assert len(message(made)["blocks"]) == with_statuses - 1


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_slice_of_sends_without_a_value(dimension: str) -> None:
    made = explained()
    assert made.data.explanation is not None
    assert made.data.explanation.slice is not None
    made.data.explanation.slice.dimensions = {dimension: None}
    assert f"*Excess by {DIMENSIONS[dimension]}*\nnone" in list(texts_of(message(made)))


def test_an_attempt_is_the_same_at_any_time() -> None:
    assert rendered(channel(), explained(), 0.0) == rendered(channel(), explained(), 1e9)


@pytest.mark.parametrize(
    "url", ["https://hooks.example/services", "https://hooks.example/services/"]
)
def test_the_path_is_secret_and_part_of_the_url(url: str) -> None:
    to = channel(url=url)
    assert rendered(to, explained()).url == f"https://hooks.example/services/{SLACK_PATH}"
    assert SLACK_PATH not in repr(to) + to.model_dump_json()
    assert to.target != channel(url=url, webhook_path="T/B/other").target


@pytest.mark.parametrize(
    "path", ["", "/T/B/x", "T//x", "../x", "https://hooks.slack.com/services/T/B/x", "T/B/x?y", "ü"]
)
def test_a_path_that_is_none(path: str) -> None:
    with pytest.raises(ValidationError, match="what follows /services/"):
        channel(webhook_path=path)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200, {}), Delivered(200)),
        (Answer(400, {}, b"invalid_blocks"), GiveUp("status", "HTTP status 400: invalid_blocks")),
        (
            Answer(403, {}, b"action_prohibited"),
            Retry("status", "HTTP status 403: action_prohibited"),
        ),
        (Answer(404, {}, b"no_service"), Retry("status", "HTTP status 404: no_service")),
        (
            Answer(410, {}, b"channel_is_archived"),
            Disable("HTTP status 410: channel_is_archived"),
        ),
        (Answer(429, {"retry-after": "30"}), Retry("status", "HTTP status 429", 30.0)),
        (Answer(500, {}, b"rollup_error"), Retry("status", "HTTP status 500: rollup_error")),
    ],
)
def test_answers(answer: Answer, outcome: object) -> None:
    assert channel().outcome_of(answer, 0.0) == outcome
