"""What is wrong is noticed: an event too few or too many, a dead letter, a transition."""

import struct
from typing import Any

import orjson
import pytest
from aiokafka.structs import ConsumerRecord

from streams.domain.blocks import Dimensions
from streams.domain.counts import Cell, pack
from tests.chaos.alerts import AlertLedger
from tests.chaos.cells import Difference, StateCells
from tests.chaos.dead import DeadLetters
from tests.chaos.faults import FAULTS
from tests.chaos.link import END_TXN, PRODUCE, Requests
from tests.chaos.plan import plan
from tests.chaos.truth import CellName, Truth
from tests.support.mixture import send_event
from tests.support.topics import Read

NOW = 1_800_000_000_000
NOBODY: frozenset[str] = frozenset()


def record(key: bytes | None, value: bytes | None, offset: int = 0, **headers: str) -> Read:
    pairs = tuple((name.replace("_", "-"), text.encode()) for name, text in headers.items())
    return ConsumerRecord("t", 0, offset, NOW, 0, key, value, None, 0, 0, pairs)


def truth_of(*values: bytes) -> Truth:
    truth = Truth(size=5, grace=5, retention=3600)
    for offset, value in enumerate(values):
        truth.take(record(None, value, offset))
    return truth


@pytest.mark.parametrize(("said", "lost", "doubled"), [(1, 1, 0), (2, 0, 0), (3, 0, 1), (0, 2, 0)])
def test_counts(said: int, lost: int, doubled: int) -> None:
    event = orjson.dumps(send_event("c", NOW, "SUCCESS", delivery_type="SMS"))
    truth, cells, difference = truth_of(event, event), StateCells(), Difference()
    start = NOW // 1000
    cell = Cell(None, {Dimensions("SUCCESS", "0", "SMS", "SMS"): said}, {})
    if said:
        cells.take(record(orjson.dumps(("window", "c", start)), pack(cell)))
    cells.compare(truth.cells, truth.changed, difference)
    assert (difference.lost, difference.doubled) == (lost, doubled)
    assert bool(difference.where) == bool(lost or doubled)


def test_cell_of_nothing() -> None:
    cells, difference = StateCells(), Difference()
    cell = Cell(None, {Dimensions("SUCCESS", "0", "SMS", "SMS"): 4}, {})
    cells.take(record(orjson.dumps(("window", "c", 0)), pack(cell)))
    cells.compare({}, {CellName("c", 0)}, difference)
    assert (difference.lost, difference.doubled) == (0, 4)


def letter(offset: int, value: bytes = b"bad", reason: str = "not-json") -> Read:
    return record(None, value, reason=reason, source_partition="0", source_offset=str(offset))


@pytest.mark.parametrize(
    ("letters", "problems"),
    [
        ([letter(0)], 0),
        ([], 1),
        ([letter(0), letter(0)], 1),
        ([letter(0), letter(7)], 1),
        ([letter(0, b"other")], 1),
        ([letter(0, reason="too-large")], 1),
    ],
)
def test_dead_letters(letters: list[Read], problems: int) -> None:
    dead = DeadLetters()
    for each in letters:
        dead.take(each)
    assert len(dead.problems(truth_of(b"bad").refused)) == problems


def transition(kind: str, alert_id: str, sequence: int) -> Read:
    data: dict[str, Any] = {"alert_id": alert_id, "sequence": sequence, "rule": "r"}
    data |= {"campaign_id": "c", "treatment_id": None, "delivery_type": None}
    value = {"type": f"campaign.alert.{kind}", "timestamp": "", "data": data}
    return record(b"c", orjson.dumps(value))


FIRED, ENDED = transition("firing", "1", 1), transition("resolved", "1", 2)


@pytest.mark.parametrize(
    ("transitions", "firing", "problems"),
    [
        ([FIRED, ENDED, transition("firing", "2", 1)], {"2"}, 0),
        ([FIRED], set(), 1),
        ([], {"1"}, 1),
        ([FIRED, FIRED, ENDED], set(), 2),
        ([FIRED, transition("resolved", "1", 3)], set(), 1),
        ([FIRED, transition("firing", "2", 1)], {"2"}, 1),
        ([FIRED, ENDED, transition("resolved", "1", 3)], set(), 1),
    ],
)
def test_transitions(transitions: list[Read], firing: set[str], problems: int) -> None:
    ledger = AlertLedger()
    for each in transitions:
        ledger.take(each)
    assert len(ledger.problems(firing, NOBODY, NOBODY)) == problems


def test_an_alert_that_did_not_come_or_does_not_end() -> None:
    ledger = AlertLedger()
    assert len(ledger.problems(set(), frozenset({"c"}), NOBODY)) == 1
    ledger.take(FIRED)
    assert ledger.problems({"1"}, frozenset({"c"}), NOBODY) == []
    assert len(ledger.problems({"1"}, NOBODY, frozenset({"c"}))) == 1


@pytest.mark.parametrize("piece", [1, 5, 6, 7, 1000])
def test_requests_are_met_however_they_are_cut(piece: int) -> None:
    sent = b"".join(
        struct.pack(">ih", 2 + size, key) + bytes(size)
        for key, size in ((PRODUCE, 40), (END_TXN, 0), (PRODUCE, 1))
    )
    requests = Requests()
    met = [key for at in range(0, len(sent), piece) for key in requests.keys(sent[at : at + piece])]
    assert met == [PRODUCE, END_TXN, PRODUCE]


@pytest.mark.parametrize("rounds", [1, 8, len(FAULTS), 60, 300])
def test_every_fault_is_in_the_plan(rounds: int) -> None:
    planned = plan(list(FAULTS), rounds, seed=1)
    assert len(planned) == rounds
    assert {kind for together in planned for kind in together} == set(FAULTS)
    assert planned == plan(list(FAULTS), rounds, seed=1)
