"""The silences of all workers: a book that follows the silences topic, and writes to it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from streams.domain.silences import silence as records
from streams.domain.silences.book import SilenceBook
from streams.domain.silences.silence import Silence
from streams.engine.global_state.topic import GlobalTopic
from streams.errors import UserError

_log = structlog.get_logger(__name__)

REMOVE_EVERY = 600.0
"""Seconds between two times that silences that were over long ago are removed."""


class Silences:
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

    def __init__(  # noqa: PLR0913, PLR0917 - what it joins
        self,
        connection: Mapping[str, Any],
        topic: str,
        partitions: int,
        book: SilenceBook,
        longest: float,
        now: Callable[[], float],
    ) -> None:
        self.book = book
        self._longest = longest
        self._topic = GlobalTopic(connection, topic, partitions, self)
        self._now = now

    @property
    def is_read(self) -> bool:
        """Whether the book has what the topic had when reading began."""
        return self._topic.is_read

    @property
    def out_of_date(self) -> str | None:
        """Why the book may be out of date; null if it is not."""
        why = self._topic.out_of_date
        return None if why is None else f"silences may be out of date: {why}"

    async def read(self) -> None:
        """Wait until the book has what the topic had when reading began."""
        await self._topic.read()

    async def follow(self) -> None:
        """Keep the book as the topic says. Never returns."""
        await self._topic.follow()

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

    async def end(self, silence_id: str, by: str) -> Silence | None:
        """End a silence before its time, and wait until the book has that.

        Returns:
            The silence as it is then, as it was if it is over; null if there is none.

        Raises:
            UnavailableError, RightsError: as `make` does.
        """
        found = self.book.get(silence_id)
        if found is None:
            return None
        ended = found.silence.ended(by, self._now())
        if ended is not found.silence:
            await self._topic.write(*records.encode(ended))
        return ended

    # What the topic tells

    def replace(self, records: Mapping[bytes, bytes | None]) -> None:
        """Take all records of the topic in place of what is in the book."""
        self.book.clear()
        for key, value in records.items():
            self.apply(key, value)
        _log.info("silences read", topic=self._topic.name, silences=len(self.book))

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the topic."""
        try:
            self.book.restore(key, value)
        except ValueError as error:
            _log.warning("record of the silences topic ignored", reason=str(error))
