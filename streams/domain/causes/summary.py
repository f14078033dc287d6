"""What a lane tells the others of its campaigns: sums by cell, of bounded size.

A summary has frames: sums of all sends since the start of one of the newest windows. A cause that
began in a window is found best in the frame that begins with it. Sums are whole numbers, so adding
them up gives the same in any order.

Merging is a join: commutative, associative and idempotent. Of each lane and rule the summary with
the highest version counts, so that it does not matter in which order, how often or by which way
summaries arrive. Merged summaries are added up frame by frame.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import msgspec

from streams.domain.causes.evidence import (
    BANDS,
    MILLI,
    Bands,
    CampaignSends,
    PlaceEvidence,
    evidence_of,
)
from streams.domain.counts import OTHER
from streams.domain.partial_counts import Start

FRAMES = 4
"""Frames of a summary: they begin with the newest window, and with as many before."""
MOST_CELLS = 256
"""Cells of a frame that are kept apart; of further apps, only the channels."""
PLACES_OF_AN_APP = 16
"""Combinations of channel and delivery type of an app that are kept apart."""
LONGEST_NAME = 256
"""Characters of an app, a channel, a delivery type or a status; a longer one is `OTHER`."""
STATUSES = 4
"""Statuses of a cell that are kept apart: those with the largest excess. Others are `OTHER`."""

CellKey: TypeAlias = tuple[str | None, str | None, str | None]
"""App, channel and delivery type."""


class CellSum(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Sums over campaigns of one cell.

    Attributes:
        campaigns: how many have sends in it.
        attempts: of all campaigns.
        hits: of these.
        expected: hits that would be usual, in thousandths.
        evidence: for a common cause, by band, in thousandths of a nat.
        statuses: of hits, by status: hits, and those expected in thousandths.
    """

    campaigns: int
    attempts: int
    hits: int
    expected: int
    evidence: Bands
    statuses: dict[str, tuple[int, int]] = {}

    @property
    def excess(self) -> float:
        """Hits beyond those expected; below 0 if there are fewer."""
        return self.hits - self.expected / MILLI

    def __add__(self, other: "CellSum") -> "CellSum":
        """Return the sums over the campaigns of both."""
        statuses = dict(self.statuses)
        for name, (hits, expected) in other.statuses.items():
            known = statuses.get(name, (0, 0))
            statuses[name] = known[0] + hits, known[1] + expected
        one, two = self.evidence, other.evidence
        return CellSum(
            self.campaigns + other.campaigns,
            self.attempts + other.attempts,
            self.hits + other.hits,
            self.expected + other.expected,
            (one[0] + two[0], one[1] + two[1], one[2] + two[2], one[3] + two[3]),
            statuses,
        )


NOTHING = CellSum(0, 0, 0, 0, (0, 0, 0, 0))
Cells: TypeAlias = dict[CellKey, CellSum]


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """Sums of the sends since the start (s) of a window; `cells` are in the order of their keys."""

    since: Start
    cells: tuple[tuple[CellKey, CellSum], ...]


class LaneSummary(msgspec.Struct, frozen=True, array_like=True):
    """What a lane knows of its campaigns, as one rule sees them.

    Attributes:
        lane: its number.
        rule: names the rule.
        version: higher for what is known later, such as the offset that it follows from.
        frames: by their start, at most `FRAMES`.
    """

    lane: int
    rule: str
    version: int
    frames: tuple[Frame, ...]


Merged: TypeAlias = Mapping[tuple[str, int], LaneSummary]
"""By rule and lane, the summary that counts."""

encode = msgspec.json.Encoder(order="deterministic").encode
decode = msgspec.json.Decoder(LaneSummary).decode


def frame_of(since: int, campaigns: Iterable[CampaignSends]) -> Frame:
    """Add up what campaigns have sent since the start (s) of a window.

    Args:
        since: the start.
        campaigns: of one lane, each once, healthy ones included. Leave out those that were broken
            long before.
    """
    cells: Cells = {}
    for campaign in campaigns:
        for (channel, delivery), found in evidence_of(campaign).items():
            key = short(campaign.app_id), short(channel), short(delivery)
            cells[key] = cells.get(key, NOTHING) + _sum(found)
    return bounded_frame(since, cells)


def bounded_frame(since: int, cells: Cells) -> Frame:
    """Return a frame of sums by cell; past the bounds, cells and statuses are folded."""
    rows = ((key, _with_few_statuses(cell)) for key, cell in _bounded(cells).items())
    return Frame(since, tuple(sorted(rows, key=lambda row: in_order(row[0]))))


def merge(one: Merged, two: Merged) -> Merged:
    """Return what is known by both: of each rule and lane, what counts of the two."""
    merged = dict(one)
    for key, summary in two.items():
        known = merged.get(key)
        if known is None or _rank(known) < _rank(summary):
            merged[key] = summary
    return merged


