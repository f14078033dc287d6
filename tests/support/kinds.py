"""A receiver of each kind that renders transitions in a form of its own, and names from anybody."""

from typing import Any

from hypothesis import strategies as st
from pydantic import SecretStr

from streams.domain import transitions
from streams.domain.transitions import Transition
from streams.receivers.alertmanager import AlertmanagerReceiver
from streams.receivers.cloudevents import CloudEventsReceiver
from streams.receivers.email import EmailReceiver
from streams.receivers.pagerduty import PagerDutyReceiver
from streams.receivers.receiver import HttpReceiver, Request
from streams.receivers.slack import SlackReceiver
from tests.support.deliveries import delivery_of
from tests.support.pagerduty import ROUTING_KEY
from tests.support.slack_api import NAME, TOKEN

SLACK_PATH = "T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"

HOSTILE = (
    "",
    "<!channel>",
    "<!here|x> <!everyone> <@U024BE7LR> <#C024BE7LR> <!subteam^S1|x>",
    "<https://evil.example|Open the alert>",
    "@channel @here https://evil.example javascript:alert(1)",
    "&lt;!channel&gt; &amp; &",
    "``` *_~`",
    "a\n*Campaign*\nb\r\n\t\x00\x1b[31m\x7f\x85\u2028",
    "\u202egnirif\u200b\ufeff",
    '"}],"event_action":"resolve","x":[{"',
    "{{ .Labels }} ${x} %s",
    "\U0001f600" * 4096,
    "&" * 4096,
    "\x00" * 4096,
)
"""Names with a meaning to somebody: to Slack, a terminal, JSON, a template, or by their length."""

names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    st.text("<>&|!@#*_~`\n a", max_size=300),
)


def pager(**changes: Any) -> PagerDutyReceiver:
    """Make a receiver of the kind `pagerduty`."""
    return PagerDutyReceiver(name="pager", **{"routing_key": SecretStr(ROUTING_KEY), **changes})


def channel(**changes: Any) -> SlackReceiver:
    """Make a receiver of the kind `slack`."""
    return SlackReceiver(name="channel", **{"webhook_path": SecretStr(SLACK_PATH), **changes})


def bot(**changes: Any) -> SlackReceiver:
    """Make a receiver of the kind `slack` that has a token."""
    settings = {"name": "chat", "token": TOKEN, "channel": NAME, **changes}
    return SlackReceiver.model_validate(settings)


def manager(**changes: Any) -> AlertmanagerReceiver:
    """Make a receiver of the kind `alertmanager`."""
    url = "https://am.example/api/v2/alerts"
    return AlertmanagerReceiver(name="manager", **{"url": url, **changes})


def events(**changes: Any) -> CloudEventsReceiver:
    """Make a receiver of the kind `cloudevents`."""
    return CloudEventsReceiver(name="events", **{"url": "https://events.example/", **changes})


def mail(**changes: Any) -> EmailReceiver:
    """Make a receiver of the kind `email`."""
    settings = {
        "server": "smtp.example.com:465",
        "sender": "alerts@example.com",
        "to": ("ops@example.com", "crm@example.com"),
    }
    return EmailReceiver.model_validate({"name": "mail", **settings, **changes})


def rendered(receiver: HttpReceiver, transition: Transition, now: float = 0.0) -> Request:
    """Return the request for an attempt at `now` (s)."""
    text = transitions.encode(transition).decode()
    return receiver.render(delivery_of("a.1", text, receiver.name), now)
