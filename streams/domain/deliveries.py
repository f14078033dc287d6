"""The outbox: transitions on their way to receivers.

One `Outbox` belongs to one partition, and is part of its state. A delivery may be attempted once
the transaction that holds it is committed, not before. Deliveries with the same ordering key (alert
and receiver) are attempted in order, each until it is delivered or given up. Then it is kept for
some time (`Retention`) with its attempts, so that it can be listed and replayed.
"""

import zlib
from collections.abc import Iterator
from heapq import heappop, heappush
from sys import intern
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from streams.domain.delivery_attempts import AttemptRecord, compact, kept
from streams.domain.sent_messages import SentMessage, SentMessages

DeliveryState: TypeAlias = Literal["pending", "given-up", "delivered"]

GIVEN_UP_KEPT_S = 7 * 86_400.0
"""How long (s) a given-up delivery is kept."""

_WINDOW_BITS = -12
"""Of what is compressed (RFC 1951, without a header): transitions have some kilobytes."""
_MEMORY_LEVEL = 4
"""Of zlib: with its default, setting up takes longer than compressing."""


class Retention(NamedTuple):
    """How long what has ended is kept in one partition.

    Attributes:
        given_up: for a given-up delivery; s.
        delivered: for a delivered one; s. 0: it is not kept.
        most_delivered: of more delivered ones, the oldest are forgotten.
    """

    given_up: float = GIVEN_UP_KEPT_S
    delivered: float = 0.0
    most_delivered: int = 1000


DEFAULT_RETENTION = Retention()


class _Fields(msgspec.Struct, kw_only=True):
    """What there is of a delivery but its transition. Times are seconds since the epoch, UTC.

    Attributes:
        delivery_id: unique; `webhook_id` and the receiver.
        webhook_id: of the transition, the same for all receivers and in every attempt.
        receiver: the name of the receiver.
        sequence: counts the alert's transitions from 1; deliveries of one alert to one receiver are
            sent in its order.
        campaign_id: of the alert; empty if it is about a group.
        alert_id: of the alert, or the group.
        created_at: when it was decided.
        next_attempt_at: when the next attempt is due; when a given-up delivery was given up, or a
            delivered one delivered.
        attempts: how many failed, since it was enqueued or last replayed.
        last_error: why the last attempt failed; null if none did.
        attempted: how many were made in all.
        history: what is kept of them, oldest first.
        replayed_by: who had it made again last; null if nobody has.
        message: names the message in which the receiver shows the alert, to the receiver's kind, as
            known when this was last handed out; null if there is none.
    """

    delivery_id: str
    webhook_id: str
    receiver: str
    campaign_id: str
    alert_id: str
    sequence: int
    created_at: float
    next_attempt_at: float
    attempts: int = 0
    state: DeliveryState = "pending"
    last_error: str | None = None
    attempted: int = 0
    history: tuple[AttemptRecord, ...] = ()
    replayed_by: str | None = None
    message: str | None = None


class Delivery(_Fields, kw_only=True):
    """One transition for one receiver.

    Attributes:
        packed: `transition`, compressed: thousands of deliveries may wait for a receiver.
    """

    packed: bytes

    @property
    def transition(self) -> msgspec.Raw:
        """JSON of a `Transition` or a `GroupTransition`, to the byte as it was decided.

        The receiver's kind renders it when it is sent.
        """
        return msgspec.Raw(zlib.decompress(self.packed, _WINDOW_BITS))


class _DeliveryRecord(_Fields, kw_only=True):
    """A delivery as it is on the changelog topic."""

    transition: msgspec.Raw


_encode_record = msgspec.json.Encoder().encode
_decode_record = msgspec.json.Decoder(_DeliveryRecord).decode


def pack(transition: msgspec.Raw) -> bytes:
    """Return a delivery's `packed` transition."""
    packer = zlib.compressobj(wbits=_WINDOW_BITS, memLevel=_MEMORY_LEVEL)
    return packer.compress(bytes(transition)) + packer.flush()


def encode(delivery: Delivery) -> bytes:
    """Return the value of a delivery's record on the changelog topic."""
    fields = msgspec.structs.asdict(delivery)
    del fields["packed"]
    return _encode_record(_DeliveryRecord(transition=delivery.transition, **fields))


