"""Which part of a campaign explains that its rate has risen.

A cell is a combination of treatment, delivery type and channel. In a cell with usual rate b, an
incident lets a share r of the sends fail that would not have failed as usual: the rate becomes
b + (1 - b) r. A slice has all cells with one value of one dimension, or with one value of each of
two. The cells of the slice that explains the rise have some r in common, and all others are as
usual. Of k hits among n attempts of a slice, the logarithm of the likelihood ratio of that to
nothing at all is

    G(r) = sum over its cells of k ln(1 + r (1 - b) / b) + (n - k) ln(1 - r)

and its evidence is the greatest G(r). All cells together have such evidence too. A slice is named
only if its evidence is greater by 1 + ln(number of values) for each of its dimensions, as there are
many slices, and one of them looks worst by chance. (Kulldorff 1997, "A spatial scan statistic", has
the same quotient for regions of a map.)
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import log, log1p
from typing import NamedTuple, TypeAlias

from streams.domain.counts import Dimension

DIMENSIONS: tuple[Dimension, ...] = ("channel_type", "treatment_id", "delivery_type")
"""What slices are made by. If two slices have the same cells, the first one is named."""
CellKey: TypeAlias = tuple[str | None, str | None, str | None]
"""A value for each of `DIMENSIONS`, in that order."""

PRIOR_ATTEMPTS = 20.0
"""How many attempts at the campaign's usual rate are added to those of a cell, as it may have few
of its own. The campaign's own usual rate has one hit in as many added to it."""
PENALTY = 1.0
"""Evidence that a dimension costs, beside the logarithm of the number of its values."""
MOST_CELLS = 500
"""Cells that slices are made of: those with the largest excess. All count for the whole."""
SHARES_LOST = (
    *(0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3),
    *(0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97, 0.995),
)
"""The values of r that are tried."""
_NO_HITS = [log1p(-share) for share in SHARES_LOST]


class Tally(NamedTuple):
    """Attempts, and hits among them."""

    attempts: int
    hits: int

    @property
    def rate(self) -> float:
        """Share of hits; 0 without attempts."""
        return self.hits / self.attempts if self.attempts else 0.0


class Excess(NamedTuple):
    """What a part of a campaign has, and what would be usual.

    Attributes:
        seen: attempts and hits.
        expected: hits that would be usual, of as many attempts.
    """

    seen: Tally
    expected: float

    @property
    def hits(self) -> float:
        """Hits beyond those expected; 0 if there are fewer."""
        return max(0.0, self.seen.hits - self.expected)

    @property
    def usual_rate(self) -> float:
        """The usual rate of as many attempts in each of its cells; 0 without attempts."""
        return self.expected / self.seen.attempts if self.seen.attempts else 0.0


class Slice(NamedTuple):
    """A part of a campaign: all that has these values."""

    values: Mapping[Dimension, str | None]
    excess: Excess


class Explained(NamedTuple):
    """All of a campaign, and the slice that explains its excess; null if the whole explains it."""

    whole: Excess
    slice: Slice | None


def explain(seen: Mapping[CellKey, Tally], usual: Mapping[CellKey, Tally]) -> Explained:
    """Find the slice that explains the excess.

    Args:
        seen: by cell, counts since the rate has risen.
        usual: by cell, counts before that. A cell may be missing on either side.
    """
    cells = dict(_cells(seen, usual))
    whole = _Sum()
    for cell in cells.values():
        whole.add(cell)
    if not whole.excess.hits:
        return Explained(whole.excess, None)
    values = [len({key[at] for key in cells}) for at in range(len(DIMENSIONS))]
    best, found = whole.evidence, None
    known = {whole.signature}
    for (dimensions, of_it), part in _slices(_largest(cells), values):
        # The same cells by other names are no other slice.
        if part.signature in known or not part.excess.hits:
            continue
        known.add(part.signature)
        evidence = part.evidence - sum(PENALTY + log(values[at]) for at in dimensions)
        if evidence > best:
            names = [DIMENSIONS[at] for at in dimensions]
            best, found = evidence, Slice(dict(zip(names, of_it, strict=True)), part.excess)
    return Explained(whole.excess, found)


