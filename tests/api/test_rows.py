"""Reading the rows of thousands of campaigns once for all onlookers."""

import asyncio

import pytest

from streams.api import rows
from tests.api.conftest import NOW, StartApi
from tests.support.partitions import counts, holder

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
    for query, attempts in (("", 2), ("?active_within=16m", 3), ("?app_id=app", 2)):
        (row,) = (await api.get(f"/v1/campaigns{query}"))["campaigns"]
        assert row["attempts"] == attempts, query


async def test_the_loop_goes_on_during_a_long_answer(start: StartApi) -> None:
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
    await api.get("/v1/campaigns?active_within=1h")
    counting.cancel()
    # 6,000 cells, 200 at a time: another task has its turn after each.
    assert steps >= 30
