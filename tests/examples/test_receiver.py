"""The example receiver takes what a worker sends, and nothing else."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from tests.support.brokers import RunningBroker
from tests.support.http import HttpAnswer, request
from tests.support.mixture import SourceRecord, send_event
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import ServerProcess
from tests.support.receiver import SECRET
from tests.support.topics import Sender, create_topic
from tests.support.waiting import until
from tests.support.workers import WorkerProcess, settings_for

PROGRAM = Path(__file__).parents[2] / "examples" / "receiver.py"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
ALERT = orjson.dumps({"type": "campaign.alert.firing", "data": {"summary": "ünïcode"}}).decode()
FIRING = "campaign.alert.firing ünïcode"


class Example:
    """The program in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._log = directory / "receiver.log"
        environment = {**os.environ, "WEBHOOK_SECRET": SECRET, "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, str(PROGRAM), str(self.port)]
        self.process = ServerProcess(
            command, log_file=self._log, cwd=directory, environment=environment
        )

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/"

    @property
    def alerts(self) -> list[str]:
        """The lines that it printed, without those of its requests."""
        lines = self._log.read_text("utf-8").splitlines()
        return [line for line in lines if line.startswith("campaign.alert.")]

    async def listens(self) -> bool:
        try:
            return (await request(self.port, "/")).status == 501  # it takes POST alone
        except OSError:
            return False


@pytest.fixture
async def example(tmp_path: Path) -> AsyncIterator[Example]:
    program = Example(tmp_path)
    await until(program.listens)
    yield program
    program.process.kill()


async def sent(
    example: Example, secret: str = SECRET, age: timedelta = timedelta(), body: str = ALERT
) -> HttpAnswer:
    """Send `ALERT`'s signature with a body, as somebody who has a secret would."""
    moment = datetime.now(UTC) - age
    headers = {
        "webhook-id": "a.1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign("a.1", moment, ALERT),
    }
    return await request(example.port, "/", method="POST", headers=headers, body=body.encode())


async def test_a_repeated_attempt_is_one_alert(example: Example) -> None:
    assert [(await sent(example)).status for _ in range(2)] == [204, 204]
    assert example.alerts == [FIRING]


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": OTHER_SECRET},
        {"age": timedelta(minutes=6)},
        {"age": timedelta(minutes=-6)},
        {"body": ALERT.replace("firing", "resolved")},
    ],
    ids=["secret", "old", "early", "body"],
)
async def test_what_is_not_genuine_is_refused(example: Example, wrong: dict[str, Any]) -> None:
    assert (await sent(example, **wrong)).status == 401
    assert example.alerts == []


async def test_without_signature(example: Example) -> None:
    answer = await request(example.port, "/", method="POST", body=ALERT.encode())
    assert answer.status == 401
    assert example.alerts == []


@pytest.mark.embedded
async def test_alerts_of_a_worker_arrive(
    example: Example, embedded_broker: str, unique: str, tmp_path: Path
) -> None:
    settings = settings_for(
        RunningBroker("embedded", embedded_broker),
        unique,
        receivers=[{"name": "example", "url": example.url, "secrets": [SECRET]}],
        delivery={"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
    )
    topic = settings["topics"]["source"]
    await create_topic(embedded_broker, topic, 1)

    async def fires(sender: Sender) -> bool:
        now = int(time.time() * 1000)
        event = orjson.dumps(send_event("spring-sale", now, "FAILURE"))
        await sender.send([SourceRecord(0, None, event)] * 100)
        await asyncio.sleep(0.2)
        return bool(example.alerts)

    with WorkerProcess(settings, tmp_path) as worker:
        await worker.ready()
        async with Sender(embedded_broker, topic) as sender:
            await until(lambda: fires(sender))
    (alert,) = example.alerts
    assert alert.startswith("campaign.alert.firing failure-spike firing in campaign spring-sale")
