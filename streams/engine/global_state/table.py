"""A table in memory that follows a topic: what Silences, Names and Groups have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import structlog

from streams.engine.global_state.topic import GlobalTopic

_log = structlog.get_logger(__name__)


class GlobalTable(ABC):
    """The records of a topic that every worker reads whole, as they are kept in memory.

    A subclass says what becomes of a record, and of all of them when the topic is read anew. A
    record that cannot be read is logged and left out.

    Args:
        connection: keyword arguments for aiokafka clients.
        topic: name of the topic.
        partitions: how many it has.
        read_committed: whether it is written in transactions.

    Attributes:
        holds: what is on the topic, in one plural word, for people.
    """

    holds: ClassVar[str]

    def __init__(
        self,
        connection: Mapping[str, Any],
        topic: str,
        partitions: int,
        *,
        read_committed: bool = False,
    ) -> None:
        self._topic = GlobalTopic(
            connection, topic, partitions, self, read_committed=read_committed
        )

    @property
    def is_read(self) -> bool:
        """Whether the table has what the topic had when reading began."""
        return self._topic.is_read

    @property
    def out_of_date(self) -> str | None:
        """Why the table may be out of date; null if it is not."""
        why = self._topic.out_of_date
        return None if why is None else f"{self.holds} may be out of date: {why}"

    async def read(self) -> None:
        """Wait until the table has what the topic had when reading began."""
        await self._topic.read()

    async def follow(self) -> None:
        """Keep the table as the topic says. Never returns."""
        await self._topic.follow()

    def replace(self, records: Mapping[bytes, bytes | None]) -> None:
        """Take all records of the topic in place of what is in the table."""
        self._clear()
        for key, value in records.items():
            self.apply(key, value)

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the topic."""
        try:
            self._restore(key, value)
        except ValueError as error:
            _log.warning(f"record of the {self.holds} topic ignored", reason=str(error))

    @abstractmethod
    def _clear(self) -> None:
        """Forget all that is in the table."""

    @abstractmethod
    def _restore(self, key: bytes, value: bytes | None) -> None:
        """Take a record; null removes what is there under the key.

        Raises:
            ValueError: it cannot be read.
        """
