"""The sums of a lane: the same as campaign by campaign."""

from random import Random

import pytest

from streams.domain.causes.evidence import CampaignSends, Place, Sends
from streams.domain.causes.lane_sums import USUAL_WINDOWS, LaneSums
from streams.domain.causes.membership import SOONER
from streams.domain.causes.summary import FRAMES, CellSum, Frame, frame_of
from streams.domain.partial_counts import Dimensions
from streams.domain.rules import Rule
from tests.support.partitions import FAILURE_SPIKE, STATUS_GROUPS, MemoryHolder, holder

STATUSES = ("SUCCESS", "FAILURE", "TIMEOUT")
RULE = Rule("failing", frozenset({"FAILURE", "TIMEOUT"}), FAILURE_SPIKE.detector, campaigns=("c*",))
WINDOWS = 25


def filled(random: Random) -> MemoryHolder:
    """A partition with windows of some campaigns, of which some break in the end."""
    made = holder(1)
    for number in range(WINDOWS):
        for campaign in range(8):
            sends = {}
            for channel in ("GCM", "EMAIL", None)[: 1 + campaign % 3]:
                broken = campaign < 4 and channel == "GCM" and number >= WINDOWS - 2
                for status in STATUSES:
                    usual = random.randint(0, 60 if status == "SUCCESS" else 2)
                    key = Dimensions(status, str(number % 2), channel, channel)
                    sends[key] = 50 if broken and status == "TIMEOUT" else usual
            # Another name than the rule is about; and sends that are no attempts.
            name = f"c{campaign}" if campaign else "other"
            engaged = {Dimensions("OPENED", None, None, None): 7}
            made.add(name, 60 * number, sends, engaged, app_id=f"app-{campaign % 2}")
    return made


def sends_between(made: MemoryHolder, campaign: str, starts: list[int]) -> dict[Place, Sends]:
    """What a campaign has in some windows, by place, added up in the plainest way."""
    found: dict[Place, tuple[int, dict[str, int]]] = {}
    for start in starts:
        cell = made.here[0].table.cell(campaign, start)
        for dimensions, count in cell.sends.items() if cell is not None else ():
            place = dimensions.channel_type, dimensions.delivery_type
            attempts, hits = found.setdefault(place, (0, {}))
            if dimensions.outcome != "SUCCESS" and count:
                hits[dimensions.outcome] = hits.get(dimensions.outcome, 0) + count
            found[place] = attempts + count, hits
    return {place: Sends(*each) for place, each in found.items() if each[0]}


def campaigns_at(made: MemoryHolder, since: int, *, without: str = "") -> list[CampaignSends]:
    table = made.here[0].table
    later = [at for at in table.starts() if at >= since]
    usual = [at for at in table.starts() if at < since][-USUAL_WINDOWS:]
    return [
        CampaignSends(
            name,
            f"app-{int(name[1]) % 2}",
            sends_between(made, name, later),
            sends_between(made, name, usual),
        )
        for name in sorted({f"c{n}" for n in range(1, 8)} - {without})
    ]


def nearly(one: Frame, other: Frame) -> None:
    """Sums of whole thousandths, each rounded: two ways to add up differ by one now and then."""
    assert [key for key, _ in one.cells] == [key for key, _ in other.cells]
    for (_, a), (_, b) in zip(one.cells, other.cells, strict=True):
        assert (a.campaigns, a.attempts, a.hits) == (b.campaigns, b.attempts, b.hits)
        assert a.expected == pytest.approx(b.expected, abs=2)
        assert list(a.evidence) == pytest.approx(list(b.evidence), abs=2)
        assert hits_of(a) == hits_of(b)
        for name, (_, expected) in a.statuses.items():
            assert expected == pytest.approx(b.statuses[name][1], abs=8)


def hits_of(cell: CellSum) -> dict[str, int]:
    return {name: hits for name, (hits, _) in cell.statuses.items()}


@pytest.mark.parametrize("seed", range(5))
def test_they_are_those_of_campaign_by_campaign(seed: int) -> None:
    made = filled(Random(seed))  # noqa: S311 - repeatable
    sums = LaneSums(made.here[0].table, STATUS_GROUPS, RULE)
    sums.refresh()
    frames = sums.frames({}, {})
    assert [frame.since for frame in frames] == [60 * (WINDOWS - n) for n in range(FRAMES, 0, -1)]
    for frame in frames:
        nearly(frame, frame_of(frame.since, campaigns_at(made, frame.since)))
    assert any(max(cell.evidence) > 0 for frame in frames for _, cell in frame.cells)


def test_one_campaign_by_itself() -> None:
    made = filled(Random(1))  # noqa: S311 - repeatable
    sums = LaneSums(made.here[0].table, STATUS_GROUPS, RULE)
    sums.refresh()
    since = 60 * (WINDOWS - 2)
    (expected,) = (each for each in campaigns_at(made, since) if each.campaign_id == "c2")
    found = sums.sends_of("c2", since)
    assert (found.app_id, found.seen, found.usual) == (
        expected.app_id,
        expected.seen,
        expected.usual,
    )
    assert sums.sends_of("nobody", since) == CampaignSends("nobody", None, {}, {})


def test_what_was_broken_long_before_or_has_recovered_is_left_out() -> None:
    made = filled(Random(1))  # noqa: S311 - repeatable
    sums = LaneSums(made.here[0].table, STATUS_GROUPS, RULE)
    sums.refresh()
    newest = 60 * (WINDOWS - 1)
    frame = sums.frames({"c1": newest - SOONER - 60}, {})[-1]
    nearly(frame, frame_of(newest, campaigns_at(made, newest, without="c1")))
    frame = sums.frames({"c1": newest - SOONER}, {})[-1]
    nearly(frame, frame_of(newest, campaigns_at(made, newest)))
    frame = sums.frames({}, {"c1": newest + 0.5})[-1]
    nearly(frame, frame_of(newest, campaigns_at(made, newest, without="c1")))
    frame = sums.frames({}, {"c1": newest - 0.5})[-1]
    nearly(frame, frame_of(newest, campaigns_at(made, newest)))


def test_windows_that_change_are_read_again() -> None:
    made = filled(Random(1))  # noqa: S311 - repeatable
    sums = LaneSums(made.here[0].table, STATUS_GROUPS, RULE)
    sums.refresh()
    newest = 60 * (WINDOWS - 1)
    made.add("c9", newest, {Dimensions("TIMEOUT", None, "SMS", "SMS"): 5}, app_id="app-9")
    sums.refresh()
    (cell,) = (cell for key, cell in sums.frames({}, {})[-1].cells if key[0] == "app-9")
    assert (cell.campaigns, cell.attempts, cell.hits) == (1, 5, 5)


def test_without_windows_there_is_nothing() -> None:
    sums = LaneSums(holder(1).here[0].table, STATUS_GROUPS, RULE)
    sums.refresh()
    assert sums.frames({}, {}) == ()


def test_old_windows_are_read_later_if_there_are_many_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.domain.causes.lane_sums.COUNTS_AT_ONCE", 1)
    made = filled(Random(1))  # noqa: S311 - repeatable
    newest = 60 * (WINDOWS - 1)
    made.advance(newest + 100)
    made.here[0].take_changes(newest + 200)
    sums = LaneSums(made.here[0].table, STATUS_GROUPS, RULE)
    sums.refresh()
    at_first = sums.frames({}, {})
    for _ in range(FRAMES + USUAL_WINDOWS):
        sums.refresh()
    assert len(at_first) < FRAMES
    since = at_first[-1].since
    nearly(sums.frames({}, {})[-1], frame_of(since, campaigns_at(made, since)))
