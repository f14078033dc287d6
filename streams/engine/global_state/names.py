"""The names of campaigns, or of apps: a book that follows its topic, and writes to it."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import structlog

from streams.domain import names as records
from streams.domain.names import BadNameError, NameBook
from streams.engine.global_state.table import GlobalTable

_log = structlog.get_logger(__name__)


class Names(GlobalTable):
    """Names, as every worker knows them.

    Args:
        connection: keyword arguments for aiokafka clients.
        topic: name of the topic.
        partitions: how many it has.
        book: follows the topic.
        skipped: is told of each record that names nothing.

    Attributes:
        book: as it was given.
        topic: as it was given.
    """

    holds: ClassVar[str] = "names"

    def __init__(
        self,
        connection: Mapping[str, Any],
        topic: str,
        partitions: int,
        book: NameBook,
        skipped: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(connection, topic, partitions)
        self.book = book
        self.topic = topic
        self._skipped = skipped

    async def set(self, its_id: str, name: str) -> str:
        """Give a campaign or an app a name, and wait until the book has it; return the name.

        Raises:
            BadNameError: if it is none, or there is no room for it.
            UnavailableError: if the brokers do not take it in time; it may be written all the same.
            RightsError: if the brokers do not allow it.
        """
        name = records.checked(name)
        self.book.check_room(its_id)
        await self._topic.write(its_id.encode(), records.encode(name))
        return name

    async def remove(self, its_id: str) -> str | None:
        """Take a name away, and wait until the book has that.

        Returns:
            The name as it was; null if there was none.

        Raises:
            UnavailableError, RightsError: as `set` does.
        """
        name = self.book.of(its_id)
        if name is not None:
            await self._topic.write(its_id.encode(), None)
        return name

    # What the topic tells

    def replace(self, records: Mapping[bytes, bytes | None]) -> None:
        """Take all records of the topic in place of what is in the book."""
        super().replace(records)
        _log.info("names read", topic=self.topic, names=len(self.book))

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the topic."""
        try:
            self._restore(key, value)
        except BadNameError as error:
            self._skipped()
            count = self.book.skipped
            # Whoever writes something else there writes much of it: the log has a few of them.
            if count & (count - 1) == 0:
                _log.warning(
                    "record names nothing",
                    topic=self.topic,
                    key=key[:100].decode(errors="replace"),
                    reason=str(error),
                    so_far=count,
                )

    def _clear(self) -> None:
        self.book.clear()

    def _restore(self, key: bytes, value: bytes | None) -> None:
        self.book.restore(key, value)
