"""One worker as shipped, catching up on a topic that is already full, on a real Apache Kafka.

Prints events per second and the CPU time per event of the worker process (user and system, all
threads), and checks that all were counted. The clock starts with the first events counted.

    python -m benchmarks.throughput --events 500000 --campaigns 200
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.brokers import KafkaBroker, RunningBroker
from tests.support.mixture import SourceRecord
from tests.support.topics import Sender, create_topic
from tests.support.workers import WorkerProcess, settings_for

PARTITIONS = 4
SPAN_MS = 600_000
POLL = 0.1
SUCCEED = 0.97
COUNTED = 'campaign_streams_events_total{kind="send",outcome="counted"}'

# The vendor's documented sample, 719 bytes and a few for longer statuses.
EVENT = (
    '{"event_type":"_campaign.send","event_timestamp":%d,"arrival_timestamp":1562109497494,'
    '"event_version":"3.1","application":{"app_id":"a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6","sdk":{}},'
    '"client":{"client_id":"d8dcf7c5-e81a-48ae-8313-f540cexample"},"device":{"platform":{}},'
    '"session":{},"attributes":{"treatment_id":"%d","campaign_activity_id":'
    '"5473285727f04865bc673e527example","delivery_type":"GCM","campaign_id":"%s",'
    '"campaign_send_status":"%s"},"client_context":{"custom":{"endpoint":"{\\"ChannelType\\":'
    '\\"GCM\\",\\"EndpointStatus\\":\\"ACTIVE\\",\\"OptOut\\":\\"NONE\\",\\"RequestId\\":'
    '\\"ec229696-9d1e-11e9-8bf1-85d0aexample\\",\\"EffectiveDate\\":'
    '\\"2019-07-02T23:12:54.836Z\\",\\"User\\":{}}"}},"awsAccountId":"123456789012"}'
)


class Cost(NamedTuple):
    """What a run cost."""

    events: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def events(count: int, campaigns: int, seed: int) -> Iterator[SourceRecord]:
    """Make events of the last ten minutes, 97 % of them successes, without keys."""
    source = random.Random(seed)  # noqa: S311 - no secrets here
    ids = [f"{source.getrandbits(128):032x}" for _ in range(campaigns)]
    start = int(time.time() * 1000) - SPAN_MS
    others = ("FAILURE", "THROTTLED", "DAILY_CAP")
    for n in range(count):
        status = "SUCCESS" if source.random() < SUCCEED else source.choice(others)
        campaign = ids[int(campaigns * source.random() ** 2)]
        value = EVENT % (start + n * SPAN_MS // count, source.getrandbits(1), campaign, status)
        yield SourceRecord(n % PARTITIONS, None, value.encode(), ())


async def measure(worker: WorkerProcess, expected: int) -> Cost:
    """Run a worker until it has counted everything."""
    worker.start()
    try:
        await worker.ready()
        first: tuple[float, float, float] | None = None
        while True:
            counted = (await worker.metrics()).get(COUNTED, 0.0)
            now, cpu = time.perf_counter(), _cpu_seconds(worker.process.pid)
            if first is None and counted:
                first = now, cpu, counted
            if first is not None and counted >= expected:
                break
            await asyncio.sleep(POLL)
        if counted != expected:
            raise SystemExit(f"counted {counted:.0f} of {expected} events")
        peak = _peak_bytes(worker.process.pid)
        return Cost(int(counted - first[2]), now - first[0], cpu - first[1], peak)
    finally:
        worker.stop()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


async def main() -> None:
    """Fill a topic, then let a fresh worker catch up, some times over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--campaigns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keyed", action="store_true", help="with source.keyed: no hop")
    options = parser.parse_args()
    broker = KafkaBroker()
    await asyncio.to_thread(broker.start)
    try:
        await create_topic(broker.address, "bench-events", PARTITIONS)
        async with Sender(broker.address, "bench-events") as sender:
            await sender.send(events(options.events, options.campaigns, seed=1))
        sys.stdout.write(
            f"Apache Kafka {broker.version}, {PARTITIONS} partitions, {options.events:,} events, "
            f"{options.campaigns:,} campaigns, hop {'off' if options.keyed else 'on'}\n"
            f"{'round':>5}  {'events/s':>10}  {'CPU µs/event':>12}  {'peak MiB':>8}\n"
        )
        with tempfile.TemporaryDirectory() as directory:
            for number in range(1, options.rounds + 1):
                settings = settings_for(
                    RunningBroker("kafka", broker.address),
                    f"bench-{number}",
                    topics={"source": "bench-events", "partitions": PARTITIONS},
                    source={"keyed": options.keyed},
                )
                worker = WorkerProcess(settings, Path(directory), f"worker-{number}")
                cost = await measure(worker, options.events)
                sys.stdout.write(
                    f"{number:>5}  {cost.events / cost.seconds:>10,.0f}  "
                    f"{cost.cpu_seconds / cost.events * 1e6:>12.2f}  "
                    f"{cost.peak_bytes / 2**20:>8.0f}\n"
                )
                sys.stdout.flush()
    finally:
        await asyncio.to_thread(broker.close)


if __name__ == "__main__":
    asyncio.run(main())
