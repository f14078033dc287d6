"""What workers answer on every list and point of the API, with what they say that is missing."""

import asyncio
import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self, TypeAlias
from urllib.parse import quote

import orjson

from streams.domain.partial_counts import partition_of
from tests.support.http import HttpAnswer
from tests.support.workers import WorkerProcess

Items: TypeAlias = dict[str, Any]
"""Items of a list, by id."""

AT_ONCE = 8
CSV, NDJSON = "text/csv", "application/x-ndjson"
PASSING = {"as_of", "active_since", "next_cursor", "state", "current_window", "firing", "alerts"}
"""Fields that go on changing when nothing more is sent: with the time, or with evaluations."""


@dataclass(frozen=True)
class ListRoute:
    """A list of the API.

    Args:
        target: path and query, without a limit.
        name: the field that has the items.
        key: the field of an item that is its id.
        is_held: whether partitions hold the items; otherwise every worker knows all of them.
        is_settled: whether the items stay as they are when nothing more is sent.
        page: how many items are asked for at a time; null where there are no pages.
    """

    target: str
    name: str
    key: str
    is_held: bool = True
    is_settled: bool = True
    page: int | None = 7


LISTS = (
    ListRoute("/v1/campaigns?active_within=24h", "campaigns", "campaign_id"),
    ListRoute("/v1/campaigns?active_within=24h&sort=-attempts", "campaigns", "campaign_id"),
    ListRoute(
        "/v1/campaigns?active_within=24h&sort=-failure_lower_bound&recent=3",
        "campaigns",
        "campaign_id",
    ),
    ListRoute("/v1/alerts", "alerts", "alert_id", is_settled=False),
    ListRoute("/v1/deliveries", "deliveries", "delivery_id", is_settled=False),
    ListRoute("/v1/groups", "groups", "group_id", is_held=False, is_settled=False),
    ListRoute("/v1/silences", "silences", "silence_id", is_held=False),
    ListRoute("/v1/receivers", "receivers", "name", is_settled=False, page=None),
    ListRoute("/v1/rules", "rules", "name", is_held=False, page=None),
)


