"""What a fault has to do with."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tests.chaos.system import System
from tests.chaos.traffic import Traffic

SOON_S = 0.03
"""A fault in the middle of a request comes up to so many seconds after it."""


class Account(Protocol):
    """Whoever counts the source topic independently, and has to know what becomes of it.

    `changing_source` is held by the fault that changes the topic: one at a time.
    """

    changing_source: asyncio.Lock

    async def renew_source(self, away: float) -> None:
        """Make the source topic anew when it was away for so many seconds, and all is counted."""
        ...

    async def expire_source(self, share: float) -> int:
        """Delete that share of what no worker has read; return how many records that were."""
        ...

    async def change_silence(self, chance: random.Random) -> None:
        """End the silence that there is, and make another one, if a worker answers."""
        ...


@dataclass(frozen=True)
class Scene:
    """What a fault has to do with, and its own chance."""

    system: System
    traffic: Traffic
    chance: random.Random
    account: Account | None

    def note(self, text: str) -> None:
        """Write down what is done."""
        self.system.notes.info("%s", text)

    def heads(self) -> bool:
        """Toss a coin."""
        return self.chance.random() < 0.5

    async def wait(self, least: float, most: float) -> None:
        """Let some seconds pass."""
        await asyncio.sleep(self.chance.uniform(least, most))

    def kill(self, name: str) -> Callable[[], None]:
        """Return what kills a worker (-9)."""
        return lambda: self.system.kill(name)

    def soon(self, act: Callable[[], None]) -> Callable[[], None]:
        """Return what does something at once, or in the next few milliseconds."""
        return act if self.heads() else later(self.chance.uniform(0.0, SOON_S), act)


def later(seconds: float, act: Callable[[], None]) -> Callable[[], None]:
    """Return what does something after so many seconds."""

    def schedule() -> None:
        asyncio.get_running_loop().call_later(seconds, act)

    return schedule
