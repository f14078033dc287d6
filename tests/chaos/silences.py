"""Silences that are made and ended meanwhile, and what follows from them."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from tests.support.http import HttpAnswer

KNOWN_WITHIN_S = 3.0
"""Within so many seconds of the answer every worker goes by a silence, or by its end: one that has
to do without a processor for a while, too."""
LONGEST_S = 3_600
ASKED_WITHIN_S = 5.0
"""Seconds in which a worker has to answer while faults come, which may hit it."""
CALM_S = 30.0
"""Seconds in which it has to answer while all is calm."""
PAUSE_S = 0.5
UNKNOWN = float("inf")
"""Of a time: it has not come, or nobody has answered that it has."""
CREATOR = "chaos"
NO_ANSWER = (OSError, TimeoutError, IndexError, ValueError)
"""Of a worker that is killed, paused or cut off."""


class Asked(Protocol):
    """A worker."""

    async def ask(self, target: str) -> HttpAnswer:
        """Ask its API."""
        ...

    async def post(self, target: str, body: object) -> HttpAnswer:
        """Send its API a JSON body."""
        ...

    async def delete(self, target: str) -> HttpAnswer:
        """Have its API delete something."""
        ...


class Silence(NamedTuple):
    """A silence of one campaign. Times in s: when it was asked for, and when that was answered.

    One that was asked for without an answer may be there or not, and has no id.
    """

    silence_id: str
    campaign_id: str
    asked_at: float
    made_at: float
    end_asked_at: float = UNKNOWN
    ended_at: float = UNKNOWN

    def surely_silences(self, at: float) -> bool:
        """Tell whether every worker knows at a time that it is active."""
        return self.made_at + KNOWN_WITHIN_S < at < self.end_asked_at

    def may_silence(self, at: float) -> bool:
        """Tell whether a worker may go by it at a time."""
        return self.asked_at <= at <= self.ended_at + KNOWN_WITHIN_S


class Silences:
    """All silences that there were; the newest goes on until there is another one."""

    def __init__(self, silences: Iterable[Silence] = ()) -> None:
        self._silences = list(silences)

    @property
    def made(self) -> int:
        """How many were made, as was answered."""
        return sum(each.made_at < UNKNOWN for each in self._silences)

    async def change(self, worker: Asked, campaign_id: str, within: float = ASKED_WITHIN_S) -> None:
        """End the silences that there are, and make one of a campaign, by any worker.

        If there is no answer, or it is that it cannot be done, then it may be done all the same.
        """
        for number, each in enumerate(self._silences):
            if each.silence_id and each.ended_at == UNKNOWN:
                self._silences[number] = await self._ended(worker, each, within)
        self._silences.append(await self._made(worker, campaign_id, within))

    async def tidy(self, worker: Asked) -> bool:
        """End what goes on beside the newest one, and tell whether there was any.

        Raises:
            TimeoutError: it cannot be done.
        """
        newest = self._silences[-1].silence_id if self._silences else ""
        had_others = False
        async with asyncio.timeout(CALM_S):
            while others := [each for each in await _active(worker) if each != newest]:
                had_others = True
                for silence_id in others:
                    await _is_done(worker.delete(_end_of(silence_id)), CALM_S)
        now = time.time()
        self._silences = [
            each
            if each.silence_id == newest and each.silence_id
            else each._replace(
                end_asked_at=min(each.end_asked_at, now), ended_at=min(each.ended_at, now)
            )
            for each in self._silences
        ]
        return had_others

    @staticmethod
    async def _ended(worker: Asked, silence: Silence, within: float) -> Silence:
        asked_at = min(silence.end_asked_at, time.time())
        if await _is_done(worker.delete(_end_of(silence.silence_id)), within):
            return silence._replace(end_asked_at=asked_at, ended_at=time.time())
        return silence._replace(end_asked_at=asked_at)

    @staticmethod
    async def _made(worker: Asked, campaign_id: str, within: float) -> Silence:
        asked_at = time.time()
        ends_at = datetime.fromtimestamp(int(asked_at) + LONGEST_S, UTC).isoformat()
        body = {
            "matchers": [f"campaign_id={campaign_id}"],
            "created_by": CREATOR,
            "comment": "one of the campaigns that fail",
            "ends_at": ends_at,
        }
        try:
            async with asyncio.timeout(within):
                answer = await worker.post("/v1/silences", body)
                made: dict[str, Any] = answer.json if answer.status in {200, 201} else {}
        except NO_ANSWER:
            made = {}
        if "silence" not in made:
            return Silence("", campaign_id, asked_at, UNKNOWN)
        return Silence(made["silence"]["silence_id"], campaign_id, asked_at, time.time())

    def surely_silenced(self, campaign_id: str, at: float) -> bool:
        """Tell whether every worker knows that a campaign is silenced at a time (s)."""
        return any(each.surely_silences(at) for each in self._of(campaign_id))

    def may_be_silenced(self, campaign_id: str, at: float) -> bool:
        """Tell whether a worker may take a campaign to be silenced at a time (s)."""
        return any(each.may_silence(at) for each in self._of(campaign_id))

    def _of(self, campaign_id: str) -> Iterator[Silence]:
        return (each for each in self._silences if each.campaign_id == campaign_id)


def _end_of(silence_id: str) -> str:
    return f"/v1/silences/{silence_id}?ended_by={CREATOR}"


async def _active(worker: Asked) -> list[str]:
    """Return the ids of the silences that are active, once a worker says so."""
    while True:
        with contextlib.suppress(*NO_ANSWER):
            answer = await worker.ask("/v1/silences?state=active&limit=1000")
            if answer.status == 200:
                return [each["silence_id"] for each in answer.json["silences"]]
        await asyncio.sleep(PAUSE_S)


async def _is_done(asking: Awaitable[HttpAnswer], within: float) -> bool:
    """Tell whether a worker answers in time that something is done."""
    try:
        async with asyncio.timeout(within):
            return (await asking).status in {200, 201, 404}
    except NO_ANSWER:
        return False
