"""Workers that cannot begin: they say what for, are not live for ever, and stop when told to."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.demo.embedded_broker import EmbeddedBroker
from tests.support.brokers import RunningBroker
from tests.support.processes import ServerProcess
from tests.support.variants import RUN
from tests.support.waiting import until
from tests.support.workers import WorkerProcess, settings_for

PATIENCE_S = 60.0
STOPS_WITHIN_S = 10.0

pytestmark = pytest.mark.embedded

IMPATIENT = """
import streams.engine.health
streams.engine.health.JOIN_WITHIN = 2.0
"""
"""Has to get its share of the group sooner than others."""


HESITANT = """
import sys, time
from streams.engine.consume.transport import BatchConsumerThread
create = BatchConsumerThread._create_consumer
def hesitate(self, loop):
    print("about to connect", file=sys.stderr, flush=True)
    time.sleep(2.0)
    return create(self, loop)
BatchConsumerThread._create_consumer = hesitate
"""
"""Leaves time before the consumer connects, to whoever waits for what it says."""


class ChangedWorker(WorkerProcess):
    """A worker with a change to what it is made of."""

    def __init__(self, change: str, *args: Any) -> None:
        super().__init__(*args)
        self._change = change

    def start(self) -> None:
        arguments = ["worker", "--config", str(self._file)]
        command = [sys.executable, "-c", self._change + RUN, *arguments]
        self._process = ServerProcess(command, log_file=self.log_file)


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(port=0) as broker:
        yield broker
        resume(broker)


def freeze(broker: EmbeddedBroker) -> None:
    assert broker._process is not None
    os.killpg(broker._process.pid, signal.SIGSTOP)


def resume(broker: EmbeddedBroker) -> None:
    assert broker._process is not None
    os.killpg(broker._process.pid, signal.SIGCONT)


async def test_a_broker_that_freezes_while_a_worker_joins(
    own_broker: EmbeddedBroker, unique: str, tmp_path: Path
) -> None:
    settings = settings_for(RunningBroker("embedded", own_broker.address), unique)
    settings["kafka"]["session_timeout"] = 6
    worker = ChangedWorker(IMPATIENT, settings, tmp_path)
    worker.start()
    try:

        async def listens() -> bool:
            return "listening" in worker.log

        await until(listens)
        freeze(own_broker)

        async def named() -> bool:
            answer = await worker.ask("/readyz")
            return answer.status == 503 and b"no answer in time" in answer.body

        await until(named)
        assert f"waiting for the consumer group {unique}" in str((await worker.ask("/readyz")).json)

        async def not_live() -> bool:
            answer = await worker.ask("/livez")
            return answer.status == 503 and b"no answer in time" in answer.body

        await until(not_live)
        assert "waiting_for" in worker.log
        told = time.monotonic()
        assert await asyncio.to_thread(worker.stop) == 0
        assert time.monotonic() - told < STOPS_WITHIN_S
    finally:
        worker.kill()


@pytest.fixture
async def kept_from_connecting(
    own_broker: EmbeddedBroker, unique: str, tmp_path: Path
) -> AsyncIterator[WorkerProcess]:
    """A worker whose broker has frozen after it said what topics there are, before the group."""
    settings = settings_for(RunningBroker("embedded", own_broker.address), unique)
    settings["kafka"]["session_timeout"] = 6
    with ChangedWorker(HESITANT, settings, tmp_path) as worker:
        await logged(worker, "about to connect")
        freeze(own_broker)
        await logged(worker, "cannot join the group: trying again")
        yield worker


async def logged(worker: WorkerProcess, what: str) -> None:
    async def is_there() -> bool:
        assert worker.process.running, worker.log[-3000:]
        return what in worker.log

    await until(is_there)


async def test_a_broker_that_comes_back_is_joined(
    kept_from_connecting: WorkerProcess, own_broker: EmbeddedBroker
) -> None:
    resume(own_broker)
    await kept_from_connecting.ready()


async def test_a_worker_that_cannot_connect_stops_when_told_to(
    kept_from_connecting: WorkerProcess,
) -> None:
    told = time.monotonic()
    assert await asyncio.to_thread(kept_from_connecting.stop) == 0
    assert time.monotonic() - told < STOPS_WITHIN_S


def test_a_broker_without_transactions_is_named(embedded_broker: str, unique: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "streams", "worker", "--port", "0"),
            *("--set", f"kafka.bootstrap_servers={embedded_broker}"),
            *("--set", f"kafka.group_id={unique}"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("campaign-streams:")]
    assert "a broker without transactions needs kafka.guarantee: at-least-once" in line
    assert "Traceback" not in done.stderr
