"""The whole system on one machine: broker, worker, traffic and a receiver of webhooks."""

import asyncio
import base64
import contextlib
import itertools
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from pydantic import SecretStr

from streams.configuration.alerting import default_rules
from streams.configuration.models import Configuration, WindowSettings
from streams.demo.embedded_broker import EmbeddedBroker
from streams.demo.receiver import LocalReceiver
from streams.domain.transitions import rfc3339
from streams.engine.cluster.client import connection
from streams.engine.produce.broker_clock import known_clock
from streams.receivers.webhook import WebhookReceiver
from streams.traffic.incidents import Label
from streams.traffic.pacing import play
from streams.traffic.plans import DEMO_FIRST_AFTER_MS, DEMO_RATE, demo_plan
from streams.traffic.sending import Sender
from streams.traffic.simulation import Step
from streams.worker import Worker, working

Say = Callable[[str], None]

SESSION_TIMEOUT = 3.0
"""Short: the embedded broker lets a group form only after half of it."""
WINDOW, GRACE, KEEP_FIRING = 10, 5, 10.0
"""Short as well, in seconds, so that there is something to see; for simulated traffic only."""
ALERTS_LINE = (
    "alerts     {program} alerts acknowledge ID --url {url}  takes one on, and "
    "`silence add` keeps some quiet; both also on the dashboard"
)
"""What a person can do with the alerts."""
READY_POLL = 0.05


def demo_configuration(
    configuration: Configuration, broker: str, receiver: LocalReceiver, secret: str, *, hasty: bool
) -> Configuration:
    """Change a configuration so that it runs on this machine alone.

    Args:
        configuration: what the user has set.
        broker: `host:port` of the embedded broker.
        receiver: gets the alerts, besides those that are configured.
        secret: the receiver's.
        hasty: use short windows where the user has left them, and the rules, at their defaults.
    """
    kafka = configuration.kafka.model_copy(
        update={
            "bootstrap_servers": (broker,),
            "guarantee": "at-least-once",
            "session_timeout": SESSION_TIMEOUT,
        }
    )
    local = WebhookReceiver(name="local-terminal", url=receiver.url, secrets=(SecretStr(secret),))
    delivery = configuration.delivery.model_copy(
        update={
            "allow_http": True,
            "allow_networks": (*configuration.delivery.allow_networks, "127.0.0.0/8"),
        }
    )
    changes: dict[str, object] = {
        "kafka": kafka,
        "receivers": (*configuration.receivers, local),
        "delivery": delivery,
    }
    if hasty and configuration.windows == WindowSettings():
        changes["windows"] = configuration.windows.model_copy(
            update={"size": WINDOW, "grace": GRACE}
        )
    if hasty and configuration.rules == default_rules():
        changes["rules"] = tuple(
            rule.model_copy(update={"keep_firing_for": KEEP_FIRING}) for rule in configuration.rules
        )
    return configuration.model_copy(update=changes)


@contextlib.asynccontextmanager
async def system(
    configuration: Configuration, broker_port: int, say: Say, *, hasty: bool
) -> AsyncIterator[Worker]:
    """Start everything but the traffic, lend the worker when it is ready, stop everything.

    Raises:
        UserError: if a port is taken or the broker's wheel is not installed.
    """
    began = time.monotonic()
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    with EmbeddedBroker(broker_port) as broker:
        say(f"broker     {broker.address}  embedded, in memory: to try things out, no more")
        receiver = LocalReceiver(secret, lambda line: say(f"webhook    {line}"))
        await receiver.start()
        say(f"receiver   {receiver.url}  prints the alerts that it gets, here")
        changed = demo_configuration(configuration, broker.address, receiver, secret, hasty=hasty)
        say("worker     making topics and joining its consumer group, which takes some seconds …")
        try:
            # The broker goes by the same clock, and does not say what time it is.
            async with working(changed, known_clock()) as worker:
                while not worker.health.ready()[0]:  # noqa: ASYNC110 - many things make it ready
                    await asyncio.sleep(READY_POLL)
                say(f"worker     ready after {time.monotonic() - began:.1f} s")
                url = worker.api.url or f"http://127.0.0.1:{worker.api.port}"
                say(f"open       {url}/  the dashboard")
                say(f"           {url}/docs  the HTTP API")
                say(ALERTS_LINE.format(program=_program(), url=url))
                yield worker
        finally:
            await receiver.stop()


def _program() -> str:
    """Return how this program is called: by its name, or as it was where that is not found."""
    called = Path(sys.argv[0])
    return called.name if shutil.which(called.name) else str(called)


async def simulate(configuration: Configuration, say: Say) -> None:
    """Send simulated traffic for ever, and announce its incidents."""
    say(
        f"traffic    about {DEMO_RATE:.0f} events a second; "
        f"the first incident comes in {DEMO_FIRST_AFTER_MS // 1000} s"
    )
    plan = demo_plan(seed=int(time.time()), start_ms=int(time.time() * 1000))
    numbers: dict[Label, int] = {}
    count = itertools.count(1)

    def announce(step: Step) -> None:
        for label in step.ended:
            say(f"traffic    {_announcement(label, numbers.pop(label), begins=False)}")
        for label in step.began:
            numbers[label] = next(count)
            say(f"traffic    {_announcement(label, numbers[label], begins=True)}")

    async with Sender(connection(configuration.kafka), configuration.topics.source) as sender:
        await play(plan, sender.send, time.monotonic, asyncio.sleep, announce)


def _announcement(label: Label, number: int, *, begins: bool) -> str:
    clock = rfc3339(int(time.time()))[11:19]
    what = "decoy" if label.decoy else "incident"
    if not begins:
        return f"{clock}  {what} {number} ends ({label.kind})"
    where = f" on {label.delivery_type}" if label.delivery_type else ""
    share = "" if label.decoy else f", {label.effect:.0%} of its attempts"
    return f"{clock}  {what} {number} begins: {label.kind}{where} in {label.campaign_id}{share}"
