"""Places for campaigns: known ones keep theirs, and one app cannot take all."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.counts import OTHER
from streams.domain.partial_counts import Dimensions, WindowCounts
from streams.domain.roster import Roster
from tests.support.partitions import rows_of, window_counts

SENT = Dimensions("SUCCESS", None, "EMAIL", "EMAIL")


def of(names: list[str], app: str | None = "app") -> WindowCounts:
    return window_counts(0, {name: {SENT: 1} for name in names}, app)


def enter(roster: Roster, names: list[str], app: str | None) -> int:
    """One window's campaigns; return how many events were folded."""
    admitted = roster.admit(of(names, app))
    roster.appear(admitted.counts.campaigns)
    return admitted.folded


def test_a_flood_takes_half_and_leaves_places_for_others() -> None:
    roster = Roster(1_000)
    assert enter(roster, [f"honest-{n}" for n in range(100)], "honest") == 0
    assert enter(roster, [f"flood-{n}" for n in range(5_000)], "hostile") == 5_000 - 450
    assert enter(roster, [f"new-{n}" for n in range(100)], "honest") == 0
    assert enter(roster, [f"late-{n}" for n in range(100)], "another") == 0
    # What is known is known.
    assert enter(roster, [f"honest-{n}" for n in range(100)], "honest") == 0
    assert enter(roster, ["flood-0", "flood-4999"], "hostile") == 1


def test_any_number_of_apps_pushes_nobody_out() -> None:
    roster = Roster(100)
    enter(roster, ["honest"], "honest")
    for n in range(1_000):
        enter(roster, [f"c-{n}"], f"app-{n}")
    assert len(roster) == 100
    assert enter(roster, ["honest"], "honest") == 0


def test_places_are_free_again_when_the_counts_have_expired() -> None:
    roster = Roster(10)
    names = [f"c-{n}" for n in range(10)]
    assert enter(roster, names, "app") == 5
    assert enter(roster, names, "app") == 5
    roster.leave([*names[:5], OTHER])
    assert len(roster) == 5
    roster.leave([*names[:5], OTHER])
    assert len(roster) == 0
    assert enter(roster, names[5:], "app") == 0


def test_the_very_name_is_never_a_campaign_of_its_own() -> None:
    roster = Roster(10)
    admitted = roster.admit(of([OTHER, "c"]))
    assert (admitted.folded, admitted.counts.campaigns) == (1, [OTHER, "c"])
    assert admitted.counts.apps[admitted.counts.at_app[0]] is None
    assert len(roster) == 1


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["a", "b", None])), max_size=60))
def test_nothing_is_lost(campaigns: list[tuple[int, str | None]]) -> None:
    roster = Roster(8)
    sent, found = 0, Counter[str]()
    for number, app in campaigns:
        counts = of([f"{app}-{number}", f"{app}-{number + 1}"], app)
        admitted = roster.admit(counts)
        assert counts.campaigns == [f"{app}-{number}", f"{app}-{number + 1}"]
        roster.appear(admitted.counts.campaigns)
        sent += 2
        for row, count in rows_of([admitted.counts]).items():
            found[row.campaign_id] += count
    assert sum(found.values()) == sent
    assert len(found.keys() - {OTHER}) == len(roster) <= 8


@settings(max_examples=60)
@given(
    st.integers(1, 12),
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab")), max_size=6), max_size=8),
)
def test_places_are_given_one_after_the_other(
    room: int, batches: list[list[tuple[int, str]]]
) -> None:
    together, apart = Roster(room), Roster(room)
    for batch in batches:
        names = [f"{app}-{number}" for number, app in batch]
        counts = of(list(dict.fromkeys(names)))
        counts.apps = ["a", "b"]
        counts.at_app = ["ab".index(name[0]) for name in counts.campaigns]
        admitted = together.admit(counts).counts.campaigns
        together.appear(list(dict.fromkeys(admitted)))
        one_by_one = []
        for name, at_app in zip(counts.campaigns, counts.at_app, strict=True):
            (kept,) = apart.admit(of([name], "ab"[at_app])).counts.campaigns
            one_by_one.append(kept)
        apart.appear(list(dict.fromkeys(one_by_one)))
        assert admitted == one_by_one
        assert len(together) == len(apart)
