"""Where partitions are: what the API and the dispatcher ask of a worker."""

from collections.abc import Mapping
from typing import Protocol

from streams.domain.partition import CampaignPartition


class PartitionHost(Protocol):
    """Holds some partitions in memory, and knows which workers hold the others."""

    def ready(self) -> Mapping[int, CampaignPartition]:
        """Return the partitions that are here and up to date, by number."""
        ...

    def partitions(self) -> int:
        """Return how many partitions there are in all."""
        ...

    def peers(self) -> Mapping[int, str]:
        """Return the base URLs of the workers that hold the other partitions, by partition."""
        ...
