"""One record's bytes against the independent reading of `tests.support.oracle`."""

from collections import Counter
from copy import deepcopy
from typing import Any, TypeAlias

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.domain.blocks import Dimensions
from streams.domain.campaigns import Campaigns
from streams.domain.sources import Intake, SourcePartition
from streams.domain.tally import Tally
from streams.domain.windows import WindowPolicy
from tests.support.mixture import CONTEXTS, DELIVERY_TYPES, MS, SPOILS, Mixture, send_event
from tests.support.oracle import Oracle
from tests.support.partitions import rows_of

Key: TypeAlias = tuple[str, int, Dimensions]
NOW = 1_790_000_000_000
HOUR = 3_600 * MS
WINDOWS = WindowPolicy(size=60, grace=7, retention=600)
MAX_BYTES = 5_000


def intake(windows: WindowPolicy = WINDOWS) -> Intake:
    return Intake(windows, MAX_BYTES, 300_000)


def oracle(windows: WindowPolicy = WINDOWS) -> Oracle:
    return Oracle(windows.size, windows.grace, windows.retention, MAX_BYTES, 300)


def tallied(tally: Tally) -> Counter[Key]:
    """What was counted, as it goes on its way."""
    windows = (counts for block in tally.blocks().values() for counts in block.windows)
    counts: Counter[Key] = Counter()
    for row, count in rows_of(windows).items():
        counts[row.campaign_id, row.start, row.dimensions] += count
    return counts


def assert_same(batches: list[list[bytes | None]], windows: WindowPolicy = WINDOWS) -> None:
    """Count batches of one partition in both ways."""
    partition, tally = SourcePartition(0, intake(windows), Campaigns(3)), Tally()
    expected = oracle(windows)
    reasons: dict[tuple[int, int], str] = {}
    offset = 0
    for batch in batches:
        for rejected in partition.count(batch, NOW, tally):
            reasons[0, offset + rejected.position] = rejected.reason.value
            assert rejected.detail
        for value in batch:
            expected.take(0, offset, value, NOW)
            offset += 1
    assert reasons == expected.refused
    assert tally.skipped == expected.skipped
    counts: Counter[Key] = Counter()
    for (campaign_id, start), events in expected.windows.items():
        for event in events:
            names = Dimensions(event.outcome, *event.dimensions, engagement=not event.is_send)
            counts[campaign_id, start, names] += 1
    assert tallied(tally) == counts
    assert tally.engagement == sum(n for key, n in counts.items() if key[2].engagement)
    assert tally.counted == expected.total
    assert partition.event_time == expected.event_times.get(0, 0)


# Events of which each field may be anything.

anything: st.SearchStrategy[Any] = st.sampled_from(
    (None, "", "x", "0", "EMAIL", "CUSTOM", "3.1", 0, 1.5, 1e300, 2**63, NOW, True, [], {}, ["x"])
)
times = st.sampled_from((NOW, NOW - 20_000, NOW - 700_000, NOW - HOUR, NOW + 299_999))
edges = st.sampled_from((NOW + 300_000, NOW + 300_001, 1_262_304_000_000, 1_262_303_999_999, -1))
kinds = st.sampled_from(
    ("_campaign.send", "_campaign.send", "_campaign.opened_notification", "_campaign.x", "_SMS.A")
)


@st.composite
def odd_events(draw: st.DrawFn) -> bytes:
    event = send_event(
        draw(st.sampled_from(("a/b", "ünïcode", "100%", "c"))),
        draw(times | edges),
        draw(st.sampled_from(("SUCCESS", "FAILURE", "OF_TOMORROW"))),
        treatment_id=draw(st.sampled_from(("0", "1", None))),
        delivery_type=draw(st.sampled_from((*DELIVERY_TYPES, None))),
        version=draw(st.sampled_from(("3.1", "4.0", None))),
        context=deepcopy(draw(st.sampled_from(CONTEXTS))),
    )
    event["event_type"] = draw(kinds)
    for path in draw(st.lists(st.sampled_from(PATHS), max_size=2)):
        _spoil(event, path, draw(st.booleans()), deepcopy(draw(anything)))
    return orjson.dumps(event)


PATHS = (
    *(("event_type",), ("event_timestamp",), ("event_version",), ("attributes",), ("application",)),
    *(("attributes", name) for name in ("campaign_id", "campaign_send_status", "treatment_id")),
    *(("attributes", "delivery_type"), ("application", "app_id"), ("client_context",)),
    *(("client_context", "custom"), ("client_context", "custom", "endpoint"), ("session",)),
)


