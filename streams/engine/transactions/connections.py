"""Whether a client has lost any connection to a broker."""

from collections.abc import Mapping
from typing import Any

from aiokafka.client import AIOKafkaClient


class Connections:
    """The connections of one client.

    Args:
        client: an aiokafka client.
    """

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client = client
        self._before: Mapping[Any, Any] = {}

    def stay(self) -> bool:
        """Tell whether all are open, and the same as when this was last asked.

        A new connection may stand for one that was lost, so it is a change too.
        """
        before = self._before
        now = self._before = dict(self._client._conns)  # noqa: SLF001 - there is no other way to see them
        return now == before and all(each.connected() for each in now.values())
