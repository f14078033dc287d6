"""What the kinds that have a form of their own send, as golden files, and to a stand-in of theirs.

The files are the contract with those who read what is sent: change one with the documentation.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain import group_transitions, transitions
from streams.domain.deliveries import Delivery
from streams.domain.group_transitions import GroupTransition
from streams.domain.receiver_events import ReceiverChange
from streams.domain.transitions import Transition
from streams.receivers.outcomes import Delivered, GiveUp
from streams.receivers.receiver import HttpReceiver, Receiver
from streams.webhooks.client import WebhookClient
from streams.webhooks.guard import Guard
from tests.support import alertmanager, cloudevents, pagerduty, slack
from tests.support.deliveries import delivery_of, webhook_to
from tests.support.kinds import channel, events, manager, names, pager, rendered
from tests.support.receiver import SECRET, Answer, Check, Collector
from tests.support.transitions import explained

GOLDEN = Path(__file__).parent / "golden"
DOMAIN = Path(__file__).parents[1] / "domain" / "golden"
NAMES = ("firing", "reminder", "acknowledged", "resolved", "reopened", "expired", "explained")
GROUPS = Path(__file__).parents[1] / "domain" / "causes" / "golden"
GROUP_NAMES = ("firing", "updated", "resolved")
ALL_GROUP_NAMES = (*GROUP_NAMES, "reminder")
PRIVATE = (
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
)
NOW = 1_795_428_000.0  # 2026-11-23T10:00:00Z
MAKERS: dict[str, Callable[[], HttpReceiver]] = {
    "pagerduty": pager,
    "slack": channel,
    "alertmanager": manager,
    "cloudevents": events,
}
CHECKS: dict[str, Check] = {
    "pagerduty": pagerduty.event_of,
    "slack": slack.message_of,
    "alertmanager": alertmanager.alert_of,
    "cloudevents": cloudevents.event_of,
}

each_kind = pytest.mark.parametrize("kind", MAKERS)


def transition(name: str) -> Transition:
    if name == "explained":
        return explained(name="EMAIL & <sms>")
    return transitions.decode((DOMAIN / f"{name}.json").read_bytes())


def group_delivery(name: str) -> Delivery:
    body = (GROUPS / f"{name}.json").read_text()
    sequence = orjson.loads(body)["data"]["sequence"]
    return delivery_of(f"748928addfe516966ea42632.{sequence}", body)


WITH_HEADERS: dict[str, HttpReceiver] = {
    "webhook": webhook_to("https://a.example/", "ops", SECRET, PRIVATE),
    "cloudevents-binary": events(mode="binary"),
}


def with_headers(kind: str) -> bytes:
    """Return the headers and the body of a request, as they are sent."""
    request = rendered(WITH_HEADERS[kind], transition("firing"), NOW)
    lines = [f"{name}: {value}\n" for name, value in request.headers.items()]
    return "".join([*lines, "\n"]).encode() + request.body


@pytest.mark.parametrize("kind", WITH_HEADERS)
def test_golden_of_headers(kind: str) -> None:
    """Of the kinds whose headers say something; those of the connection are not among them."""
    assert with_headers(kind) == (GOLDEN / f"{kind}-firing.http").read_bytes()


def delivery_about_receiver(name: str) -> Delivery:
    body = orjson.dumps(orjson.loads((DOMAIN / f"receiver-{name}.json").read_bytes())).decode()
    return delivery_of("receiver.ops.1795428042000", body, campaign_id="")


@pytest.mark.parametrize("kind", ["pagerduty", "slack"])
@pytest.mark.parametrize("name", ALL_GROUP_NAMES)
def test_golden_of_groups(kind: str, name: str) -> None:
    request = MAKERS[kind]().render(group_delivery(name), NOW)
    CHECKS[kind](dict(request.headers), request.body)
    body = orjson.dumps(orjson.loads(request.body), option=orjson.OPT_INDENT_2).decode() + "\n"
    assert body == (GOLDEN / f"{kind}-group-{name}.json").read_text()


@pytest.mark.parametrize("kind", ["slack", "cloudevents"])
@pytest.mark.parametrize("name", get_args(ReceiverChange))
def test_golden_of_events_about_receivers(kind: str, name: str) -> None:
    request = MAKERS[kind]().render(delivery_about_receiver(name), NOW)
    CHECKS[kind](dict(request.headers), request.body)
    body = orjson.dumps(orjson.loads(request.body), option=orjson.OPT_INDENT_2).decode() + "\n"
    assert body == (GOLDEN / f"{kind}-receiver-{name}.json").read_text()


@pytest.mark.parametrize("kind", ["pagerduty", "slack"])
@given(st.lists(names, min_size=6, max_size=6))
def test_hostile_names_in_a_group(kind: str, hostile: list[str]) -> None:
    transition = group_transitions.decode((GROUPS / "firing.json").read_bytes())
    data, cause = transition.data, transition.data.cause
    assert cause is not None
    cause.dimensions = {"app_id": hostile[0], "channel_type": hostile[1]}
    cause.status = hostile[2]
    data.summary = group_transitions.summary_of(transition.type, data)
    data.labels = {hostile[3]: hostile[4]}
    for alert in data.alerts:
        alert.campaign_id, alert.app_id = hostile[5], hostile[0]
    check_group(kind, transition)
    data.cause, data.reason, data.rule = None, "labels", None
    data.group_labels = dict(zip(hostile[:3], hostile[3:], strict=True))
    data.summary = group_transitions.summary_of(transition.type, data)
    check_group(kind, transition)


@pytest.mark.parametrize("kind", ["pagerduty", "slack"])
def test_campaigns_of_a_group_are_named(kind: str) -> None:
    transition = group_transitions.decode((GROUPS / "firing.json").read_bytes())
    transition.data.alerts[0].campaign_name = "Spring sale"
    delivery = delivery_of("g.1", group_transitions.encode(transition).decode())
    body = MAKERS[kind]().render(delivery, NOW).body
    assert b"Spring sale" in body
    assert transition.data.alerts[0].campaign_id.encode() in body


def check_group(kind: str, transition: GroupTransition) -> None:
    delivery = delivery_of("g.1", group_transitions.encode(transition).decode())
    request = MAKERS[kind]().render(delivery, NOW)
    CHECKS[kind](dict(request.headers), request.body)


async def test_pagerduty_opens_one_alert_for_a_group_and_resolves_it() -> None:
    api = pagerduty.PagerDuty()
    client = WebhookClient(Guard(["127.0.0.0/8"]), allow_http=True)
    async with Collector(check=lambda _, __: None) as collector:
        collector.always = api.enqueue
        to = pager(url=f"http://127.0.0.1:{collector.port}/v2/")
        for name in GROUP_NAMES:
            assert await client.send(to, group_delivery(name), NOW) == Delivered(202)
    assert api.alerts == {"748928addfe516966ea42632": [["trigger", "trigger", "resolve"]]}


def body_of(kind: str, name: str) -> Any:
    return orjson.loads(rendered(MAKERS[kind](), transition(name), NOW).body)


@each_kind
@pytest.mark.parametrize("name", NAMES)
def test_golden(kind: str, name: str) -> None:
    written = (GOLDEN / f"{kind}-{name}.json").read_text()
    assert orjson.dumps(body_of(kind, name), option=orjson.OPT_INDENT_2).decode() + "\n" == written
    request = rendered(MAKERS[kind](), transition(name), NOW)
    CHECKS[kind](dict(request.headers), request.body)


async def sent(receiver: Receiver, *told: str, answer: Answer) -> list[Any]:
    """Send transitions over loopback, to a server that answers so; return the outcomes."""
    client = WebhookClient(Guard(["127.0.0.0/8"]), allow_http=True)
    async with Collector(check=lambda _, __: None) as collector:
        collector.always = answer
        to = receiver.model_copy(update={"url": f"http://127.0.0.1:{collector.port}/v2/"})
        deliveries = [
            delivery_of("a.1", transitions.encode(transition(name)).decode(), to.name)
            for name in told
        ]
        return [await client.send(to, delivery, NOW) for delivery in deliveries]


async def test_pagerduty_opens_one_alert_and_resolves_it() -> None:
    api = pagerduty.PagerDuty()
    names = "firing", "reminder", "acknowledged", "resolved", "reopened"
    outcomes = await sent(pager(), *names, answer=api.enqueue)
    assert (outcomes, api.refusals) == ([Delivered(202)] * 5, [])
    assert api.alerts == {
        "alert-1": [["trigger", "trigger", "acknowledge", "resolve"], ["trigger"]]
    }


async def test_pagerduty_refuses_a_wrong_key_once() -> None:
    api = pagerduty.PagerDuty()
    (outcome,) = await sent(pager(routing_key="short"), "firing", answer=api.enqueue)
    assert isinstance(outcome, GiveUp)
    assert "Length of 'routing_key' is incorrect" in outcome.reason


async def test_slack_takes_every_kind_of_transition() -> None:
    api = slack.Channel()
    outcomes = await sent(channel(), *NAMES, answer=api.post)
    assert (outcomes, api.refusals) == ([Delivered(200)] * len(NAMES), [])
    titles = [message["blocks"][0]["text"]["text"].split(":")[0] for message in api.messages]
    assert titles == [
        *("Firing", "Still firing", "Acknowledged", "Resolved"),
        *("Firing again", "Ended without data", "Firing"),
    ]


async def test_alertmanager_has_one_alert_that_fires_and_ends() -> None:
    api = alertmanager.Alertmanager(lambda: NOW + 3800.0)
    for told, count in ((["firing"], 1), (["reminder"], 1), (["resolved"], 0)):
        outcomes = await sent(manager(fires_for="2h"), *told, answer=api.post_alerts)
        assert (outcomes, api.refusals) == ([Delivered(200)], [])
        assert len(api.firing()) == count
    assert len(api.alerts) == 1
