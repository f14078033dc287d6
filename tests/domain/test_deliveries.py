"""The delivery queue: examples, and a state machine against a plain model."""

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.domain.deliveries import (
    DEFAULT_RETENTION,
    GIVEN_UP_KEPT_S,
    Delivery,
    Outbox,
    Retention,
    decode,
    pack,
)
from streams.domain.delivery_attempts import FIRST_KEPT, NEWEST_KEPT, AttemptRecord
from tests.support.changelogs import restore_into, written

NOW = 1_790_000_000.0


def make(alert: str = "a", sequence: int = 1, receiver: str = "ops", at: float = NOW) -> Delivery:
    return Delivery(
        delivery_id=f"{alert}.{sequence}.{receiver}",
        webhook_id=f"{alert}.{sequence}",
        receiver=receiver,
        campaign_id="a/b ü",
        alert_id=alert,
        sequence=sequence,
        packed=pack(msgspec.Raw('{"type":"…"}'.encode())),
        created_at=at,
        next_attempt_at=at,
    )


def commit(queue: Outbox) -> dict[bytes, bytes | None]:
    records = written(queue.take_changes())
    queue.mark_committed()
    return records


def owing(*deliveries: Delivery, retention: Retention = DEFAULT_RETENTION) -> Outbox:
    queue = Outbox(retention)
    for delivery in deliveries:
        queue.add(delivery)
    commit(queue)
    return queue


def read_back(
    records: dict[bytes, bytes | None], retention: Retention = DEFAULT_RETENTION
) -> Outbox:
    queue = Outbox(retention)
    restore_into(queue.restore, records)
    return queue


# When a delivery is due


def test_due_only_once_it_is_committed() -> None:
    queue = Outbox()
    queue.add(make())
    assert queue.due(NOW) == []
    list(queue.take_changes())
    assert queue.due(NOW) == []
    queue.add(make("b"))
    queue.mark_committed()

    assert [d.alert_id for d in queue.due(NOW)] == ["a"]
    commit(queue)
    assert [d.alert_id for d in queue.due(NOW)] == ["b"]


def test_not_due_before_its_time() -> None:
    queue = owing(make(at=NOW + 5))

    assert queue.due(NOW + 4.999) == []
    assert len(queue.due(NOW + 5)) == 1


def test_handed_out_once_until_there_is_a_result() -> None:
    queue = owing(make())
    (delivery,) = queue.due(NOW)
    assert queue.due(NOW + 100) == []

    queue.failed(delivery, "HTTP status 500", NOW + 5)

    assert queue.due(NOW + 4) == []
    assert queue.due(NOW + 5) == [delivery]
    assert (delivery.attempts, delivery.last_error) == (1, "HTTP status 500")


def test_an_attempt_that_was_broken_off_does_not_count() -> None:
    queue = owing(make())
    (delivery,) = queue.due(NOW)

    queue.release(delivery)

    assert queue.due(NOW) == [delivery]
    assert delivery.attempts == 0


def test_one_alert_and_receiver_in_order_and_others_beside_it() -> None:
    queue = owing(make("a", 1), make("a", 2), make("b", 1), make("a", 1, "pager"))
    first = {d.delivery_id: d for d in queue.due(NOW)}
    assert set(first) == {"a.1.ops", "b.1.ops", "a.1.pager"}

    queue.failed(first["a.1.ops"], "no", NOW + 60)
    assert queue.due(NOW) == []
    (again,) = queue.due(NOW + 60)
    queue.delivered(again)

    assert [d.delivery_id for d in queue.due(NOW + 60)] == ["a.2.ops"]


def test_the_next_in_line_goes_when_one_is_given_up() -> None:
    queue = owing(make("a", 1), make("a", 2))
    (first,) = queue.due(NOW)

    queue.failed(first, "no", None)

    assert [d.sequence for d in queue.due(NOW)] == [2]
    assert len(queue) == 1
    assert [d.state for d in queue.deliveries()] == ["given-up", "pending"]


def test_sequences_are_numbers_and_not_text() -> None:
    queue = owing(make("a", 10), make("a", 9))

    assert [d.sequence for d in queue.due(NOW)] == [9]


# Given up, replayed, forgotten


