"""The campaign list against one that is put together in the plainest way, from single windows."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from streams.api import listing, ordering, window_sums
from streams.api.campaigns import SORT
from streams.api.ordering import first_by_key
from streams.api.paging import Cursor
from streams.api.time_slices import TimeSlices
from streams.domain.counts import OTHER
from streams.domain.detectors import wilson
from streams.domain.transitions import rfc3339
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.support.partitions import STATUS_GROUPS, MemoryHolder, counts, holder

T0 = int(NOW) - 60
WINDOWS = 6
STATUSES = ("SUCCESS", "FAILURE", "THROTTLED", "QUIET_TIME", "made up")
ORDERS = tuple(str(each) for each in SORT.schema["enum"])
Row = dict[str, Any]


def fill(seed: int, *, spread: bool) -> MemoryHolder:
    """Hold made-up campaigns: like figures, few windows, several apps, hostile names."""
    some = random.Random(seed)  # noqa: S311 - no secrets here
    held = holder()
    names = [*(f"Camp-{n % 7}-{n}" for n in range(40)), "ü", "..", " ", OTHER]
    for back in reversed(range(WINDOWS)):
        for name in some.sample(names, 25):
            sends = {some.choice(STATUSES): some.choice((1, 1, 2, 50)) for _ in range(2)}
            held.add(
                name,
                T0 - 60 * back,
                counts(sends, some.choice((None, "0"))),
                counts({"opened_notification": 1}) if some.random() < 0.3 else None,
                app_id=None if name == OTHER else some.choice((None, "a", "b")),
                partition=some.randrange(4) if spread else None,
            )
        if some.random() < 0.5:
            for partition in held.here.values():
                partition.advance(T0 - 60 * back + 200, 10_000)
                list(partition.take_changes(T0 - 60 * back + 300))
    return held


def totals_of(held: MemoryHolder, first: int) -> dict[str, Row]:
    """Add up campaigns from single windows that start at `first` (s) or later, by their id."""
    rows: dict[str, Row] = {}
    for partition in held.here.values():
        for start in partition.table.starts():
            for name in partition.table.campaigns_in(start) if start >= first else ():
                cell = partition.table.cell(name, start)
                assert cell is not None
                row = rows.setdefault(name, {"counts": Counter(), "last": 0, "apps": [], "late": 0})
                for dimensions, count in cell.sends.items():
                    row["counts"][dimensions.outcome] += count
                row["last"] = max(row["last"], start)
                row["apps"].append((partition.number, start, cell.app_id))
                row["late"] += cell.late_events
    return rows


def expected(held: MemoryHolder, first: int) -> dict[str, Row]:
    """Return what the list has to show of each campaign."""
    shown = {}
    for name, row in totals_of(held, first).items():
        group_of = STATUS_GROUPS.group_of
        groups = Counter[str]()
        for status, count in row["counts"].items():
            groups[group_of.get(status, "")] += count
        attempts = groups.total() - groups["suppressed"]
        known = sorted((number, start, app) for number, start, app in row["apps"] if app)
        shown[name] = {
            "app_id": known[-1][2] if known else None,
            "last_window": rfc3339(row["last"]),
            "attempts": attempts,
            "counts": dict(row["counts"]),
            "late_events": row["late"],
            "failure": groups["failure"] / attempts if attempts else None,
            "throttled": groups["throttled"] / attempts if attempts else None,
            "hits": (groups["failure"], groups["throttled"]),
        }
    return shown


def value_of(name: str, row: Row, order: str) -> Any:
    attempts, (failed, throttled) = row["attempts"], row["hits"]
    of, _, what = order.partition("_")
    hits = failed if of == "failure" else throttled
    if what == "rate":
        return hits / attempts if attempts else None
    if what == "lower_bound":
        if not attempts:
            return None
        return wilson.lower_bound(hits, attempts, listing.CONFIDENCE) if hits else 0.0
    if what == "change":
        return None  # of no rule here that compares with what is usual
    return name if order == "campaign_id" else row[order]


def in_order(rows: dict[str, Row], order: str) -> list[str]:
    """Put names in order: by value, without one last; then by name."""
    values = {name: value_of(name, row, order.lstrip("-")) for name, row in rows.items()}
    named = sorted(name for name, value in values.items() if value is not None)
    named.sort(key=lambda name: values[name], reverse=order.startswith("-"))
    return named + sorted(name for name, value in values.items() if value is None)


async def walk(api: RunningApi, query: str, limit: int) -> list[Row]:
    """Return all rows of a list, page by page."""
    rows, cursor = [], ""
    while True:
        answer = await api.get(f"/v1/campaigns?limit={limit}{query}{cursor}")
        rows += answer["campaigns"]
        if answer["next_cursor"] is None:
            return rows
        assert len(answer["campaigns"]) == limit
        cursor = f"&cursor={answer['next_cursor']}"


@pytest.mark.parametrize(("seed", "spread"), [(1, False), (2, True)])
async def test_every_order_and_filter(start: StartApi, seed: int, *, spread: bool) -> None:
    held = fill(seed, spread=spread)
    api = await start(held, located=not spread)
    rows = expected(held, 0)
    apart = {name: row for name, row in rows.items() if name != OTHER}
    for order in ORDERS:
        shown = await walk(api, f"&sort={order}", 7)
        assert [row["campaign_id"] for row in shown] == in_order(rows, order), order
    for row in shown:
        right = rows[row["campaign_id"]]
        for name in ("app_id", "last_window", "attempts", "counts", "late_events"):
            assert row[name] == right[name], (row["campaign_id"], name)
        assert row["rates"] == {name: right[name] for name in ("failure", "throttled")}
    of_app = {name: row for name, row in rows.items() if row["app_id"] == "a"}
    found = await walk(api, "&sort=-attempts&app_id=a", 3)
    assert [row["campaign_id"] for row in found] == in_order(of_app, "-attempts")
    with_text = {name: row for name, row in apart.items() if "camp-3" in name.lower()}
    found = await walk(api, "&sort=-failure_rate&search=CAMP-3", 2)
    assert [row["campaign_id"] for row in found] == in_order(with_text, "-failure_rate")
    lately = expected(held, T0 - 60)
    found = await walk(api, "&sort=last_window&active_within=90s", 5)
    assert [row["campaign_id"] for row in found] == in_order(lately, "last_window")
    assert {row["campaign_id"]: row["counts"] for row in found} == {
        name: row["counts"] for name, row in lately.items()
    }


async def test_closed_windows_that_change_are_read_anew(start: StartApi) -> None:
    held = fill(3, spread=False)
    api = await start(held)
    for partition in held.here.values():
        partition.advance(NOW + 300, 20_000)
        list(partition.take_changes(NOW + 400))
    for _ in range(2):
        rows = expected(held, 0)
        found = {row["campaign_id"]: row for row in await walk(api, "", 9)}
        assert {name: row["counts"] for name, row in found.items()} == {
            name: row["counts"] for name, row in rows.items()
        }
        assert {name: row["late_events"] for name, row in found.items()} == {
            name: row["late_events"] for name, row in rows.items()
        }
        held.add("Camp-0-0", T0 - 120, counts({"FAILURE": 7}))
        held.add("late", T0 - 120, counts({"SUCCESS": 7}))


async def test_what_is_too_much_to_keep_is_read_anew(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = fill(4, spread=False)
    monkeypatch.setattr(window_sums, "MOST_KEPT", 1_000)
    api = await start(held)
    for _ in range(2):
        shown = await walk(api, "&sort=-attempts", 7)
        assert [row["campaign_id"] for row in shown] == in_order(expected(held, 0), "-attempts")


async def test_names_of_campaigns_that_are_gone_are_forgotten(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_sums, "_SPARE_NUMBERS", -1_000)
    held = fill(5, spread=True)
    api = await start(held, located=False)
    for _ in range(3):
        shown = await walk(api, "&sort=failure_rate", 7)
        assert [row["campaign_id"] for row in shown] == in_order(expected(held, 0), "failure_rate")
        held.add("new", T0, counts({"FAILURE": 1}))


@pytest.mark.parametrize("value", [0, -1, 10**18, 0.5, 1e308, -1e308, None])
async def test_a_cursor_that_was_changed_begins_somewhere(start: StartApi, value: Any) -> None:
    held = fill(6, spread=False)
    api = await start(held)
    for order in ("attempts", "-failure_rate"):
        cursor = Cursor(order, NOW - 60, value, "m").encode()
        answer = await api.get(f"/v1/campaigns?sort={order}&cursor={cursor}")
        rows = {name: row for name, row in expected(held, T0).items() if name != OTHER}
        names = in_order(rows, order)
        after = [name for name in names if _is_after(name, rows[name], order, value)]
        assert [r["campaign_id"] for r in answer["campaigns"] if r["campaign_id"] in rows] == after


def _is_after(name: str, row: Row, order: str, end: Any) -> bool:
    value = value_of(name, row, order.lstrip("-"))
    if value is None or end is None:
        return value is None and (end is not None or name > "m")
    if value == end:
        return name > "m"
    return bool(value < end) if order.startswith("-") else bool(value > end)


@pytest.mark.parametrize("alike", [1, 3, 100])
async def test_the_first_of_many(alike: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "_NAMES_AT_ONCE", 7)
    some = random.Random(alike)  # noqa: S311 - no secrets here
    names = [f"{n}" for n in range(200)]
    some.shuffle(names)
    chosen = np.array(sorted(some.sample(range(200), 150)))
    keys = np.array([float(some.randrange(alike)) if n % 5 else ordering.LAST for n in chosen])
    both = dict(zip(chosen.tolist(), keys.tolist(), strict=True))
    right = sorted(both, key=lambda at: (both[at], names[at]))
    for count in (1, 2, 40, 149, 150, 151, 1_000):
        found = await first_by_key(keys, chosen, names, count, TimeSlices())
        assert found == right[:count]
