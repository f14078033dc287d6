"""The change logs of the partitions that are here."""

from collections.abc import Mapping
from uuid import uuid4

from streams.domain.change_log import ChangeLog
from streams.domain.commits import Commit
from streams.domain.partition import CampaignPartition


class ChangeLogs:
    """Follows the commits of all partitions that are here."""

    def __init__(self) -> None:
        self._logs: dict[int, ChangeLog] = {}

    def of(self, partition: CampaignPartition, now: float) -> ChangeLog:
        """Return the log of a partition; it begins now (s, UTC) if there was none."""
        log = self._logs.get(partition.number)
        if log is None or log.partition is not partition:
            log = self._logs[partition.number] = ChangeLog(uuid4().hex[:8], partition, now)
        return log

    def committed(
        self, commit: Commit, partitions: Mapping[int, CampaignPartition], now: float
    ) -> None:
        """Take note of a commit, given the partitions that are here; at `now` (s, UTC)."""
        for number in self._logs.keys() - partitions.keys():
            del self._logs[number]
        partition = partitions.get(commit.partition)
        if partition is not None:
            self.of(partition, now).committed(commit, now)
