"""Counts that are rolled up, by a worker that is killed: the same sums before and after."""

import time
from collections import Counter
from datetime import datetime
from typing import Any

import orjson

from tests.integration.conftest import NewWorker
from tests.support.brokers import RunningBroker
from tests.support.mixture import SourceRecord, send_event
from tests.support.topics import Sender, create_topic
from tests.support.waiting import until
from tests.support.workers import WorkerProcess, settings_for

HOUR, DAY = 10, 60
"""Steps (s) that a test can wait for."""
ROLLUPS = [{"step": HOUR, "retention": 60}, {"step": DAY, "retention": 86_400}]


def sends(campaign_id: str, seconds: int, times: int = 1) -> list[SourceRecord]:
    value = orjson.dumps(send_event(campaign_id, seconds * 1000, "SUCCESS"))
    return [SourceRecord(0, None, value) for _ in range(times)]


async def attempts(worker: WorkerProcess, step: int) -> dict[int, int]:
    """By start (s), the attempts of the campaign in windows of that length."""
    answer = await worker.ask(f"/v1/campaigns/summer/windows?step={step}")
    windows: list[Any] = answer.json["windows"] if answer.status == 200 else []
    starts = (datetime.fromisoformat(each["start"]).timestamp() for each in windows)
    return {int(start): each["attempts"] for start, each in zip(starts, windows, strict=True)}


async def test_sums_stay_through_late_events_and_kills(
    broker: RunningBroker, unique: str, new_worker: NewWorker
) -> None:
    windows = {
        "size": 1,
        "grace": 1,
        "retention": 20,
        "idle_timeout": 3600,
        "rollups": ROLLUPS,
        "late_into_rollups": True,
    }
    settings = settings_for(broker, unique, windows=windows)
    topic = settings["topics"]["source"]
    await create_topic(broker.address, topic, 1)
    worker = await new_worker(settings).ready()
    begin = (int(time.time()) - 400) // DAY * DAY
    expected: Counter[int] = Counter()

    async def all_are_counted() -> bool:
        return await attempts(worker, DAY) == expected

    async def send(at: int, times: int = 1) -> None:
        expected[at // DAY * DAY] += times
        async with Sender(broker.address, topic) as sender:
            await sender.send(sends("summer", at, times))

    for second in range(0, 360, 3):
        expected[(begin + second) // DAY * DAY] += 1
    async with Sender(broker.address, topic) as sender:
        for second in range(0, 360, 3):
            await sender.send(sends("summer", begin + second))
            # All tasks hear of event time, whoever has the campaign.
            await sender.send(r for n in range(8) for r in sends(f"other-{n}", begin + second))
    await until(all_are_counted)
    for life in range(3):
        await send(begin + 1 + life, 2)  # into what days are
        await send(begin + 300 + life)  # into what hours are
        if life:
            await until(all_are_counted)
            assert worker.stop() == 0 if broker.guarantee == "at-least-once" else worker.kill()
            worker.start()
            await worker.ready()
        await until(all_are_counted)
        campaign = (await worker.ask("/v1/campaigns/summer")).json
        assert campaign["totals"]["attempts"] == expected.total()
        assert "complete_from" not in campaign
    fine = await attempts(worker, 1)
    assert 0 < sum(fine.values()) < 30
    assert 0 < sum((await attempts(worker, HOUR)).values()) < 60
    samples = await worker.metrics()
    names = {"rollup_cells", "rollup_bytes", "rollup_windows"}
    for step in ("10s", "1m"):
        for name in names:
            labels = f'step="{step}"'
            found = [v for n, v in samples.items() if f"{name}{{" in n and labels in n]
            assert sum(found) > 0, (name, step)
