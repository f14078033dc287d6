"""The causes that the sums of all campaigns show.

A slice has all cells with one value of one dimension (app, channel, delivery type), or one of each
of two; or it is everything. Its evidence is the greatest sum, over the bands of r, of its cells'
evidence, less `PENALTY` + ln(number of values) for each of its dimensions, as there are many
slices, and one of them looks worst by chance. A slice is a cause if that is at least
`LEAST_EVIDENCE`: more than one campaign can have, so a cause has at least two.

The slice with the greatest evidence is the first cause. Its cells are taken out, and the next one
is looked for in what is left: that tells causes apart that are there at the same time.

Where there are few campaigns, two with faults of their own are easily all that send by a channel:
there a cause needs three.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import exp, log
from typing import Literal, NamedTuple, TypeAlias

from streams.domain.causes.evidence import BANDS, MILLI, OWN_FAULT
from streams.domain.causes.summary import CellKey, Cells, CellSum, in_order
from streams.domain.counts import OTHER

Dimension: TypeAlias = Literal["app_id", "channel_type", "delivery_type"]
DIMENSIONS: tuple[Dimension, ...] = ("app_id", "channel_type", "delivery_type")
"""What slices are made by, in the order of a cell's key. If two slices have the same cells, the one
with fewer dimensions is named, and then the first one."""
Values: TypeAlias = Mapping[Dimension, str | None]
"""The values that a slice has; none for everything."""

PENALTY = 1.0
"""Evidence that a dimension costs, beside the logarithm of the number of its values; nats."""
LEAST_EVIDENCE = 1.5 * OWN_FAULT
"""Of a cause, after penalties; nats."""
SMALL_FLEET = 10
"""Campaigns; with fewer, two that break by themselves are too often all that has something."""
LEAST_OF_FEW = 3.0 * OWN_FAULT
"""Evidence of a cause in a small fleet: three campaigns have it, and not two; nats."""
MOST_CAUSES = 8
"""Causes of one rule at the same time."""
OF_ONE_STATUS = 0.9
"""Share of the excess that a status has to have to be named."""
USUAL_STATUS = 0.5
"""A status is not named if it has more than this share of usual hits: it says nothing new."""


class Found(NamedTuple):
    """A cause.

    Attributes:
        values: of the slice.
        status: that the hits in excess have in common, if it is not that of usual hits; else null.
        since: start (s) of the frame that shows it best.
        evidence: of the slice, after penalties; nats.
        sureness: how likely this slice is among all slices and none, 0 to 1.
        share: of the excess hits of all campaigns, 0 to 1.
        attempts: in the slice.
        hits: of these.
        expected: hits that would be usual.
        campaigns: that have sends in the slice, at least.
    """

    values: Values
    status: str | None
    since: int
    evidence: float
    sureness: float
    share: float
    attempts: int
    hits: int
    expected: float
    campaigns: int


def find(frames: Mapping[int, Cells], least: float | None = None) -> list[Found]:
    """Return the causes, those with most evidence first.

    Args:
        frames: sums of all lanes, by the start (s) of the frame. The one that shows most is taken.
        least: evidence (nats) that a cause has; null for as much as makes it one.
    """
    by_frame = [
        _find(since, frames[since], _least(frames[since]) if least is None else least)
        for since in sorted(frames)
    ]
    # Evidence has a bound: of several with as much, the newest has fewest sends from before.
    return max(
        reversed(by_frame), key=lambda found: sum(cause.evidence for cause in found), default=[]
    )


def covers(values: Values, key: CellKey) -> bool:
    """Tell whether a cell is in the slice with these values."""
    return all(key[DIMENSIONS.index(name)] == value for name, value in values.items())


def is_within(inner: Values, outer: Values) -> bool:
    """Tell whether all of one slice is in another one, or is the same."""
    return outer.items() <= inner.items()


def evidence_in(frames: Mapping[int, Cells], values: Values) -> float:
    """Return the evidence (nats) of a slice in the frame that shows it best, as in `find`."""
    scores = [0.0]
    for cells in frames.values():
        part = [cell for key, cell in cells.items() if covers(values, key)]
        counts = _value_counts(cells)
        scores.append(_evidence(part) - _penalty([_at(name) for name in values], counts))
    return max(scores)


def _find(since: int, cells: Cells, least: float) -> list[Found]:
    counts = _value_counts(cells)
    # In the order of the keys, so that every worker has the same to the last bit.
    excess = sum(max(0.0, cells[key].excess) for key in sorted(cells, key=in_order))
    left, found = dict(cells), list[Found]()
    while left and len(found) < MOST_CAUSES:
        scored = [
            (_evidence([left[key] for key in keys]) - _penalty(at, counts), values, keys)
            for at, values, keys in _slices(left, whole=not found)
        ]
        if not scored:
            break
        # The first one of several with as much.
        evidence, values, keys = max(scored, key=lambda each: each[0])
        if evidence < least:
            break
        others = sum(exp(min(0.0, each[0] - evidence)) for each in scored)
        others += exp(least - evidence)
        part = [left.pop(key) for key in keys]
        found.append(_found(_Scored(values, evidence, 1.0 / others), since, part, excess))
    return found


def _least(cells: Cells) -> float:
    """Return how much evidence (nats) makes a cause, among so many campaigns."""
    of_app: dict[str | None, int] = {}
    for (app_id, _, _), cell in cells.items():
        of_app[app_id] = max(cell.campaigns, of_app.get(app_id, 0))
    return LEAST_OF_FEW if sum(of_app.values()) < SMALL_FLEET else LEAST_EVIDENCE


def _found(scored: "_Scored", since: int, part: list[CellSum], whole: float) -> Found:
    """Return what is known of a cause.

    Args:
        scored: its slice.
        since: start (s) of the frame.
        part: its cells.
        whole: the excess hits of all cells.
    """
    excess = sum(max(0.0, cell.excess) for cell in part)
    return Found(
        values=scored.values,
        status=_status(part),
        since=since,
        evidence=scored.evidence,
        sureness=scored.sureness,
        share=excess / whole if whole else 0.0,
        attempts=sum(cell.attempts for cell in part),
        hits=sum(cell.hits for cell in part),
        expected=sum(cell.expected for cell in part) / MILLI,
        campaigns=max(cell.campaigns for cell in part),
    )


class _Scored(NamedTuple):
    """A slice by its values, with its evidence, and how likely it is among all of them."""

    values: Values
    evidence: float
    sureness: float


def _at(name: Dimension) -> int:
    return DIMENSIONS.index(name)


def _value_counts(cells: Cells) -> list[int]:
    """Return how many values each dimension has."""
    return [len({key[at] for key in cells}) for at in range(len(DIMENSIONS))]


def _penalty(dimensions: list[int] | tuple[int, ...], counts: list[int]) -> float:
    return sum(PENALTY + log(max(1, counts[at])) for at in dimensions)


def _evidence(cells: list[CellSum]) -> float:
    """Return the greatest sum over bands, in nats."""
    return max(sum(cell.evidence[band] for cell in cells) for band in range(len(BANDS))) / MILLI


def _slices(
    cells: Cells, *, whole: bool
) -> Iterator[tuple[tuple[int, ...], Values, tuple[CellKey, ...]]]:
    """Yield the dimensions, the values and the cells of each slice; the same cells once.

    Args:
        cells: to make slices of.
        whole: whether they are all cells, so that all of them are a slice too.
    """
    ordered = sorted(cells, key=in_order)
    known: set[tuple[CellKey, ...]] = set()
    if whole:
        known.add(tuple(ordered))
        yield (), {}, tuple(ordered)
    every = range(len(DIMENSIONS))
    for dimensions in (*((at,) for at in every), *combinations(every, 2)):
        parts: dict[tuple[str | None, ...], list[CellKey]] = {}
        for key in ordered:
            parts.setdefault(tuple([key[at] for at in dimensions]), []).append(key)
        for of_it, keys in parts.items():
            # Others together are nothing that has a name.
            if OTHER in of_it or tuple(keys) in known:
                continue
            known.add(tuple(keys))
            names = [DIMENSIONS[at] for at in dimensions]
            yield dimensions, dict(zip(names, of_it, strict=True)), tuple(keys)


def _status(part: list[CellSum]) -> str | None:
    """Return the status that the excess has in common, if it is another than usual."""
    hits: dict[str, int] = {}
    expected: dict[str, int] = {}
    for cell in part:
        for name, (seen, usual) in cell.statuses.items():
            hits[name] = hits.get(name, 0) + seen
            expected[name] = expected.get(name, 0) + usual
    excess = {name: max(0.0, hits[name] - expected[name] / MILLI) for name in sorted(hits)}
    whole, usually = sum(excess.values()), sum(expected.values())
    if not whole:
        return None
    name = max(excess, key=lambda each: excess[each])
    is_usual = usually and expected[name] > USUAL_STATUS * usually
    return None if name == OTHER or is_usual or excess[name] < OF_ONE_STATUS * whole else name