def test_replay_begins_anew() -> None:
    queue = owing(make())
    (delivery,) = queue.due(NOW)
    queue.failed(delivery, "no", None)
    assert len(queue) == 0
    assert queue.due(NOW) == []

    assert queue.replay(delivery.delivery_id, NOW + 9)

    assert queue.due(NOW + 9) == [delivery]
    assert (delivery.attempts, delivery.state, delivery.webhook_id) == (0, "pending", "a.1")


def test_what_is_pending_or_unknown_cannot_be_replayed() -> None:
    queue = owing(make())

    assert not queue.replay("a.1.ops", NOW)
    assert not queue.replay("nonsense", NOW)


def test_a_replayed_one_waits_for_the_attempt_under_way_and_goes_first() -> None:
    queue = owing(make("a", 1), make("a", 2))
    (first,) = queue.due(NOW)
    queue.failed(first, "no", None)
    (second,) = queue.due(NOW)

    queue.replay(first.delivery_id, NOW)

    assert queue.due(NOW) == []
    queue.failed(second, "no", NOW)
    assert queue.due(NOW) == [first]
    queue.delivered(first)
    assert queue.due(NOW) == [second]


def test_giving_up_without_an_attempt_counts_none() -> None:
    queue = owing(make())
    (delivery,) = queue.due(NOW)

    queue.give_up(delivery, "not configured any more")

    assert (delivery.attempts, delivery.state) == (0, "given-up")
    assert delivery.last_error == "not configured any more"


def test_what_was_given_up_is_forgotten_after_a_week() -> None:
    queue = owing(make(at=NOW - 10 * GIVEN_UP_KEPT_S))
    (delivery,) = queue.due(NOW)
    queue.failed(delivery, "no", None)
    commit(queue)

    queue.due(NOW + GIVEN_UP_KEPT_S - 1)
    assert queue.deliveries() == [delivery]
    queue.due(NOW + GIVEN_UP_KEPT_S)
    assert queue.deliveries() == []
    assert list(commit(queue).values()) == [None]


def test_a_replay_is_not_forgotten() -> None:
    queue = owing(make())
    (delivery,) = queue.due(NOW)
    queue.failed(delivery, "no", None)
    queue.replay(delivery.delivery_id, NOW)

    assert queue.due(NOW + GIVEN_UP_KEPT_S) == [delivery]
    assert queue.due(NOW + 10 * GIVEN_UP_KEPT_S) == []
    assert queue.get(delivery.delivery_id) is delivery


# Delivered ones that are kept

KEEPING = Retention(delivered=3600.0, most_delivered=2)


def test_a_delivered_one_is_kept_for_its_time() -> None:
    queue = owing(make(), retention=KEEPING)
    (delivery,) = queue.due(NOW + 1)
    queue.delivered(delivery)

    queue = read_back(commit(queue), KEEPING)

    assert queue.due(NOW + 3600) == []
    assert [d.state for d in queue.deliveries()] == ["delivered"]
    assert (len(queue), queue.due(NOW + 3601)) == (0, [])
    assert queue.deliveries() == []
    assert list(commit(queue).values()) == [None]


def test_of_more_delivered_ones_the_oldest_are_forgotten_also_after_a_restart() -> None:
    queue = owing(*(make(alert) for alert in "abc"), retention=KEEPING)
    in_reverse = {d.alert_id: d for d in queue.due(NOW)}
    records: dict[bytes, bytes | None] = {}
    for alert in "cb":
        queue.delivered(in_reverse[alert])
        records |= {key: value for key, value in commit(queue).items() if value is not None}
    queue = read_back(records, KEEPING)
    queue.add(make("d"))
    commit(queue)
    (newest,) = queue.due(NOW)
    queue.delivered(newest)

    assert [d.alert_id for d in queue.deliveries()] == ["b", "d"]


def test_a_delivered_one_can_be_replayed_and_is_not_forgotten_then() -> None:
    queue = owing(make(), retention=KEEPING)
    (delivery,) = queue.due(NOW)
    queue.delivered(delivery)

    assert queue.replay(delivery.delivery_id, NOW + 5)

    assert queue.due(NOW + 5) == [delivery]
    queue.due(NOW + 4000)
    assert queue.get(delivery.delivery_id) is delivery


# Attempts


def attempt(number: int) -> AttemptRecord:
    return AttemptRecord(number, NOW + number, 12, "status", 503, "down")


