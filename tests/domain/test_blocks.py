from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.blocks import (
    BLOCK_VERSION,
    Block,
    CampaignCounts,
    Dimensions,
    WindowCounts,
    decode,
    encode,
    encode_records,
    partition_of,
)
from streams.domain.events import Key, Tally

texts = st.text(max_size=12)
names = st.none() | texts
dimensions = st.builds(Dimensions, texts, names, names, names)
counts = st.dictionaries(dimensions, st.integers(1, 10**9), max_size=4)
windows = st.builds(WindowCounts, st.integers(0, 10**10), counts, counts)
campaigns = st.builds(CampaignCounts, texts, names, st.lists(windows, max_size=3))
event_times = st.dictionaries(st.integers(0, 99), st.integers(0, 10**13), max_size=3)
received = st.integers(0, 10**13)
made_blocks = st.builds(
    Block, st.just(BLOCK_VERSION), event_times, received, st.lists(campaigns, max_size=5)
)
keys: st.SearchStrategy[Key] = st.tuples(texts, st.integers(0, 10**10), texts, names, names, names)
tallied = st.dictionaries(keys, st.integers(1, 1000), max_size=30)


@given(made_blocks)
def test_a_block_comes_back_as_it_was(block: Block) -> None:
    assert decode(encode(block)) == block


@given(made_blocks, st.integers(1, 200))
def test_records_of_a_block_hold_it_all(block: Block, limit: int) -> None:
    values = list(encode_records(block, limit))
    parts = [decode(value) for value in values]
    assert [c for part in parts for c in part.campaigns] == block.campaigns
    assert [part.event_times for part in parts[:-1]] == [{}] * (len(parts) - 1)
    assert parts[-1].event_times == block.event_times
    assert {part.received_at for part in parts} == {block.received_at}
    for value, part in zip(values, parts, strict=True):
        assert len(value) <= limit or len(part.campaigns) <= 1


@pytest.mark.parametrize("value", [b"", b"\xc1", b"{}", b"\x94\x01\x80\x00"])
def test_other_bytes_are_no_block(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a block"):
        decode(value)


def test_a_block_of_another_version_is_named() -> None:
    with pytest.raises(ValueError, match=r"version 7.*reads 1"):
        decode(encode(Block(7, {}, 0, [])))


@settings(max_examples=50)
@given(tallied, tallied, st.integers(1, 9))
def test_blocks_hold_what_was_tallied_each_campaign_in_its_partition(
    sends: dict[Key, int], engagement: dict[Key, int], partitions: int
) -> None:
    tally = Tally(sends, engagement, event_times={3: 17}, received_at=5)
    found: tuple[Counter[Key], Counter[Key]] = (Counter(), Counter())
    for number, block in tally.blocks(partitions).items():
        assert (block.event_times, block.received_at) == ({3: 17}, 5)
        for campaign in block.campaigns:
            assert partition_of(campaign.campaign_id, partitions) == number
            for window in campaign.windows:
                for target, part in zip(found, (window.sends, window.engagement), strict=True):
                    for each, count in part.items():
                        target[campaign.campaign_id, window.start, *each] += count
    assert found == (Counter(sends), Counter(engagement))


def test_partitions_never_change() -> None:
    """Where a campaign's counts are depends on it."""
    known = {"4f8d6097c2e8400fa3081d875example": 3, "a/b": 0, "ünïcode": 2, "100%": 0}
    assert {name: partition_of(name, 4) for name in known} == known
