"""Which causes the sums of all campaigns show."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.causes.evidence import CampaignSends, Place, Sends
from streams.domain.causes.finding import LEAST_EVIDENCE, covers, evidence_in, find, is_within
from streams.domain.causes.summary import CellKey, Cells, CellSum, frame_of
from streams.domain.counts import OTHER

CHANNELS = ("GCM", "EMAIL", "SMS")
Broken = Callable[[int, str, str], float]
"""The rate of hits by the campaign's number, app and channel."""


def cells_of(
    rate: Broken, *, campaigns: int = 30, apps: int = 3, status: str = "FAILURE", attempts: int = 60
) -> Cells:
    """Campaigns of three channels each, with a usual rate of 1 %."""

    def made() -> Iterable[CampaignSends]:
        for number in range(campaigns):
            app = f"app-{number % apps}"
            seen: dict[Place, Sends] = {}
            for channel in CHANNELS:
                hits = round(attempts * rate(number, app, channel))
                seen[channel, channel] = Sends(attempts, {status: hits} if hits else {})
            usual = {place: Sends(1_000, {"FAILURE": 10}) for place in seen}
            yield CampaignSends(str(number), app, seen, usual)

    return dict(frame_of(0, made()).cells)


@pytest.mark.parametrize(
    ("values", "rate"),
    [
        ({"channel_type": "GCM"}, lambda *at: 0.9 * (at[2] == "GCM")),
        ({"app_id": "app-1"}, lambda *at: 0.3 * (at[1] == "app-1")),
        (
            {"app_id": "app-1", "channel_type": "SMS"},
            lambda _, app, channel: 0.5 * (app == "app-1" and channel == "SMS"),
        ),
        ({}, lambda *_: 0.6),
    ],
)
def test_the_slice_that_is_broken_is_named(values: dict[str, str], rate: Broken) -> None:
    (found,) = find({0: cells_of(rate)})
    assert found.values == values
    assert found.sureness > 0.99
    assert found.share == pytest.approx(1.0, abs=0.01)
    assert found.hits > found.expected


def test_several_causes_are_told_apart() -> None:
    def rate(_: int, app: str, channel: str) -> float:
        if channel == "GCM":
            return 0.9
        return 0.5 if app == "app-2" else 0.0

    found = find({0: cells_of(rate)})
    assert [each.values for each in found] == [{"channel_type": "GCM"}, {"app_id": "app-2"}]
    # 54 hits of 30 campaigns; 30 of each of two channels of 10 campaigns.
    assert [each.share for each in found] == pytest.approx([1620 / 2220, 600 / 2220], abs=0.01)


def test_all_usual_is_no_cause() -> None:
    assert find({0: cells_of(lambda *_: 0.01)}) == []
    assert find({}) == []
    assert find({0: {}}) == []


@pytest.mark.parametrize("campaigns", [1, 2, 30])
def test_a_single_campaign_is_no_cause(campaigns: int) -> None:
    assert find({0: cells_of(lambda number, *_: 0.9 * (number == 0), campaigns=campaigns)}) == []


def test_faults_of_their_own_in_some_of_many_campaigns_are_no_cause() -> None:
    assert find({0: cells_of(lambda number, *_: 0.9 * (number % 5 == 0), campaigns=300)}) == []


def test_a_cause_that_spares_some_campaigns_is_found() -> None:
    (found,) = find({0: cells_of(lambda n, _, channel: 0.9 * (channel == "SMS" and n % 5 > 0))})
    assert found.values == {"channel_type": "SMS"}


def test_a_few_sends_by_another_channel_tell_an_app_from_its_channel() -> None:
    """4 % of the sends do not use the channel that is broken, or that most sends use."""

    def cells(others: int) -> Cells:
        some = [
            CampaignSends(
                str(number),
                f"app-{number % 2}",
                {
                    ("GCM", "GCM"): Sends(1_000, {"F": 800 if number % 2 == 0 else 10}),
                    ("EMAIL", "EMAIL"): Sends(40, {"F": others if number % 2 == 0 else 0}),
                },
                {},
            )
            for number in range(20)
        ]
        return dict(frame_of(0, some).cells)

    (channel,) = find({0: cells(0)})
    (app,) = find({0: cells(32)})
    assert channel.values == {"app_id": "app-0", "channel_type": "GCM"}
    assert app.values == {"app_id": "app-0"}


