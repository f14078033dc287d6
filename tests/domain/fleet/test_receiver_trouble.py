"""That a receiver fails is told once, however many workers meet it, and whatever crashes."""

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import orjson
import pytest

from streams.domain.causes.exchange import GroupView
from streams.domain.deliveries import Delivery, Outbox
from streams.domain.fleet.lane_records import LaneRecords
from streams.domain.fleet.receiver_trouble import TOLD_AGAIN_AFTER_S, ReceiverTrouble
from streams.domain.partition_settings import PartitionSettings
from streams.domain.receivers import (
    ReceiverBook,
    ReceiverRecord,
    answered,
    failing,
    lifted,
    recovered,
)
from tests.support.changelogs import restore_into, written
from tests.support.fleet import Fleet, Received
from tests.support.partitions import PARTITION_SETTINGS

NOW = 1_795_428_000.0
LANES = 4


class Lanes:
    """Lanes of several workers with one topic, each worker with a book of its own."""

    def __init__(self, **changes: object) -> None:
        self.now = NOW
        self.view = GroupView()
        self.settings: PartitionSettings = replace(
            PARTITION_SETTINGS,
            receivers=("ops", "watcher"),
            lanes=LANES,
            group_view=self.view,
            tell="watcher",
            **changes,  # type: ignore[arg-type]
        )
        self.books = [ReceiverBook() for _ in range(LANES)]
        self.outboxes = [Outbox() for _ in range(LANES)]
        self._changelogs: list[dict[bytes, bytes | None]] = [{} for _ in range(LANES)]
        self.start()

    def start(self) -> None:
        """Have every lane go on from what is committed."""
        self._records = [LaneRecords(self.view) for _ in range(LANES)]
        self._lanes = [
            ReceiverTrouble(
                number, self.settings, self.books[number], self.outboxes[number], records
            )
            for number, records in enumerate(self._records)
        ]
        for lane, changelog in zip(self._lanes, self._changelogs, strict=True):
            restore_into(lane.restore, changelog)

    def step(self, seconds: float = 1.0) -> list[str]:
        """Let time pass, and commit; return the types of all events so far."""
        self.now += seconds
        for _ in range(2):
            self.now += 1
            for lane, records, changelog in zip(
                self._lanes, self._records, self._changelogs, strict=True
            ):
                lane.step(self.now)
                changelog.update(written(lane.take_changes()))
                for key, value in records.take_records():
                    self.view.restore(key, value)
        return [orjson.loads(bytes(each.transition))["type"] for each in self.told()]

    def told(self) -> list[Delivery]:
        found = [each for outbox in self.outboxes for each in outbox.deliveries()]
        return sorted(found, key=lambda each: each.sequence)

    def note(self, record: ReceiverRecord, *lanes: int, name: str = "ops") -> None:
        for number in lanes:
            self.books[number].note(name, record)

    def fail(self, *lanes: int, name: str = "ops") -> None:
        self.note(failing(None, "url", self.now - 60, "503", self.now), *lanes, name=name)

    def recover(self, *lanes: int) -> None:
        for number in lanes:
            record = self.books[number].get("ops")
            assert record is not None
            self.note(recovered(record, self.now), number)


def test_two_workers_that_meet_it_are_one_event_and_its_end_another() -> None:
    lanes = Lanes()
    lanes.fail(0, 1)
    since = lanes.now - 60
    assert lanes.step() == ["receiver.failing"]
    lanes.fail(2, 3)
    assert lanes.step() == ["receiver.failing"]
    lanes.recover(2, 3)
    assert lanes.step() == ["receiver.failing", "receiver.recovered"]
    lanes.recover(0, 1)
    assert lanes.step(100) == ["receiver.failing", "receiver.recovered"]
    first, then = lanes.told()
    assert {first.receiver, then.receiver} == {"watcher"}
    data = [orjson.loads(bytes(each.transition))["data"] for each in (first, then)]
    assert data[0]["reason"] == "503"
    assert data[0]["failing_since"].startswith("2026-11-23T09:59:00")
    assert since == NOW - 60
    assert first.alert_id == then.alert_id
    assert first.webhook_id != then.webhook_id


