"""What is wrong is noticed: an event too few or too many, a dead letter, a transition."""

import re
import struct
import time
from typing import Any

import orjson
import pytest
from aiokafka.structs import ConsumerRecord

from tests.chaos import results
from tests.chaos.alerts import AlertLedger
from tests.chaos.cells import Difference, compare_answers
from tests.chaos.dead import DeadLetters
from tests.chaos.faults import FAULTS
from tests.chaos.link import END_TXN, PRODUCE, Requests
from tests.chaos.operators import Answered
from tests.chaos.plan import plan
from tests.chaos.rolled_up import compare_rolled_up
from tests.chaos.silences import UNKNOWN, Silence, Silences
from tests.chaos.truth import CellName, Truth
from tests.chaos.webhooks import MOST_STEPS, History, Webhooks
from tests.support.http import HttpAnswer
from tests.support.mixture import send_event
from tests.support.oracle import rfc3339
from tests.support.topics import Read
from tests.support.window_ledger import WindowLedger

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


class Worker:
    """Says of one window of one campaign what it is told to say."""

    name = "a"

    def __init__(self, said: int) -> None:
        group = {"treatment_id": "0", "delivery_type": "SMS", "channel_type": "SMS"}
        counts = {"counts": {"SUCCESS": said}, "engagement": {}}
        start = rfc3339(NOW // 1000)
        self._window = {"start": start, **counts, "groups": [{**group, **counts}]}
        self._empty = not said

    async def whole(self, _: str) -> Any:
        return {"windows": [] if self._empty else [self._window]}


@pytest.mark.parametrize(
    ("sent", "said", "lost", "doubled"),
    [(2, 1, 1, 0), (2, 2, 0, 0), (2, 3, 0, 1), (2, 0, 2, 0), (0, 4, 0, 4), (0, 0, 0, 0)],
)
async def test_counts(sent: int, said: int, lost: int, doubled: int) -> None:
    event = orjson.dumps(send_event("c", NOW, "SUCCESS", delivery_type="SMS"))
    truth, difference = truth_of(*[event] * sent), Difference()
    names = {CellName("c", NOW // 1000)}
    await compare_answers(Worker(said), truth.cells, names, 5, difference)
    assert (difference.lost, difference.doubled) == (lost, doubled)
    assert bool(difference.where) == bool(lost or doubled)


class Summing:
    """Says of a campaign's windows of 10 and 20 s, and of all it ever had, what it is told to."""

    name = "a"

    def __init__(self, *said: int, total: int, since: str | None = None) -> None:
        self._said = dict(zip((10, 20), said, strict=True))
        self._total, self._since = total, since

    async def whole(self, target: str) -> Any:
        if "step=" not in target:
            return {"totals": {"counts": {"SUCCESS": self._total}, "engagement": {}}}
        step = int(re.findall(r"step=(\d+)", target)[0])
        counts = {"counts": {"SUCCESS": self._said[step]}, "engagement": {}}
        group = {"treatment_id": "0", "delivery_type": "SMS", "channel_type": "SMS", **counts}
        start = rfc3339(NOW // 1000 // step * step)
        answer = {"windows": [{"start": start, **counts, "groups": [group]}]}
        return answer | ({"complete_from": self._since} if self._since and step == 10 else {})


@pytest.mark.parametrize(
    ("worker", "wrong"),
    [
        (Summing(3, 3, total=3), 0),
        (Summing(3, 2, total=3), 1),
        (Summing(4, 3, total=3), 1),
        (Summing(3, 3, total=2), 1),
        (Summing(0, 3, total=3), 1),
        (Summing(0, 3, total=3, since=rfc3339(NOW // 1000 + 10)), 0),
    ],
)
async def test_sums_over_longer_windows(worker: Summing, wrong: int) -> None:
    event = orjson.dumps(send_event("c", NOW, "SUCCESS", delivery_type="SMS"))
    truth, difference = truth_of(*[event] * 3), Difference()
    await compare_rolled_up(worker, truth.cells, truth.changed, (10, 20), difference)
    assert len(difference.where) == wrong


class FloodedWorker:
    """Has counted a flood, and keeps some of it apart."""

    name = "a"

    def __init__(self, other: int) -> None:
        self._counts = {"flood": {"FAILURE": 2, "__other__": 3}, "flood-1": {"SUCCESS": 1}}
        self._counts["__other__"] = {"SUCCESS": other}

    async def whole(self, target: str) -> Any:
        if "?active_within" in target:
            rows = [{"campaign_id": each} for each in ["c", *self._counts]]
            return {"campaigns": rows, "next_cursor": None}
        counts = {"counts": self._counts[target.split("/")[3]], "engagement": {}}
        group = {"treatment_id": "__other__", "delivery_type": None, "channel_type": None}
        start = rfc3339(NOW // 1000)
        return {"windows": [{"start": start, **counts, "groups": [{**group, **counts}]}]}


@pytest.mark.parametrize(("other", "lost", "doubled"), [(1, 1, 0), (2, 0, 0), (3, 0, 1)])
async def test_sums_of_a_flood(other: int, lost: int, doubled: int) -> None:
    sent = [("flood", "FAILURE")] * 2 + [("flood", f"made-up-{n}") for n in range(3)]
    sent += [(f"flood-{n}", "SUCCESS") for n in range(3)]
    values = [
        orjson.dumps(send_event(campaign_id, NOW, status, treatment_id=str(n)))
        for n, (campaign_id, status) in enumerate(sent)
    ]
    truth, difference = truth_of(*values), Difference()
    await compare_answers(FloodedWorker(other), truth.cells, truth.changed, 5, difference)
    assert (difference.lost, difference.doubled) == (lost, doubled)


def test_what_two_workers_miss_is_missing_once() -> None:
    one, both = Difference(2, 0, ["one"]), Difference()
    both.add(one)
    both.add(Difference(2, 3, ["other"]))
    assert (both.lost, both.doubled, both.where) == (2, 3, ["one", "other"])


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
    data |= {"campaign_id": "c", "treatment_id": None, "channel_type": None}
    data |= {"acknowledged": {"by": "ana"}}
    value = {"type": f"campaign.alert.{kind}", "timestamp": "", "data": data}
    return record(b"c", orjson.dumps(value))


FIRED, ENDED = transition("firing", "1", 1), transition("resolved", "1", 2)
KNOWN = transition("acknowledged", "1", 2)


@pytest.mark.parametrize(
    ("transitions", "firing", "problems"),
    [
        ([FIRED, ENDED, transition("firing", "2", 1)], {"2"}, 0),
        ([FIRED], set(), 1),
        ([], {"1"}, 1),
        ([FIRED, FIRED, ENDED], set(), 1),
        ([FIRED, transition("firing", "1", 2), transition("resolved", "1", 3)], set(), 0),
        ([FIRED, transition("resolved", "1", 3)], set(), 1),
        ([FIRED, transition("firing", "2", 1)], {"2"}, 1),
        ([FIRED, ENDED, transition("resolved", "1", 3)], set(), 1),
        ([FIRED, ENDED, transition("firing", "1", 3)], {"1"}, 0),
        ([FIRED, KNOWN, transition("resolved", "1", 3), transition("firing", "1", 4)], {"1"}, 0),
        ([FIRED, KNOWN, transition("reminder", "1", 3)], {"1"}, 1),
        ([FIRED, KNOWN, transition("acknowledged", "1", 3)], {"1"}, 1),
        ([FIRED, ENDED, transition("acknowledged", "1", 3)], set(), 1),
    ],
)
def test_transitions(transitions: list[Read], firing: set[str], problems: int) -> None:
    ledger = AlertLedger(["r"])
    for each in transitions:
        ledger.take(each)
    assert len(ledger.problems(firing, NOBODY, NOBODY)) == problems


def test_an_acknowledgement_that_was_answered_and_is_not_there() -> None:
    ledger = AlertLedger(["r"])
    for each in (FIRED, KNOWN):
        ledger.take(each)
    assert ledger.missing({Answered("1", "ana")}) == []
    assert len(ledger.missing({Answered("1", "ben"), Answered("2", "ana")})) == 2


def test_an_alert_that_did_not_come_or_does_not_end() -> None:
    ledger = AlertLedger(["r"])
    assert len(ledger.problems(set(), frozenset({"c"}), NOBODY)) == 1
    assert len(ledger.problems(set(), NOBODY, NOBODY, frozenset({"c"}))) == 1
    ledger.take(FIRED)
    assert ledger.problems({"1"}, frozenset({"c"}), NOBODY) == []
    assert ledger.problems({"1"}, NOBODY, NOBODY, frozenset({"c"})) == []
    assert len(ledger.problems({"1"}, NOBODY, frozenset({"c"}))) == 1


def result(revision: int, sends: int, start: int = NOW // 1000, partition: int = 0) -> Read:
    kind = "closed" if revision == 1 else "corrected"
    value: dict[str, Any] = {"type": f"campaign.window.{kind}", "campaign_id": "c", "app_id": None}
    value |= {"partition": partition, "start": rfc3339(start), "end": rfc3339(start + 5)}
    value |= {"revision": revision, "counts": {"SUCCESS": sends}, "attempts": sends}
    value |= {"unrecognised": 0, "rates": {"success": 1.0, "failure": 0.0, "throttled": 0.0}}
    value |= {"engagement": {}, "late_events": revision - 1}
    return record(b"c", orjson.dumps(value))


class ClosedWorker:
    """Answers with one closed window of so many sends, and so many late events."""

    def __init__(self, sends: int, late: int) -> None:
        self._window: dict[str, Any] = {"start": rfc3339(NOW // 1000)}
        self._window["end"] = rfc3339(NOW // 1000 + 5)
        self._window |= {"state": "closed", "counts": {"SUCCESS": sends}, "attempts": sends}
        self._window |= {"rates": {"failure": 0.0, "throttled": 0.0}, "engagement": {}}
        self._window |= {"late_events": late}

    async def whole(self, target: str) -> Any:
        assert target == "/v1/campaigns/c/windows"
        return {"windows": [self._window]}


@pytest.mark.parametrize(
    ("records", "problems"),
    [
        ([result(1, 3), result(2, 4)], 0),
        ([result(2, 4)], 1),
        ([result(1, 3)], 1),
        ([], 1),
        ([result(1, 3), result(2, 4), result(2, 4)], 2),
        ([result(1, 4), result(2, 4)], 1),
        ([result(1, 3), result(2, 5)], 1),
        ([result(1, 3, partition=1), result(1, 3), result(2, 4)], 1),
    ],
)
async def test_window_results(
    monkeypatch: pytest.MonkeyPatch, records: list[Read], problems: int
) -> None:
    monkeypatch.setattr(results, "EMITTED_WITHIN_S", 0.0)
    ledger = WindowLedger()
    for each in records:
        ledger.take(each)

    async def nothing_new() -> None:
        """The topic has been read."""

    found = await results.compare_results(ClosedWorker(4, 1), ["c"], ledger, nothing_new)
    assert len(found) == problems, found


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


T0 = 1_600_000_000.0


def told(kind: str, sequence: int, at: float = T0) -> Any:
    """A transition of alert 1, of campaign c, as it is on the topic and in a webhook."""
    data = {"alert_id": "1", "sequence": sequence, "rule": "r", "campaign_id": "c"}
    timestamp = rfc3339(int(at))
    return {"type": f"campaign.alert.{kind}", "timestamp": timestamp, "data": data}


def history_of(state: str, *suppressed: str | None) -> History:
    """What the API says of one alert: why its transitions were suppressed; null for the others."""
    steps: list[Any] = [
        {
            "type": "campaign.alert.firing",
            "sequence": n,
            "suppressed": {"reason": why} if why else None,
            "withheld": [],
        }
        for n, why in enumerate(suppressed, start=1)
    ]
    alert: dict[str, Any] = {"alert_id": "1", "campaign_id": "c", "state": state}
    alert |= {"acknowledged": None, "transitions": steps}
    history = History()
    history.take([alert])
    return history


class Got:
    """What a receiver was sent, and took; each under its own id, unless said otherwise."""

    def __init__(self, *accepted: Any, refused: tuple[Any, ...] = ()) -> None:
        self.accepted = list(accepted)
        self.sent = [*accepted, *refused]
        self.bodies: dict[str, set[bytes]] = {}
        for value in self.sent:
            data = value["data"]
            of = data["group_id"] if "group_id" in data else data["alert_id"]
            webhook_id = f"{of}.{data['sequence']}"
            self.bodies.setdefault(webhook_id, set()).add(orjson.dumps(value))


FIRES, ENDS_IT = told("firing", 1), told("resolved", 2)
WHILE, AFTER = Silence("s", "c", T0 - 9, T0 - 8), Silence("s", "c", T0 - 9, T0 - 8, T0 - 7, T0 - 6)
UNANSWERED = Silence("", "c", T0 - 9, UNKNOWN)


@pytest.mark.parametrize(
    ("got", "state", "suppressed", "silences", "wrong"),
    [
        (Got(FIRES, ENDS_IT), "resolved", (None, None), (), None),
        (Got(FIRES, FIRES, ENDS_IT), "resolved", (None, None), (AFTER,), None),
        (Got(FIRES), "resolved", (None, None), (), "resolved 2 .* was never told"),
        (Got(ENDS_IT, refused=(FIRES,)), "resolved", (None, None), (), "told before its firing"),
        (Got(ENDS_IT, FIRES), "resolved", (None, None), (), "told before its firing"),
        (Got(FIRES, told("resolved", 3)), "firing", (None,), (), "not what the alerts topic has"),
        (Got(FIRES, told("firing", 1, T0 + 1)), "firing", (None,), (), "1.1 has 2 bodies"),
        (Got(), "firing", ("silenced",), (WHILE,), None),
        (Got(), "firing", ("silenced",), (UNANSWERED,), None),
        (Got(FIRES), "firing", (None,), (UNANSWERED,), None),
        (Got(refused=(FIRES,)), "firing", ("silenced",), (WHILE,), "though it is"),
        (Got(FIRES), "firing", (None,), (WHILE,), "though it is silenced"),
        (Got(), "resolved", ("silenced",), (AFTER,), "silenced by nothing"),
        (Got(), "resolved", ("silenced", "not-notified"), (WHILE,), None),
        (Got(FIRES), "resolved", (None, "not-notified"), (), "is suppressed"),
        (Got(), "firing", ("no-receiver",), (), "is suppressed"),
        (Got(), "firing", (), (), "is not in the API"),
    ],
)
def test_webhooks(
    got: Got,
    state: str,
    suppressed: tuple[str | None, ...],
    silences: tuple[Silence, ...],
    wrong: str | None,
) -> None:
    webhooks = Webhooks(got, Silences(silences))
    decided = max(1, len(suppressed))
    transitions = dict(list({("1", 1): FIRES, ("1", 2): ENDS_IT}.items())[:decided])
    problems = list(webhooks.wrong(history_of(state, *suppressed), transitions))
    if wrong is None:
        assert problems == []
    else:
        assert re.search(wrong, "\n".join(problems))


def test_an_alert_that_is_kept_though_nothing_silences_it() -> None:
    webhooks = Webhooks(Got(), Silences([AFTER._replace(ended_at=T0)]))
    (problem,) = webhooks.wrong(history_of("firing", "silenced"), {("1", 1): FIRES})
    assert "silenced by nothing any more" in problem


@pytest.mark.parametrize(("first", "kept"), [(None, 0), ("silenced", 1)])
def test_an_alert_that_is_acknowledged_while_it_is_silenced(first: str | None, kept: int) -> None:
    history = history_of("firing", first, "silenced")
    (alert,) = history.alerts
    alert["acknowledged"] = {"by": "ana"}
    alert["transitions"][1]["type"] = "campaign.alert.acknowledged"
    over = Silence("s", "c", T0 - 9, T0 - 8, T0 + 1, T0 + 1)
    webhooks = Webhooks(Got(*[FIRES] * (first is None)), Silences([over]))
    known = told("acknowledged", 2)
    problems = list(webhooks.wrong(history, {("1", 1): FIRES, ("1", 2): known}))
    assert [each for each in problems if "silenced by nothing any more" in each] == problems[:kept]


def test_alerts_that_are_told_twice_to_fire() -> None:
    again = told("firing", 2)
    webhooks = Webhooks(Got(FIRES, again), Silences())
    transitions = {("1", 1): FIRES, ("1", 2): again}
    (problem,) = webhooks.wrong(history_of("firing", None, None), transitions)
    assert "was told to fire before" in problem


def test_an_alert_that_comes_back_while_it_is_silenced() -> None:
    transitions = {
        ("1", 1): FIRES,
        ("1", 2): ENDS_IT,
        ("1", 3): told("firing", 3, T0 + 9),
        ("1", 4): told("resolved", 4, T0 + 9),
    }
    later = WHILE._replace(asked_at=T0 + 5, made_at=T0 + 6)
    webhooks = Webhooks(Got(FIRES, ENDS_IT), Silences([later]))
    history = history_of("resolved", None, None, "silenced", "not-notified")
    assert list(webhooks.wrong(history, transitions)) == []


def test_what_the_api_does_not_show_any_more() -> None:
    history = history_of("firing", *[None] * MOST_STEPS)
    history.take([{**history.alerts[0], "transitions": history.alerts[0]["transitions"][1:]}])
    assert history.get(("1", 1)) is not None
    assert history.may_have_forgotten(("1", MOST_STEPS + 1))
    assert not history.may_have_forgotten(("2", 1))


class SilencingWorker:
    """Makes and ends silences, or does not answer."""

    def __init__(self, *, answers: bool = True, active: tuple[str, ...] = ()) -> None:
        self.answers = answers
        self.active = [*active]

    async def ask(self, _: str) -> HttpAnswer:
        return self._answer({"silences": [{"silence_id": each} for each in self.active]})

    async def post(self, _: str, body: object) -> HttpAnswer:
        assert body
        self.active.append(f"made-{len(self.active)}")
        return self._answer({"silence": {"silence_id": self.active[-1]}})

    async def delete(self, target: str) -> HttpAnswer:
        self.active.remove(target.split("/")[3].partition("?")[0])
        return self._answer({})

    def _answer(self, value: object) -> HttpAnswer:
        if not self.answers:
            raise ConnectionResetError
        return HttpAnswer(200, {}, orjson.dumps(value))


async def test_a_silence_that_nobody_answered_for() -> None:
    silences, worker = Silences(), SilencingWorker(answers=False)
    await silences.change(worker, "c")
    now = time.time()
    assert worker.active
    assert (silences.made, silences.surely_silenced("c", now + 9)) == (0, False)
    assert silences.may_be_silenced("c", now + 9)
    worker.answers = True
    await silences.change(worker, "d")
    assert await silences.tidy(worker)
    assert (silences.made, len(worker.active)) == (1, 1)
    now = time.time()
    assert not silences.may_be_silenced("c", now + 4)
    assert silences.surely_silenced("d", now + 4)
    assert not await silences.tidy(worker)
    # One that nobody answers to have ended may go on, and may not.
    worker.answers = False
    await silences.change(worker, "e")
    assert not silences.surely_silenced("d", now + 9)
    assert silences.may_be_silenced("d", now + 9)
