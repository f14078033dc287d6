"""What a worker that does not work yet is waiting for, outside of itself."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import structlog

from streams.cancelling import cancel
from streams.configuration.models import Configuration
from streams.engine.cluster.client import check_broker
from streams.engine.cluster.rights import describe_missing, missing_rights, needed_rights
from streams.errors import UserError

_log = structlog.get_logger(__name__)

LOOK_EVERY = 3.0
"""Seconds between two checks."""
USUAL = 10.0
"""Seconds that a worker may need to join its group and to read its state back, without a word."""
REPEAT_AFTER = 60.0
"""Seconds after which the same is logged once more."""
ANNOUNCE_AFTER = 5.0
"""Seconds after which something that takes long is logged, and again and again."""
LOOK_WITHIN = 15.0
"""Seconds that a check may take."""


@contextlib.asynccontextmanager
async def announced(what: str) -> AsyncIterator[None]:
    """Log what is waited for, if it takes long."""

    async def announce() -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(ANNOUNCE_AFTER)
            _log.warning("waiting", waiting_for=what, seconds=round(time.monotonic() - began))

    announcing = asyncio.create_task(announce())
    try:
        yield
    finally:
        await cancel(announcing)


class Surroundings:
    """Checks, as long as a worker is not ready, what keeps it from its work.

    Args:
        connection: keyword arguments for aiokafka clients.
        configuration: of the worker.
        tasks: all tasks there are, by number.
        waiting: returns what the worker itself says it waits for; nothing when it is ready.

    Attributes:
        hindrances: what was found last: each names what is missing and what to do.
        broker_answers: whether the brokers answered when they were asked last.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        configuration: Configuration,
        tasks: Sequence[int],
        waiting: Callable[[], list[str]],
    ) -> None:
        self.hindrances: list[str] = []
        self.broker_answers = True
        self._connection = connection
        self._configuration = configuration
        self._needed = needed_rights(configuration, tasks)
        self._waiting = waiting
        self._logged: list[str] = []
        self._logged_at = 0.0

    async def watch(self) -> None:
        """Check every few seconds. Never returns."""
        since = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            waiting = self._waiting()
            if waiting:
                await self._look()
                if self.hindrances or time.monotonic() - since > USUAL:
                    self._log(self.hindrances or waiting)
            else:
                self.hindrances, self.broker_answers = [], True
                self._logged, since = [], time.monotonic()

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                await check_broker(self._configuration.kafka)
                missing = await missing_rights(self._connection, self._needed)
        except UserError as error:
            self.hindrances, self.broker_answers = [str(error)], False
        except Exception as error:  # noqa: BLE001 - aiokafka asserts some; looking has to go on
            why = str(error) or type(error).__name__
            self.hindrances, self.broker_answers = [f"Kafka does not answer ({why})"], False
        else:
            user = self._configuration.kafka.sasl.username
            self.hindrances = [describe_missing(missing, user)] if missing else []
            self.broker_answers = True

    def _log(self, waiting: list[str]) -> None:
        """Log what is waited for: when it changes, and again after a while."""
        now = time.monotonic()
        if waiting != self._logged or now - self._logged_at > REPEAT_AFTER:
            _log.warning("waiting", waiting_for="; ".join(waiting))
            self._logged, self._logged_at = waiting, now
