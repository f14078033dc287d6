"""Firing, update, resolved: every kind is told in this order, of the same alert, by its labels.

Each is told by the dispatcher, over a connection, and what comes there is read by the rules of the
kind's published documents. The first attempt of all fails, so the order is not that of luck.
"""

from collections.abc import Callable, Mapping
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from aiohttp import web

from streams.domain.deliveries import Delivery
from streams.receivers.receiver import HttpReceiver, Receiver
from streams.receivers.registry import KINDS
from tests.support import alertmanager, cloudevents, pagerduty, slack
from tests.support.deliveries import delivery_of, webhook_to
from tests.support.kinds import channel, events, mail, manager, pager
from tests.support.receiver import Arrival, Collector, is_signed
from tests.support.smtp import MailServer
from tests.webhooks.test_dispatcher import CountingMetrics, FakeHolder, running, until

ALERTS = Path(__file__).parents[1] / "domain" / "golden"
GROUPS = Path(__file__).parents[1] / "domain" / "causes" / "golden"
TOLD = ("firing", "reminder", "resolved")
TOLD_OF_GROUP = ("firing", "updated", "resolved")
LABELS = {
    "rule": "failure-spike",
    "severity": "critical",
    "campaign": "4f8d/ü",
    "app": "app-1",
    "team": "crm",
}


class Told(NamedTuple):
    """What a kind is told: what happened, in its own word, of which alert, and the labels."""

    what: str
    alert: str
    labels: Mapping[str, Any]


class AnyKind(CountingMetrics):
    """Counts attempts of receivers of every kind."""

    def attempted(self, receiver: Receiver, result: str) -> None:
        self.results.append(f"{receiver.kind} {result}")


def _data(type_: str, data: Mapping[str, Any]) -> Told:
    named = {"campaign": data.get("campaign_id"), "app": data.get("app_id"), **data["labels"]}
    about = str(data.get("alert_id") or data["group_id"])
    return Told(type_, about, {"rule": data["rule"], "severity": data["severity"], **named})


def of_webhook(arrival: Arrival) -> Told:
    is_signed(arrival.headers, arrival.body)
    return _data(arrival.value["type"], arrival.value["data"])


def of_cloud_event(arrival: Arrival) -> Told:
    event = cloudevents.event_of(arrival.headers, arrival.body)
    return _data(event["type"], event["data"])


def of_pagerduty(arrival: Arrival) -> Told:
    event = pagerduty.event_of(arrival.headers, arrival.body)
    payload = event["payload"]
    details = payload["custom_details"]
    named = {"campaign": details.get("campaign_id"), "app": payload.get("group")}
    labels = {"rule": payload["class"], "severity": payload["severity"], **named}
    return Told(event["event_action"], event["dedup_key"], {**labels, **details["labels"]})


def of_slack(arrival: Arrival) -> Told:
    message = slack.message_of(arrival.headers, arrival.body)
    title = message["blocks"][0]["text"]["text"]
    what, _, rest = title.partition(": ")
    rule, _, severity = rest.removesuffix(")").partition(" (")
    fields = [
        slack.shown(text).replace("*", "").partition("\n")
        for text in slack.texts_of(message)
        if text.startswith("*") and "\n" in text
    ]
    named = {name.lower(): value for name, _, value in fields}
    named |= dict(text.split(": ") for text in slack.texts_of(message) if text.startswith("team: "))
    links = {label: url for url, label in slack.links_of(message)}
    labels = {"rule": rule, "severity": severity, "team": named.get("team", "")}
    about = links.get("alert", "").rpartition("/")[2]
    return Told(what, about, {**labels, "campaign": named.get("campaign"), "app": named.get("app")})


def of_alertmanager(arrival: Arrival) -> Told:
    alert = alertmanager.alert_of(arrival.headers, arrival.body)
    renamed = {"alertname": "rule", "campaign_id": "campaign", "app_id": "app"}
    ended = "is over" in alert["annotations"]["summary"]
    assert ended == (alert["endsAt"] == "2026-11-23T11:02:12Z")
    named = {renamed.get(name, name): value for name, value in alert["labels"].items()}
    return Told("ended" if ended else "fires", alert["annotations"]["alert_id"], named)


def of_mail(mail_: bytes) -> Told:
    message = message_from_bytes(mail_, policy=policy.default)
    body = message.get_body(("plain",))
    assert body is not None
    lines = body.get_content().splitlines()
    what, _, rest = lines[0].partition(": ")
    rule, _, severity = rest.removesuffix(")").partition(" (")
    named = dict(line.partition(": ")[::2] for line in lines if ": " in line)
    labels = {"rule": rule, "severity": severity, "campaign": named["Campaign"]}
    thread = str(message["In-Reply-To"] or message["Message-ID"]).strip("<>").partition("@")[0]
    return Told(
        what,
        thread.removesuffix(".1"),
        {**labels, "app": named["App"], "team": named["Label team"]},
    )


