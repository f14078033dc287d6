"""The broker's time, which decides what is in the future, and how far event time may go.

Brokers say what time it is in one place: where a topic has `message.timestamp.type=LogAppendTime`,
they answer a write with the time at which it was appended. The changelog topic is made so, and
every task writes to it. A write is appended between being sent and being acknowledged; so each
answer says between which bounds the broker's clock differs from this worker's.
"""

import asyncio
import math
import time
from collections.abc import Callable

import structlog
from aiokafka.structs import TopicPartition

_log = structlog.get_logger(__name__)

DISAGREES = 5.0
"""Seconds by which clocks may differ; more is not a matter of how machines keep time."""
ANSWERS_WITHIN = 5.0
"""Seconds for which records wait to be counted while the broker was not asked yet."""
FOLLOWED_FOR = 30.0
"""Seconds for which the leader of one partition is followed after it has told its time. Others may
have another one: if all were followed, time would jump with every write."""


class BrokerClock:
    """This worker's clock, corrected by what the broker says.

    Args:
        wall: this worker's own clock (s, UTC).
        told: is notified of the offset (s) whenever it changed.

    Attributes:
        offset: the broker's time less this worker's (s); 0 as long as nothing says otherwise.
        is_told: whether the broker has said what time it is.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        told: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.offset = 0.0
        self._wall = wall
        self._told = told
        self._warned_of = 0.0
        self._answered = asyncio.Event()
        self._followed: TopicPartition | None = None
        self._followed_at = -math.inf
        self._brokers_agree = True
        self.is_told = False

    def wall(self) -> float:
        """Return this worker's own time (s, UTC)."""
        return self._wall()

    def now(self) -> float:
        """Return the broker's time (s, UTC), as far as it is known."""
        return self._wall() + self.offset

    @property
    def is_known(self) -> bool:
        """Tell whether the broker said what time it is, or that it says nothing."""
        return self._answered.is_set()

    async def known(self) -> None:
        """Wait until the broker was asked, but not for long: it may be away."""
        if not self._answered.is_set():
            try:
                await asyncio.wait_for(self._answered.wait(), ANSWERS_WITHIN)
            except TimeoutError:
                _log.warning("the broker has not said what time it is", seconds=ANSWERS_WITHIN)

    def appended(
        self, partition: TopicPartition, at: float, sent: float, acknowledged: float
    ) -> None:
        """Take note of a write that the broker appended `at` its own time (s).

        Args:
            partition: to which it was; others are heeded once this one has not been written to for
                `FOLLOWED_FOR`.
            at: when, in whole milliseconds.
            sent: the `wall` time before it was sent.
            acknowledged: the `wall` time after it was acknowledged.
        """
        least, most = at - acknowledged, at + 0.001 - sent
        now = time.monotonic()
        if partition != self._followed and now - self._followed_at < FOLLOWED_FOR:
            self._compare(partition, least, most)
            return
        self._followed, self._followed_at = partition, now
        corrected = min(max(self.offset, least), most)
        if least <= most and corrected != self.offset:
            self.offset = corrected
            self._told(corrected)
        self._warn()
        self.is_told = True
        self._answered.set()

    def silent(self, topic: str) -> None:
        """Take note that the broker does not say when it appended to a topic."""
        if not self._answered.is_set():
            _log.warning(
                "the broker does not say what time it is, so this worker's clock decides which "
                "events are in the future: set message.timestamp.type=LogAppendTime for the topic",
                topic=topic,
            )
            self._answered.set()

    @property
    def disagreement(self) -> str | None:
        """Say by how much this worker's clock is wrong; null while it is right."""
        if abs(self.offset) <= DISAGREES:
            return None
        side = "behind" if self.offset > 0 else "ahead of"
        return f"this worker's clock is {abs(self.offset):.0f} s {side} the broker's"

    def _compare(self, partition: TopicPartition, least: float, most: float) -> None:
        """Warn, once, if the leader of a partition that is not followed has another time."""
        if self._brokers_agree and not least - DISAGREES <= self.offset <= most + DISAGREES:
            self._brokers_agree = False
            _log.warning(
                "the brokers' clocks disagree: set them right",
                followed=str(self._followed),
                other=str(partition),
                apart_seconds=round(least - self.offset),
            )

    def _warn(self) -> None:
        if abs(self.offset - self._warned_of) <= DISAGREES:
            return
        self._warned_of = self.offset
        if self.disagreement is None:
            _log.info("this worker's clock agrees with the broker's again")
        else:
            _log.warning(
                "this worker's clock disagrees with the broker's, whose time is used: set it right",
                offset_seconds=math.floor(self.offset * 1000) / 1000,
            )


def known_clock(now: Callable[[], float] = time.time) -> BrokerClock:
    """Return a clock that is this worker's own and needs no broker."""
    clock = BrokerClock(now)
    clock._answered.set()  # noqa: SLF001 - its own
    return clock
