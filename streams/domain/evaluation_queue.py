"""Which campaigns to evaluate: those about which new counts may change the mind of a detector.

An evaluation reads windows, and most campaigns are healthy: their new counts change nothing.
"""

from collections.abc import Callable, Collection, Iterable, KeysView, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

from streams.domain.counts import StatusGroups
from streams.domain.detectors.detector import Detector
from streams.domain.hits import Countdown, NewCounts, RecentHits
from streams.domain.partial_counts import WindowCounts
from streams.domain.rules import Hits, Rule
from streams.domain.table import WindowTable

Events: TypeAlias = Callable[[str], int]
"""Returns the number of a campaign's events, of all kinds."""


class Lack(NamedTuple):
    """How many hits the scopes of a campaign lack until a rule can find a breach.

    Attributes:
        hits: fewer of them change nothing.
        oldest: start (s) of the first window whose counts that goes for.
    """

    hits: int
    oldest: int


ANY_HIT = Lack(1, 0)


class _SameHits:
    """The detectors of rules that have the same hits, and the recent hits."""

    def __init__(self, hits: Hits) -> None:
        self._countdowns: dict[Detector, Countdown] = {}
        self._rules: dict[str, Detector] = {}
        """Detectors of the rules, by name."""
        self.recent = RecentHits()
        self._hits = hits

    def watch(self, rule: Rule) -> None:
        """Ask the detector of a rule, too."""
        self._rules[rule.name] = rule.detector
        self._countdowns.setdefault(rule.detector, Countdown())

    def evaluated(self, campaign_id: str, lacks: Mapping[str, Lack]) -> None:
        """Take note of what a campaign lacks, by rule; of rules that are not about it, nothing."""
        least: dict[Detector, Lack] = {}
        for rule in lacks.keys() & self._rules.keys():
            lack, known = lacks[rule], least.get(self._rules[rule], lacks[rule])
            hits, oldest = min(lack.hits, known.hits), max(lack.oldest, known.oldest)
            least[self._rules[rule]] = Lack(hits, oldest)
        for detector, lack in least.items():
            self._countdowns[detector].begin(campaign_id, *lack)

    def add(self, start: int, counts: WindowCounts, events: Events) -> set[str]:
        """Add counts to a window (start, s); return the campaigns that a detector triggers on."""
        hits = list(counts.sends_with(self._hits))
        self.recent.add(start, hits)
        triggered = set[str]()
        for detector, countdown in self._countdowns.items():
            news = countdown.news(start, hits)
            triggered.update(
                detector.triggers(NewCounts(counts.campaigns, news, self.recent, events))
            )
        return triggered

    def forget_before(self, first: int, waiting: Sequence[str], events: Events) -> set[str]:
        """Forget windows that begin before `first` (s); return who of `waiting` still triggers."""
        self.recent.drop_before(first)
        for countdown in self._countdowns.values():
            countdown.drop_all_but(self.recent)
        new = NewCounts(waiting, [(name, 0) for name in waiting], self.recent, events)
        return set().union(*[detector.triggers(new) for detector in self._countdowns])


