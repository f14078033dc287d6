"""What each kind makes of the event that a silence ends: golden files, and hostile texts."""

from pathlib import Path

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain import receiver_events, silence_events, transitions
from streams.domain.deliveries import Delivery
from streams.domain.silences.matchers import Matcher
from streams.domain.silences.silence import Silence
from streams.receivers.cloudevents import CloudEventsReceiver
from streams.receivers.email import EmailReceiver
from streams.receivers.email_silence import silence_message_of
from streams.receivers.receiver import HttpReceiver
from streams.receivers.registry import KINDS
from streams.receivers.slack import SlackReceiver
from streams.receivers.webhook import WebhookReceiver
from tests.receivers.test_email import Tags, parsed, parts
from tests.support.cloudevents import event_of
from tests.support.deliveries import webhook_to
from tests.support.kinds import HOSTILE, channel, events, mail, names
from tests.support.silences import silence_of
from tests.support.slack import links_of, message_of
from tests.support.transitions import firing

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_795_428_042.0  # 2026-11-23T10:00:42Z
ENDS = NOW + 600
MADE = silence_of("0b9b2c1e", 'rule="failure-spike"', 'app_id=~"shop|club"', now=NOW - 6600)
URL = "https://alerts.example.com"


def event(silence: Silence = MADE, *, base_url: str | None = URL) -> Delivery:
    return silence_events.delivery_of("ops", silence, ENDS, 3, base_url, NOW)


def sent_by(receiver: HttpReceiver, delivery: Delivery) -> bytes:
    return receiver.render(delivery, NOW).body


def mail_of(delivery: Delivery) -> bytes:
    read = silence_events.read(delivery.transition)
    assert read is not None
    recipients = ("ops@example.com", "crm@example.com")
    return silence_message_of(delivery, read, "alerts@example.com", recipients)


@pytest.mark.parametrize(
    ("kind", "receiver"),
    [
        ("webhook", webhook_to("https://a.example/")),
        ("slack", channel()),
        ("cloudevents", events()),
    ],
)
def test_golden(kind: str, receiver: HttpReceiver) -> None:
    body = orjson.loads(sent_by(receiver, event()))
    written = orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n"
    assert written == (GOLDEN / f"{kind}-silence-ending.json").read_text()


def test_golden_mail() -> None:
    written = mail_of(event())
    assert written == (GOLDEN / "email-silence-ending.eml").read_bytes()
    parsed(written)


def test_these_kinds_are_told() -> None:
    assert {kind for kind in KINDS if kind.told_of_silences} == {
        WebhookReceiver,
        CloudEventsReceiver,
        SlackReceiver,
        EmailReceiver,
    }


def test_the_id_follows_from_the_silence_and_its_end() -> None:
    later = silence_events.delivery_of("ops", MADE, ENDS, 7, None, NOW + 60)
    assert later.webhook_id == event().webhook_id == f"silence.0b9b2c1e.{round(ENDS * 1000)}"
    other = silence_events.delivery_of("dev", MADE, ENDS, 7, None, NOW)
    assert other.delivery_id != later.delivery_id


def test_other_bodies_are_no_such_event() -> None:
    of_alert = msgspec.Raw(transitions.encode(firing()))
    of_receiver = receiver_events.delivery_of("ops", "failing", "dev", NOW, "503", NOW).transition
    assert silence_events.read(of_alert) is silence_events.read(of_receiver) is None
    assert receiver_events.read(event().transition) is None


def test_a_cloud_event_is_about_the_silence() -> None:
    request = events().render(event(), NOW)
    found = event_of(request.headers, request.body)
    assert (found["type"], found["subject"]) == ("silence.ending", "silence.0b9b2c1e")


@given(st.lists(names, min_size=4, max_size=4))
def test_hostile_texts(hostile: list[str]) -> None:
    check(hostile)


@pytest.mark.parametrize("text", HOSTILE)
def test_each_hostile_text(text: str) -> None:
    check([text] * 4)


def check(hostile: list[str]) -> None:
    """Nothing that somebody wrote into a silence is a link, a mention, a header or an element."""
    made = msgspec.structs.replace(
        MADE,
        silence_id=hostile[0],
        matchers=(Matcher("app_id", "=", hostile[1]),),
        created_by=hostile[2],
        comment=hostile[3],
    )
    delivery = event(made, base_url=None)
    request = channel().render(delivery, NOW)
    assert links_of(message_of(request.headers, request.body)) == []
    message = parsed(mail_of(delivery))
    plain, html = parts(message)
    tags = Tags(html)
    assert tags.links == []
    assert set(tags.found) <= {
        *("html", "head", "meta", "title", "style", "body"),
        *("h1", "p", "table", "tr", "th", "td", "small"),
    }
    assert len(plain.splitlines()) == 11
    assert event_of(*headers_and_body(delivery))["type"] == "silence.ending"


def headers_and_body(delivery: Delivery) -> tuple[dict[str, str], bytes]:
    request = events(mode="binary").render(delivery, NOW)
    return dict(request.headers), request.body


def test_mails_of_one_event_have_one_id() -> None:
    assert mail_of(event()) == mail_of(event())
    settings = mail()
    assert settings.told_of_silences
