"""What the lanes of all workers say of groups: a view that follows the groups topic."""

from collections.abc import Mapping
from typing import Any

import structlog

from streams.domain.causes.exchange import GroupView
from streams.engine.global_state.topic import GlobalTopic

_log = structlog.get_logger(__name__)


class Groups:
    """The groups topic, as every worker knows it. Tasks write to it in their transactions.

    Args:
        connection: keyword arguments for aiokafka clients.
        topic: name of the groups topic.
        partitions: how many it has.
        view: follows the topic.
    """

    def __init__(
        self, connection: Mapping[str, Any], topic: str, partitions: int, view: GroupView
    ) -> None:
        self._view = view
        self._topic = GlobalTopic(connection, topic, partitions, self, read_committed=True)

    async def read(self) -> None:
        """Wait until the view has what the topic had when reading began."""
        await self._topic.read()

    async def follow(self) -> None:
        """Keep the view as the topic says. Never returns."""
        await self._topic.follow()

    # What the topic tells

    def replace(self, records: Mapping[bytes, bytes | None]) -> None:
        """Take all records of the topic in place of what is in the view."""
        self._view.clear()
        for key, value in records.items():
            self.apply(key, value)

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take the next record of the topic."""
        try:
            self._view.restore(key, value)
        except ValueError as error:
            _log.warning("record of the groups topic ignored", reason=str(error))
