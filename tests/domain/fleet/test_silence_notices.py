"""That a silence ends is told once to each receiver, whatever crashes, moves and lags behind."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import msgspec
import orjson
import pytest

from streams.domain import silence_events
from streams.domain.fleet.silence_notices import SETTLE
from streams.domain.operators import Acknowledgement
from streams.domain.partition_settings import PartitionSettings
from streams.domain.silences.book import SilenceBook
from streams.domain.silences.silence import Silence
from tests.support.fleet import START, Fleet, Received
from tests.support.partitions import PARTITION_SETTINGS
from tests.support.silences import silence_of

BEGINS = float(START)
LASTS = 120.0
ENDS = BEGINS + LASTS
DUE = ENDS - LASTS / 4
MADE = silence_of("quiet/1", 'rule="failure-spike"', now=BEGINS, lasts=LASTS)


def settings_of(book: SilenceBook, **changes: Any) -> PartitionSettings:
    notified = frozenset({"ops", "plain"})
    settings = replace(
        PARTITION_SETTINGS, silences=book, notice_before=600.0, take_notices=notified
    )
    return replace(settings, **changes)


class Silenced:
    """A fleet in which alerts of all lanes fire, silenced up to `ENDS`."""

    def __init__(self, seed: int, made: Silence = MADE, **changes: Any) -> None:
        self.book = SilenceBook()
        self.fleet = Fleet(seed, campaigns=2, settings=settings_of(self.book, **changes))
        self.book.put(made)
        self.fleet.configure({})
        self.fleet.broken |= set(self.fleet.everywhere("GCM"))

    def run_to(self, at: float, *, chaos: float = 0.0) -> None:
        self.fleet.run(at - self.fleet.now, chaos=chaos)

    def told(self, receiver: str) -> list[Received]:
        received = self.fleet.received[receiver]
        return [each for each in received if each.type == silence_events.ENDING]


def data_of(received: Received) -> Mapping[str, Any]:
    data: Mapping[str, Any] = orjson.loads(received.body)["data"]
    return data


def test_each_receiver_is_told_once_of_what_all_lanes_keep_from_it() -> None:
    silenced = Silenced(1)
    silenced.run_to(DUE - 1)
    assert silenced.fleet.received == {"ops": [], "plain": []}
    silenced.run_to(ENDS - 1)
    for receiver in ("ops", "plain"):
        (told,) = silenced.told(receiver)
        assert told.at <= DUE + SETTLE + 2
        jsonschema.validate(orjson.loads(told.body), silence_events.json_schema())
        data = data_of(told)
        assert (data["silence_id"], data["alerts"]) == ("quiet/1", 6)
        assert data["links"]["silence"] == "http://localhost:8080/v1/silences/quiet%2F1"
        assert told.delivery.webhook_id == f"silence.quiet%2F1.{round(ENDS * 1000)}"
    silenced.run_to(ENDS + 10)
    assert [len(silenced.told(name)) for name in ("ops", "plain")] == [1, 1]
    left = [key for key, value in dict(silenced.fleet.topic).items() if value and b"quiet" in key]
    assert left == [], "nothing stays on the topic"
    keys = [key for lane in silenced.fleet.lanes for key, value in lane.changelog.items() if value]
    assert not any(b"quiet" in key for key in keys if key.startswith(b'["notice"'))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_crashes_moves_and_lags(seed: int) -> None:
    silenced = Silenced(seed)
    silenced.run_to(DUE - 5)
    silenced.run_to(ENDS - 1, chaos=0.5)
    silenced.run_to(ENDS + 20, chaos=0.5)
    assert silenced.fleet.crashes
    for receiver in ("ops", "plain"):
        told = silenced.told(receiver)
        assert len({each.delivery.webhook_id for each in told}) == 1
        assert len({each.body for each in told}) == 1, "one id, one body"
    ids = Counter(
        delivery.delivery_id
        for lane in silenced.fleet.lanes
        for delivery in lane.partition.deliveries.deliveries()
    )
    assert all(count == 1 for count in ids.values()), "in one outbox"


def test_nobody_is_told_of_what_keeps_nothing_from_them() -> None:
    silenced = Silenced(3)
    silenced.fleet.broken.clear()
    silenced.run_to(ENDS + 10)
    assert silenced.fleet.received == {"ops": [], "plain": []}


def test_an_alert_that_begins_later_is_told_of_and_nobody_twice() -> None:
    silenced = Silenced(4, silence_of("long", 'rule="failure-spike"', now=BEGINS, lasts=400.0))
    silenced.fleet.broken.clear()
    silenced.run_to(BEGINS + 302)
    assert silenced.fleet.received == {"ops": [], "plain": []}
    silenced.fleet.broken |= set(silenced.fleet.everywhere("GCM"))
    silenced.run_to(BEGINS + 399)
    assert [len(silenced.told(name)) for name in ("ops", "plain")] == [1, 1]


def test_only_receivers_that_take_notices_and_get_the_alert() -> None:
    silenced = Silenced(5, take_notices=frozenset({"plain"}))
    silenced.run_to(ENDS - 1)
    assert [len(silenced.told(name)) for name in ("ops", "plain")] == [0, 1]


def test_none_if_another_silence_goes_on_or_somebody_ends_this_one() -> None:
    goes_on = Silenced(6)
    goes_on.book.put(silence_of("longer", "severity=~.+", now=BEGINS, lasts=10_000.0))
    goes_on.run_to(ENDS + 10)
    assert goes_on.fleet.received == {"ops": [], "plain": []}
    ended = Silenced(7)
    ended.run_to(DUE - 2)
    ended.book.put(MADE.ended("ana", ended.fleet.now))
    ended.run_to(ENDS + 10)
    assert ended.told("plain") == []


def test_what_nobody_is_told_of_later_does_not_count() -> None:
    """Somebody who knew of it has acknowledged it before it was silenced."""
    later = msgspec.structs.replace(MADE, starts_at=BEGINS + 30, created_at=BEGINS + 30)
    silenced = Silenced(8, later)
    silenced.run_to(BEGINS + 20)
    for lane in silenced.fleet.lanes:
        for alert in lane.partition.alerts.live():
            request = Acknowledgement(alert.alert_id, "ana", "", lambda: None)
            assert lane.partition.operators.add(request)
    silenced.run_to(ENDS - 1)
    assert silenced.told("plain") == []


def test_none_without_a_time_before() -> None:
    silenced = Silenced(9, notice_before=0.0)
    silenced.run_to(ENDS + 10)
    assert silenced.told("plain") == []


def test_a_topic_that_is_read_anew_tells_nobody_again() -> None:
    silenced = Silenced(10)
    silenced.run_to(DUE + 10)
    silenced.fleet.read_anew(0)
    silenced.fleet.read_anew(1)
    silenced.run_to(ENDS - 1)
    assert [len(silenced.told(name)) for name in ("ops", "plain")] == [1, 1]
