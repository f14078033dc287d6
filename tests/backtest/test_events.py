import io
import json
from dataclasses import replace

import pytest

from streams.backtest.arrivals import BacktestSettings
from streams.backtest.events import EventArrival, EventArrivals
from streams.backtest.recorded import RecordedEvents
from streams.backtest.task import Decided
from streams.domain.detectors.threshold import Threshold
from streams.domain.formats import pinpoint
from streams.domain.operators import Acknowledgement
from streams.domain.rules import Rule
from streams.domain.sources import IngestSettings
from streams.domain.transitions import AlertData
from streams.traffic.plans import make_plan
from streams.traffic.simulation import events
from tests.backtest.naive import told
from tests.support.partitions import PARTITION_SETTINGS
from tests.support.tasks import NOW, SOURCE, TaskHarness

INTERVAL_MS = 100
RULES = (
    Rule(
        "failing",
        frozenset(pinpoint.STATUSES.failure),
        Threshold(0.1, min_attempts=30),
        keep_firing_for=20.0,
        repeat_interval=15.0,
        no_data_after=30.0,
        reopen_within=120.0,
    ),
    Rule(
        "throttled",
        frozenset({"THROTTLED"}),
        Threshold(0.1, min_attempts=30),
        scope="treatment",
        for_=1.0,
        keep_firing_for=10.0,
    ),
)
SETTINGS = replace(PARTITION_SETTINGS, rules=RULES, receivers=(), base_url=None)
START = int(NOW * 1000)


async def of_a_task(
    arrived: list[tuple[int, bytes]], until: int, *, acknowledges: bool = False
) -> list[Decided]:
    """What a StreamTask decides that takes what arrives and commits at each interval.

    If somebody `acknowledges`, they do so for every alert, 2 s after the task has started at first.
    """
    harness = TaskHarness(SETTINGS, repartitions=False)
    left = list(reversed(arrived))
    decided: list[Decided] = []
    for at in range(START, until + INTERVAL_MS, INTERVAL_MS):
        harness.now = at / 1000
        values = []
        while left and left[-1][0] <= at:
            values.append(left.pop()[1])
        if values:
            await harness.take(SOURCE, *values)
        if acknowledges and at % 2_000 == 0:
            for alert in harness.task.partition.alerts.live():
                asked = Acknowledgement(alert.alert_id, "ana", "", lambda: None)
                harness.task.partition.operators.add(asked)
        await harness.task.tick()
        decided += [Decided(at, each) for each in harness.metrics.transitions]
        harness.metrics.transitions.clear()
    assert harness.metrics.failures == []
    assert harness.metrics.rejections == []
    return decided


@pytest.mark.parametrize("seed", [3, 8])
async def test_decides_what_a_task_decides_of_the_same_events(seed: int) -> None:
    plan = make_plan(
        seed=seed, start_ms=START, duration_ms=240_000, campaigns=8, rate=60.0, incidents=4
    )
    # A minute in which nobody sends: alerts expire.
    arrived = [each for each in events(plan) if not 150_000 <= each[0] - START < 200_000]
    until = arrived[-1][0] + 60_000
    expected = await of_a_task(arrived, until)

    ingest = IngestSettings(pinpoint.FORMAT, SETTINGS.windows, max_record_bytes=2000)
    arrivals = EventArrivals(BacktestSettings(SETTINGS, ingest, INTERVAL_MS / 1000))
    decided = list(arrivals.add([EventArrival(at, value, 0, "") for at, value in arrived]))
    decided += arrivals.finish(until)

    assert told(decided) == told(expected)
    kinds = {each.transition.type.removeprefix("campaign.alert.") for each in decided}
    assert kinds >= {"firing", "resolved", "reminder"}
    assert one_id_each(decided)
    operated = await of_a_task(arrived, until, acknowledges=True)
    assert one_id_each(operated)
    assert decisions(operated) == decisions(decided), "but for acknowledgements and reminders"
    assert any(each.transition.data.acknowledged for each in operated)
    assert (max(each.transition.data.episode for each in decided) > 1) is (seed == 8)


