"""What the roll-ups of partitions hold, as it is when the metrics are asked for."""

from collections.abc import Mapping

from streams.domain.partition import CampaignPartition
from streams.domain.windows import UTC, RollupStep
from streams.observability.families import Families
from streams.settings import format_duration


class RollupGauges:
    """Gauges of roll-ups, by partition and step.

    Args:
        families: makes them.
    """

    def __init__(self, families: Families) -> None:
        self._windows = families.gauge(
            "rollup_windows", "Windows of roll-ups kept", "partition", "step"
        )
        self._cells = families.gauge(
            "rollup_cells", "Campaigns times windows of roll-ups kept", "partition", "step"
        )
        self._bytes = families.gauge(
            "rollup_bytes", "Packed size of windows of roll-ups", "partition", "step"
        )
        self._campaigns = families.gauge(
            "rollup_campaigns", "Campaigns kept apart in roll-ups", "partition"
        )
        self._rolled_up = families.gauge(
            "rolled_up_windows",
            "Windows whose counts were rolled up since the task was opened",
            "partition",
        )
        self._other_events = families.gauge(
            "rollup_other_events",
            "Events that are under __other__ since they were rolled up, since the task was opened",
            "partition",
        )

    def read(self, partitions: Mapping[int, CampaignPartition]) -> None:
        """Set all gauges to what partitions hold now."""
        by_step = self._windows, self._cells, self._bytes
        for gauge in (*by_step, self._campaigns, self._rolled_up, self._other_events):
            gauge.clear()
        for number, partition in partitions.items():
            rollups, name = partition.table.rollups, str(number)
            for level in rollups.levels:
                step = _name(level.step)
                self._windows.labels(name, step).set(len(level.windows))
                self._cells.labels(name, step).set(level.cells)
                self._bytes.labels(name, step).set(level.size)
            self._campaigns.labels(name).set(rollups.campaigns)
            self._rolled_up.labels(name).set(rollups.rolled_up)
            self._other_events.labels(name).set(rollups.other_events)


def _name(step: RollupStep) -> str:
    """Return the label of a step: few are in any configuration."""
    length = format_duration(step.seconds)
    return length if step.time_zone == UTC else f"{length} {step.time_zone}"