def decode(value: bytes) -> Delivery:
    """Return the delivery of a record.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    fields = msgspec.structs.asdict(_decode_record(value))
    return Delivery(packed=pack(fields.pop("transition")), **fields)


class DeliveryKey(msgspec.Struct, frozen=True, array_like=True, tag="delivery"):
    """Key of a delivery on the changelog topic."""

    campaign_id: str
    delivery_id: str


def delivery_id_of(alert_id: str, sequence: int, receiver: str) -> str:
    """Return the id of the delivery of one transition of an alert to one receiver."""
    return f"{alert_id}.{sequence}.{receiver}"


def decided(  # noqa: PLR0913, PLR0917 - what a delivery is made of
    alert_id: str,
    sequence: int,
    receiver: str,
    transition: msgspec.Raw,
    now: float,
    campaign_id: str = "",
) -> Delivery:
    """Return a delivery of what was decided at `now` (s, UTC), due at once.

    Args:
        alert_id: names the alert, or whatever else it is about.
        sequence: of the transition.
        receiver: the name of the receiver.
        transition: JSON of what it is told.
        now: wall-clock time.
        campaign_id: of the alert's campaign; empty if it is about no single one.
    """
    return Delivery(
        delivery_id=delivery_id_of(alert_id, sequence, receiver),
        webhook_id=f"{alert_id}.{sequence}",
        receiver=receiver,
        campaign_id=campaign_id,
        alert_id=alert_id,
        sequence=sequence,
        packed=pack(transition),
        created_at=now,
        next_attempt_at=now,
    )


class _OrderingKey(NamedTuple):
    """Of the deliveries with the same key only the first, by sequence, is attempted."""

    alert_id: str
    receiver: str


class Outbox:
    """The deliveries of one partition.

    A timer is set for the first delivery of each ordering key, when its attempt is due, and for
    each one that has ended, when it is forgotten. A timer may be outdated, which shows when it goes
    off; so deliveries that are not due cost nothing, however many there are.

    Args:
        retention: how long what has ended is kept.

    Attributes:
        messages: in which receivers show alerts.
    """

    def __init__(self, retention: Retention = DEFAULT_RETENTION) -> None:
        self.messages = SentMessages()
        self._retention = retention
        self._delivered: dict[str, None] = {}
        """Ids of the delivered ones, oldest first."""
        self._deliveries: dict[str, Delivery] = {}
        self._queues: dict[_OrderingKey, dict[int, Delivery]] = {}
        self._pending = 0
        self._timers: list[tuple[float, str]] = []
        self._handed_out: set[_OrderingKey] = set()
        self._polled_at = 0.0
        self._uncommitted: set[str] = set()
        self._in_commit: set[str] = set()
        self._changed: dict[str, str] = {}

    def add(self, delivery: Delivery) -> None:
        """Enqueue a delivery; it is due once the transaction that holds it is committed."""
        self._uncommitted.add(delivery.delivery_id)
        self._deliveries[delivery.delivery_id] = delivery
        self._queue(delivery)
        self._mark(delivery)

    def due(self, now: float) -> list[Delivery]:
        """Hand out the deliveries to attempt at `now` (s): at most one for an alert and receiver.

        Each is handed out once, until `delivered`, `failed`, `give_up` or `release` takes it back.
        """
        self._polled_at = now
        self.messages.forget_old(now)
        due = []
        while self._timers and self._timers[0][0] <= now:
            _, delivery_id = heappop(self._timers)
            delivery = self._deliveries.get(delivery_id)
            if delivery is None or self._timer_of(delivery) > now:
                continue
            if delivery.state != "pending":
                self._remove(delivery)
            elif self._is_next(delivery):
                self.hand_out(delivery)
                due.append(delivery)
        return due

    @property
    def next_due_at(self) -> float | None:
        """When (s, UTC) the next timer goes off; null for never.

        Deliveries that are not committed yet, or wait for another one, have none.
        """
        return self._timers[0][0] if self._timers else None

    def attempted(self, delivery: Delivery, attempt: AttemptRecord) -> None:
        """Keep an attempt that was made; what came of it follows by `delivered` or `failed`."""
        if self._deliveries.get(delivery.delivery_id) is delivery:
            delivery.attempted += 1
            delivery.history = kept(delivery.history, attempt)
            self._mark(delivery)

    def delivered(self, delivery: Delivery, message: str | None = None) -> None:
        """Take note of a success.

        Args:
            delivery: was delivered.
            message: names the message in which the receiver shows the alert; null if there is none,
                or none that will be updated again.
        """
        if not self._take_back(delivery):
            return
        key = _ordering_key_of(delivery)
        if message is None:
            self.messages.forget(*key, delivery.sequence)
        else:
            sent = SentMessage(message, delivery.sequence, self._polled_at)
            self.messages.keep(*key, sent)
        if self._retention.delivered and self._retention.most_delivered:
            self._end(delivery, "delivered")
            self._delivered[delivery.delivery_id] = None
            self._forget_oldest_delivered()
        else:
            self._remove(delivery)

    def _forget_oldest_delivered(self) -> None:
        while len(self._delivered) > self._retention.most_delivered:
            self._remove(self._deliveries[next(iter(self._delivered))])

    def failed(self, delivery: Delivery, error: str, next_attempt_at: float | None) -> None:
        """Take note of a failed attempt; null as the next time gives the delivery up."""
        if not self._take_back(delivery):
            return
        delivery.attempts += 1
        if next_attempt_at is None:
            self._give_up(delivery, error)
        else:
            delivery.last_error = error
            delivery.next_attempt_at = next_attempt_at
            self._mark(delivery)
            self._set_timer_of_first(_ordering_key_of(delivery))

    def give_up(self, delivery: Delivery, reason: str) -> None:
        """Give a delivery up without another attempt."""
        if self._take_back(delivery):
            self._give_up(delivery, reason)

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        delivery.last_error = reason
        self._end(delivery, "given-up")

    def _end(self, delivery: Delivery, state: DeliveryState) -> None:
        self._unqueue(delivery)
        delivery.state = state
        delivery.next_attempt_at = max(delivery.next_attempt_at, self._polled_at)
        self._mark(delivery)
        self._set_timer(delivery)

    def release(self, delivery: Delivery) -> None:
        """Take a delivery back whose attempt was broken off: it is due again."""
        if self._take_back(delivery):
            self._set_timer_of_first(_ordering_key_of(delivery))

    def hold(self, alert_id: str, receiver: str) -> bool:
        """Hand out no delivery of an alert to a receiver until `let_go`.

        Returns:
            False if one is handed out, or held already: then there is nothing to let go.
        """
        key = _OrderingKey(alert_id, receiver)
        if key in self._handed_out:
            return False
        self._handed_out.add(key)
        return True

    def let_go(self, alert_id: str, receiver: str) -> None:
        """Hand deliveries out again that `hold` kept."""
        key = _OrderingKey(alert_id, receiver)
        self._handed_out.discard(key)
        self._set_timer_of_first(key)

    def replay(self, delivery_id: str, now: float, by: str | None = None) -> bool:
        """Make a delivery that has ended pending and due; tell whether there is such a one.

        Args:
            delivery_id: of the delivery.
            now: wall-clock time (s, UTC).
            by: who asks for it.
        """
        delivery = self._deliveries.get(delivery_id)
        if delivery is None or delivery.state == "pending":
            return False
        self._delivered.pop(delivery_id, None)
        delivery.state = "pending"
        delivery.attempts = 0
        delivery.next_attempt_at = now
        delivery.replayed_by = by
        self._queue(delivery)
        self._mark(delivery)
        return True

    def next_to(self, receiver: str) -> Delivery | None:
        """Return the delivery to a receiver whose next attempt is the earliest; null for none."""
        heads = (
            queue[min(queue)] for key, queue in self._queues.items() if key.receiver == receiver
        )
        return min(
            filter(self._is_next, heads), key=lambda each: each.next_attempt_at, default=None
        )

    def hand_out(self, delivery: Delivery) -> None:
        """Hand out what is the next for its receiver, due or not.

        `release` leaves the time at which it is due as it was.
        """
        key = _ordering_key_of(delivery)
        delivery.message = self.messages.shown_before(*key, delivery.sequence)
        self._handed_out.add(key)

    def hasten(self, receiver: str, now: float) -> None:
        """Make what waits for another attempt at a receiver due at `now` (s): it takes them again.

        That is not written down: after a restart they are due when they were before.
        """
        for key, queue in self._queues.items():
            if key.receiver == receiver:
                first = queue[min(queue)]
                first.next_attempt_at = min(first.next_attempt_at, now)
                self._set_timer(first)

    # Ordering queues and timers

    def _queue(self, delivery: Delivery) -> None:
        self._queues.setdefault(_ordering_key_of(delivery), {})[delivery.sequence] = delivery
        self._pending += 1
        self._set_timer(delivery)

    def _unqueue(self, delivery: Delivery) -> None:
        """Take a pending delivery out of its ordering queue, and set the timer of the next one."""
        key = _ordering_key_of(delivery)
        queue = self._queues[key]
        del queue[delivery.sequence]
        if not queue:
            del self._queues[key]
        self._pending -= 1
        self._set_timer_of_first(key)

    def _set_timer_of_first(self, key: _OrderingKey) -> None:
        queue = self._queues.get(key)
        if queue:
            self._set_timer(queue[min(queue)])

    def _set_timer(self, delivery: Delivery) -> None:
        heappush(self._timers, (self._timer_of(delivery), delivery.delivery_id))

    def _timer_of(self, delivery: Delivery) -> float:
        """Return when (s, UTC) to attempt a delivery, or to forget one that has ended."""
        match delivery.state:
            case "pending":
                return delivery.next_attempt_at
            case "given-up":
                return delivery.next_attempt_at + self._retention.given_up
            case "delivered":
                return delivery.next_attempt_at + self._retention.delivered

    def _is_next(self, delivery: Delivery) -> bool:
        key = _ordering_key_of(delivery)
        is_first = delivery.sequence == min(self._queues[key])
        return is_first and key not in self._handed_out and self._committed(delivery)

    def _committed(self, delivery: Delivery) -> bool:
        key = delivery.delivery_id
        return key not in self._uncommitted and key not in self._in_commit

    def _take_back(self, delivery: Delivery) -> bool:
        """Free the delivery's ordering key; tell whether it is still pending in this outbox."""
        if self._deliveries.get(delivery.delivery_id) is not delivery:
            return False
        if delivery.state != "pending":
            return False
        self._handed_out.discard(_ordering_key_of(delivery))
        return True

    def _remove(self, delivery: Delivery) -> None:
        del self._deliveries[delivery.delivery_id]
        self._delivered.pop(delivery.delivery_id, None)
        if delivery.state == "pending":
            self._unqueue(delivery)
        self._mark(delivery)

    # Written down and read back

    def _mark(self, delivery: Delivery) -> None:
        self._changed[delivery.delivery_id] = delivery.campaign_id

    @property
    def has_changes(self) -> bool:
        """Whether the next `take_changes` has any."""
        return bool(self._changed)

    @property
    def changed_ids(self) -> list[str]:
        """The ids of the deliveries that the next `take_changes` has."""
        return list(self._changed)

    def take_changes(self) -> Iterator[tuple[DeliveryKey, Delivery | None]]:
        """Hand out what changed since the last call; null for deliveries that are gone."""
        changed, self._changed = self._changed, {}
        self._in_commit |= self._uncommitted
        self._uncommitted = set()
        for delivery_id, campaign_id in changed.items():
            yield DeliveryKey(campaign_id, delivery_id), self._deliveries.get(delivery_id)

    def mark_committed(self) -> None:
        """Take note that what the last `take_changes` handed out is committed."""
        committed, self._in_commit = self._in_commit, set()
        for delivery_id in committed:
            if delivery_id in self._deliveries:
                self._set_timer(self._deliveries[delivery_id])

    def restore(self, key: DeliveryKey, delivery: Delivery) -> None:
        """Take a delivery as it was written down.

        Raises:
            ValueError: if it is another one than its key says.
        """
        if (delivery.campaign_id, delivery.delivery_id) != (key.campaign_id, key.delivery_id):
            raise ValueError(
                f"its value is delivery {delivery.delivery_id} of {delivery.campaign_id}"
            )
        _compact(delivery)
        self._deliveries[delivery.delivery_id] = delivery
        if delivery.state == "pending":
            self._queue(delivery)
            return
        if delivery.state == "delivered":
            self._delivered[delivery.delivery_id] = None
        self._set_timer(delivery)

    # Asked

    def deliveries(self) -> list[Delivery]:
        """Return all deliveries, also those that have ended."""
        return list(self._deliveries.values())

    def waiting(self, alert_id: str, receiver: str) -> list[Delivery]:
        """Return the pending deliveries of an alert to a receiver."""
        return list(self._queues.get(_OrderingKey(alert_id, receiver), {}).values())

    def get(self, delivery_id: str) -> Delivery | None:
        """Return one delivery."""
        return self._deliveries.get(delivery_id)

    def __len__(self) -> int:
        """Return how many deliveries are pending."""
        return self._pending


def _ordering_key_of(delivery: Delivery) -> _OrderingKey:
    return _OrderingKey(delivery.alert_id, delivery.receiver)


def _compact(delivery: Delivery) -> None:
    """Share texts that repeat."""
    delivery.receiver = intern(delivery.receiver)
    delivery.history = compact(delivery.history)
