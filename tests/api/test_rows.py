"""Reading the rows of thousands of campaigns once for all onlookers."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from streams.api import listing, rows, time_slices, window_sums
from streams.api.answers import CampaignRow
from streams.api.listing import Listing, Question
from streams.domain.counts import Summary, summary_of
from streams.domain.transitions import rfc3339
from tests.api.conftest import NOW, RunningApi, StartApi
from tests.support.partitions import MemoryHolder, counts, holder

T0 = int(NOW) - 60


async def test_what_is_cheap_is_always_read_anew(start: StartApi) -> None:
    held = holder()
    api = await start(held)
    for total in (1, 2, 3):
        held.add("c", T0, counts({"SUCCESS": 1}))
        (row,) = (await api.get("/v1/campaigns"))["campaigns"]
        assert row["attempts"] == total


async def test_what_is_dear_is_read_once_for_all(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = holder()
    held.add("c", T0, counts({"SUCCESS": 1}))
    held.add("c", T0 + 60, counts({"SUCCESS": 1}))
    api = await start(held)
    monkeypatch.setattr(rows, "_CHEAP", -1.0)
    monkeypatch.setattr(rows, "_REST", 1e9)
    answers = await asyncio.gather(
        *(api.get(f"/v1/campaigns?recent={limit}") for limit in (1, 2)), api.get("/v1/campaigns")
    )
    assert [len(answer["campaigns"][0].get("recent", [])) for answer in answers] == [1, 2, 0]
    held.add("c", T0, counts({"SUCCESS": 1}))
    for query, attempts in (("", 2), ("?active_within=16m", 2), ("?app_id=app", 2)):
        (row,) = (await api.get(f"/v1/campaigns{query}"))["campaigns"]
        assert row["attempts"] == attempts, query


async def test_nobody_waits_for_the_next_reading_of_what_is_dear(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = three_campaigns()
    api = await start(held)
    monkeypatch.setattr(rows, "_CHEAP", -1.0)
    monkeypatch.setattr(rows, "_REST", 0.0)
    target = "/v1/campaigns?sort=-attempts&limit=1"
    assert await shown(api, target) == [("c2", 12)]
    held.add("c0", T0, counts({"SUCCESS": 100}))
    read, may_read, has_read = Listing.read, asyncio.Event(), asyncio.Event()

    async def slowly(self: Listing, *args: Any) -> None:
        await may_read.wait()
        await read(self, *args)

    async def noted(self: Listing, question: Question) -> Any:
        answer = await find(self, question)
        has_read.set()
        return answer

    monkeypatch.setattr(Listing, "read", slowly)
    for _ in range(2):
        assert await shown(api, target) == [("c2", 12)]
    find = Listing.answer
    monkeypatch.setattr(Listing, "answer", noted)
    may_read.set()
    # The question is asked anew before anybody asks it.
    await has_read.wait()
    monkeypatch.undo()
    assert await shown(api, target) == [("c0", 110)]


async def test_what_was_read_a_while_ago_is_read_anew(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = holder()
    held.add("c", T0, counts({"SUCCESS": 1}))
    api = await start(held)
    monkeypatch.setattr(rows, "_CHEAP", -1.0)
    monkeypatch.setattr(rows, "_REST", 0.0)
    monkeypatch.setattr(rows, "_WHILE_RENEWED", 0.0)
    for total in (1, 2, 3):
        assert await shown(api, "/v1/campaigns") == [("c", total)]
        held.add("c", T0, counts({"SUCCESS": 1}))
        await asyncio.sleep(0.01)


async def test_an_answer_says_of_when_its_figures_are(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = holder()
    held.add("c", T0, counts({"SUCCESS": 1}))
    seconds = itertools.count(NOW)
    api = await start(held, now=lambda: next(seconds))
    monkeypatch.setattr(rows, "_CHEAP", -1.0)
    monkeypatch.setattr(rows, "_REST", 1e9)
    first = await api.get("/v1/campaigns")
    assert (await api.get("/v1/campaigns"))["as_of"] == first["as_of"]
    assert (await api.get("/v1/campaigns?active_within=1h"))["as_of"] > first["as_of"]


async def test_nobody_waits_when_the_next_window_begins(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = holder()
    held.add("c", T0 - 840, counts({"SUCCESS": 1}))
    held.add("c", T0, counts({"SUCCESS": 10}))
    seconds = [NOW]
    api = await start(held, now=lambda: seconds[0])
    monkeypatch.setattr(rows, "_CHEAP", -1.0)
    monkeypatch.setattr(rows, "_REST", 1e9)
    first = await api.get("/v1/campaigns")
    seconds[0] += 60
    assert await api.get("/v1/campaigns") == first
    assert first["active_since"] == rfc3339(NOW - 900)
    monkeypatch.setattr(rows, "_CHEAP", 1e9)
    later = await api.get("/v1/campaigns?active_within=841s")
    assert (first["campaigns"][0]["attempts"], later["campaigns"][0]["attempts"]) == (11, 10)


def three_campaigns() -> MemoryHolder:
    """Hold `c0`, `c1` and `c2` with 10, 11 and 12 attempts in the window of `T0`."""
    held = holder()
    for at in range(3):
        held.add(f"c{at}", T0, counts({"SUCCESS": 10 + at}))
    return held


async def shown(api: RunningApi, target: str) -> list[tuple[str, int]]:
    """Return the campaigns of an answer, and their attempts."""
    answer = await api.get(target)
    return [(row["campaign_id"], row["attempts"]) for row in answer["campaigns"]]


async def test_the_loop_goes_on_during_a_long_answer(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_slices, "SLICE_S", -1.0)
    monkeypatch.setattr(window_sums, "_AT_ONCE", 50)
    monkeypatch.setattr(listing, "NAMES_AT_ONCE", 50)
    held = holder()
    for minute in range(3):
        for at in range(2000):
            held.add(f"c{at}", T0 - 60 * minute, counts({"SUCCESS": 1}))
    api = await start(held)
    steps = 0

    async def count_steps() -> None:
        nonlocal steps
        while True:
            await asyncio.sleep(0)
            steps += 1

    counting = asyncio.create_task(count_steps())
    await api.get("/v1/campaigns?active_within=1h&limit=1")
    counting.cancel()
    # 6,000 campaigns in windows, and as many counts, 50 at a time: others have a turn after each.
    assert steps >= 240


async def test_rows_are_made_of_a_page_s_campaigns_and_no_others(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = holder()
    for at in range(500):
        held.add(f"c{at:03}", T0, counts({"SUCCESS": 1, "FAILURE": at}))
        held.add(f"c{at:03}", T0 - 60, counts({"THROTTLED": 1}))
    api = await start(held)
    made: list[int] = []

    def noted(sends: Mapping[str, int], *args: Any) -> Summary:
        made.append(sends["FAILURE"])
        return summary_of(sends, *args)

    monkeypatch.setattr(listing, "summary_of", noted)
    answer = await api.get("/v1/campaigns?sort=-failure_rate&limit=3")
    shown = [(row["campaign_id"], row["attempts"]) for row in answer["campaigns"]]
    assert shown == [("c499", 501), ("c498", 500), ("c497", 499)]
    assert made == [499, 498, 497]


async def test_rows_are_of_the_moment_that_put_them_in_order(
    start: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = three_campaigns()
    api = await start(held)
    read = Listing._rows

    async def slowly(self: Listing, *args: Any) -> list[CampaignRow]:
        held.add("c0", T0, counts({"SUCCESS": 100}))
        held.add("new", T0, counts({"SUCCESS": 100}))
        return await read(self, *args)

    monkeypatch.setattr(Listing, "_rows", slowly)
    first = await api.get("/v1/campaigns?sort=attempts&limit=2")
    assert [row["attempts"] for row in first["campaigns"]] == [10, 11]
    monkeypatch.undo()
    cursor = first["next_cursor"]
    rest = (await api.get(f"/v1/campaigns?sort=attempts&limit=9&cursor={cursor}"))["campaigns"]
    # One that grew meanwhile comes again; none is left out.
    assert [row["campaign_id"] for row in rest] == ["c2", "new", "c0"]


@pytest.mark.parametrize("others", [0, 300])
async def test_recent_windows_are_the_newest_of_all_that_are_retained(
    start: StartApi, others: int
) -> None:
    held = holder()
    for at in range(others):
        held.add(f"other-{at}", T0 - 7200, counts({"SUCCESS": 1}))
    for minute in (120, 90, 60, 1, 0):
        held.add("c", T0 - 60 * minute, counts({"SUCCESS": minute + 1}))
    held.add("d", T0, counts({"SUCCESS": 7}))
    # What is closed and quiet is in pages.
    for partition in held.here.values():
        partition.advance(NOW + 10, 10_000)
        partition.take_changes(NOW + 10)
    api = await start(held)
    for limit, minutes in ((1, [0]), (3, [60, 1, 0]), (60, [120, 90, 60, 1, 0])):
        c, d = (await api.get(f"/v1/campaigns?recent={limit}"))["campaigns"]
        assert [window["attempts"] for window in c["recent"]] == [m + 1 for m in minutes]
        assert [window["attempts"] for window in d["recent"]] == [7]
