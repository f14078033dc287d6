"""Webhooks: every transition that is told arrives, in order, and nothing that is silenced does."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

import orjson
from aiohttp import web

from tests.chaos.alerts import ACKNOWLEDGED, ENDS, FIRING
from tests.chaos.asking import Asker
from tests.support.receiver import Collector

Step: TypeAlias = tuple[str, int]
"""Alert and sequence."""
DELIVERED_WITHIN_S = 60.0
KNOWN_WITHIN_S = 1.0
"""Within so many seconds of the answer every worker knows of a silence, or of its end."""
LONGEST_S = 3_600


class Silence(NamedTuple):
    """A silence of one campaign. Times in s: when it was asked for, and when that was answered."""

    silence_id: str
    campaign_id: str
    asked_at: float
    made_at: float
    end_asked_at: float = float("inf")
    ended_at: float = float("inf")

    def surely_silences(self, at: float) -> bool:
        """Tell whether every worker knows at a time that it is active."""
        return self.made_at + KNOWN_WITHIN_S < at < self.end_asked_at

    def may_silence(self, at: float) -> bool:
        """Tell whether a worker may go by it at a time."""
        return self.asked_at <= at <= self.ended_at + KNOWN_WITHIN_S


class Receiver:
    """A receiver that fails now and then: it refuses, breaks off, or answers late or never.

    Args:
        seed: of what it does.
    """

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - repeatable
        self._collector = Collector()
        self._collector.always = self._answer
        self.accepted: list[Any] = []
        """What it took, in the order in which it took it."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Receiver"]:
        """Listen on a free port of loopback."""
        async with self._collector:
            yield self

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._collector.url

    @property
    def sent(self) -> list[Any]:
        """All that was sent to it, refused or not."""
        return [arrival.value for arrival in self._collector.arrivals]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        outcome = self._chance.random()
        if outcome < 0.15:
            return web.Response(status=500)
        if outcome < 0.25:
            return self._broken_off(request)
        if outcome < 0.35:
            await asyncio.sleep(self._chance.uniform(0.2, 3.0))
        self.accepted.append(orjson.loads(await request.read()))
        # It has it, but whoever sent it does not learn of that.
        return self._broken_off(request) if outcome > 0.9 else web.Response(status=204)

    @staticmethod
    def _broken_off(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


class Silences:
    """Silences that are made and ended meanwhile, and what follows from them."""

    def __init__(self, silences: Iterable[Silence] = ()) -> None:
        self._silences = list(silences)

    async def change(self, asker: Asker, campaign_id: str) -> None:
        """End the silence that there is, and make one of a campaign."""
        if self._silences and self._silences[-1].end_asked_at == float("inf"):
            last, asked_at = self._silences[-1], time.time()
            await asker.delete(f"/v1/silences/{last.silence_id}?ended_by=chaos")
            self._silences[-1] = last._replace(end_asked_at=asked_at, ended_at=time.time())
        asked_at = time.time()
        ends_at = datetime.fromtimestamp(int(asked_at) + LONGEST_S, UTC).isoformat()
        made = await asker.post(
            "/v1/silences",
            {
                "matchers": [f"campaign_id={campaign_id}"],
                "created_by": "chaos",
                "comment": "one of the campaigns that fail next",
                "ends_at": ends_at,
            },
        )
        silence_id = made["silence"]["silence_id"]
        self._silences.append(Silence(silence_id, campaign_id, asked_at, time.time()))

    def surely_silenced(self, campaign_id: str, at: float) -> bool:
        """Tell whether every worker knows that a campaign is silenced at a time (s)."""
        return any(each.surely_silences(at) for each in self._of(campaign_id))

    def may_be_silenced(self, campaign_id: str, at: float) -> bool:
        """Tell whether a worker may take a campaign to be silenced at a time (s)."""
        return any(each.may_silence(at) for each in self._of(campaign_id))

    def _of(self, campaign_id: str) -> Iterator[Silence]:
        return (each for each in self._silences if each.campaign_id == campaign_id)


class Webhooks:
    """Compares what a receiver was sent with the transitions and with the silences.

    Args:
        receiver: has everything in the order in which it came.
        silences: that there were.
    """

    def __init__(self, receiver: Receiver, silences: Silences) -> None:
        self._receiver = receiver
        self._silences = silences
        self._known: set[str] = set()

    async def problems(self, asker: Asker, transitions: dict[Step, Any]) -> list[str]:
        """Return what is wrong, each thing once.

        Args:
            asker: asks a worker.
            transitions: all that are on the alerts topic.
        """
        await self._delivered(asker)
        found = list(self._wrong(await asker.alerts(), transitions))
        new = [each for each in found if each not in self._known]
        self._known.update(new)
        return new

    async def _delivered(self, asker: Asker) -> None:
        deadline = time.monotonic() + DELIVERED_WITHIN_S
        while (await asker.whole("/v1/deliveries?state=pending&limit=1"))["deliveries"]:
            if time.monotonic() > deadline:
                raise TimeoutError("deliveries are pending for long, though all is calm")
            await asyncio.sleep(0.2)

    def _wrong(self, alerts: list[Any], transitions: dict[Step, Any]) -> Iterator[str]:
        suppressed = {
            (alert["alert_id"], step["sequence"]): step["suppressed"]
            for alert in alerts
            for step in alert["transitions"]
        }
        yield from self._wrong_in_alerts(suppressed, transitions)
        yield from self._wrong_in_order()
        for value in self._receiver.sent:
            step = _step_of(value)
            if value != transitions.get(step):
                yield f"{_named(value)} was sent, and is not what the alerts topic has"
            elif suppressed.get(step) is not None:
                yield f"{_named(value)} was sent, though it is {suppressed[step]}"
        for alert in alerts:
            yield from self._kept(alert)

    def _wrong_in_alerts(
        self, suppressed: dict[Step, Any], transitions: dict[Step, Any]
    ) -> Iterator[str]:
        accepted = {_step_of(value) for value in self._receiver.accepted}
        told, fires = set[str](), set[str]()
        for step, value in sorted(transitions.items(), key=lambda each: each[0]):
            if step not in suppressed:
                yield f"{_named(value)} is not in the API"
            elif suppressed[step] is not None:
                yield from self._wrongly_suppressed(value, suppressed[step], told)
            else:
                if value["type"] == FIRING and step[0] in fires:
                    yield f"{_named(value)} was told to fire before"
                told.add(step[0])
                if value["type"] in {FIRING, *ENDS}:
                    # One that ended may come back.
                    (fires.add if value["type"] == FIRING else fires.discard)(step[0])
                if step not in accepted:
                    yield f"{_named(value)} was never told"
                if self._silences.surely_silenced(*_when(value)):
                    yield f"{_named(value)} is not suppressed, though it is silenced"

    def _wrongly_suppressed(self, value: Any, why: Any, told: set[str]) -> Iterator[str]:
        if why["reason"] == "silenced":
            if not self._silences.may_be_silenced(*_when(value)):
                yield f"{_named(value)} is silenced by nothing: {why}"
        elif why["reason"] == "not-supported" and value["type"] == ACKNOWLEDGED:
            pass
        elif not (
            why["reason"] == "not-notified"
            and value["type"] in {ACKNOWLEDGED, *ENDS}
            and value["data"]["alert_id"] not in told
        ):
            yield f"{_named(value)} is suppressed: {why}"

    def _wrong_in_order(self) -> Iterator[str]:
        newest: dict[str, int] = {}
        for value in self._receiver.accepted:
            alert_id, sequence = _step_of(value)
            before = newest.get(alert_id, 0)
            newest[alert_id] = max(before, sequence)
            if value["type"] in ENDS and not before:
                yield f"{_named(value)} was told before its firing"

    def _kept(self, alert: Any) -> Iterator[str]:
        """Look for an alert that fires, is silenced by nothing, and was not told for that."""
        if alert["state"] != "firing" or not alert["transitions"]:
            return
        why = alert["transitions"][-1]["suppressed"]
        silenced = self._silences.may_be_silenced(alert["campaign_id"], time.time())
        if why is not None and why["reason"] == "silenced" and not silenced:
            yield f"{alert['alert_id']} of {alert['campaign_id']} is silenced by nothing any more"


def _step_of(value: Any) -> Step:
    return value["data"]["alert_id"], value["data"]["sequence"]


def _when(value: Any) -> tuple[str, float]:
    """Return the campaign of a transition, and its time (s)."""
    return value["data"]["campaign_id"], datetime.fromisoformat(value["timestamp"]).timestamp()


def _named(value: Any) -> str:
    data = value["data"]
    return (
        f"{value['type']} {data['sequence']} of {data['alert_id']} "
        f"({data['rule']}, {data['campaign_id']}) at {value['timestamp']}"
    )
