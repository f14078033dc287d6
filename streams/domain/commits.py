"""What one committed transaction of a task held: the event by which others follow its work."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.domain.events import Rejected
from streams.domain.notification.stage import Suppressed
from streams.domain.pre_aggregator import PreAggregator
from streams.domain.table import Folded
from streams.domain.transitions import Transition


class Decision(NamedTuple):
    """A transition of an alert.

    Attributes:
        transition: the transition.
        event_age: seconds from the arrival of the oldest event that was evaluated; 0.0 if no event
            led to it, but time.
    """

    transition: Transition
    event_age: float


class SuppressedTransition(NamedTuple):
    """A transition of which nobody is notified, and why."""

    transition: Transition
    why: Suppressed


@dataclass(slots=True)
class Commit:
    """What one committed transaction of a task held. Subscribers are notified of each commit once.

    Attributes:
        partition: the task's number, which is that of its partition of campaigns.
        records: the number of records that were written.
        seconds: how long it took to collect and write them.
        counted: events that became partial counts; `engagement` of these were engagement.
        skipped: events of other kinds, by family.
        unknown_versions: events that were counted, by their unknown `event_version`.
        unrecognised: sends that were counted, by their status that is in no group.
        rejected: records that became dead letters.
        late: events that corrected closed windows.
        expired: events that were added to no window, as theirs had expired at the task.
        folded: events that were counted under `__other__`.
        decisions: transitions of alerts, in the order in which they were decided.
        suppressed: those of these transitions of which nobody is notified.
        has_deliveries: whether deliveries were enqueued or changed, or what is known of a receiver.
        delivery_ids: ids of the deliveries that were enqueued or changed, or are gone.
        next_offset: in the repartition topic: of the next partial counts that the task will add.
    """

    partition: int
    records: int = 0
    seconds: float = 0.0
    counted: int = 0
    engagement: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    unknown_versions: Counter[str] = field(default_factory=Counter)
    unrecognised: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejected] = field(default_factory=list)
    late: int = 0
    expired: int = 0
    folded: Folded = field(default_factory=Folded)
    decisions: list[Decision] = field(default_factory=list)
    suppressed: list[SuppressedTransition] = field(default_factory=list)
    has_deliveries: bool = False
    delivery_ids: list[str] = field(default_factory=list)
    next_offset: int = 0

    def add_counted(self, pre_aggregator: PreAggregator) -> None:
        """Add the events of which partial counts were taken."""
        self.counted += pre_aggregator.counted
        self.engagement += pre_aggregator.engagement
        self.skipped.update(pre_aggregator.skipped)
        self.unknown_versions.update(pre_aggregator.unknown_versions)

    @property
    def transitions(self) -> Iterator[Transition]:
        """The transitions of alerts, in the order in which they were decided."""
        return (each.transition for each in self.decisions)