class Kind(NamedTuple):
    """A receiver of a kind, how its requests are read, and its words for these three."""

    receiver: HttpReceiver
    read: Callable[[Arrival], Told]
    words: tuple[str, str, str]


OVER_HTTP = {
    "webhook": Kind(
        webhook_to("https://a.example/"),
        of_webhook,
        ("campaign.alert.firing", "campaign.alert.reminder", "campaign.alert.resolved"),
    ),
    "cloudevents": Kind(
        events(),
        of_cloud_event,
        ("campaign.alert.firing", "campaign.alert.reminder", "campaign.alert.resolved"),
    ),
    "pagerduty": Kind(pager(), of_pagerduty, ("trigger", "trigger", "resolve")),
    "slack": Kind(channel(), of_slack, ("Firing", "Still firing", "Resolved")),
    "alertmanager": Kind(manager(), of_alertmanager, ("fires", "fires", "ended")),
}
GROUPED = {
    "webhook": ("campaign.group.firing", "campaign.group.updated", "campaign.group.resolved"),
    "pagerduty": ("trigger", "trigger", "resolve"),
    "slack": ("Firing, one cause", "Still firing, one cause", "Resolved, one cause"),
}


def deliveries(directory: Path, names: tuple[str, ...], about: str, to: str) -> list[Delivery]:
    """What a receiver is told, in the order in which it was decided; all of it is due."""
    bodies = [orjson.dumps(orjson.loads((directory / f"{n}.json").read_bytes())) for n in names]
    return [delivery_of(f"{about}.{n}", body.decode(), to) for n, body in enumerate(bodies, 1)]


async def told(kind: Kind, found: list[Delivery]) -> list[Arrival]:
    """Have a receiver told, of which the first answer is 503; return the requests it got."""
    answers = [503]

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=answers.pop() if answers else 202, text="ok")

    holder, metrics = FakeHolder(), AnyKind()
    async with Collector(check=lambda _, __: None) as collector:
        collector.always = answer
        url = f"http://127.0.0.1:{collector.port}/in/"
        async with running(
            holder, kind.receiver.model_copy(update={"url": url}), metrics=metrics
        ) as dispatcher:
            # The last one first: what counts is the sequence.
            for each in reversed(found):
                holder.queue().add(each)
            list(holder.queue().take_changes())
            holder.queue().mark_committed()
            dispatcher.wake()
            await until(lambda: len(metrics.results) == len(found) + 1)
    assert metrics.results[0] == f"{kind.receiver.kind} status"
    return collector.arrivals


def test_every_kind_is_told() -> None:
    kinds = {str(kind.model_fields["kind"].default) for kind in KINDS}
    assert kinds == {*OVER_HTTP, "email"}


@pytest.mark.parametrize("name", OVER_HTTP)
async def test_an_alert_begins_goes_on_and_ends(name: str) -> None:
    kind = OVER_HTTP[name]
    arrivals = await told(kind, deliveries(ALERTS, TOLD, "alert-1", kind.receiver.name))
    first, *found = map(kind.read, arrivals)
    assert tuple(each.what for each in found) == kind.words
    assert first == found[0], "what failed is what is told first"
    for each in found:
        assert each.alert == "alert-1"
        assert each.labels == LABELS


async def test_mails_of_an_alert() -> None:
    holder, metrics = FakeHolder(), AnyKind()
    async with MailServer() as server:
        to = mail(server=f"127.0.0.1:{server.port}", tls="none")
        async with running(holder, to, metrics=metrics) as dispatcher:
            for each in reversed(deliveries(ALERTS, TOLD, "alert-1", to.name)):
                holder.queue().add(each)
            list(holder.queue().take_changes())
            holder.queue().mark_committed()
            dispatcher.wake()
            await until(lambda: len(metrics.results) == len(TOLD))
    found = [of_mail(each) for each in server.mails]
    assert [each.what for each in found] == ["Firing", "Still firing", "Resolved"]
    assert {each.alert for each in found} == {"alert-1"}
    assert [each.labels for each in found] == [LABELS] * 3


@pytest.mark.parametrize("name", GROUPED)
async def test_a_group_begins_grows_and_ends(name: str) -> None:
    kind, group = OVER_HTTP[name], "748928addfe516966ea42632"
    arrivals = await told(kind, deliveries(GROUPS, TOLD_OF_GROUP, group, kind.receiver.name))
    first, *found = map(kind.read, arrivals)
    assert tuple(each.what for each in found) == GROUPED[name]
    assert first == found[0]
    for each in found:
        assert each.labels["rule"] == "failure-spike"
        assert each.labels["severity"] == "critical"
        if name != "slack":
            assert (each.alert, each.labels["team"]) == (group, "sending")
