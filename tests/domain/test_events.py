"""One record's bytes against the independent reading of `tests.support.oracle`."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import msgspec
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.domain.campaigns import Campaigns
from streams.domain.events import Event
from streams.domain.formats import pinpoint
from streams.domain.formats.event_format import EventFormat
from streams.domain.partial_counts import Dimensions
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.sources import IngestSettings, SourcePartition
from streams.domain.windows import WindowPolicy
from tests.support.fuzzing import records as fuzzed
from tests.support.mixture import CONTEXTS, DELIVERY_TYPES, MS, SPOILS, Mixture, send_event
from tests.support.oracle import Oracle
from tests.support.partitions import rows_of

Key: TypeAlias = tuple[str, int, Dimensions]
NOW = 1_790_000_000_000
HOUR = 3_600 * MS
WINDOWS = WindowPolicy(size=60, grace=7, retention=600)
MAX_BYTES = 5_000


def ingest_settings(windows: WindowPolicy = WINDOWS) -> IngestSettings:
    return IngestSettings(pinpoint.FORMAT, windows, MAX_BYTES, 300_000)


def oracle(windows: WindowPolicy = WINDOWS) -> Oracle:
    return Oracle(windows.size, windows.grace, windows.retention, MAX_BYTES, 300)


def tallied(pre_aggregator: PreAggregator) -> Counter[Key]:
    """What was counted, as partial counts have it."""
    partials = pre_aggregator.partial_counts().values()
    windows = (counts for partial in partials for counts in partial.windows)
    counts: Counter[Key] = Counter()
    for row, count in rows_of(windows).items():
        counts[row.campaign_id, row.start, row.dimensions] += count
    return counts


def assert_same(batches: list[list[bytes | None]], windows: WindowPolicy = WINDOWS) -> None:
    """Count batches of one partition in both ways."""
    partition, pre_aggregator = (
        SourcePartition(0, ingest_settings(windows), Campaigns(3)),
        PreAggregator(),
    )
    expected = oracle(windows)
    reasons: dict[tuple[int, int], str] = {}
    offset = 0
    for batch in batches:
        for rejected in partition.count(batch, NOW, pre_aggregator):
            reasons[0, offset + rejected.position] = rejected.reason.value
            assert rejected.detail
        for value in batch:
            expected.take(0, offset, value, NOW)
            offset += 1
    assert reasons == expected.refused
    assert pre_aggregator.skipped == expected.skipped
    counts: Counter[Key] = Counter()
    for (campaign_id, start), events in expected.windows.items():
        for event in events:
            names = Dimensions(event.outcome, *event.dimensions, engagement=not event.is_send)
            counts[campaign_id, start, names] += 1
    assert tallied(pre_aggregator) == counts
    assert pre_aggregator.engagement == sum(n for key, n in counts.items() if key[2].engagement)
    assert pre_aggregator.counted == expected.total
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
            *(b"[" * 498 + b"]" * 498, b"[" * 499 + b"]" * 499, b"[" * 500 + b"]" * 500),
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


# Each record has one fate, whichever way it takes.


def fate(
    value: bytes | None, event_format: EventFormat = pinpoint.FORMAT
) -> tuple[Counter[Key], list[str], Counter[str], Counter[str]]:
    partition = SourcePartition(0, IngestSettings(event_format, WindowPolicy()), Campaigns(1))
    pre_aggregator = PreAggregator()
    rejected = partition.count([value], NOW, pre_aggregator)
    reasons = [each.reason.value for each in rejected]
    return tallied(pre_aggregator), reasons, pre_aggregator.skipped, pre_aggregator.unknown_versions


def surprised(_: bytes) -> Event:
    raise msgspec.DecodeError("nothing goes the fast path")


SLOW_PATH_ALONE = replace(pinpoint.FORMAT, decode=surprised)


def assert_same_either_way(value: bytes | None) -> None:
    assert fate(value, SLOW_PATH_ALONE) == fate(value), value


@settings(max_examples=300)
@given(records)
def test_both_ways_give_the_same(value: bytes | None) -> None:
    assert_same_either_way(value)


def test_both_ways_give_the_same_of_fuzzed_records() -> None:
    for value in islice(fuzzed(5, NOW), 2_000):
        assert_same_either_way(value)


def counted_as(value: bytes) -> tuple[str, Dimensions]:
    (((campaign_id, _, dimensions), count),) = fate(value)[0].items()
    assert count == 1
    return campaign_id, dimensions


def edited(change: Callable[[dict[str, Any]], Any], **fields: Any) -> bytes:
    event = send_event("c", NOW, "SUCCESS", **fields)
    change(event)
    return orjson.dumps(event)


def shaped(shape: dict[str, Any], event: dict[str, Any]) -> None:
    event.update(shape)


PLAIN = Dimensions("SUCCESS", "0", None, "GCM")
SMS = {"ChannelType": "SMS"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (edited(lambda event: event["attributes"].update(delivery_type="")), PLAIN),
        (
            edited(lambda event: event["attributes"].update(treatment_id="")),
            PLAIN._replace(treatment_id=None),
        ),
        (
            edited(
                lambda event: event["attributes"].update(treatment_id=""), delivery_type="EMAIL"
            ),
            Dimensions("SUCCESS", None, "EMAIL", "EMAIL"),
        ),
        *(
            (edited(partial(shaped, shape)), PLAIN._replace(channel_type=of))
            for shape, of in (
                ({"client_context": {"custom": {"endpoint": SMS}}}, "SMS"),
                ({"client_context": None, "endpoint": SMS}, "SMS"),
                ({"client_context": {}, "endpoint": '{"ChannelType":"SMS"}'}, "SMS"),
                ({"client_context": {"custom": {"endpoint": 7}}, "endpoint": SMS}, "SMS"),
                ({"client_context": {"custom": {"endpoint": ""}}, "endpoint": SMS}, "SMS"),
                ({"endpoint": SMS}, "GCM"),
                ({"client_context": None, "endpoint": {"ChannelType": ""}}, None),
                ({"client_context": None, "endpoint": [SMS]}, None),
                ({"client_context": None, "endpoint": "[" * 2_000}, None),
                (
                    {
                        "client_context": None,
                        "endpoint": '{"x":%s,"ChannelType":"SMS"}' % ("[" * 600 + "]" * 600),
                    },
                    None,
                ),
                ({"client_context": None, "endpoint": '{"x":1e999,"ChannelType":"SMS"}'}, "SMS"),
            )
        ),
    ],
)
def test_shapes_that_real_events_have(value: bytes, expected: Dimensions) -> None:
    assert counted_as(value) == ("c", expected)
    assert_same_either_way(value)


@pytest.mark.parametrize(
    "written",
    [b"%d.0" % NOW, b"1.79e12", b"1.79E+12", b"17900000000000e-1", b"%d.000000" % NOW],
)
def test_whole_times_however_written(written: bytes) -> None:
    value = GOOD.replace(b'"event_timestamp":%d' % NOW, b'"event_timestamp":' + written)
    assert counted_as(value) == counted_as(GOOD)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        *((time, "wrong-type") for time in (b"1e9999", b"-1e9999", b"%d.5" % NOW, b"1e-3")),
        *((time, "impossible-time") for time in (b"0.0", b"-0", b"1e300", b"9" * 30, b"9" * 6_000)),
    ],
)
def test_times_that_cannot_be(written: bytes, reason: str) -> None:
    value = GOOD.replace(b'"event_timestamp":%d' % NOW, b'"event_timestamp":' + written)
    assert fate(value)[1] == [reason]
    assert_same_either_way(value)


STRANGE = (
    *(b'"\\ud800"', b'"\\udc00x"', b'{"\\ud800":1}', b"1e9999", b"9" * 6_000, b'{"a":1,"a":2}'),
    *(b"[" * 450 + b"]" * 450, b'{"a":' * 450 + b"1" + b"}" * 450),
)


# Words, as backslashes in names of tests are not found again by tools that run single ones.
STRANGE_NAMES = (
    *("high surrogate", "low surrogate", "surrogate key", "infinite", "long number", "key twice"),
    *("deep lists", "deep objects"),
)


@pytest.mark.parametrize("strange", STRANGE, ids=STRANGE_NAMES)
@pytest.mark.parametrize(
    "place", [b'"awsAccountId":"123456789012"', b'"platform":{}', b'"campaign_type":null']
)
@pytest.mark.parametrize("delivery_type", ["EMAIL", None])
def test_what_nobody_needs_does_not_matter(
    strange: bytes, place: bytes, delivery_type: str | None
) -> None:
    good = orjson.dumps(send_event("c", NOW, "SUCCESS", delivery_type=delivery_type))
    name = place.split(b":")[0]
    value = good.replace(place, name + b":" + strange)
    assert value != good
    assert fate(value) == fate(good)
    assert fate(value[:-1] + b',"\\udbff":' + strange + b"}") == fate(good)
    assert_same_either_way(value)


def test_half_a_surrogate_is_no_name() -> None:
    for name in (b"campaign_id", b"campaign_send_status"):
        value = GOOD.replace(b'"%s":"' % name, b'"%s":"\\ud800' % name)
        assert fate(value)[1] == ["wrong-type"]
    # What is not needed is null, as any other value that is no text.
    value = GOOD.replace(b'"treatment_id":"0"', b'"treatment_id":"\\ud800"')
    assert counted_as(value) == ("c", Dimensions("SUCCESS", None, "EMAIL", "EMAIL"))


def nested(levels: int) -> bytes:
    """An event that nests so many levels, beside brackets in strings, which are none."""
    strings = b'["%s","\\"[[[",{"[[":"\\\\"}]' % (b"[{" * 600)
    inner = b"[" * (levels - 1) + b"]" * (levels - 1)
    return GOOD[:-1] + b',"x":' + strings + b',"y":' + inner + b"}"


def deeper(frames: int, call: Callable[[], Any]) -> Any:
    return deeper(frames - 1, call) if frames else call()


@pytest.mark.parametrize("frames", [0, 250])
def test_nesting_is_bounded_whatever_the_stack(frames: int) -> None:
    assert deeper(frames, lambda: fate(nested(500))) == fate(GOOD)
    for levels in (501, 900, 2_000, 50_000):
        partition, pre_aggregator = (
            SourcePartition(0, IngestSettings(pinpoint.FORMAT, WINDOWS), Campaigns(1)),
            PreAggregator(),
        )
        count = partial(partition.count, [nested(levels)], NOW, pre_aggregator)
        (rejected,) = deeper(frames, count)
        assert rejected.reason == "not-json"
        assert "500" in rejected.detail


@pytest.mark.parametrize("size", [499, 501, 990, 1_001, 5_000])
@pytest.mark.parametrize("opened", [b"[", b'{"a":'])
def test_brackets_that_are_left_open(size: int, opened: bytes) -> None:
    left_open = (opened * size)[:size]
    for value in (left_open, b'{"x":' + left_open, GOOD[:-1] + b',"x":' + left_open):
        assert fate(value)[1] == ["not-json"]
    event = send_event("c", NOW, "SUCCESS", context={"custom": {"endpoint": left_open.decode()}})
    assert counted_as(orjson.dumps(event)) == ("c", PLAIN._replace(channel_type=None))


def test_a_wide_record_is_not_a_deep_one() -> None:
    wide = GOOD[:-1] + b',"x":[' + b"{}," * 700 + b"[[]]]}"
    assert fate(wide) == fate(GOOD)
    assert_same_either_way(wide)


@pytest.mark.parametrize("number", range(len(SPOILS)))
def test_every_way_to_be_put_aside(number: int) -> None:
    reason, spoil = SPOILS[number]
    value = spoil(send_event("c", NOW, "SUCCESS", delivery_type="EMAIL"), NOW)
    partition, pre_aggregator = (
        SourcePartition(0, IngestSettings(pinpoint.FORMAT, WINDOWS), Campaigns(1)),
        PreAggregator(),
    )
    rejected = partition.count([GOOD, value, GOOD], NOW, pre_aggregator)
    assert [(each.position, each.reason.value) for each in rejected] == [(1, reason)]
    assert pre_aggregator.counted == 2
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
    partition, pre_aggregator = SourcePartition(7, ingest_settings(), Campaigns(1)), PreAggregator()
    ahead = orjson.dumps(send_event("c", NOW + 200_000, "SUCCESS"))
    assert partition.count([GOOD, ahead], NOW, pre_aggregator) == []
    assert pre_aggregator.counted == 2
    assert pre_aggregator.event_times == {7: NOW}
    assert pre_aggregator.received_at == NOW


def test_versions_that_nobody_has_seen_are_counted_and_named() -> None:
    versions = ("3.1", "3.0", "4.0", "4.0", "30", None, "x" * 99)
    values = [orjson.dumps(send_event("c", NOW, "SUCCESS", version=v)) for v in versions]
    pre_aggregator = PreAggregator()
    assert (
        SourcePartition(0, ingest_settings(), Campaigns(1)).count(values, NOW, pre_aggregator) == []
    )
    assert pre_aggregator.counted == len(versions)
    assert pre_aggregator.unknown_versions == {"4.0": 2, "30": 1, "None": 1, "x" * 32: 1}


def test_an_app_is_known_by_any_of_its_events() -> None:
    without = send_event("c", NOW, "SUCCESS")
    del without["application"]
    values = [orjson.dumps(each) for each in (without, send_event("c", NOW, "FAILURE"), without)]
    pre_aggregator = PreAggregator()
    SourcePartition(0, ingest_settings(), Campaigns(1)).count(values, NOW, pre_aggregator)
    (counts,) = pre_aggregator.partial_counts()[0].windows
    assert (counts.campaigns, counts.apps) == (["c"], ["a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6"])


def test_names_have_a_bound_and_move_no_time() -> None:
    partition = SourcePartition(
        0, IngestSettings(pinpoint.FORMAT, WINDOWS, 100_000, 300_000), Campaigns(1)
    )
    pre_aggregator = PreAggregator()
    long, too_long = (
        orjson.dumps(send_event("c" * length, time, "SUCCESS", treatment_id=None))
        for length, time in ((4_000, NOW), (4_100, NOW + 9))
    )
    (rejected,) = partition.count([long, too_long, long], NOW, pre_aggregator)
    assert (rejected.position, rejected.reason) == (1, "too-large")
    assert (pre_aggregator.counted, partition.event_time) == (2, NOW)
