"""Sums over longer windows, which counts are rolled up to, against all that was ever sent."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tests.chaos.cells import Asked, Difference, answered
from tests.chaos.truth import FLOOD, CellName, Counts, What
from tests.support.oracle import DIMENSIONS, rfc3339


async def compare_rolled_up(
    worker: Asked,
    truth: Mapping[CellName, Counts],
    names: Iterable[CellName],
    steps: Collection[int],
    difference: Difference,
) -> None:
    """Compare sums with what a worker answers: by steps (s), and of all that was ever counted.

    The longest step holds whatever is retained whole, so none of its windows may be missing; of
    the others those may that begin before the answer is complete. Floods are left out: which of
    their campaigns are kept apart is not the same in windows and in what these are rolled up to.
    """
    campaigns = {name.campaign_id for name in names} - {FLOOD}
    for campaign_id in sorted(campaigns):
        cells = {n.start: counts for n, counts in truth.items() if n.campaign_id == campaign_id}
        for step in steps:
            expected = _merged(cells, step)
            said, complete_from = await _windows(worker, campaign_id, step)
            if step == max(steps) and complete_from is not None:
                difference.where.append(f"{campaign_id}: only complete from {complete_from} on")
            for start in sorted(expected.keys() | said.keys()):
                if complete_from is None or rfc3339(start) >= complete_from:
                    name = CellName(campaign_id, start)
                    counts = said.get(start, {})
                    of = f"worker {worker.name}, step {step}"
                    difference.compare(of, name, expected.get(start, {}), counts)
        total = sum(sum(counts.values()) for counts in cells.values())
        if (given := await _total(worker, campaign_id)) != total:
            difference.where.append(f"{campaign_id}: {given} events in all, not {total}")


def _merged(cells: Mapping[int, Counts], step: int) -> dict[int, Counter[What]]:
    merged: dict[int, Counter[What]] = {}
    for start, counts in cells.items():
        merged.setdefault(start // step * step, Counter()).update(counts)
    return merged


async def _windows(
    worker: Asked, campaign_id: str, step: int
) -> tuple[dict[int, Counts], str | None]:
    """Return what a worker says of a campaign, by the starts (s), and since when it is complete."""
    target = f"/v1/campaigns/{quote(campaign_id, safe='')}/windows"
    answer = await worker.whole(f"{target}?step={step}&by={','.join(DIMENSIONS)}")
    return {_start(each): answered(each) for each in answer["windows"]}, answer.get("complete_from")


def _start(window: Mapping[str, Any]) -> int:
    return int(datetime.fromisoformat(window["start"]).timestamp())


async def _total(worker: Asked, campaign_id: str) -> int:
    """Return the number of events of a campaign, of all kinds, over all that is retained."""
    totals = (await worker.whole(f"/v1/campaigns/{quote(campaign_id, safe='')}"))["totals"]
    return sum([*totals["counts"].values(), *totals["engagement"].values()])
