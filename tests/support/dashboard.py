"""The API and its dashboard over made-up campaigns, for looking at.

`python -m tests.support.dashboard`, with --port, --empty (nothing is counted) or --missing
(partition 1 cannot be asked).
"""

import argparse
import asyncio
import math
import random
import time

from streams.api.listening import listen
from streams.api.server import ApiServer
from streams.configuration.http import HttpSettings
from streams.domain.detectors.spike import Spike
from streams.domain.detectors.threshold import Threshold
from streams.domain.partial_counts import Counts, partition_of
from streams.domain.rules import Rule
from tests.support.dead_letters import MemoryDeadLetters, sample
from tests.support.names import MemoryNames
from tests.support.partitions import (
    STATUS_GROUPS,
    MemoryHolder,
    counts,
    holder,
    partition_settings,
)
from tests.support.silences import MemorySilences

CAMPAIGNS = [
    "spring-sale",
    "spring-sale/b",
    "ünïcode ☀",
    "100%",
    "<script>alert(1)</script>",
    "\u202eevil right-to-left",
    "..",
    "quiet hours",
    "4f8d2c9e0b7a4d1f9c3e5a6b7c8d9e0f",
    "a-very-long-campaign-name-that-somebody-made-with-a-machine-" + "x" * 60,
    "newsletter-11",
]
WINDOWS = 45
FAILURE, THROTTLED = map(STATUS_GROUPS.statuses_of, ("failure", "throttled"))
SETTINGS = partition_settings(
    rules=(
        Rule("failure-spike", FAILURE, Spike()),
        Rule("throttled-spike", THROTTLED, Spike(), severity="warning"),
        Rule("failure-threshold", FAILURE, Threshold(0.1)),
    )
)


class WellHealth:
    def ready(self) -> tuple[bool, list[str]]:
        return True, []

    def live(self) -> bool:
        return True


def made_up(chance: random.Random, at: int, age: int) -> Counts:
    """Counts of campaign number `at` in the window that began `age` windows ago."""
    if at == CAMPAIGNS.index("quiet hours"):
        return counts({"QUIET_TIME": 40})
    attempts = int(900 / (at + 1) * (1.3 + math.sin(age / 7 + at)))
    failed = 0.34 if at in {1, 4} and age < 6 else 0.01 + 0.01 * chance.random()
    throttled = 0.2 if at == 2 and 10 < age < 18 else 0.004
    result: Counts = {}
    for treatment, channel in (("0", "EMAIL"), ("1", "EMAIL"), (None, "SMS")):
        share = attempts // 3
        bad, slow = int(share * failed * chance.random() * 2), int(share * throttled)
        outcomes = {"SUCCESS": share - bad - slow, "FAILURE": bad, "THROTTLED": slow}
        result |= counts({k: v for k, v in outcomes.items() if v > 0}, treatment, channel, channel)
    return result


def fill(held: MemoryHolder, now: float) -> None:
    """Count the last windows of those campaigns whose partition is here."""
    chance = random.Random(7)  # noqa: S311 - the same picture each time
    newest = int(now) - int(now) % 60
    for age in reversed(range(WINDOWS)):
        for at, campaign_id in enumerate(CAMPAIGNS):
            if partition_of(campaign_id, held.count) not in held.here:
                continue
            start = newest - 60 * age
            engagement = counts({"opened_notification": 12, "received_background": 3})
            held.add(campaign_id, start, made_up(chance, at, age), engagement)
        for partition in held.here.values():
            partition.evaluate(newest - 60 * age + 59)
        held.advance(newest - 60 * age + 59)


async def serve(options: argparse.Namespace) -> None:
    held = holder(
        numbers=[0, 2, 3] if options.missing else None, settings=SETTINGS, now=time.time()
    )
    if not options.empty:
        fill(held, time.time())
    settings = HttpSettings(port=options.port)
    dead_letters = MemoryDeadLetters()
    dead_letters.found = [sample(9), sample(8, None)]
    server = ApiServer(
        settings,
        await listen(settings),
        held,
        SETTINGS,
        WellHealth(),
        silences=MemorySilences(),
        names=MemoryNames.of(SETTINGS.names),
        dead_letters=dead_letters,
        metrics=lambda _: (b"", "text/plain"),
        located=True,
        now=time.time,
    )
    await server.start()
    print(f"http://127.0.0.1:{server.port}/", flush=True)  # noqa: T201 - for whoever looks
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--missing", action="store_true")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