def one_id_each(decided: list[Decided]) -> bool:
    """Tell whether each alert has one id, and sequence, through all of its episodes."""
    alerts: dict[str, list[AlertData]] = {}
    for each in decided:
        alerts.setdefault(each.transition.data.alert_id, []).append(each.transition.data)
    begins = {each[0].starts_at for each in alerts.values()}
    assert all(data.first_starts_at in {None, *begins} for each in alerts.values() for data in each)
    return all(
        [data.sequence for data in each] == list(range(1, len(each) + 1))
        and len({data.first_starts_at or data.starts_at for data in each}) == 1
        for each in alerts.values()
    )


def decisions(decided: list[Decided]) -> list[tuple[object, ...]]:
    """What counts decide: when alerts fire and end, for which episode, with which figures.

    But for the peak, which has what open windows said at each transition.
    """
    return sorted(
        (
            (
                *(each.at, each.transition.type, *scope_of(data)),
                *(data.episode, data.first_starts_at),
                *(repr(data.evidence), repr(data.totals), repr(data.cause)),
            )
            for each in decided
            for data in [each.transition.data]
            if not each.transition.type.endswith((".acknowledged", ".reminder"))
        ),
        key=repr,
    )


def scope_of(data: AlertData) -> tuple[str, str, str | None]:
    return data.rule, data.campaign_id, data.treatment_id


def test_what_is_no_event_of_a_worker_is_rejected_by_its_place() -> None:
    ingest = IngestSettings(pinpoint.FORMAT, SETTINGS.windows)
    arrivals = EventArrivals(BacktestSettings(SETTINGS, ingest, 0.1))
    value = b'{"event_type": "_campaign.send", "event_timestamp": 5}'
    found = [EventArrival(START, None, 0, "one"), EventArrival(START, value, 0, "two")]
    assert [*arrivals.add(found), *arrivals.finish()] == []
    assert arrivals.seen.rejected == {"not-json": 1, "missing-field": 1}
    assert arrivals.seen.rejected_at == {"not-json": "one", "missing-field": "two"}
    assert arrivals.seen.arrivals == 2


def test_event_time_waits_for_the_slowest_source_partition_until_it_is_idle() -> None:
    ingest = IngestSettings(pinpoint.FORMAT, SETTINGS.windows)
    arrivals = EventArrivals(BacktestSettings(SETTINGS, ingest, 0.1), sources=2)
    plan = make_plan(seed=1, start_ms=START, duration_ms=200_000, campaigns=1, rate=5.0)
    first = [EventArrival(at, value, 0, "") for at, value in events(plan)]
    assert list(arrivals.add(first[:200])) == []
    task = arrivals.task
    assert first[199].at - START < 60_000
    assert task._partition.table.event_time == 0
    list(arrivals.add(first[200:]))
    list(arrivals.finish())
    assert task._partition.table.event_time > START


# Recorded


def event(arrival: object, time: object = None) -> bytes:
    fields = {"arrival_timestamp": arrival, "event_timestamp": time}
    return json.dumps({name: each for name, each in fields.items() if each is not None}).encode()


def arrivals_of(*values: bytes) -> tuple[RecordedEvents, list[int]]:
    recorded = RecordedEvents()
    stream = io.BytesIO(b"\n".join(values))
    return recorded, [each.at for block in recorded.read("file", stream) for each in block]


def test_an_event_arrives_when_it_says_so() -> None:
    _, at = arrivals_of(event(START, START - 9), event(None, START + 5), event(START + 7.0))
    assert at == [START, START + 5, START + 7]


@pytest.mark.parametrize("odd", [event("x"), event(1), event(START * 100), event([]), b"{}"])
def test_a_time_that_cannot_be_moves_nothing(odd: bytes) -> None:
    _, at = arrivals_of(event(START), odd, event(START + 5))
    assert at == [START, START, START + 5]


def test_no_event_arrives_before_the_one_ahead_of_it() -> None:
    recorded, at = arrivals_of(event(START), event(START - 5), event(START - 600_000))
    assert at == [START] * 3
    assert recorded.disordered == 1


def test_what_is_no_event_is_told_by_its_place() -> None:
    recorded, at = arrivals_of(event(START), b"nonsense", event(START + 1))
    assert at == [START, START + 1]
    assert recorded.problems == {"not a JSON object": 1}
    assert recorded.problems_at["not a JSON object"].startswith("file, line 2, byte ")
