"""What people call a campaign stands in each notification, beside its id."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import orjson
import pytest

from streams.domain import transitions
from streams.domain.transitions import Transition
from streams.receivers.email_message import built_in_texts
from streams.receivers.email_message import message_of as mail_of
from tests.support.alertmanager import alert_of
from tests.support.deliveries import delivery_of
from tests.support.kinds import channel, manager, pager, rendered
from tests.support.pagerduty import event_of
from tests.support.slack import message_of, texts_of
from tests.support.transitions import explained

NAME = "Spring <sale> & \u200bmore"


@pytest.fixture
def transition() -> Transition:
    made = explained()
    made.data.app_id = "shop"
    made.data.campaign_name, made.data.app_name = NAME, "The shop"
    return made


def test_native(transition: Transition) -> None:
    data = orjson.loads(transitions.encode(transition))["data"]
    assert (data["campaign_name"], data["app_name"]) == (NAME, "The shop")
    assert (
        not {"campaign_name", "app_name"}
        & orjson.loads(transitions.encode(explained()))["data"].keys()
    )


def test_slack(transition: Transition) -> None:
    request = rendered(channel(), transition)
    (field,) = [
        text
        for text in texts_of(message_of(request.headers, request.body))
        if text.startswith("*Campaign*")
    ]
    expected = f"Spring &lt;sale&gt; &amp; \\u200bmore ({transition.data.campaign_id})"
    assert field == f"*Campaign*\n{expected}"


def test_email(transition: Transition) -> None:
    delivery = delivery_of(transition=transitions.encode(transition).decode())
    message = message_from_bytes(
        mail_of(
            delivery, built_in_texts(transition.data), "alerts@example.com", ["ops@example.com"]
        ),
        policy=policy.default,
    )
    assert ": campaign Spring <sale> & \\u200bmore," in message["Subject"]
    assert isinstance(message, EmailMessage)
    plain, html = (part.get_content() for part in message.iter_parts())
    campaign_id = transition.data.campaign_id
    assert f"Campaign: Spring <sale> & \\u200bmore ({campaign_id})" in plain
    assert f"<td>Spring &lt;sale&gt; &amp; \\u200bmore ({campaign_id})</td>" in html
    assert "App: The shop (shop)" in plain


def test_pagerduty(transition: Transition) -> None:
    request = rendered(pager(), transition)
    details = event_of(request.headers, request.body)["payload"]["custom_details"]
    assert details["campaign_name"] == "Spring <sale> & \\u200bmore"
    assert details["app_name"] == "The shop"


def test_alertmanager(transition: Transition) -> None:
    request = rendered(manager(), transition, 1_795_428_100.0)
    alert = alert_of(request.headers, request.body)
    assert alert["annotations"]["campaign_name"] == NAME
    assert "campaign_name" not in alert["labels"], "it may change, and labels say which alert it is"


@pytest.mark.parametrize(("named", "title"), [(True, "Spring"), (False, "none")])
def test_templates(transition: Transition, *, named: bool, title: str) -> None:
    receiver = channel(title="{{ campaign_name if campaign_name else 'none' }}")
    request = rendered(receiver, transition if named else explained())
    header = message_of(request.headers, request.body)["blocks"][0]["text"]["text"]
    assert header.startswith(title)
