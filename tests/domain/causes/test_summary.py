"""Sums of lanes: their bound, and that merging them is a join."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.causes.evidence import CampaignSends, Place, Sends
from streams.domain.causes.summary import (
    FRAMES,
    LONGEST_NAME,
    MOST_CELLS,
    NOTHING,
    CellKey,
    CellSum,
    Frame,
    LaneSummary,
    Merged,
    decode,
    encode,
    frame_of,
    merge,
    total,
)
from streams.domain.counts import OTHER

NAMES = st.sampled_from([None, "", "a", "GCM", "null", OTHER, "\x00", "a" * (LONGEST_NAME + 1)])
STATUSES = st.dictionaries(
    st.sampled_from(["S", "T", "U", "V", "W", "X", OTHER]), st.integers(0, 9)
)


@st.composite
def campaigns(draw: st.DrawFn) -> CampaignSends:
    def of_places() -> dict[Place, Sends]:
        hits = draw(st.dictionaries(st.tuples(NAMES, NAMES), STATUSES, max_size=4))
        more = draw(st.integers(0, 100))
        return {place: Sends(sum(each.values()) + more, each) for place, each in hits.items()}

    return CampaignSends(draw(st.text(max_size=3)), draw(NAMES), of_places(), of_places())


@st.composite
def summaries(draw: st.DrawFn) -> LaneSummary:
    frames = draw(st.dictionaries(st.sampled_from([0, 60]), st.lists(campaigns(), max_size=3)))
    return LaneSummary(
        draw(st.integers(0, 2)),
        draw(st.sampled_from(["r", "s"])),
        draw(st.integers(0, 2)),
        tuple(frame_of(since, of_it) for since, of_it in sorted(frames.items())),
    )


def known(*summaries: LaneSummary) -> Merged:
    merged: Merged = {}
    for each in summaries:
        merged = merge(merged, {(each.rule, each.lane): each})
    return merged


@settings(max_examples=50)
@given(st.lists(summaries(), max_size=4), st.lists(summaries(), max_size=4), summaries())
def test_merging_is_a_join(
    some: list[LaneSummary], others: list[LaneSummary], third: LaneSummary
) -> None:
    one, two, three = known(*some), known(*others), known(third)
    assert merge(one, two) == merge(two, one)
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert merge(one, one) == one
    assert merge(merge(one, two), one) == merge(one, two)


@settings(max_examples=50)
@given(st.lists(summaries(), max_size=5), st.randoms())
def test_the_sums_do_not_depend_on_the_order_in_which_summaries_came(
    some: list[LaneSummary], random: object
) -> None:
    shuffled = [decode(encode(each)) for each in some]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for rule in ("r", "s"):
        assert total(known(*shuffled), rule) == total(known(*some), rule)


@settings(max_examples=50)
@given(st.lists(campaigns(), max_size=6), st.integers(0, 6))
def test_campaigns_may_be_in_any_lanes(some: list[CampaignSends], at: int) -> None:
    """The evidence and counts are the same sums, however the campaigns are spread over lanes."""
    parts = [LaneSummary(0, "r", 1, (frame_of(0, some[:at]),))]
    parts.append(LaneSummary(1, "r", 1, (frame_of(0, some[at:]),)))
    together = known(LaneSummary(0, "r", 1, (frame_of(0, some),)))

    def plain(merged: Merged) -> Mapping[CellKey, CellSum]:
        cells = total(merged, "r").get(0, {})
        return {key: msgspec.structs.replace(each, statuses={}) for key, each in cells.items()}

    assert plain(known(*parts)) == plain(together)


def test_of_two_versions_the_higher_one_counts() -> None:
    old, new = LaneSummary(0, "r", 1, ()), LaneSummary(0, "r", 2, (Frame(60, ()),))
    assert known(new, old) == known(old, new) == {("r", 0): new}


def many(apps: int, channels: int) -> list[CampaignSends]:
    return [
        CampaignSends(
            str(app),
            f"app-{app}",
            {(f"c{at}", "d"): Sends(10, {"F": 9 if app == 700 else 0}) for at in range(channels)},
            {},
        )
        for app in range(apps)
    ]


def test_a_frame_is_bounded_and_its_sums_are_exact() -> None:
    frame = frame_of(0, many(1_000, 3))
    assert len(frame.cells) <= MOST_CELLS
    whole = sum((cell for _, cell in frame.cells), NOTHING)
    assert (whole.campaigns, whole.attempts, whole.hits) == (3_000, 30_000, 27)
    of_channel = sum((cell for key, cell in frame.cells if key[1] == "c0"), NOTHING)
    assert of_channel.attempts == 10_000
    assert {key[0] for key, _ in frame.cells} >= {"app-700", OTHER}


def test_an_app_with_many_places_is_bounded_too() -> None:
    frame = frame_of(0, many(2, 1_000))
    assert len(frame.cells) <= 2 * 16
    assert sum(cell.attempts for _, cell in frame.cells) == 20_000


def test_the_size_of_a_summary_is_bounded() -> None:
    """256 cells with names of 256 four-byte characters, and as long ones of five statuses."""
    long = "\U0001f600" * (LONGEST_NAME - 8)
    seen: dict[Place, Sends] = {
        (f"{long}{at}", f"{long}{at}"): Sends(100, {f"{long}{n}": 9 for n in range(9)})
        for at in range(16)
    }
    some = [CampaignSends(str(app), f"{long}{app}", seen, {}) for app in range(40)]
    frame = frame_of(0, some)
    assert len(encode(LaneSummary(0, "r", 1, (frame,) * FRAMES))) < 10_000_000


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{}",
        b"[0]",
        b'[0,"r",1,[[-1,[]]]]',
        b'[0,"r",1,[[0,[[["a","b"],[1,1,1,1,[1,1,1,1],{}]]]]]]',
        b'[0,"r",1,[[0,[[["a","b","c"],[1,1,1,1,[1,1,1],{}]]]]]]',
        b'[0,"r",1,[[0,[[["a","b","c"],[1,1,1,1e9,[1,1,1,1.5],{}]]]]]]',
    ],
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(garbage)
