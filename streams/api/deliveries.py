"""Deliveries to receivers, in any state, with the attempts at them."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from streams.api import answers
from streams.api.asking import UNNAMED, Ask
from streams.api.context import Context
from streams.api.delivery_filters import FILTERS, RECEIVER, STATE, about, passes, sees
from streams.api.newest import CURSOR, LIMIT, Newest
from streams.api.parameters import text
from streams.api.problems import ProblemError, not_found
from streams.api.representations import Rows
from streams.api.routing import Route
from streams.domain import deliveries as domain
from streams.domain.delivery_attempts import AttemptRecord
from streams.domain.partition import CampaignPartition
from streams.domain.receivers import ReceiverBook, ReceiverRecord, standing
from streams.domain.transitions import rfc3339

D = TypeVar("D", bound=answers.Delivery)

DELIVERY_ID = text("delivery_id", "The delivery's id.")

_NEWEST: Newest[domain.Delivery, answers.Deliveries] = Newest(
    answers.Deliveries, "deliveries", "created_at", "delivery_id"
)


def show(delivery: domain.Delivery, receivers: ReceiverBook) -> answers.Delivery:
    """Return a delivery as a list shows it, given what its partition keeps of receivers."""
    return answers.Delivery(**_shown(delivery, receivers))


def show_whole(delivery: domain.Delivery, receivers: ReceiverBook) -> answers.WholeDelivery:
    """Return a delivery with what is kept of the attempts at it."""
    return answers.WholeDelivery(
        **_shown(delivery, receivers),
        history=[_attempt(each) for each in delivery.history],
        dropped_attempts=delivery.attempted - len(delivery.history),
    )


def _shown(delivery: domain.Delivery, receivers: ReceiverBook) -> dict[str, Any]:
    waiting = delivery.state == "pending"
    record = receivers.get(delivery.receiver)
    paused_until = record.paused_until(record.target) if record is not None else 0.0
    subject = about(delivery)
    return {
        "delivery_id": delivery.delivery_id,
        "webhook_id": delivery.webhook_id,
        "receiver": delivery.receiver,
        "campaign_id": delivery.campaign_id,
        "app_id": subject.app_id,
        "alert_id": delivery.alert_id,
        "rule": subject.rule,
        "type": subject.type,
        "sequence": delivery.sequence,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "attempted": delivery.attempted,
        "created_at": rfc3339(delivery.created_at),
        "ended_at": None if waiting else rfc3339(delivery.next_attempt_at),
        "next_attempt_at": rfc3339(max(delivery.next_attempt_at, paused_until))
        if waiting
        else None,
        "last_error": delivery.last_error,
        "replayed_by": delivery.replayed_by,
        "last_attempt": _attempt(delivery.history[-1]) if delivery.history else None,
    }


def _named(context: Context, delivery: D) -> D:
    delivery.campaign_name = context.names.of_campaign(delivery.campaign_id)
    return delivery


def _attempt(attempt: AttemptRecord) -> answers.DeliveryAttempt:
    return answers.DeliveryAttempt(
        number=attempt.number,
        at=rfc3339(attempt.at),
        duration_ms=attempt.duration_ms,
        result=attempt.result,
        status=attempt.status,
        answer=attempt.answer,
        error=attempt.error,
        warnings=list(attempt.warnings),
    )


async def deliveries(context: Context, ask: Ask) -> answers.Deliveries:
    """Answer with deliveries, newest first."""
    return await _NEWEST.page(
        context,
        ask,
        lambda partition: partition.deliveries.deliveries(),
        lambda delivery: _is_wanted(delivery, ask),
        lambda partition, delivery: _named(context, show(delivery, partition.receivers)),
    )


def _is_wanted(delivery: domain.Delivery, ask: Ask) -> bool:
    return (
        ask.allows(STATE, delivery.state)
        and ask.allows(RECEIVER, delivery.receiver)
        and passes(delivery, ask)
    )


def _nothing(delivery_id: str) -> ProblemError:
    return not_found(
        f"there is no delivery {delivery_id}, or it ended long ago: see /v1/deliveries"
    )


async def one_delivery(context: Context, ask: Ask) -> answers.OneDelivery:
    """Answer with one delivery and the attempts at it."""
    delivery_id = ask.path["delivery_id"]

    async def local(partitions: Sequence[CampaignPartition]) -> answers.OneDelivery | None:
        for partition in partitions:
            delivery = partition.deliveries.get(delivery_id)
            if delivery is not None and sees(delivery, ask):
                whole = _named(context, show_whole(delivery, partition.receivers))
                return answers.OneDelivery(as_of="", delivery=whole)
        return None

    gathered = await context.cluster.require(
        ask, context.cluster.everywhere(), answers.OneDelivery, local, _nothing(delivery_id)
    )
    # It is here, whatever else is missing.
    return context.stamp(gathered.parts[0], ())


def refuse_disabled(name: str, record: ReceiverRecord | None) -> None:
    """Refuse to replay what a disabled receiver would not get.

    Raises:
        ProblemError: 409.
    """
    if record is not None and record.status == "disabled":
        raise ProblemError(
            HTTPStatus.CONFLICT,
            f"receiver {name} is disabled ({record.reason}): enable it first, see /v1/receivers",
        )


async def replay(context: Context, ask: Ask) -> answers.OneDelivery:
    """Have a delivery that has ended made again."""
    delivery_id = ask.path["delivery_id"]

    async def local(partitions: Sequence[CampaignPartition]) -> answers.OneDelivery | None:
        for partition in partitions:
            delivery = partition.deliveries.get(delivery_id)
            if delivery is None or not sees(delivery, ask):
                continue
            record = standing(delivery.receiver, [each.receivers for each in partitions])
            refuse_disabled(delivery.receiver, record)
            if not partition.deliveries.replay(
                delivery_id, context.now(), ask.asker.token or UNNAMED
            ):
                raise ProblemError(
                    HTTPStatus.CONFLICT,
                    f"delivery {delivery_id} has not ended, it is still being tried: "
                    f"next at {rfc3339(delivery.next_attempt_at)}",
                )
            whole = _named(context, show_whole(delivery, partition.receivers))
            return answers.OneDelivery(as_of="", delivery=whole)
        return None

    gathered = await context.cluster.require(
        ask, context.cluster.everywhere(), answers.OneDelivery, local, _nothing(delivery_id)
    )
    return context.stamp(gathered.parts[0], ())


ROUTES = (
    Route(
        "/v1/deliveries",
        deliveries,
        "Webhooks: still to be delivered, given up, or delivered lately; newest first",
        answers.Deliveries,
        (STATE, RECEIVER, *FILTERS, LIMIT, CURSOR),
        rows=Rows("deliveries", answers.Delivery),
        for_some=True,
    ),
    Route(
        "/v1/deliveries/{delivery_id}",
        one_delivery,
        "One delivery, with the attempts at it",
        answers.OneDelivery,
        (DELIVERY_ID,),
        for_some=True,
    ),
    Route(
        "/v1/deliveries/{delivery_id}/replay",
        replay,
        "Make a delivery again that was given up, or was delivered",
        answers.OneDelivery,
        (DELIVERY_ID,),
        method="POST",
        scope="write",
        problems=(HTTPStatus.CONFLICT,),
        for_some=True,
    ),
)
