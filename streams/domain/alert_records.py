"""What is known of one alert: the record of it on the changelog topic."""

from collections.abc import Collection
from typing import Literal, TypeAlias

import msgspec

from streams.domain.notification.stage import Suppressed, Withheld
from streams.domain.rules import Scope
from streams.domain.transition_causes import Acknowledged, Cause
from streams.domain.transitions import Evidence, Explanation, TransitionType

State: TypeAlias = Literal["pending", "firing", "resolved", "expired"]
LIVE: frozenset[State] = frozenset({"pending", "firing"})

MOST_COUNTED = 4_096
"""Open windows whose figures are in an alert's record: that is some 100 KB. There are more only if
windows are short and grace is long, or a source partition is far behind the others."""


class Step(msgspec.Struct):
    """A transition that an alert made, at a time in seconds since the epoch, UTC.

    `suppressed` says why nobody was notified of it; null if somebody was. `withheld` says the same
    of single receivers, of the first few. `cause` is null if it was made by a version that did not
    keep causes.
    """

    type: TransitionType
    at: float
    sequence: int
    suppressed: Suppressed | None = None
    cause: Cause | None = None
    withheld: tuple[Withheld, ...] = ()


class HighestCounts(msgspec.Struct):
    """Attempts and hits in the windows between `start` and `end` (s)."""

    attempts: int
    hits: int
    start: int
    end: int

    @property
    def rate(self) -> float:
        """Share of hits."""
        return self.hits / self.attempts if self.attempts else 0.0

    @property
    def height(self) -> tuple[float, int]:
        """What is greater for a higher rate or, if it is the same, for more attempts."""
        return self.rate, self.attempts


class PastEpisode(msgspec.Struct, frozen=True):
    """An episode of an alert that came back: its number, its times (s), and its figures."""

    number: int
    starts_at: float
    ends_at: float
    peak: HighestCounts
    attempts: int
    hits: int


class Alert(msgspec.Struct):
    """One episode of one rule in one scope. Times are seconds since the epoch, UTC.

    Attributes:
        alert_id: as everybody knows it; the same for all episodes of an alert that came back.
        pending_since: when the breach began.
        recovering_since: when the rate fell to the recovery level or below; null while it has not.
        last_evaluated_at: when attempts were last seen in the scope.
        window_start: of the first window that `evidence` is of.
        window_end: of the last one.
        receivers: are told of its end even if its rule is gone by then.
        since: start of the first window that breached; the totals begin there.
        breached: start of the newest window that breached. If the alert has ended: the next one of
            its rule and scope has evidence of its own, beyond `counted`, in this window and before.
        counted: attempts and hits in each open window, by its start.
        counted_size: how long these windows are.
        closed: attempts and hits from `since` on in windows that are closed.
        closed_through: start of the newest closed window that is in `closed`.
        peak: the highest figures of closed windows, and of those at a transition.
        now: the highest figures of open windows.
        steps: transitions, as many as are remembered.
        episode: the number of the breach that it is about, of a detector that folds; otherwise 0.
        explanation: what explains it, as of `explained_at`; null if nothing could be said.
        notified: the names of the receivers that were notified that it fires; null if it began to
            fire in a version that did not keep them.
        record_id: of this record, unique; it never changes. It is the alert's id unless the alert
            came back.
        acknowledged: who has taken it on; null if nobody has, or if it has ended.
        occurrence: counts the episodes of the alert from 1.
        first_starts_at: when the first episode began to fire; null if this is the first.
        past: the episodes before this one, as many as are remembered.
        definition: of the rule, when the alert began; empty if it began in a version that did not
            keep it.
    """

    alert_id: str
    rule: str
    scope: Scope
    app_id: str | None
    state: State
    severity: str
    labels: dict[str, str]
    receivers: tuple[str, ...]
    pending_since: float
    last_evaluated_at: float
    window_start: int
    window_end: int
    evidence: Evidence
    since: int
    breached: int
    counted: dict[int, tuple[int, int]]
    counted_size: int
    closed: tuple[int, int] = (0, 0)
    closed_through: int = -1
    peak: HighestCounts | None = None
    now: HighestCounts | None = None
    steps: list[Step] = []
    starts_at: float | None = None
    ends_at: float | None = None
    recovering_since: float | None = None
    notified_at: float | None = None
    sequence: int = 0
    episode: int = 0
    explanation: Explanation | None = None
    explained_at: float | None = None
    notified: tuple[str, ...] | None = None
    record_id: str = ""
    acknowledged: Acknowledged | None = None
    occurrence: int = 1
    first_starts_at: float | None = None
    past: tuple[PastEpisode, ...] = ()
    definition: str = ""

    def __post_init__(self) -> None:
        """Take the id of the alert for that of the record, if it has none of its own."""
        self.record_id = self.record_id or self.alert_id

    @property
    def is_live(self) -> bool:
        """Tell whether the episode goes on."""
        return self.state in LIVE

    @property
    def highest(self) -> HighestCounts:
        """The highest figures so far."""
        seen = self.evidence
        told = HighestCounts(seen.attempts, seen.hits, self.window_start, self.window_end)
        known = [figures for figures in (self.peak, self.now) if figures is not None]
        return max(known, key=lambda each: each.height, default=told)

    @property
    def totals(self) -> tuple[int, int]:
        """Attempts and hits since it began, each counted once."""
        parts = [seen for start, seen in self.counted.items() if start >= self.since]
        attempts, hits = zip(self.closed, *parts, strict=True)
        return sum(attempts), sum(hits)

    def close_all_but(self, open_starts: Collection[int]) -> None:
        """Keep the figures of windows that are not open any more, if there are any."""
        gone = [start for start in self.counted if start not in open_starts]
        for start in gone:
            attempts, hits = self.counted.pop(start)
            if start >= self.since:
                self.closed = self.closed[0] + attempts, self.closed[1] + hits
                self.closed_through = max(self.closed_through, start)
        if gone:
            self.peak = self.highest


class AlertKey(msgspec.Struct, frozen=True, array_like=True, tag="alert"):
    """Key of an alert on the changelog topic: its campaign, and the id of its record."""

    campaign_id: str
    record_id: str


_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Alert).decode


def encode(alert: Alert) -> bytes:
    """Write an alert; windows past `MOST_COUNTED` as if they were closed."""
    if len(alert.counted) > MOST_COUNTED:
        alert = msgspec.structs.replace(alert, counted=dict(alert.counted))
        alert.close_all_but(set(sorted(alert.counted)[-MOST_COUNTED:]))
    return _encode(alert)
