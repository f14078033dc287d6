"""A user with the rights that docs/acls.md lists and no others; and with one of them taken away."""

import asyncio
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from streams.configuration.models import Configuration
from streams.engine.cluster.rights import Right, needed_rights
from tests.integration.conftest import NewWorker
from tests.support import kafka_jars
from tests.support.guarded import GuardedKafka
from tests.support.ports import LOOPBACK
from tests.support.waiting import until

PAGE = Path(__file__).parents[2] / "docs" / "acls.md"
PATIENCE_S = 60.0
NAMES = Configuration().topics

pytestmark = pytest.mark.kafka


def commands() -> list[list[str]]:
    """The arguments of the page's `kafka-acls.sh`."""
    lines = re.findall(r"^\$ kafka-acls\.sh (.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedKafka]:
    if kafka_jars.why_unavailable():
        pytest.skip("needs a real Kafka")
    with GuardedKafka() as made:
        run("topics", "create", "--set", f"kafka.bootstrap_servers={made.address}")
        for arguments in commands():
            asyncio.run(made.grant(arguments))
        yield made


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def settings(guarded: GuardedKafka, **kafka: Any) -> dict[str, Any]:
    return {
        "kafka": {**guarded.settings(), "session_timeout": 4, **kafka},
        "http": {"host": LOOPBACK},
    }


async def send(guarded: GuardedKafka, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=guarded.address) as producer:
        for value in values:
            await producer.send_and_wait(NAMES.source, value, partition=0)


def event(campaign: str) -> bytes:
    attributes = {"campaign_id": campaign, "campaign_send_status": "SUCCESS"}
    now = int(time.time() * 1000)
    return orjson.dumps(
        {"event_type": "_campaign.send", "event_timestamp": now, "attributes": attributes}
    )


async def test_the_rights_of_the_page_are_enough(
    guarded: GuardedKafka, new_worker: NewWorker
) -> None:
    worker = await new_worker(settings(guarded)).ready()
    await send(guarded, event("enough"), b"no JSON")

    async def counted() -> bool:
        metrics = await worker.metrics()
        dead = metrics.get('campaign_streams_dead_letters_total{reason="not-json"}', 0)
        return dead == 1 and (await worker.ask("/v1/campaigns/enough")).status == 200

    await until(counted)
    assert "the right to" not in worker.log
    assert worker.stop() == 0


@pytest.mark.parametrize("right", needed_rights(Configuration(), [0]), ids=str)
async def test_a_right_that_is_missing_is_named(
    guarded: GuardedKafka, right: Right, tmp_path: Path
) -> None:
    name = right.name.removesuffix("0") if right.kind == "transactional-id" else right.name
    taken = await guarded.take(right._replace(name=name))
    file = tmp_path / "my.yaml"
    file.write_bytes(orjson.dumps(settings(guarded)))
    try:
        done = await asyncio.to_thread(run, "worker", "--config", str(file), "--port", "0")
    finally:
        await guarded.give(taken)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("campaign-streams:")]
    assert f"user campaign-streams the right to {right}" in line
    assert f"--operation {right.operation.capitalize()} --{right.kind} {right.name}" in line
    assert "Traceback" not in done.stderr


async def test_topics_that_may_not_be_made(guarded: GuardedKafka, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    mine = {**settings(guarded), "topics": {"alerts": "other"}}
    file.write_bytes(orjson.dumps(mine))
    for command in (["worker", "--port", "0"], ["topics", "create"]):
        done = await asyncio.to_thread(run, *command, "--config", str(file))
        assert done.returncode == 1
        (line,) = [each for each in done.stderr.splitlines() if each.startswith("campaign")]
        # Who may not look at a topic does not know whether it is there.
        assert "topic other" in line
        assert "the right to" in line


async def test_produce_names_the_right_that_it_lacks(guarded: GuardedKafka, tmp_path: Path) -> None:
    file, events = tmp_path / "my.yaml", tmp_path / "events.ndjson"
    file.write_bytes(orjson.dumps(settings(guarded)))
    events.write_bytes(event("x") + b"\n")
    done = await asyncio.to_thread(run, "produce", str(events), "--config", str(file))
    assert done.returncode == 1
    assert "WRITE on topic campaign-events" in done.stderr
    assert "at-least-once" not in done.stderr


async def test_a_right_that_is_lost_is_waited_for_and_named(
    guarded: GuardedKafka, new_worker: NewWorker
) -> None:
    worker = await new_worker(settings(guarded)).ready()
    right = Right("WRITE", "topic", NAMES.dead_letter)
    before = await worker.metrics()
    taken = await guarded.take(right)
    try:
        await send(guarded, b"nor this", event("later"))

        async def named() -> bool:
            answer = await worker.ask("/readyz")
            return answer.status == 503 and str(right).encode() in answer.body

        await until(named)
        assert (await worker.ask("/livez")).status == 200
    finally:
        await guarded.give(taken)
    assert f"{right}" in worker.log
    await worker.ready()

    async def counted() -> bool:
        return (await worker.ask("/v1/campaigns/later")).status == 200

    await until(counted)
    # What was not written was not counted as written.
    name = 'campaign_streams_dead_letters_total{reason="not-json"}'
    after = await worker.metrics()
    assert after[name] - before.get(name, 0) == 1
    assert worker.stop() == 0
