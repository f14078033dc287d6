"""What is still owed to whom: transitions on their way to receivers.

One `DeliveryQueue` belongs to one partition, and is part of its state. A delivery may be sent once
the transaction that holds its transition is committed, not before; for one alert and receiver they
are sent in order, each until it is delivered or given up. What is given up stays, so that it can be
listed and sent again.
"""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec
import orjson

DeliveryState: TypeAlias = Literal["pending", "given-up"]


class Delivery(msgspec.Struct):
    """One transition for one receiver. Times are seconds since the epoch, UTC.

    `webhook_id` is the same for every attempt; `body` is what is sent, JSON.
    """

    delivery_id: str
    webhook_id: str
    receiver: str
    campaign_id: str
    alert_id: str
    sequence: int
    body: str
    created_at: float
    next_attempt_at: float
    attempts: int = 0
    state: DeliveryState = "pending"
    last_error: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Delivery).decode


class DeliveryQueue:
    """The deliveries of one partition."""

    def __init__(self) -> None:
        self._deliveries: dict[str, Delivery] = {}
        self._uncommitted: set[str] = set()
        self._in_flush: set[str] = set()
        self._changed: dict[str, str] = {}

    def add(self, delivery: Delivery) -> None:
        """Owe a delivery; it is due once the flush that writes it down is committed."""
        self._deliveries[delivery.delivery_id] = delivery
        self._uncommitted.add(delivery.delivery_id)
        self._mark(delivery)

    def due(self, now: float) -> list[Delivery]:
        """Return the deliveries to attempt at `now` (s): at most one for an alert and receiver."""
        heads: dict[tuple[str, str], Delivery] = {}
        for delivery in self._deliveries.values():
            if delivery.state != "pending":
                continue
            key = (delivery.alert_id, delivery.receiver)
            head = heads.get(key)
            if head is None or delivery.sequence < head.sequence:
                heads[key] = delivery
        return [d for d in heads.values() if d.next_attempt_at <= now and self._committed(d)]

    def _committed(self, delivery: Delivery) -> bool:
        key = delivery.delivery_id
        return key not in self._uncommitted and key not in self._in_flush

    def delivered(self, delivery: Delivery) -> None:
        """Take note of a success."""
        if self._deliveries.pop(delivery.delivery_id, None) is not None:
            self._mark(delivery)

    def failed(self, delivery: Delivery, error: str, next_attempt_at: float | None) -> None:
        """Take note of a failed attempt; null as the next time gives the delivery up."""
        delivery.attempts += 1
        delivery.last_error = error
        if next_attempt_at is None:
            delivery.state = "given-up"
        else:
            delivery.next_attempt_at = next_attempt_at
        self._mark(delivery)

    def replay(self, delivery_id: str, now: float) -> bool:
        """Try a delivery that was given up again; return whether there is such a one."""
        delivery = self._deliveries.get(delivery_id)
        if delivery is None or delivery.state != "given-up":
            return False
        delivery.state = "pending"
        delivery.attempts = 0
        delivery.next_attempt_at = now
        self._mark(delivery)
        return True

    # Written down and read back

    def _mark(self, delivery: Delivery) -> None:
        self._changed[delivery.delivery_id] = delivery.campaign_id

    def take_changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Hand out what changed since the last call, as keys and values for the state topic."""
        changed, self._changed = self._changed, {}
        self._in_flush |= self._uncommitted
        self._uncommitted = set()
        for delivery_id, campaign_id in changed.items():
            delivery = self._deliveries.get(delivery_id)
            yield (
                orjson.dumps(("delivery", campaign_id, delivery_id)),
                _encode(delivery) if delivery is not None else None,
            )

    def flush_committed(self) -> None:
        """Take note that what the last `take_changes` handed out is committed."""
        self._in_flush.clear()

    def restore(self, delivery_id: str, value: bytes | None) -> None:
        """Read one delivery back; null removes it."""
        if value is None:
            self._deliveries.pop(delivery_id, None)
        else:
            self._deliveries[delivery_id] = _decode(value)

    # Asked

    def deliveries(self) -> list[Delivery]:
        """Return all deliveries, pending and given up."""
        return list(self._deliveries.values())

    def __len__(self) -> int:
        """Return how many deliveries are pending."""
        return sum(d.state == "pending" for d in self._deliveries.values())
