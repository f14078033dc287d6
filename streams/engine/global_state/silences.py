"""The silences of all workers: a book that follows the silences topic, and writes to it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import structlog

from streams.domain.silences import silence as records
from streams.domain.silences.book import SilenceBook
from streams.domain.silences.silence import Silence
from streams.engine.global_state.table import GlobalTable
from streams.errors import UserError

_log = structlog.get_logger(__name__)

REMOVE_EVERY = 600.0
"""Seconds between two times that silences that were over long ago are removed."""


class Silences(GlobalTable):
    """The silences, as every worker knows them.

    Args:
        connection: keyword arguments for aiokafka clients.
        topic: name of the silences topic.
        partitions: how many it has.
        book: follows the topic.
        longest: how long (s) a silence may last.
        now: the broker's time (s, UTC).

    Attributes:
        book: as it was given.
    """

    holds: ClassVar[str] = "silences"

    def __init__(  # noqa: PLR0913, PLR0917 - what it joins
        self,
        connection: Mapping[str, Any],
        topic: str,
        partitions: int,
        book: SilenceBook,
        longest: float,
        now: Callable[[], float],
    ) -> None:
        super().__init__(connection, topic, partitions)
        self.book = book
        self._longest = longest
        self._now = now

    async def remove_old(self) -> None:
        """Remove silences from the topic that were over long ago. Never returns."""
        while True:
            await asyncio.sleep(REMOVE_EVERY)
            for silence_id in self.book.over(self._now()):
                try:
                    await self._topic.write(records.key_of(silence_id), None)
                except UserError as error:
                    _log.warning("silence not removed", silence=silence_id, error=str(error))
                    break

    async def make(self, silence: Silence) -> None:
        """Write a silence, and wait until the book has it.

        Raises:
            SilenceError: if it is not possible; says all that is wrong with it.
            UnavailableError: if the brokers do not take it in time; it may be written all the same.
            RightsError: if the brokers do not allow it.
        """
        now = self._now()
        records.check(silence, now, self._longest)
        self.book.check_room(silence, now)
        await self._topic.write(*records.encode(silence))

    async def end(self, silence_id: str, by: str, token: str | None = None) -> Silence | None:
        """End a silence before its time, and wait until the book has that.

        Args:
            silence_id: of the silence.
            by: who ends it.
            token: name of the token with which they ask; null for none.

        Returns:
            The silence as it is then, as it was if it is over; null if there is none.

        Raises:
            UnavailableError, RightsError: as `make` does.
        """
        found = self.book.get(silence_id)
        if found is None:
            return None
        ended = found.silence.ended(by, self._now(), token)
        if ended is not found.silence:
            await self._topic.write(*records.encode(ended))
        return ended

    # What the topic tells

    def replace(self, records: Mapping[bytes, bytes | None]) -> None:
        """Take all records of the topic in place of what is in the book."""
        super().replace(records)
        _log.info("silences read", topic=self._topic.name, silences=len(self.book))

    def _clear(self) -> None:
        self.book.clear()

    def _restore(self, key: bytes, value: bytes | None) -> None:
        self.book.restore(key, value)
