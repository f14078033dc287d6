"""Deliveries to receivers: those that are pending, and those that were given up."""

from collections.abc import Sequence
from http import HTTPStatus

from streams.api import answers
from streams.api.alerts import CAMPAIGN
from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.newest import CURSOR, LIMIT, Newest
from streams.api.parameters import choice, text
from streams.api.problems import ProblemError, not_found
from streams.api.routing import Route
from streams.domain import deliveries as domain
from streams.domain.partition import CampaignPartition
from streams.domain.receivers import ReceiverBook, standing
from streams.domain.transitions import rfc3339

STATE = choice("state", ("pending", "given-up"), "Only deliveries in this state.")
RECEIVER = text("receiver", "Only deliveries to this receiver.")
ALERT = text("alert_id", "Only what is about this alert.")
DELIVERY_ID = text("delivery_id", "The delivery's id.")

_NEWEST: Newest[domain.Delivery, answers.Deliveries] = Newest(
    answers.Deliveries, "deliveries", "created_at", "delivery_id"
)


def show(delivery: domain.Delivery, receivers: ReceiverBook) -> answers.Delivery:
    """Return a delivery as the API shows it, given what its partition keeps of receivers."""
    waiting = delivery.state == "pending"
    record = receivers.get(delivery.receiver)
    paused_until = record.paused_until(record.target) if record is not None else 0.0
    return answers.Delivery(
        delivery_id=delivery.delivery_id,
        webhook_id=delivery.webhook_id,
        receiver=delivery.receiver,
        campaign_id=delivery.campaign_id,
        alert_id=delivery.alert_id,
        sequence=delivery.sequence,
        state=delivery.state,
        attempts=delivery.attempts,
        created_at=rfc3339(delivery.created_at),
        next_attempt_at=rfc3339(max(delivery.next_attempt_at, paused_until)) if waiting else None,
        last_error=delivery.last_error,
    )


async def deliveries(context: Context, ask: Ask) -> answers.Deliveries:
    """Answer with deliveries, newest first."""
    return await _NEWEST.page(
        context,
        ask,
        lambda partition: partition.deliveries.deliveries(),
        lambda delivery: _is_wanted(delivery, ask),
        lambda partition, delivery: show(delivery, partition.receivers),
    )


def _is_wanted(delivery: domain.Delivery, ask: Ask) -> bool:
    return (
        ask.allows(STATE, delivery.state)
        and ask.allows(RECEIVER, delivery.receiver)
        and ask.allows(ALERT, delivery.alert_id)
        and ask.allows(CAMPAIGN, delivery.campaign_id)
    )


async def replay(context: Context, ask: Ask) -> answers.OneDelivery:
    """Have a delivery that was given up tried again."""
    delivery_id = ask.path["delivery_id"]

    async def local(partitions: Sequence[CampaignPartition]) -> answers.OneDelivery | None:
        for partition in partitions:
            delivery = partition.deliveries.get(delivery_id)
            if delivery is None:
                continue
            record = standing(delivery.receiver, [each.receivers for each in partitions])
            if record is not None and record.status == "disabled":
                raise ProblemError(
                    HTTPStatus.CONFLICT,
                    f"receiver {delivery.receiver} answered 410 Gone: enable it first, "
                    "see /v1/receivers",
                )
            if not partition.deliveries.replay(delivery_id, context.now()):
                raise ProblemError(
                    HTTPStatus.CONFLICT,
                    f"delivery {delivery_id} was not given up, it is still being tried: "
                    f"next at {rfc3339(delivery.next_attempt_at)}",
                )
            return answers.OneDelivery(as_of="", delivery=show(delivery, partition.receivers))
        return None

    everywhere = context.cluster.everywhere()
    nothing = not_found(f"there is no delivery {delivery_id}, or it was made: see /v1/deliveries")
    gathered = await context.cluster.require(ask, everywhere, answers.OneDelivery, local, nothing)
    return context.stamp(gathered.parts[0], ())


ROUTES = (
    Route(
        "/v1/deliveries",
        deliveries,
        "Webhooks that are still to be delivered, or were given up",
        answers.Deliveries,
        (STATE, RECEIVER, ALERT, CAMPAIGN, LIMIT, CURSOR),
    ),
    Route(
        "/v1/deliveries/{delivery_id}/replay",
        replay,
        "Try a delivery that was given up again",
        answers.OneDelivery,
        (DELIVERY_ID,),
        method="POST",
        scope="write",
        problems=(HTTPStatus.CONFLICT,),
    ),
)