def test_attempts_are_kept_up_to_a_bound_and_written_down() -> None:
    queue = owing(make())
    for number in range(1, 31):
        (delivery,) = queue.due(NOW)
        queue.attempted(delivery, attempt(number))
        queue.failed(delivery, "HTTP status 503", NOW)

    (kept,) = read_back(commit(queue)).deliveries()

    assert kept.attempted == 30
    newest = range(31 - NEWEST_KEPT, 31)
    assert kept.history == (*map(attempt, range(1, FIRST_KEPT + 1)), *map(attempt, newest))


def test_a_replay_keeps_the_attempts_before_it() -> None:
    queue = owing(make())
    (delivery,) = queue.due(NOW)
    queue.attempted(delivery, attempt(1))
    queue.failed(delivery, "HTTP status 503", None)

    queue.replay(delivery.delivery_id, NOW)

    assert (delivery.attempts, delivery.attempted, len(delivery.history)) == (0, 1, 1)


def test_an_attempt_at_another_queues_copy_is_not_kept() -> None:
    queue, copy = owing(make()), make()

    queue.attempted(copy, attempt(1))

    assert (copy.history, commit(queue)) == ((), {})


def test_a_delivery_of_before_attempts_were_kept_is_read() -> None:
    old = msgspec.json.decode(msgspec.json.encode(make()), type=dict[str, object])
    del old["attempted"], old["history"]

    assert msgspec.json.decode(msgspec.json.encode(old), type=Delivery) == make()


# Results that come too late


@pytest.mark.parametrize("state", ["delivered", "given-up"])
def test_a_second_result_is_of_no_effect(state: str) -> None:
    queue = owing(make())
    (delivery,) = queue.due(NOW)
    if state == "delivered":
        queue.delivered(delivery)
    else:
        queue.failed(delivery, "no", None)
    before = msgspec.structs.replace(delivery)
    commit(queue)

    queue.failed(delivery, "late", NOW)
    queue.delivered(delivery)
    queue.give_up(delivery, "late")
    queue.release(delivery)

    assert delivery == before
    assert len(queue) == 0
    assert queue.due(NOW) == []
    assert commit(queue) == {}


def test_a_result_for_another_queues_copy_is_of_no_effect() -> None:
    queue = owing(make())

    queue.delivered(make())

    assert len(queue.due(NOW)) == 1


# Written down and read back


def test_keys_and_values() -> None:
    queue = Outbox()
    delivery = make()
    queue.add(delivery)

    ((key, value),) = written(queue.take_changes()).items()

    assert key == '["delivery","a/b ü","a.1.ops"]'.encode()
    assert value is not None
    assert decode(value) == delivery
    assert list(queue.take_changes()) == []


def test_every_change_is_written() -> None:
    queue = owing(make())
    (delivery,) = queue.due(NOW)
    queue.failed(delivery, "no", NOW)
    assert len(commit(queue)) == 1
    queue.due(NOW)
    queue.failed(delivery, "no", None)
    assert len(commit(queue)) == 1
    queue.replay(delivery.delivery_id, NOW)
    assert len(commit(queue)) == 1
    queue.due(NOW)
    queue.delivered(delivery)
    assert list(commit(queue).values()) == [None]


def test_what_is_read_back_is_due_at_once_and_in_order() -> None:
    source = Outbox()
    for sequence in (2, 1):
        source.add(make("a", sequence))
    queue = read_back(written(source.take_changes()))

    assert [d.sequence for d in queue.due(NOW)] == [1]
    assert len(queue) == 2


def test_reading_a_later_value_back_replaces_the_earlier() -> None:
    queue = Outbox()
    queue.add(make())
    records = commit(queue)
    (delivery,) = queue.due(NOW)
    queue.failed(delivery, "no", NOW + 60)
    records |= commit(queue)

    queue = read_back(records)

    assert len(queue) == 1
    assert queue.due(NOW) == []
    assert len(queue.due(NOW + 60)) == 1
    queue = read_back(dict.fromkeys(records))
    assert queue.deliveries() == []
    assert len(queue) == 0


