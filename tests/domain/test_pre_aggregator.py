"""What was counted comes out as partial counts, each campaign in its partition."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain import pre_aggregator as module
from streams.domain.campaigns import Campaign
from streams.domain.partial_counts import Dimensions, partition_of
from streams.domain.pre_aggregator import CountKey, PreAggregator
from tests.support.partitions import Row, rows_of

texts = st.text(max_size=12)
optional = st.none() | texts
names = st.tuples(texts, optional, optional) | st.builds(
    Dimensions, texts, optional, optional, optional, st.booleans()
)
apps = st.dictionaries(texts, optional, min_size=1, max_size=9)
counted = st.lists(st.tuples(st.integers(0, 3), names, st.integers(0, 99)), max_size=30)


@settings(max_examples=100)
@pytest.mark.parametrize("arrange_at", [0, 3, 1000])
@given(apps, counted, st.integers(1, 5))
def test_partial_counts_hold_what_was_counted_each_campaign_in_its_partition(
    arrange_at: int,
    apps: dict[str, str | None],
    counted: list[tuple[int, CountKey, int]],
    partitions: int,
) -> None:
    campaigns = [_campaign(name, app, partitions) for name, app in apps.items()]
    pre_aggregator = PreAggregator()
    expected: Counter[Row] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ARRANGE_AT", arrange_at)
        for start, of_them, number in counted:
            some = [campaigns[number % len(campaigns)], campaigns[number // 2 % len(campaigns)]]
            pre_aggregator.add(start, of_them, some)
            expected.update(Row(start, each.name, each.app_id, _expanded(of_them)) for each in some)
    pre_aggregator.event_times[3], pre_aggregator.received_at = 17, 5
    assert pre_aggregator.counted == expected.total()
    assert pre_aggregator.engagement == sum(
        n for row, n in expected.items() if row.dimensions.engagement
    )
    assert len(pre_aggregator) >= len(expected)
    found: Counter[Row] = Counter()
    for number, partial in pre_aggregator.partial_counts().items():
        assert (partial.event_times, partial.received_at) == ({3: 17}, 5)
        for counts in partial.windows:
            assert {partition_of(name, partitions) for name in counts.campaigns} == {number}
        found.update(rows_of(partial.windows))
    assert found == expected


def test_the_same_is_kept_once_until_it_is_arranged() -> None:
    campaign = _campaign("c", "app", 1)
    pre_aggregator = PreAggregator()
    for _ in range(5):
        pre_aggregator.add(0, ("SUCCESS", None, "EMAIL"), [campaign, campaign])
    assert len(pre_aggregator) == 1
    (counts,) = pre_aggregator.partial_counts()[0].windows
    assert (counts.rows, counts.events, len(pre_aggregator)) == (1, 10, 1)


def _campaign(name: str, app_id: str | None, partitions: int) -> Campaign:
    campaign = Campaign(name, partition_of(name, partitions))
    campaign.app_id = app_id
    return campaign


def _expanded(names: CountKey) -> Dimensions:
    return names if isinstance(names, Dimensions) else Dimensions(*names, names[2])