def test_a_new_status_is_named_a_usual_one_is_not() -> None:
    def rate(*at: object) -> float:
        return 0.9 * (at[2] == "GCM")

    (usual,) = find({0: cells_of(rate)})
    (new,) = find({0: cells_of(rate, status="TIMEOUT")})
    assert usual.status is None
    assert new.status == "TIMEOUT"


def test_the_frame_that_shows_most_is_taken() -> None:
    weak = cells_of(lambda *at: 0.2 * (at[2] == "GCM"), attempts=10)
    strong = cells_of(lambda *at: 0.9 * (at[2] == "GCM"))
    (found,) = find({0: weak, 60: strong, 120: {}})
    assert found.since == 60


def test_other_apps_together_have_no_name() -> None:
    broken = CellSum(20, 1_000, 900, 10_000, (0, 0, 0, 100_000))
    healthy = CellSum(40, 1_000, 10, 10_000, (0, 0, 0, -200_000))
    cells: Cells = {(OTHER, "GCM", OTHER): broken, ("a", "SMS", "SMS"): healthy}
    (found,) = find({0: cells})
    assert found.values == {"channel_type": "GCM"}


def test_what_is_left_of_a_named_cause_is_not_everything() -> None:
    broken = CellSum(20, 1_000, 900, 10_000, (0, 0, 0, 100_000))
    fewer = CellSum(20, 1_000, 300, 10_000, (90_000, 0, 0, -200_000))
    cells: Cells = {("a", "GCM", "GCM"): broken, ("b", "SMS", "SMS"): fewer}
    assert [each.values for each in find({0: cells})] == [{"app_id": "a"}, {"app_id": "b"}]


def test_slices_within_slices() -> None:
    assert covers({"app_id": "a"}, ("a", None, "d"))
    assert not covers({"app_id": "a", "channel_type": "c"}, ("a", None, "d"))
    assert covers({"channel_type": None}, ("a", None, "d"))
    assert is_within({"app_id": "a", "channel_type": "c"}, {"app_id": "a"})
    assert is_within({"app_id": "a"}, {})
    assert not is_within({"app_id": "a"}, {"app_id": "b"})


def test_the_evidence_of_a_slice_is_that_with_which_it_is_found() -> None:
    frames = {0: cells_of(lambda *at: 0.9 * (at[2] == "GCM"))}
    (found,) = find(frames)
    assert evidence_in(frames, found.values) == pytest.approx(found.evidence)
    assert evidence_in(frames, {"app_id": "nobody's"}) == 0.0


NAMES = st.sampled_from([None, "a", "b", OTHER])
KEYS: st.SearchStrategy[CellKey] = st.tuples(NAMES, NAMES, NAMES)
BAND = st.integers(-50_000, 50_000)
CELLS = st.dictionaries(
    KEYS,
    st.builds(
        CellSum,
        st.integers(1, 9),
        st.integers(0, 999),
        st.integers(0, 999),
        st.integers(0, 999_000),
        st.tuples(BAND, BAND, BAND, BAND),
        st.dictionaries(
            st.sampled_from(["S", "T", OTHER]),
            st.tuples(st.integers(0, 99), st.integers(0, 99_000)),
        ),
    ),
    max_size=9,
)


@settings(max_examples=60)
@given(CELLS, st.randoms())
def test_causes_follow_from_the_sums_alone(cells: Cells, random: object) -> None:
    rows = list(cells.items())
    random.shuffle(rows)  # type: ignore[attr-defined]
    found = find({0: dict(rows)})
    assert [each.values for each in found] == [each.values for each in find({0: cells})]
    for each in found:
        assert each.evidence >= LEAST_EVIDENCE
        assert 0 < each.sureness <= 1
        assert 0 <= each.share <= 1.000001
        assert OTHER not in each.values.values()
