"""Hold two workers with data in them against their own description, with Schemathesis.

Every phase and every check: examples, edge cases, made-up and wrong requests, chains of requests;
no 500, no status and no header that is not described. Exit status 0 if nothing was found, else that
of Schemathesis, which says what to send to see it again.

    python -m tests.openapi --schemathesis .venv-schemathesis/bin/schemathesis --max-examples 200
"""

import argparse
import asyncio
import contextlib
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import orjson

from streams.demo.embedded_broker import EmbeddedBroker
from tests.support.brokers import RunningBroker
from tests.support.mixture import SourceRecord, send_event
from tests.support.ports import LOOPBACK, free_port
from tests.support.topics import Sender, create_topic
from tests.support.waiting import until
from tests.support.workers import Settings, WorkerProcess, settings_for

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SOURCES = 3
CAMPAIGNS = ("plain", "a/b", "..", "100%", "ünï ☃", "failing", "throttled")
STATUSES = {"failing": "FAILURE", "throttled": "THROTTLED"}
TOKEN = secrets.token_hex(16)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def settings_of(broker: RunningBroker) -> Settings:
    """Short windows; a receiver that is not there, so that deliveries are given up."""
    digest = sha256(TOKEN.encode()).hexdigest()
    token = {"name": "tester", "sha256": digest, "scopes": ["read", "write"]}
    return settings_for(
        broker,
        "openapi",
        windows={"size": 2, "grace": 2, "retention": 600},
        receivers=[
            {
                "name": "gone",
                "url": f"http://{LOOPBACK}:{free_port()}/",
                "secrets": ["whsec_" + "QUFB" * 8],
            }
        ],
        delivery={
            "allow_http": True,
            "allow_networks": ["127.0.0.0/8"],
            "retry_schedule": ["1s"],
        },
        http={
            "anonymous": "never",
            "tokens": [token],
            "cluster_secrets": [secrets.token_hex(32)],
            # Many requests a second, with wrong tokens among them, are what this is about.
            "rate_limit": {"requests": 0, "failures": 0},
        },
    )


@contextlib.asynccontextmanager
async def traffic(broker: RunningBroker) -> AsyncIterator[None]:
    """Keep sending, so that there are open windows and live alerts all the time."""
    await create_topic(broker.address, "openapi-events", SOURCES)

    async def send() -> None:
        async with Sender(broker.address, "openapi-events") as sender:
            while True:
                await sender.send(_records())
                await asyncio.sleep(0.5)

    running = asyncio.create_task(send())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _records() -> list[SourceRecord]:
    now = int(time.time() * 1000)
    return [
        SourceRecord(
            n % SOURCES, None, orjson.dumps(send_event(name, now, STATUSES.get(name, "SUCCESS")))
        )
        for name in CAMPAIGNS
        for n in range(60)
    ]


@contextlib.asynccontextmanager
async def workers(directory: Path) -> AsyncIterator[tuple[WorkerProcess, WorkerProcess]]:
    """Two workers that share the partitions, with something of everything to ask for."""
    with EmbeddedBroker(port=0) as embedded:
        broker = RunningBroker("embedded", embedded.address)
        settings = settings_of(broker)
        async with traffic(broker):
            with WorkerProcess(settings, directory, "a") as one:
                await one.ready()
                with WorkerProcess(settings, directory, "b") as other:
                    await other.ready()
                    await until(lambda: _has_everything(one))
                    yield one, other


async def _has_everything(worker: WorkerProcess) -> bool:
    found = [
        (await worker.ask(target, headers=BEARER)).json
        for target in ("/v1/campaigns", "/v1/alerts", "/v1/deliveries?state=given-up")
    ]
    campaigns, alerts, deliveries = found
    return (
        not campaigns["partial"]
        and len(campaigns["campaigns"]) == len(CAMPAIGNS)
        and bool(alerts["alerts"] and deliveries["deliveries"])
    )


async def run(options: argparse.Namespace, directory: Path) -> int:
    """Start what is tested, test it, and say if a worker has written of a defect."""
    async with workers(directory) as both:
        command = [
            options.schemathesis,
            f"--config-file={CONFIGURATION}",
            "run",
            f"http://{LOOPBACK}:{both[0].port}/openapi.json",
            "--checks=all",
            f"--header=Authorization: {BEARER['Authorization']}",
            f"--max-examples={options.max_examples}",
            "--continue-on-failure",
            "--exclude-path=/v1/stream",  # its answers have no end
            "--warnings=off",
            "--no-color",
            "--generation-database=none",
            *(["--seed", options.seed] if options.seed else []),
            *options.more,
        ]
        process = await asyncio.create_subprocess_exec(*command, cwd=directory)
        status = await process.wait()
        defects = [line for worker in both for line in worker.log.splitlines() if _is_defect(line)]
    for line in defects:
        print(line, file=sys.stderr)  # noqa: T201 - for whoever looks
    return status or int(bool(defects))


def _is_defect(line: str) -> bool:
    return "request failed" in line or "Unhandled exception" in line


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.openapi",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--schemathesis", default="schemathesis", help="the program")
    parser.add_argument("--max-examples", type=int, default=50, help="of each route and phase")
    parser.add_argument("--seed", help="the same requests again")
    parser.add_argument("more", nargs="*", help="options of Schemathesis, after --")
    options = parser.parse_args()
    # It runs in a directory of its own, where it leaves its notes.
    found = shutil.which(options.schemathesis)
    if found is None:
        parser.error(f"there is no program {options.schemathesis} (--schemathesis)")
    options.schemathesis = str(Path(found).absolute())
    with tempfile.TemporaryDirectory(prefix="campaign-streams-openapi-") as directory:
        sys.exit(asyncio.run(run(options, Path(directory))))


if __name__ == "__main__":
    main()