def excess_by_status(
    attempts: int, hits: Mapping[str, int], usual_attempts: int, usual_hits: Mapping[str, int]
) -> dict[str, Excess]:
    """Return the excess of each status among the hits, the largest first.

    Args:
        attempts: since the rate has risen.
        hits: of these, by status.
        usual_attempts: before that.
        usual_hits: of these, by status.
    """
    # One hit in `PRIOR_ATTEMPTS`, of whichever status.
    prior = 1.0 / max(1, len(hits.keys() | usual_hits.keys()))
    found = {
        status: Excess(
            Tally(attempts, count),
            attempts * (usual_hits.get(status, 0) + prior) / (usual_attempts + PRIOR_ATTEMPTS),
        )
        for status, count in hits.items()
    }
    return dict(sorted(found.items(), key=lambda each: (-each[1].hits, each[0])))


class _Cell(NamedTuple):
    excess: Excess
    evidence: list[float]
    """By the share lost: the part of G that comes from hits. Empty without hits."""


def _cells(
    seen: Mapping[CellKey, Tally], usual: Mapping[CellKey, Tally]
) -> Iterator[tuple[CellKey, _Cell]]:
    attempts = sum(tally.attempts for tally in usual.values())
    hits = sum(tally.hits for tally in usual.values())
    campaign_rate = (1.0 + hits) / (PRIOR_ATTEMPTS + attempts)
    none = Tally(0, 0)
    for key, tally in seen.items():
        before = usual.get(key, none)
        rate = (before.hits + PRIOR_ATTEMPTS * campaign_rate) / (before.attempts + PRIOR_ATTEMPTS)
        evidence: list[float] = []
        if tally.hits:
            odds = (1.0 - rate) / rate
            evidence = [tally.hits * log1p(share * odds) for share in SHARES_LOST]
        yield key, _Cell(Excess(tally, tally.attempts * rate), evidence)


def _largest(cells: Mapping[CellKey, _Cell]) -> Mapping[CellKey, _Cell]:
    """Return the cells that slices are made of."""
    if len(cells) <= MOST_CELLS:
        return cells
    order = sorted(cells.items(), key=lambda each: -each[1].excess.hits)
    return dict(order[:MOST_CELLS])


_SliceKey: TypeAlias = tuple[tuple[int, ...], tuple[str | None, ...]]
"""Positions of dimensions in `DIMENSIONS`, and a value for each."""


def _slices(
    cells: Mapping[CellKey, _Cell], values: list[int]
) -> Iterator[tuple[_SliceKey, "_Sum"]]:
    """Yield every slice that has hits, by one dimension and then by two."""
    several = [at for at, count in enumerate(values) if count > 1]
    for dimensions in (*((at,) for at in several), *combinations(several, 2)):
        sums: dict[tuple[str | None, ...], _Sum] = {}
        for key, cell in cells.items():
            sums.setdefault(tuple([key[at] for at in dimensions]), _Sum()).add(cell)
        for of_it, part in sums.items():
            yield (dimensions, of_it), part


class _Sum:
    """Cells together."""

    __slots__ = ("_attempts", "_cells", "_evidence", "_expected", "_hits")

    def __init__(self) -> None:
        self._cells = 0
        self._attempts = 0
        self._hits = 0
        self._expected = 0.0
        self._evidence = [0.0] * len(SHARES_LOST)

    def add(self, cell: _Cell) -> None:
        """Add a cell."""
        self._cells += 1
        self._attempts += cell.excess.seen.attempts
        self._hits += cell.excess.seen.hits
        self._expected += cell.excess.expected
        if cell.evidence:
            self._evidence = [
                known + more for known, more in zip(self._evidence, cell.evidence, strict=True)
            ]

    @property
    def excess(self) -> Excess:
        """What the cells have, and what would be usual."""
        return Excess(Tally(self._attempts, self._hits), self._expected)

    @property
    def evidence(self) -> float:
        """The greatest G."""
        others = self._attempts - self._hits
        found = [
            hits + others * no_hits for hits, no_hits in zip(self._evidence, _NO_HITS, strict=True)
        ]
        return max(0.0, *found)

    @property
    def signature(self) -> tuple[int, int, int, float]:
        """What two sums of the same cells have in common."""
        return self._cells, self._attempts, self._hits, self._expected
