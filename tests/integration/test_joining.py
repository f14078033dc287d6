"""A worker whose request to join its group is never answered."""

import asyncio
from pathlib import Path

import pytest

from tests.chaos.kafka import linked_kafka
from tests.chaos.link import JOIN_GROUP
from tests.support.brokers import RunningBroker
from tests.support.workers import WorkerProcess, settings_for

pytestmark = pytest.mark.kafka
SESSION_S = 2.0
WITHIN_S = 30.0


async def test_an_unanswered_join_is_tried_again(unique: str, tmp_path: Path) -> None:
    async with linked_kafka() as (_, link):
        settings = settings_for(RunningBroker("kafka", link.addresses[0]), unique)
        settings["kafka"]["session_timeout"] = SESSION_S
        worker = WorkerProcess(settings, tmp_path)
        link.unanswered.add(JOIN_GROUP)
        worker.start()
        try:
            await worker.ready(WITHIN_S)
            assert not link.unanswered
            assert "Error sending JoinGroupRequest" in worker.log
        finally:
            await asyncio.to_thread(worker.stop)
