"""What a mail says: its headers, its thread, its two parts; and the settings of who gets it."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given
from pydantic import ValidationError

from streams.domain import transitions
from streams.domain.transitions import Transition, TransitionType
from streams.receivers.email_message import LONGEST_SUBJECT, message_of
from tests.support.deliveries import delivery_of
from tests.support.kinds import mail, names
from tests.support.transitions import explained

GOLDEN = Path(__file__).parent / "golden"
DOMAIN = Path(__file__).parents[1] / "domain" / "golden"
ATTRIBUTES = {"style", "class", "href", "scope", "lang", "charset", "name", "content"}
NAMES = "firing", "reminder", "acknowledged", "resolved", "reopened", "expired", "explained"
ENCODED = "=?utf-8?q?x=0D=0ABcc:_evil@example.com?= =?utf-8?b?DQpCY2M6IGV2aWw=?="
"""A name that is two lines once it is decoded as a header is."""


def raw(transition: Transition, alert_id: str = "alert-1", **keys: str) -> bytes:
    text = transitions.encode(transition).decode()
    delivery = delivery_of(f"{alert_id}.{transition.data.sequence}", text, "mail")
    to = mail(**keys)
    return message_of(delivery, to.texts(transition), to.sender, to.to)


def parsed(written: bytes) -> EmailMessage:
    """Read a message that is one for any mail server: ASCII, short lines, CRLF."""
    assert written.isascii()
    lines = written.split(b"\r\n")
    assert all(b"\r" not in line and b"\n" not in line for line in lines)
    assert max(map(len, lines)) <= 998
    message = message_from_bytes(written, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def parts(message: EmailMessage) -> tuple[str, str]:
    plain, html = message.iter_parts()
    assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    return plain.get_content(), html.get_content()


class Tags(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str | None] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.links += [value for name, value in attrs if name == "href"]
        assert {name for name, _ in attrs} <= ATTRIBUTES

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    transition = (
        explained(name="EMAIL & <sms>")
        if name == "explained"
        else transitions.decode((DOMAIN / f"{name}.json").read_bytes())
    )
    written = raw(transition)
    assert written == (GOLDEN / f"email-{name}.eml").read_bytes()
    parsed(written)


@pytest.mark.parametrize("type_", get_args(TransitionType))
def test_a_thread(type_: TransitionType) -> None:
    first, later = explained(type_), explained(type_)
    first.data.sequence, later.data.sequence = 1, 7
    begins, answers = parsed(raw(first)), parsed(raw(later))
    assert begins["Message-ID"] == "<alert-1.1@example.com>"
    assert answers["Message-ID"] == "<alert-1.7@example.com>"
    assert answers["In-Reply-To"] == answers["References"] == "<alert-1.1@example.com>"
    assert (begins["In-Reply-To"], begins["References"]) == (None, None)
    assert answers["Subject"] == f"Re: {begins['Subject']}"


def test_headers() -> None:
    message = parsed(raw(explained(name="sale")))
    assert message["From"] == "campaign-streams <alerts@example.com>"
    assert message["To"] == "ops@example.com, crm@example.com"
    assert message["Date"].datetime.isoformat() == "2026-11-23T10:00:42+00:00"
    assert message["Auto-Submitted"] == "auto-generated"
    expected = "failing (critical): campaign sale, treatment sale, channel sale"
    assert message["Subject"] == expected


def test_long_ids_are_not_encoded() -> None:
    """An encoded word is no id, so programs would not see that mails belong together."""
    transition = explained()
    transition.data.sequence = 2
    text = transitions.encode(transition).decode()
    domain = ".".join(["d" * 60] * 3)
    delivery = delivery_of(f"{'ü<>@ ' * 10}.2", text)
    texts = mail().texts(transition)
    message = parsed(message_of(delivery, texts, f"alerts@{domain}", ["ops@example.com"]))
    expected = f"<{'%C3%BC%3C%3E%40%20' * 10}.1@{domain}>"
    assert message["In-Reply-To"] == message["References"] == expected


def test_it_is_the_same_in_each_attempt() -> None:
    assert raw(explained()) == raw(explained())


def test_what_it_says() -> None:
    plain, html = parts(parsed(raw(explained(name="EMAIL & <sms>"))))
    lines = plain.splitlines()
    assert lines[:2] == ["Firing: failing (critical)", ""]
    assert "Campaign: EMAIL & <sms>" in lines
    assert "Label team: crm" in lines
    page = Tags(html)
    for line in lines:
        name, _, value = line.partition(": ")
        assert name in page.text
        assert value in page.text or value in page.links
    assert len(page.links) == 3


def test_without_links_and_explanation() -> None:
    transition = explained()
    transition.data.links = transition.data.explanation = None
    plain, html = parts(parsed(raw(transition)))
    assert "http" not in plain
    assert Tags(html).links == []


@given(names)
@example(ENCODED)
@example("a\r\nBcc: evil@example.com\r\n\r\nbody")
@example("\r\n.\r\nQUIT\r\n")
@example("</td><script>alert(1)</script><a href=javascript:x>")
def test_any_name(name: str) -> None:
    """Names add no header, no element, no line, and no link."""
    transition = explained(name=name)
    transition.data.labels = {name or "x": name}
    transition.data.summary = name
    message = parsed(raw(transition))
    usual = parsed(raw(explained(name="x")))
    assert message.keys() == usual.keys()
    for key in ("From", "To"):
        assert str(message[key]) == str(usual[key])
    assert len(message["Subject"]) <= LONGEST_SUBJECT + 4
    assert "\n" not in message["Subject"]
    assert "\r" not in message["Subject"]
    plain, html = parts(message)
    usual_plain, usual_html = parts(usual)
    page, usual_page = Tags(html), Tags(usual_html)
    assert page.found[:20] == usual_page.found[:20]
    assert set(page.found) <= {*usual_page.found}
    assert len(plain.splitlines()) <= len(usual_plain.splitlines())
    assert all(link is not None and link.startswith("http") for link in page.links)


def test_no_encoded_word_of_a_name_is_decoded() -> None:
    transition = explained(name=ENCODED)
    transition.data.treatment_id = transition.data.channel_type = None
    subject = parsed(raw(transition))["Subject"]
    assert "evil" in subject or "0ABcc" in subject
    assert "= ?utf-8" in subject


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"server": "smtp.example.com"}, "expected host:port"),
        ({"tls": "maybe"}, "'implicit', 'starttls' or 'none'"),
        ({"to": ()}, "at least 1 item"),
        ({"to": ["Ops <ops@example.com>"]}, "expected an address such as"),
        ({"to": ["ops@example.com\r\nBcc: x@example.com"]}, "expected an address such as"),
        ({"to": ["ops"]}, "expected an address such as"),
        ({"sender": "öps@example.com"}, "expected an address such as"),
        ({"user": "u"}, "expected the password of user"),
        ({"user": "u", "password": "p", "tls": "none"}, "expected implicit or starttls"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        mail(**changes)


def test_another_server_or_recipient_is_another_target() -> None:
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"server": "b.example.com:465"},
        {"to": ["ops@example.com"]},
    )
    assert len({mail(**each).target for each in changes}) == 3
