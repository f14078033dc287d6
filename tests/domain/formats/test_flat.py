"""The door for event formats: a second one is counted, and rejected, by its own names."""

import re
from collections import Counter

import orjson
import pytest

from streams.domain.campaigns import Campaigns
from streams.domain.events import Unreadable
from streams.domain.partial_counts import Dimensions
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.sources import IngestSettings, SourcePartition
from streams.domain.windows import WindowPolicy
from tests.support.flat_format import FORMAT
from tests.support.partitions import rows_of

NOW = 1_790_000_000_000
WINDOWS = WindowPolicy(size=60, grace=7, retention=600)


def send(**fields: object) -> bytes:
    given = {"campaign": "c", "result": "bounced", "at": NOW, "via": "sms", "tenant": "shop"}
    return orjson.dumps({name: value for name, value in {**given, **fields}.items() if value != ()})


def partition() -> SourcePartition:
    return SourcePartition(0, IngestSettings(FORMAT, WINDOWS, 5_000), Campaigns(1))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (send(), Dimensions("bounced", None, "sms", "sms")),
        (send(variant="b"), Dimensions("bounced", "b", "sms", "sms")),
        (send(variant=""), Dimensions("bounced", None, "sms", "sms")),
        (send(via=()), Dimensions("bounced", None, None, None)),
        (send(campaign="ünïcode"), Dimensions("bounced", None, "sms", "sms")),
        # These take the slow path.
        (send(at=float(NOW)), Dimensions("bounced", None, "sms", "sms")),
        (send(variant=7), Dimensions("bounced", None, "sms", "sms")),
        (send(via=["sms"]), Dimensions("bounced", None, None, None)),
    ],
)
def test_a_send_is_counted(value: bytes, expected: Dimensions) -> None:
    pre_aggregator = PreAggregator()
    assert partition().count([value], NOW, pre_aggregator) == []
    (counts,) = pre_aggregator.partial_counts()[0].windows
    (row,) = rows_of([counts])
    assert (row.start, row.app_id, row.dimensions) == (NOW // 60_000 * 60, "shop", expected)
    assert not pre_aggregator.unknown_versions, "the format has none"


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (send(at=()), "missing-field", "at"),
        (send(campaign=()), "missing-field", "campaign"),
        (send(campaign=None), "missing-field", "campaign"),
        (send(result=()), "missing-field", "result"),
        (send(result=7), "wrong-type", "result is a JSON number"),
        (send(at=1), "impossible-time", "at 1 is before 2010"),
        (send(at=NOW - 3_600_000), "expired", f"at {NOW - 3_600_000} is older than .*"),
        (send(tenant="x" * 5_000), "too-large", r"\d+ bytes, more than 5000"),
        (b"[]", "not-an-object", "a JSON array"),
        (send() + b"]", "not-json", "Extra data.*"),
        (send(x="\N{EURO SIGN}").replace(b"\xe2", b"\xff"), "not-json", ".*utf-8.*"),
        (None, "not-json", "the record has no value"),
        (Unreadable(b"batch", "its checksum is wrong"), "unreadable", "its checksum is wrong"),
    ],
)
def test_a_rejection_has_the_names_of_the_format(
    value: bytes | None, reason: str, detail: str
) -> None:
    pre_aggregator = PreAggregator()
    (first,) = partition().count([send(), value], NOW, pre_aggregator)
    assert (first.position, first.reason) == (1, reason)
    assert re.fullmatch(detail, first.detail)
    assert (pre_aggregator.counted, pre_aggregator.skipped) == (1, Counter())
