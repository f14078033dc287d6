"""What the lanes of all workers say of groups: a view that follows the groups topic."""

from collections.abc import Mapping
from typing import Any, ClassVar

from streams.domain.causes.exchange import GroupView
from streams.engine.global_state.table import GlobalTable


class Groups(GlobalTable):
    """The groups topic, as every worker knows it. Tasks write to it in their transactions.

    Args:
        connection: keyword arguments for aiokafka clients.
        topic: name of the groups topic.
        partitions: how many it has.
        view: follows the topic.
    """

    holds: ClassVar[str] = "groups"

    def __init__(
        self, connection: Mapping[str, Any], topic: str, partitions: int, view: GroupView
    ) -> None:
        super().__init__(connection, topic, partitions, read_committed=True)
        self._view = view

    def _clear(self) -> None:
        self._view.clear()

    def _restore(self, key: bytes, value: bytes | None) -> None:
        self._view.restore(key, value)