def test_a_restart_tells_nobody_again_and_forgets_nothing() -> None:
    lanes = Lanes()
    lanes.fail(0)
    lanes.step()
    lanes.start()
    assert lanes.step() == ["receiver.failing"]
    lanes.view.clear()
    lanes.start()
    assert lanes.step() == ["receiver.failing"]


def test_what_comes_and_goes_is_told_once_an_hour() -> None:
    lanes = Lanes()
    for _ in range(3):
        lanes.fail(1)
        lanes.step()
        lanes.recover(1)
        told = lanes.step()
    assert told == ["receiver.failing", "receiver.recovered"]
    lanes.fail(1)
    assert lanes.step() == told
    assert lanes.step(TOLD_AGAIN_AFTER_S) == [*told, "receiver.failing"], "it fails still"


def test_disabled_is_told_once_and_again_after_it_was_enabled() -> None:
    lanes = Lanes()
    lanes.note(answered(None, "disabled", "url", lanes.now, reason="HTTP status 410"), 0)
    lanes.step()
    lanes.note(answered(None, "disabled", "url", lanes.now, reason="HTTP status 410"), 1, 2)
    assert lanes.step() == ["receiver.disabled"]
    for number in range(3):
        lanes.note(lifted(lanes.books[number].get("ops"), "url", lanes.now), number)
    assert lanes.step() == ["receiver.disabled"]
    before = lanes.books[0].get("ops")
    lanes.note(answered(before, "disabled", "url", lanes.now, reason="HTTP status 410"), 0)
    assert lanes.step() == ["receiver.disabled"] * 2


def test_disabled_after_failing_is_two_events_in_their_order() -> None:
    lanes = Lanes()
    lanes.fail(0)
    lanes.step()
    before = lanes.books[0].get("ops")
    lanes.note(answered(before, "disabled", "url", lanes.now, reason="it failed"), 0)
    assert lanes.step() == ["receiver.failing", "receiver.disabled"]
    first, then = lanes.told()
    assert first.sequence < then.sequence


def test_events_of_the_same_moment_have_ids_of_their_own() -> None:
    lanes = Lanes()
    lanes.now = NOW + 100
    lanes.fail(0)
    lanes.step()
    # The clock is set back.
    lanes.now = NOW
    lanes.recover(0)
    lanes.step()
    first, then = lanes.told()
    assert first.sequence < then.sequence


@pytest.mark.parametrize("name", ["watcher", "stranger"])
def test_nobody_is_told_of_their_own_trouble_or_of_receivers_that_are_gone(name: str) -> None:
    lanes = Lanes()
    lanes.fail(0, 1, 2, 3, name=name)
    assert lanes.step() == []


def test_where_nobody_is_told_nothing_is_on_the_topic() -> None:
    lanes = Lanes()
    lanes.fail(0, 1)
    lanes.step()
    assert lanes.view.receivers.keys() == {"ops"}
    lanes.settings = replace(lanes.settings, tell=None)
    lanes.start()
    lanes.step()
    assert lanes.view.receivers == {}


def distinct(received: Iterable[Received]) -> set[str]:
    return {each.delivery.webhook_id for each in received}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_crashes_moves_and_lags(seed: int) -> None:
    """Each lane's worker meets it in turn; lanes crash between."""
    settings = replace(PARTITION_SETTINGS, tell="plain")
    fleet = Fleet(seed, campaigns=1, settings=settings)
    fleet.configure({})
    for lane in fleet.lanes:
        record = failing(None, "url", fleet.now - 60, "503", fleet.now)
        lane.partition.receivers.note("ops", record)
        fleet.run(3, chaos=0.5)
    fleet.run(20, chaos=0.5)
    noted = [each.partition.receivers.get("ops") for each in fleet.lanes]
    if any(noted):
        assert len(distinct(fleet.received["plain"])) == 1
    for lane in fleet.lanes:
        found = lane.partition.receivers.get("ops")
        if found is not None:
            lane.partition.receivers.note("ops", recovered(found, fleet.now))
    fleet.run(20)
    told = fleet.received["plain"]
    assert {each.type for each in told} <= {"receiver.failing", "receiver.recovered"}
    assert len(distinct(told)) == (2 if any(noted) else 0)
    assert msgspec.json.decode(told[-1].body)["type"] == "receiver.recovered"