def _spoil(event: dict[str, Any], path: tuple[str, ...], remove: bool, value: Any) -> None:
    target: Any = event
    for name in path[:-1]:
        target = target.get(name)
        if not isinstance(target, dict):
            return
    if remove:
        target.pop(path[-1], None)
    else:
        target[path[-1]] = value


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Bytes of an event, some of them replaced, added or missing."""
    value = bytearray(draw(odd_events()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value)))
        length = draw(st.integers(0, 2))
        value[at : at + length] = draw(scraps)
    return bytes(value)


scraps = st.sampled_from(
    (b"", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"0", b"-", b".", b"null")
) | st.binary(max_size=3)
records = odd_events() | damaged() | st.none() | st.binary(max_size=30)


@settings(max_examples=300)
@given(st.lists(st.lists(records, max_size=4), max_size=4))
def test_any_bytes_are_read_as_independently(batches: list[list[bytes | None]]) -> None:
    assert_same(batches)


GOOD = orjson.dumps(send_event("c", NOW, "SUCCESS", delivery_type="EMAIL"))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(GOOD.replace(b'"123456789012"', scrap), id=repr(scrap))
        for scrap in (
            *(b'"\\q"', b'"\\ud800"', b'"\\u12"', b'"\t"', b'"\x00"', b'"\xff"', b'"\xc3\xa9"'),
            *(b"01", b"1.", b".5", b"+1", b"-", b"1e", b"NaN", b"Infinity", b"tru"),
            *(b"'x'", b"[1,]", b'{"a":1,}', b"{1:2}", b"/**/1", b"[" * 300 + b"]" * 300),
            b"[" * 2000 + b"]" * 2000,
        )
    ],
)
def test_what_is_not_counted_must_be_json_too(value: bytes) -> None:
    assert_same([[value]])


@pytest.mark.parametrize(
    "value",
    [
        *(GOOD + b" \n", b"\xef\xbb\xbf" + GOOD, GOOD + b"x", GOOD + GOOD, b"[]", b"null", b" "),
        GOOD.replace(b'"event_timestamp":', b'"event_timestamp":1.0,"ignored":'),
        GOOD.replace(b'"event_timestamp":', b'"event_timestamp":"x","event_timestamp":'),
        GOOD.replace(str(NOW).encode(), b"%d.0" % NOW),
        GOOD.replace(str(NOW).encode(), b"1.79e12"),
        GOOD.replace(str(NOW).encode(), b"-0"),
        GOOD.replace(b'"campaign_id":"c"', b'"campaign_id":"\\ud800"'),
        GOOD.replace(b'"campaign_id":"c"', b'"campaign_id":"\\u0000"'),
        GOOD.replace(b'"campaign_id"', b'"\\u0063ampaign_id"'),
        GOOD + b" " * (MAX_BYTES - len(GOOD)),
        GOOD + b" " * (MAX_BYTES - len(GOOD) + 1),
    ],
)
def test_values_on_the_edge(value: bytes) -> None:
    assert_same([[value]])


@pytest.mark.parametrize("number", range(len(SPOILS)))
def test_every_way_to_be_put_aside(number: int) -> None:
    reason, spoil = SPOILS[number]
    value = spoil(send_event("c", NOW, "SUCCESS", delivery_type="EMAIL"), NOW)
    partition, tally = SourcePartition(0, Intake(WINDOWS), Campaigns(1)), Tally()
    rejected = partition.count([GOOD, value, GOOD], NOW, tally)
    assert [(each.position, each.reason.value) for each in rejected] == [(1, reason)]
    assert tally.counted == 2
    assert partition.event_time == NOW


def test_a_mixture_is_counted_as_independently() -> None:
    """Batches of one partition, with all that a topic collects."""
    windows = WindowPolicy()
    mixture = Mixture(20_000, until=NOW, partitions=1)
    values = [record.value for record in mixture.records()]
    assert_same([values[n : n + 700] for n in range(0, len(values), 700)], windows)


@settings(max_examples=100)
@given(
    st.integers(1, 90),
    st.integers(0, 50),
    st.integers(0, 100),
    st.lists(st.lists(st.integers(0, 1_000), max_size=12), max_size=4),
)
@example(60, 30, 60, [[0, 182]])
@example(60, 30, 60, [[0, 149], [120, 60, 59, 0]])
@example(60, 30, 60, [[149, 150, 59, 0, 119]])
def test_what_has_expired_does_not_depend_on_the_batches(
    size: int, grace: int, retention: int, batches: list[list[int]]
) -> None:
    begin = NOW - 2_000_000
    assert_same(
        [
            [orjson.dumps(send_event("c", begin + s * MS, "SUCCESS")) for s in batch]
            for batch in batches
        ],
        WindowPolicy(size, grace, retention),
    )


def test_event_time_does_not_pass_the_brokers() -> None:
    partition, tally = SourcePartition(7, intake(), Campaigns(1)), Tally()
    ahead = orjson.dumps(send_event("c", NOW + 200_000, "SUCCESS"))
    assert partition.count([GOOD, ahead], NOW, tally) == []
    assert tally.counted == 2
    assert tally.event_times == {7: NOW}
    assert tally.received_at == NOW


def test_versions_that_nobody_has_seen_are_counted_and_named() -> None:
    versions = ("3.1", "3.0", "4.0", "4.0", "30", None, "x" * 99)
    values = [orjson.dumps(send_event("c", NOW, "SUCCESS", version=v)) for v in versions]
    tally = Tally()
    assert SourcePartition(0, intake(), Campaigns(1)).count(values, NOW, tally) == []
    assert tally.counted == len(versions)
    assert tally.unknown_versions == {"4.0": 2, "30": 1, "None": 1, "x" * 32: 1}


def test_an_app_is_known_by_any_of_its_events() -> None:
    without = send_event("c", NOW, "SUCCESS")
    del without["application"]
    values = [orjson.dumps(each) for each in (without, send_event("c", NOW, "FAILURE"), without)]
    tally = Tally()
    SourcePartition(0, intake(), Campaigns(1)).count(values, NOW, tally)
    (counts,) = tally.blocks()[0].windows
    assert (counts.campaigns, counts.apps) == (["c"], ["a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6"])


def test_names_have_a_bound_and_move_no_time() -> None:
    partition = SourcePartition(0, Intake(WINDOWS, 100_000, 300_000), Campaigns(1))
    tally = Tally()
    long, too_long = (
        orjson.dumps(send_event("c" * length, time, "SUCCESS", treatment_id=None))
        for length, time in ((4_000, NOW), (4_100, NOW + 9))
    )
    (rejected,) = partition.count([long, too_long, long], NOW, tally)
    assert (rejected.position, rejected.reason) == (1, "too-large")
    assert (tally.counted, partition.event_time) == (2, NOW)
