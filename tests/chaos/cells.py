"""Every cell: what the system says of it against the independent count."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

from tests.chaos.truth import FLOOD, CellName, Counts, What, together, without_names
from tests.support.oracle import DIMENSIONS, rfc3339

NEAR_S = 60
"""Windows that are so near to each other are asked for together."""


@dataclass
class Difference:
    """What is missing and what is too much, and where."""

    lost: int = 0
    doubled: int = 0
    where: list[str] = field(default_factory=list)

    def compare(self, who: str, name: CellName, truth: Counts, said: Counts) -> None:
        """Compare one cell with what somebody says of it."""
        lost = Counter(truth)
        lost.subtract(said)
        missing = sum(count for count in lost.values() if count > 0)
        more = -sum(count for count in lost.values() if count < 0)
        if missing or more:
            self.lost += missing
            self.doubled += more
            of = [f"{-count:+d} {tuple(what)}" for what, count in lost.items() if count]
            self.where.append(
                f"{who}: {name.campaign_id} {rfc3339(name.start)}: {missing} lost, "
                f"{more} doubled: {'; '.join(of[:4])}"
            )

    def add(self, same: "Difference") -> None:
        """Add what another one says of the same cells: what both miss is missing once."""
        self.lost = max(self.lost, same.lost)
        self.doubled = max(self.doubled, same.doubled)
        self.where += same.where


class Asked(Protocol):
    """A worker that can be asked, and asked again while its answers are partial."""

    name: str

    async def whole(self, target: str) -> Any:
        """Return the answer when nothing is missing in it."""
        ...


async def compare_answers(
    worker: Asked,
    truth: Mapping[CellName, Counts],
    names: Iterable[CellName],
    size: int,
    difference: Difference,
) -> None:
    """Compare cells with what a worker answers, for its own partitions and for the others'."""
    for campaign_id, starts in _by_campaign(names).items():
        ids = await flood_campaigns(worker) if campaign_id == FLOOD else [campaign_id]
        for first, last in _spans(starts):
            said: dict[CellName, Counter[What]] = {}
            retained = first
            for each in ids:
                windows, since = await _windows(worker, each, first, last, size)
                retained = max(retained, since)
                for start, counts in windows.items():
                    same = said.setdefault(CellName(campaign_id, start), Counter())
                    for what, count in counts.items():
                        same[without_names(what) if campaign_id == FLOOD else what] += count
            expected = {CellName(campaign_id, start) for start in range(first, last + size, size)}
            for name in sorted(expected | said.keys()):
                if name.start < retained:
                    continue  # it was rolled up
                difference.compare(
                    f"worker {worker.name}", name, truth.get(name, {}), said.get(name, {})
                )


async def flood_campaigns(worker: Asked) -> list[str]:
    """Return the campaigns of floods that are kept apart, and the one for all others."""
    answer = await worker.whole("/v1/campaigns?active_within=8000h&limit=1000")
    assert answer["next_cursor"] is None
    ids = [row["campaign_id"] for row in answer["campaigns"]]
    return [campaign_id for campaign_id in ids if together(campaign_id) == FLOOD]


async def _windows(
    worker: Asked, campaign_id: str, first: int, last: int, size: int
) -> tuple[Mapping[int, Counts], int]:
    """Return what a worker says of a campaign, by the windows' starts (s).

    And since when (s) all windows are retained.
    """
    target = f"/v1/campaigns/{quote(campaign_id, safe='')}/windows"
    span = f"from={first * 1000}&to={(last + size) * 1000}&by={','.join(DIMENSIONS)}"
    answer = await worker.whole(f"{target}?{span}")
    found = {
        start: answered(window)
        for window in answer["windows"]
        for start in range(first, last + size, size)
        if window["start"] == rfc3339(start)
    }
    since = answer.get("complete_from")
    return found, 0 if since is None else int(datetime.fromisoformat(since).timestamp())


def _by_campaign(names: Iterable[CellName]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name in sorted(names):
        found.setdefault(name.campaign_id, []).append(name.start)
    return found


def _spans(starts: list[int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for start in starts:
        if spans and start - spans[-1][1] <= NEAR_S:
            spans[-1] = spans[-1][0], start
        else:
            spans.append((start, start))
    return spans


def answered(window: Mapping[str, Any]) -> Counts:
    """Return what a window of an answer says, by what it is a count of."""
    counts: Counter[What] = Counter()
    totals: Counter[str] = Counter()
    for group in window["groups"]:
        dimensions = [group[name] for name in DIMENSIONS]
        for part, is_send in (("counts", True), ("engagement", False)):
            for outcome, count in group[part].items():
                counts[What(outcome, is_send, *dimensions)] += count
                totals[outcome] += count
    assert totals == Counter(window["counts"]) + Counter(window["engagement"]), window
    return counts
