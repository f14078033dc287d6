"""Deliveries and receivers for tests of what sends them."""

import msgspec
from pydantic import SecretStr

from streams.domain.deliveries import Delivery, pack
from streams.receivers.webhook import WebhookReceiver
from tests.support.receiver import SECRET


def delivery_of(
    webhook_id: str = "a.1",
    transition: str = "{}",
    receiver: str = "ops",
    campaign_id: str = "c",
) -> Delivery:
    """Make a delivery that is due; its transition is the text, as it is."""
    alert_id, _, sequence = webhook_id.rpartition(".")
    return Delivery(
        delivery_id=f"{webhook_id}.{receiver}",
        webhook_id=webhook_id,
        receiver=receiver,
        campaign_id=campaign_id,
        alert_id=alert_id,
        sequence=int(sequence),
        packed=pack(msgspec.Raw(transition.encode())),
        created_at=0.0,
        next_attempt_at=0.0,
    )


def webhook_to(
    url: str, name: str = "ops", *secrets: str, timeout: float = 10.0
) -> WebhookReceiver:
    """Make a receiver of the default kind; its URL may be one that the configuration refuses."""
    hidden = tuple(map(SecretStr, secrets or (SECRET,)))
    made = WebhookReceiver(name=name, url="https://a.example/", secrets=hidden, timeout=timeout)
    return made.model_copy(update={"url": url})