def test_what_is_not_due_costs_nothing() -> None:
    """Looking does not go through what waits: its number shows nowhere but in memory."""
    queue = owing(*(make(f"a{number}") for number in range(1000)))
    for delivery in queue.due(NOW):
        queue.failed(delivery, "no", NOW + 60)
    queue.due(NOW)

    class Untouchable(dict[str, Delivery]):
        def get(self, *_: object) -> Delivery:
            raise AssertionError("looked at a delivery that is not due")

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("went through all deliveries")

        values = __iter__  # type: ignore[assignment]

    queue._deliveries = Untouchable(queue._deliveries)

    assert queue.due(NOW + 59) == []
    assert len(queue) == 1000


# What is held


def test_nothing_is_handed_out_of_what_is_held() -> None:
    queue = owing(make("a", 1), make("a", 1, "pager"), make("b", 1))
    assert queue.hold("a", "ops")
    assert not queue.hold("a", "ops")
    assert sorted(d.delivery_id for d in queue.due(NOW)) == ["a.1.pager", "b.1.ops"]
    queue.let_go("a", "ops")
    assert [d.delivery_id for d in queue.due(NOW)] == ["a.1.ops"]
    assert not queue.hold("a", "ops"), "its attempt is under way"


def test_what_is_added_meanwhile_waits() -> None:
    queue = Outbox()
    assert queue.hold("a", "ops")
    queue.add(make("a", 1))
    queue.add(make("a", 2))
    commit(queue)
    assert queue.due(NOW) == []
    assert [d.sequence for d in queue.waiting("a", "ops")] == [1, 2]
    queue.let_go("a", "ops")
    assert [d.sequence for d in queue.due(NOW)] == [1]


# A state machine


