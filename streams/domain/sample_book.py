"""The newest sample events of the campaigns of one partition, until an alert shows some of them."""

from collections import OrderedDict, deque
from collections.abc import Iterable

from streams.domain.alert_records import Alert
from streams.domain.counts import StatusGroups
from streams.domain.partial_counts import Sample, SampleFields
from streams.domain.rules import Rule
from streams.domain.transitions import Explanation
from streams.domain.windows import MS, WindowPolicy

SHOWN = 3
"""Samples of one alert."""
KEPT = 6
"""Samples of one campaign."""
MOST_CAMPAIGNS = 1_000
"""Campaigns whose samples are kept: those that had any lately."""


class SampleBook:
    """Samples by campaign.

    Args:
        windows: their size.
        groups: which group each status is in.
    """

    def __init__(self, windows: WindowPolicy, groups: StatusGroups) -> None:
        self._windows = windows
        self._groups = groups
        self._samples: OrderedDict[str, deque[Sample]] = OrderedDict()
        """By campaign, the one that had a sample last at the end; its newest sample at the end."""

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(map(len, self._samples.values()))

    def add(self, samples: Iterable[Sample]) -> None:
        """Keep samples, and forget the oldest beyond what is kept."""
        for sample in samples:
            of_it = self._samples.setdefault(sample.campaign_id, deque(maxlen=KEPT))
            of_it.append(sample)
            self._samples.move_to_end(sample.campaign_id)
        while len(self._samples) > MOST_CAMPAIGNS:
            self._samples.popitem(last=False)

    def of(self, rule: Rule, alert: Alert, explanation: Explanation) -> list[SampleFields]:
        """Return what an alert shows: samples of the slice and of the status that explain it first.

        Where there are too few, it goes on to show those that it showed before. Where there are
        none, it shows those of the window before it began: of a break that begins as a window ends,
        the next window is the first that says enough.
        """
        began = self._windows.start_of(alert.since * MS)
        before = alert.explanation.samples if alert.explanation is not None else []
        about_it = [each for each in self._newest(alert) if self._is_about(each, rule, alert)]
        found = self._not_before(began, about_it)
        if not found and not before:
            found = self._not_before(began - self._windows.size, about_it)
        found.sort(key=lambda sample: _rank(sample, explanation))
        shown = [sample.fields for sample in found[:SHOWN]]
        return (shown + [fields for fields in before if fields not in shown])[:SHOWN]

    def _newest(self, alert: Alert) -> Iterable[Sample]:
        return reversed(self._samples.get(alert.scope.campaign_id, deque()))

    def _not_before(self, start: int, samples: Iterable[Sample]) -> list[Sample]:
        """Leave out samples of windows before the one that starts then (s)."""
        return [each for each in samples if self._windows.start_of(each.start * MS) >= start]

    def _is_about(self, sample: Sample, rule: Rule, alert: Alert) -> bool:
        """Tell whether a sample is a hit in an alert's scope, and not from after its end."""
        dimensions, scope = sample.dimensions, alert.scope
        return (
            (alert.is_live or sample.start <= alert.breached)
            and rule.is_hit(dimensions.outcome, self._groups)
            and (rule.scope != "treatment" or dimensions.treatment_id == scope.treatment_id)
            and (rule.scope != "channel" or dimensions.channel_type == scope.channel_type)
        )


def _rank(sample: Sample, explanation: Explanation) -> tuple[bool, bool]:
    """Return what is smaller for a sample that says more."""
    wanted = explanation.slice.dimensions if explanation.slice is not None else {}
    in_slice = all(getattr(sample.dimensions, name) == value for name, value in wanted.items())
    statuses = explanation.statuses
    largest = not statuses or statuses[0].status == sample.dimensions.outcome
    return not in_slice, not largest
