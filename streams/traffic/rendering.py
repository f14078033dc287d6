"""One event in the shape the vendor gives it, as a template that is filled in many times.

Source of the format: "Campaign events" in the Amazon Pinpoint developer guide, and real events,
which have a `campaign_type` of null and sometimes no `delivery_type`.
"""

import json
from typing import Any

from streams.traffic.populations import Campaign, Channel

ACCOUNT = "123456789012"
VERSION = "3.1"
_EVENT_MS, _ARRIVAL_MS = 10**15 + 1, 10**15 + 2
_CLIENT, _STATUS, _REQUEST = "client?", "status?", "request?"
CLIENT_FORMAT = b"%08x-e81a-48ae-8313-%012x"
REQUEST_FORMAT = b"%08x-9d1e-11e9-8bf1-%012x"


def send_template(campaign: Campaign, treatment_id: str, channel: Channel) -> bytes:
    """Make the template of a send.

    To be filled by ``%`` with event and arrival time (ms), two integers for the client's id
    (32 and 48 bits), the status (bytes), and two integers for the request's id.
    """
    attributes: dict[str, Any] = {
        "treatment_id": treatment_id,
        "campaign_activity_id": campaign.activity_id,
        "delivery_type": channel.delivery_type,
        "campaign_id": campaign.campaign_id,
        "campaign_send_status": _STATUS,
    }
    if channel.delivery_type is None:
        del attributes["delivery_type"]
        attributes["campaign_type"] = None
    endpoint = {
        "ChannelType": channel.channel_type,
        "EndpointStatus": "ACTIVE",
        "OptOut": "NONE",
        "RequestId": _REQUEST,
        "EffectiveDate": "2026-07-02T23:12:54.836Z",
        "User": {},
    }
    context = {"client_context": {"custom": {"endpoint": _compact(endpoint)}}}
    return _template("_campaign.send", campaign, attributes, context)


def engagement_template(
    event_type: str, campaign: Campaign, treatment_id: str, channel: Channel
) -> bytes:
    """Make the template of an engagement: event and arrival time, two integers for the client."""
    attributes = {
        "treatment_id": treatment_id,
        "campaign_activity_id": campaign.activity_id,
        "delivery_type": channel.delivery_type,
        "campaign_id": campaign.campaign_id,
    }
    return _template(event_type, campaign, attributes, {"client_context": {"custom": {}}})


def foreign_template(event_type: str, campaign: Campaign, treatment_id: str) -> bytes:
    """Make the template of an event of the channel itself, filled as an engagement is.

    Such events name the campaign, but are none of its sends.
    """
    attributes = {
        "campaign_activity_id": campaign.activity_id,
        "record_status": "SUCCESSFUL",
        "treatment_id": treatment_id,
        "message_type": "Promotional",
        "campaign_id": campaign.campaign_id,
    }
    extra = {"metrics": {"price_in_millicents_usd": 645.0}}
    return _template(event_type, campaign, attributes, extra)


def _template(
    event_type: str, campaign: Campaign, attributes: dict[str, Any], extra: dict[str, Any]
) -> bytes:
    event = {
        "event_type": event_type,
        "event_timestamp": _EVENT_MS,
        "arrival_timestamp": _ARRIVAL_MS,
        "event_version": VERSION,
        "application": {"app_id": campaign.app_id, "sdk": {}},
        "client": {"client_id": _CLIENT},
        "device": {"platform": {}},
        "session": {},
        "attributes": attributes,
        **extra,
        "awsAccountId": ACCOUNT,
    }
    template = _compact(event).encode().replace(b"%", b"%%")
    for place, format_ in (
        (str(_EVENT_MS).encode(), b"%d"),
        (str(_ARRIVAL_MS).encode(), b"%d"),
        (_CLIENT.encode(), CLIENT_FORMAT),
        (_STATUS.encode(), b"%b"),
        (_REQUEST.encode(), REQUEST_FORMAT),
    ):
        template = template.replace(place, format_)
    return template


def _compact(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