class Queue(RuleBasedStateMachine):
    """Whatever happens in whatever order, the queue does as a plain list of deliveries would.

    The model knows of each delivery whether it is committed and under way, and finds what is due
    by looking at all of them.
    """

    alerts = st.sampled_from("ab")
    receivers = st.sampled_from(["ops", "pager"])
    retention = DEFAULT_RETENTION

    def __init__(self) -> None:
        super().__init__()
        self.queue = Outbox(self.retention)
        self.now = NOW
        self.sequences: dict[str, int] = {}
        self.model: dict[str, Delivery] = {}
        self.under_way: dict[str, Delivery] = {}
        self.uncommitted: set[str] = set()
        self.in_commit: set[str] = set()
        self.topic: dict[bytes, bytes | None] = {}
        self.committing: dict[bytes, bytes | None] = {}

    @rule(alert=alerts)
    def decide(self, alert: str) -> None:
        sequence = self.sequences[alert] = self.sequences.get(alert, 0) + 1
        for receiver in ("ops", "pager"):
            delivery = make(alert, sequence, receiver, self.now)
            self.queue.add(delivery)
            self.model[delivery.delivery_id] = msgspec.structs.replace(delivery)
            self.uncommitted.add(delivery.delivery_id)

    @rule()
    def take_changes(self) -> None:
        self.committing |= written(self.queue.take_changes())
        self.in_commit |= self.uncommitted
        self.uncommitted.clear()

    @rule()
    def mark_committed(self) -> None:
        self.queue.mark_committed()
        self.topic.update(self.committing)
        self.committing.clear()
        self.in_commit.clear()

    @rule(seconds=st.sampled_from([0.5, 30.0, GIVEN_UP_KEPT_S]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def look(self) -> None:
        due = self.queue.due(self.now)

        assert sorted(d.delivery_id for d in due) == sorted(self.expected_due())
        self.under_way.update({d.delivery_id: d for d in due})
        kept_for = {"given-up": GIVEN_UP_KEPT_S, "delivered": self.retention.delivered}
        for delivery_id, delivery in list(self.model.items()):
            kept_until = delivery.next_attempt_at + kept_for.get(delivery.state, math.inf)
            if kept_until <= self.now:
                del self.model[delivery_id]

    def lines(self) -> list[list[Delivery]]:
        """The pending deliveries of each alert and receiver."""
        lines: dict[tuple[str, str], list[Delivery]] = {}
        for delivery in self.model.values():
            if delivery.state == "pending":
                lines.setdefault((delivery.alert_id, delivery.receiver), []).append(delivery)
        return list(lines.values())

    @rule(receiver=receivers)
    def hasten(self, receiver: str) -> None:
        self.queue.hasten(receiver, self.now)
        for line in self.lines():
            head = min(line, key=lambda delivery: delivery.sequence)
            if head.receiver == receiver:
                head.next_attempt_at = min(head.next_attempt_at, self.now)

    @rule(receiver=receivers)
    def hand_out_early(self, receiver: str) -> None:
        waiting = [head for head in self.next_ones() if head.receiver == receiver]
        delivery = self.queue.next_to(receiver)
        assert (delivery is None) == (not waiting)
        if delivery is not None:
            assert delivery.next_attempt_at == min(head.next_attempt_at for head in waiting)
            assert delivery in waiting
            self.queue.hand_out(delivery)
            self.under_way[delivery.delivery_id] = delivery

    def next_ones(self) -> Iterator[Delivery]:
        for line in self.lines():
            head = min(line, key=lambda delivery: delivery.sequence)
            is_free = not any(d.delivery_id in self.under_way for d in line)
            if is_free and head.delivery_id not in self.uncommitted | self.in_commit:
                yield head

    def expected_due(self) -> Iterator[str]:
        for head in self.next_ones():
            if head.next_attempt_at <= self.now:
                yield head.delivery_id

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), wait=st.sampled_from([0.0, 5.0, 60.0, math.inf]))
    def fail(self, data: st.DataObject, wait: float) -> None:
        delivery = self.finish_one(data)
        at = self.now + wait if math.isfinite(wait) else None
        polled_at = self.queue._polled_at
        self.queue.failed(delivery, "no", at)
        model = self.model[delivery.delivery_id]
        model.attempts += 1
        model.last_error = "no"
        if at is None:
            model.state = "given-up"
            model.next_attempt_at = max(model.next_attempt_at, polled_at)
        else:
            model.next_attempt_at = at

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        delivery = self.finish_one(data)
        polled_at = self.queue._polled_at
        self.queue.delivered(delivery)
        model = self.model.pop(delivery.delivery_id)
        if self.retention.delivered:
            model.state = "delivered"
            model.next_attempt_at = max(model.next_attempt_at, polled_at)
            self.model[delivery.delivery_id] = model

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def break_off(self, data: st.DataObject) -> None:
        self.queue.release(self.finish_one(data))

    def finish_one(self, data: st.DataObject) -> Delivery:
        return self.under_way.pop(data.draw(st.sampled_from(sorted(self.under_way))))

    @rule(alert=alerts, receiver=receivers, sequence=st.integers(1, 3))
    def replay(self, alert: str, receiver: str, sequence: int) -> None:
        delivery_id = f"{alert}.{sequence}.{receiver}"
        model = self.model.get(delivery_id)
        replayed = self.queue.replay(delivery_id, self.now)
        assert replayed == (model is not None and model.state != "pending")
        if replayed and model is not None:
            model.state, model.attempts, model.next_attempt_at = "pending", 0, self.now

    @rule()
    def crash(self) -> None:
        """Go on from what is committed, as another worker would."""
        self.queue = read_back(self.topic, self.retention)
        self.committing.clear()
        self.uncommitted.clear()
        self.in_commit.clear()
        self.under_way.clear()
        self.model = {
            orjson.loads(key)[2]: decode(value)
            for key, value in self.topic.items()
            if value is not None
        }

    @invariant()
    def same(self) -> None:
        assert {d.delivery_id: d for d in self.queue.deliveries()} == self.model
        assert len(self.queue) == sum(d.state == "pending" for d in self.model.values())


class KeepingQueue(Queue):
    """Keeps what was delivered."""

    retention = Retention(delivered=60.0)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=150, stateful_step_count=40)
TestKeepingQueue = KeepingQueue.TestCase
TestKeepingQueue.settings = TestQueue.settings


def test_a_transition_that_waits_is_kept_to_the_byte_in_less_memory() -> None:
    decided = (Path(__file__).parent / "golden" / "firing.json").read_bytes().strip()
    packed = pack(msgspec.Raw(decided))
    assert len(packed) < len(decided) / 2
    delivery = msgspec.structs.replace(make(), packed=packed)
    assert bytes(delivery.transition) == decided
    queue = Outbox()
    queue.add(delivery)
    after = read_back(commit(queue))
    (restored,) = after.deliveries()
    assert restored == delivery
    assert bytes(restored.transition) == decided