class EvaluationQueue:
    """The campaigns of a partition that rules have to be evaluated for.

    Args:
        rules: all rules whose detectors judge windows; the others know themselves what changed.
        groups: which group each status is in.
        table: the windows.
        with_alerts: the campaigns with a live alert; it changes with the alerts.
        attended: those of them of which any new counts may change more than the alert's figures.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        groups: StatusGroups,
        table: WindowTable,
        with_alerts: KeysView[str],
        attended: KeysView[str],
    ) -> None:
        same_hits: dict[tuple[frozenset[str], bool], _SameHits] = {}
        for rule in rules:
            key = rule.statuses, rule.unrecognised
            same_hits.setdefault(key, _SameHits(Hits(rule, groups))).watch(rule)
        self._same_hits = list(same_hits.values())
        self._table = table
        self._with_alerts = with_alerts
        self._attended = attended
        self._due: set[str] = set()
        self._growing: set[str] = set()
        """Campaigns that wait, and have new counts."""
        self._waiting: dict[str, int] = {}
        """Campaigns to evaluate again though no trigger names them, as soon as they have as many
        events, of all kinds, in all open windows together."""
        self._looked_back_from: dict[str, int] = {}
        """By campaign, the oldest open window (start, s) that it was evaluated with: an older one
        would look back on windows that this one did not."""
        self.looked_back_from = 0
        """The newest of these windows so far (start, s)."""
        self._first = 0
        """Start (s) of the first window whose hits are counted."""
        self._open: list[int] = []
        """Starts (s) of the open windows, newest first, as at the last `follow`."""

    def __len__(self) -> int:
        """Return how many campaigns may have to be evaluated."""
        return len(self._due) + len(self._growing)

    def add(self, start: int, counts: WindowCounts) -> None:
        """Take note of new counts in the open window that begins at `start` (s)."""
        self._due.update(self._triggered(start, counts))
        # Mostly there are none, and there are many campaigns.
        if self._waiting:
            self._growing.update(self._waiting.keys() & counts.campaigns)
        if self._attended:
            self._due.update(self._attended & counts.campaigns)
        looked_back_from = self._looked_back_from
        if looked_back_from:
            known = looked_back_from.keys() & counts.campaigns
            self._due.update(name for name in known if start < looked_back_from[name])

    def correct(self, start: int, counts: WindowCounts) -> None:
        """Take note of late counts: they raise nothing, but change the figures of an alert.

        What an open window says together with this one has changed: the campaign is evaluated with
        its next counts, whatever they are.
        """
        self._due.update(self._with_alerts & counts.campaigns)
        changed = self._triggered(start, counts) | (self._waiting.keys() & counts.campaigns)
        self._waiting.update(dict.fromkeys(changed, 0))

    def restore(self, start: int, counts: WindowCounts) -> None:
        """Take note of counts that were in the window before a restart: rules were evaluated."""
        self._waiting.update(dict.fromkeys(self._triggered(start, counts), 0))

    def wait(self, campaigns: Iterable[str]) -> None:
        """Evaluate these campaigns with their next counts, after a restart."""
        self._waiting.update(dict.fromkeys(campaigns, 0))

    def forget_before(self, first: int, waiting_anyway: Collection[str] = ()) -> None:
        """Forget the windows that begin before `first` (s), and who waits because of them.

        A restart does not know them either, and evaluates the same campaigns only if so. Those of
        `waiting_anyway` wait for another reason.
        """
        if first == self._first:
            return
        self._first = first
        names = [*self._waiting, *self._looked_back_from]
        known = set(waiting_anyway)
        for same in self._same_hits:
            known |= same.forget_before(first, names, self._most_events)
        self._waiting = {name: events for name, events in self._waiting.items() if name in known}
        self._looked_back_from = {
            name: start for name, start in self._looked_back_from.items() if name in known
        }

    def follow(self, open_starts: list[int]) -> None:
        """Follow the table after a window opened or closed; these (s), newest first, are open."""
        # Which window is the newest of an alert may have changed, and that without new counts.
        self._due.update(self._with_alerts)
        if not set(self._open) <= set(open_starts):
            # There are fewer events in open windows than there were.
            self._waiting = dict.fromkeys(self._waiting, 0)
        self._open = open_starts

    def resume(self, open_starts: list[int]) -> None:
        """Go on after a restart, with these open windows (starts, s, newest first)."""
        self._open = open_starts

    def evaluate_anyway(self, campaigns: Iterable[str]) -> None:
        """Hand out these campaigns too, whether or not they have new counts."""
        self._due.update(campaigns)

    def take(self, most: int | None) -> set[str]:
        """Hand out the campaigns to evaluate, no more than `most`; the others stay."""
        due, self._due = self._due, set()
        growing, self._growing = self._growing, set()
        for campaign_id in growing - due:
            enough = self._waiting.get(campaign_id)
            if enough is not None and self._events(campaign_id) >= enough:
                due.add(campaign_id)
        if most is not None and len(due) > most:
            self._due = due
            due = set(islice(due, most))
            self._due -= due
        for campaign_id in due:
            self._waiting.pop(campaign_id, None)
            self._looked_back_from.pop(campaign_id, None)
        return due

    @property
    def waiting(self) -> KeysView[str]:
        """The campaigns of which any new counts may lead to an evaluation, until the next call."""
        return self._waiting.keys()

    def again_after(self, campaign_id: str, attempts: int) -> None:
        """Evaluate a campaign again when it has so many more attempts, hits among them or not."""
        self._waiting[campaign_id] = self._events(campaign_id) + attempts

    def again_before(self, campaign_id: str, start: int) -> None:
        """Evaluate a campaign again when an open window that begins before `start` (s) has counts.

        It looks back on windows that no window from there on does.
        """
        self._looked_back_from[campaign_id] = start
        self.looked_back_from = max(self.looked_back_from, start)

    def evaluated(self, campaign_id: str, lacks: Mapping[str, Lack]) -> None:
        """Take note of how many hits an evaluation found a campaign to lack, by rule.

        Fewer do not make it due. Rules that are not about the campaign are left out.
        """
        for same in self._same_hits:
            same.evaluated(campaign_id, lacks)

    def _triggered(self, start: int, counts: WindowCounts) -> set[str]:
        def events(campaign_id: str) -> int:
            return self._table.events(campaign_id, start) if self._table.is_open(start) else 0

        return set[str]().union(*[same.add(start, counts, events) for same in self._same_hits])

    def _most_events(self, campaign_id: str) -> int:
        """Return how many events a campaign has in the open window in which it has most."""
        return max([self._table.events(campaign_id, start) for start in self._open], default=0)

    def _events(self, campaign_id: str) -> int:
        return sum([self._table.events(campaign_id, start) for start in self._open])
