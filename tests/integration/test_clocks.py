"""Workers whose clock is wrong, on a real Kafka: the broker's time counts."""

import asyncio
import time
from typing import Any

import orjson
import pytest

from tests.integration.conftest import NewWorker
from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.comparing import counted, dead_letter
from tests.support.mixture import SourceRecord, send_event
from tests.support.topics import Sender, create_topic
from tests.support.waiting import PATIENCE_S
from tests.support.workers import WorkerProcess, settings_for

HOUR = 3_600.0


def record(seconds_ahead: float = 0.0) -> SourceRecord:
    at = int((time.time() + seconds_ahead) * 1000)
    event: dict[str, Any] = send_event("c", at, "SUCCESS", delivery_type="EMAIL")
    return SourceRecord(0, None, orjson.dumps(event))


async def window_states(worker: WorkerProcess) -> list[str]:
    windows = (await worker.json("/v1/campaigns/c/windows"))["windows"]
    return [window["state"] for window in windows]


@pytest.mark.kafka
@pytest.mark.parametrize("timestamps", ["CreateTime", "LogAppendTime"])
@pytest.mark.parametrize("shift", [-HOUR, HOUR, 30 * HOUR])
async def test_a_worker_whose_clock_is_wrong(  # noqa: PLR0913, PLR0917 - fixtures and cases
    kafka: KafkaBroker,
    unique: str,
    new_worker: NewWorker,
    monkeypatch: pytest.MonkeyPatch,
    shift: float,
    timestamps: str,
) -> None:
    monkeypatch.setenv("TEST_CLOCK_SHIFT", str(shift))
    broker = RunningBroker("kafka", kafka.address)
    settings = settings_for(
        broker, unique, windows={"size": 5, "grace": 1, "retention": 7_200, "idle_timeout": 2}
    )
    topic = settings["topics"]["source"]
    await create_topic(kafka.address, topic, 1, message_timestamp_type=timestamps)
    async with Sender(kafka.address, topic) as sender:
        # Some are there before it starts: it must not count by its own clock at first.
        await sender.send(record() for _ in range(100))
        worker = new_worker(settings, module="tests.support.shifted_clock")
        await worker.ready()
        await sender.send(record() for _ in range(99))
        await sender.send([record(600.0), record()])
        await counted(worker, 200)
        (dead,) = await dead_letter(kafka.address, settings, 1)
        assert dict(dead.headers)["reason"] == b"impossible-time"
        # Where nothing comes any more, windows are closed by the broker's time too.
        deadline = time.monotonic() + PATIENCE_S
        while "open" in await window_states(worker):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        await sender.send([record()])
        await counted(worker, 201)
        assert (await window_states(worker))[-1] == "open"
    offset = (await worker.metrics())["campaign_streams_clock_offset_seconds"]
    assert offset == pytest.approx(-shift, abs=2.0)
    side = "behind" if shift < 0 else "ahead of"
    (warning,) = (await worker.json("/readyz"))["warnings"]
    assert warning == f"this worker's clock is {abs(shift):.0f} s {side} the broker's"
    assert worker.log.count("clock disagrees with the broker's") == 1
    assert worker.stop() == 0