def total(merged: Merged, rule: str) -> dict[int, Cells]:
    """Add up the summaries of all lanes for one rule: by the start (s) of a frame, its cells."""
    return added_up([merged[key] for key in sorted(merged) if key[0] == rule])


def added_up(summaries: Iterable[LaneSummary]) -> dict[int, Cells]:
    """Add up summaries of one rule, one of each lane: by the start (s) of a frame, its cells."""
    frames: dict[int, Cells] = {}
    for summary in summaries:
        for frame in summary.frames:
            cells = frames.setdefault(frame.since, {})
            for cell_key, cell in frame.cells:
                cells[cell_key] = cells.get(cell_key, NOTHING) + cell
    return frames


def in_order(names: Iterable[str | None]) -> tuple[tuple[bool, str], ...]:
    """Return what names are sorted by: null comes before any other."""
    return tuple((name is not None, name or "") for name in names)


def _rank(summary: LaneSummary) -> tuple[int, bytes]:
    """Return what is greater for the summary that counts.

    Two of the same version are the same, unless a lane broke its word; one of them counts then too.
    """
    return summary.version, encode(summary)


def short(name: str | None) -> str | None:
    """Return a name as it is in a summary: `OTHER` if it is longer than `LONGEST_NAME`."""
    return OTHER if name is not None and len(name) > LONGEST_NAME else name


def _sum(found: PlaceEvidence) -> CellSum:
    statuses: dict[str, tuple[int, int]] = {}
    for name, expected in found.expected_by_status.items():
        shown = short(name) or OTHER
        known = statuses.get(shown, (0, 0))
        hits = found.seen.hits.get(name, 0)
        statuses[shown] = known[0] + hits, known[1] + round(MILLI * expected)
    return CellSum(
        1,
        found.seen.attempts,
        found.seen.all_hits,
        round(MILLI * found.expected),
        found.evidence,
        statuses,
    )


def _with_few_statuses(cell: CellSum) -> CellSum:
    """Keep the statuses with the largest excess apart; none where there is no excess."""
    if cell.excess <= 0:
        return msgspec.structs.replace(cell, statuses={})

    def order(name: str) -> tuple[float, str]:
        hits, expected = cell.statuses[name]
        return expected - MILLI * hits, name

    names = sorted(cell.statuses.keys() - {OTHER}, key=order)
    kept = {name: cell.statuses[name] for name in names[:STATUSES]}
    rest = [counts for name, counts in cell.statuses.items() if name not in kept]
    if rest:
        kept[OTHER] = sum(hits for hits, _ in rest), sum(expected for _, expected in rest)
    return msgspec.structs.replace(cell, statuses=kept)


def _bounded(cells: Cells) -> Cells:
    """Fold cells past the bounds; all sums, and those by channel, stay as they are.

    An app is kept whole or not at all: without its healthy cells it would look broken in all.
    """
    by_app: dict[str | None, Cells] = {}
    for key, cell in cells.items():
        by_app.setdefault(key[0], {})[key] = cell
    apps = {app: _folded(of_app, _few_places(of_app)) for app, of_app in by_app.items()}
    if sum(map(len, apps.values())) <= MOST_CELLS:
        return {key: cell for of_app in apps.values() for key, cell in of_app.items()}
    # Room for all others together, by channel.
    room = MOST_CELLS - PLACES_OF_AN_APP - 1
    kept: Cells = {}
    others: Cells = {}
    for app in sorted(apps, key=lambda each: (_least_telling(apps[each]), in_order([each]))):
        if app != OTHER and len(kept) + len(apps[app]) <= room:
            kept.update(apps[app])
        else:
            _add_all(others, apps[app], lambda key: (OTHER, key[1], OTHER))
    return kept | _folded(others, _few_places(others))


def _least_telling(cells: Cells) -> tuple[int, int]:
    """Return what is least for the app that matters most: by evidence, and then by attempts."""
    bands = range(len(BANDS))
    evidence = max(sum(cell.evidence[band] for cell in cells.values()) for band in bands)
    return -max(0, evidence), -sum(cell.attempts for cell in cells.values())


def _few_places(cells: Cells) -> set[CellKey]:
    """Return the keys of the cells of an app that are kept apart: those with most attempts."""
    if len(cells) <= PLACES_OF_AN_APP:
        return set(cells)
    order = sorted(cells, key=lambda key: (-cells[key].attempts, in_order(key)))
    return set(order[: PLACES_OF_AN_APP - 1])


def _folded(cells: Cells, kept: set[CellKey]) -> Cells:
    folded = {key: cell for key, cell in cells.items() if key in kept}
    rest = {key: cell for key, cell in cells.items() if key not in kept}
    _add_all(folded, rest, lambda key: (key[0], OTHER, OTHER))
    return folded


def _add_all(to: Cells, cells: Cells, renamed: Callable[[CellKey], CellKey]) -> None:
    for key, cell in cells.items():
        name = renamed(key)
        to[name] = to.get(name, NOTHING) + cell