@dataclass
class Answered:
    """A whole list, or one thing.

    Attributes:
        items: by id; of one thing, it alone.
        missing: the partitions that the answers name as missing.
        refused: why there is no answer, as status and detail; null if there is one.
    """

    items: Items = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    refused: tuple[int, str] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it does not say that anything is missing."""
        return not self.missing and self.refused is None


async def whole_list(worker: WorkerProcess, route: ListRoute) -> Answered:
    """Ask for all pages of a list, as JSON."""
    found, cursor = Answered(), None
    while True:
        target = _paged(route, cursor)
        answer = await worker.ask(target)
        if answer.status != 200:
            found.refused = answer.status, answer.json["detail"]
            return found
        page = answer.json
        assert bool(page.get("missing_partitions")) is page.get("partial", False), page
        found.missing |= set(page.get("missing_partitions", ()))
        _put(found.items, page[route.name], route.key)
        cursor = page.get("next_cursor")
        if cursor is None:
            return found


def _paged(route: ListRoute, cursor: str | None) -> str:
    if route.page is None:
        return route.target
    joint = "&" if "?" in route.target else "?"
    target = f"{route.target}{joint}limit={route.page}"
    return target if cursor is None else f"{target}&cursor={cursor}"


def _put(items: Items, page: Iterable[Any], key: str) -> None:
    for item in page:
        assert item[key] not in items, f"{item[key]} is on two pages"
        items[item[key]] = _lasting(item)


def _lasting(value: Any) -> Any:
    """Return what stays the same of an answer when nothing more is sent."""
    if isinstance(value, dict):
        return {name: _lasting(each) for name, each in value.items() if name not in PASSING}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


async def rows(worker: WorkerProcess, route: ListRoute, form: str) -> Answered:
    """Ask for all pages of a list as CSV or NDJSON, by their links; items are ids alone."""
    found, target = Answered(), _paged(route, None)
    while True:
        answer = await worker.ask(target, headers={"Accept": form})
        if answer.status != 200:
            found.refused = answer.status, answer.json["detail"]
            return found
        missing = answer.headers.get("Missing-Partitions", "")
        found.missing |= {int(number) for number in missing.split(",") if number.strip()}
        for each in _ids(answer, form, route.key):
            assert each not in found.items, f"{each} is on two pages"
            found.items[each] = None
        link = answer.headers.get("Link", "")
        if not link:
            return found
        target = link.partition("<")[2].partition(">")[0]


def _ids(answer: HttpAnswer, form: str, key: str) -> list[str]:
    text = answer.body.decode()
    if form == NDJSON:
        return [str(orjson.loads(line)[key]) for line in text.splitlines()]
    return [row[key].removeprefix("'") for row in csv.DictReader(io.StringIO(text, newline=""))]


async def one(worker: WorkerProcess, target: str) -> Answered:
    """Ask for one thing."""
    answer = await worker.ask(target)
    if answer.status != 200:
        return Answered(refused=(answer.status, answer.json["detail"]))
    value = answer.json
    assert bool(value.get("missing_partitions")) is value.get("partial", False), value
    return Answered({target: _lasting(value)}, set(value.get("missing_partitions", ())))


def points_of(campaign_ids: Iterable[str], window: str) -> list[str]:
    """Return the targets of what can be asked of campaigns; `window` is the start of one."""
    return [
        f"/v1/campaigns/{quote(each, safe='')}{rest}"
        for each in campaign_ids
        for rest in (
            "",
            "/windows",
            "/windows?step=600&by=treatment_id",
            f"/windows/{window}",
            "/totals?per=hour&tz=Asia/Kolkata",
            "/name",
        )
    ]


@dataclass(frozen=True)
class Truth:
    """What a worker has to answer.

    Attributes:
        lists: the items of each list, by id.
        points: each thing, by target.
        homes: partition of each item of a list that partitions hold, where it is known.
    """

    lists: Mapping[ListRoute, Items]
    points: Mapping[str, Any]
    homes: Mapping[str, int]

    @classmethod
    async def told_by(
        cls, worker: WorkerProcess, campaign_ids: Iterable[str], window: str, partitions: int
    ) -> Self:
        """Return what a worker answers that misses nothing."""
        lists: dict[ListRoute, Items] = {}
        points: Items = {}
        homes: dict[str, int] = {}
        for route in LISTS:
            found = await whole_list(worker, route)
            assert found.is_complete, (route.target, found)
            lists[route] = found.items
            for item_id, item in found.items.items():
                if item.get("campaign_id"):
                    homes[item_id] = partition_of(item["campaign_id"], partitions)
        for target in points_of(campaign_ids, window):
            found = await one(worker, target)
            assert found.is_complete, (target, found)
            points |= found.items
        return cls(lists, points, homes)

    def check_list(self, route: ListRoute, found: Answered, *, ids_alone: bool = False) -> None:
        """Compare a list with what it has to be: complete, or short by what it names as missing.

        Raises:
            AssertionError: it is short in silence, or wrong.
        """
        if found.refused is not None:
            assert found.refused[0] == 503, (route.target, found.refused)
            return
        wanted = self.lists[route]
        lacking = wanted.keys() - found.items.keys()
        unmarked = {
            each for each in lacking if not self._may_be_missing(route, each, found.missing)
        }
        assert not unmarked, (route.target, found.missing, unmarked)
        if not route.is_settled:
            return
        assert found.items.keys() <= wanted.keys(), (route.target, found.items.keys())
        if not ids_alone:
            for each, item in found.items.items():
                assert item == wanted[each], (route.target, item, wanted[each])

    def _may_be_missing(self, route: ListRoute, item: str, missing: set[int]) -> bool:
        """Tell whether an item can be in a partition that an answer names as missing."""
        if not route.is_held or not missing:
            return False
        home = self.homes.get(item)
        return home is None or home in missing

    def check_point(self, target: str, found: Answered) -> None:
        """Compare one thing with what it has to be, or the reason why there is none now.

        Raises:
            AssertionError: it is wrong, or is said not to be.
        """
        if found.refused is not None:
            assert found.refused[0] == 503, (target, found.refused)
        else:
            assert found.items[target] == self.points[target], target


async def asked_all(worker: WorkerProcess, truth: Truth) -> int:
    """Go once round all lists, in every form, and all points; return how many were not complete.

    Raises:
        AssertionError: an answer is short in silence, or wrong.
    """
    short = 0
    for route in truth.lists:
        forms = [whole_list(worker, route)]
        forms += [rows(worker, route, form) for form in (CSV, NDJSON)]
        for at, found in enumerate(await asyncio.gather(*forms)):
            truth.check_list(route, found, ids_alone=at > 0)
            short += not found.is_complete
    for targets in batched(truth.points):
        for target, found in zip(
            targets, await asyncio.gather(*(one(worker, each) for each in targets)), strict=True
        ):
            truth.check_point(target, found)
            short += not found.is_complete
    return short


def batched(targets: Iterable[str]) -> Iterable[tuple[str, ...]]:
    """Yield targets in pieces that are asked for at the same time."""
    rest = iter(targets)
    while some := tuple(islice(rest, AT_ONCE)):
        yield some
