"""The door for detectors: what each of them is asked, and what it answers."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

from msgspec import Struct

from streams.domain.detectors.accounts import Account, Level, WindowSeen
from streams.domain.detectors.history import ScopeHistory, Stretch
from streams.domain.detectors.settings import Problem, derive
from streams.domain.hits import NewCounts


class Reason(StrEnum):
    """Why an evaluation came to its result."""

    BREACHING = "breaching"
    """New evidence is beyond what the detector allows."""
    NOT_ENOUGH_ATTEMPTS = "not-enough-attempts"
    """All windows that may be added up have too few attempts."""
    BELOW_LEVEL = "below-level"
    """There is enough evidence, and it is within what the detector allows."""
    ALREADY_NOTIFIED = "already-notified"
    """The evidence is beyond that, and an alert that has ended was about it."""
    NO_NEW_ATTEMPTS = "no-new-attempts"
    """An alert is live, and nothing has come that could say that it is over."""
    ABOVE_RECOVERY_LEVEL = "above-recovery-level"
    """An alert is live, nothing breaches any more, and it is not over."""
    RECOVERED = "recovered"
    """An alert is live, and the newest windows say that it is over."""


class Figures(NamedTuple):
    """The evidence: the figures that a decision was made on.

    Attributes:
        stretch: the windows, and attempts and hits in them.
        lower_bound: of the rate; null for a detector that has no such bound.
        baseline_rate: the usual rate, 0 to 1; null for a detector that knows none.
        others: any other figures from which the decision can be worked out again, by name.
        since: event time (ms) of the first counts; null if whole windows are counted.
    """

    stretch: Stretch
    lower_bound: float | None = None
    baseline_rate: float | None = None
    others: Mapping[str, float] = {}
    since: int | None = None


class Evaluation(NamedTuple):
    """What a detector makes of a history.

    Attributes:
        reason: why.
        breach: the evidence of a breach; null if nothing breaches.
        current: the figures of the newest windows, which say whether a live alert is over; null
            without one, if they say too little, or if something breaches and it is not over.
        recovered: whether an alert is over; null if nothing new says so or otherwise.
        first: the oldest windows that breach: an episode is counted from their start. Null for the
            windows of `breach`.
        highest: the windows with the highest rate; null if they say too little.
        again_after: after how many more attempts, none of them a hit, another evaluation may come
            to another result; null if no number of them can.
        hits_left: with fewer new hits than these, in windows from the oldest one of `open` on, no
            evaluation can find a breach, however many other attempts come but for `again_after`,
            and whichever windows open, close or expire; null if any hit may lead to one.
        state: what to remember of the scope, of the detector's `state_type`; null for nothing. It
            is written in the transaction of the counts that it follows from.
    """

    reason: Reason
    breach: Figures | None
    current: Figures | None
    recovered: bool | None
    first: Stretch | None = None
    highest: Stretch | None = None
    again_after: int | None = None
    hits_left: int | None = None
    state: Any = None

    @property
    def breaching(self) -> bool:
        """Whether there is reason for an alert."""
        return self.breach is not None

    @property
    def figures(self) -> Figures | None:
        """The evidence to show while an alert is live; null if there is none."""
        return self.breach or self.current


class Detector(ABC):
    """Decides when counts are a breach, and when that is over.

    A subclass is a frozen dataclass. Its fields are the settings: `settings.setting`
    says which values are allowed, and what the setting means. The configuration, the API and the
    documentation are derived from them.
    """

    kind: ClassVar[str]
    """The name in the configuration, `detector.kind`."""
    hits_only: ClassVar[bool] = False
    """Whether `triggers` goes by hits alone: counts without any trigger nothing, and change nothing
    about what later ones trigger."""
    state_type: ClassVar[type[Struct] | None] = None
    """What is remembered of a scope, a `msgspec.Struct`; null for a detector without memory. A
    value is JSON in a record of the changelog topic."""
    state_lifetime: ClassVar[float] = 7 * 86_400.0
    """After so many seconds without an evaluation, the state of a scope is forgotten."""
    keep_firing_for: ClassVar[float | None] = None
    """For how long (s) a recovery has to last if the rule does not say it; null: three windows."""

    on_closing: ClassVar[bool] = False
    """Whether it is evaluated when event time closes windows, too: then it is shown every scope
    that has attempts in any window of its lookback, and `ScopeHistory.closing`. At other times it
    is shown the scopes with attempts in an open window, or all if an alert of the rule is live.
    Alerts are evaluated on closing as long as any window of the campaign is retained, and do not
    expire by silence while the result says that they are not over."""

    def __post_init__(self) -> None:
        """Derive the settings that were left out from others."""
        derive(self)

    @property
    @abstractmethod
    def lookback(self) -> int:
        """How many windows in a row are looked at, the newest one included."""

    def problems(self) -> list[Problem]:
        """Return what is wrong with settings that are right each by itself."""
        return []

    @abstractmethod
    def triggers(self, counts: NewCounts) -> Collection[str]:
        """Return the campaigns whose evaluation may come to another result by new counts.

        It need not be told of hits that the last evaluation said are too few
        (`Evaluation.hits_left`). Others are not evaluated, but for those with a live alert, those
        for which the last evaluation asked for more attempts (`Evaluation.again_after`), and those
        that have an alert when a window opens or closes.

        Args:
            counts: what was added to one open window.
        """

    @abstractmethod
    def evaluate(self, history: ScopeHistory, state: Any) -> Evaluation:
        """Decide what the windows of a scope mean.

        The result depends on the arguments alone, and these are not changed: what open windows say
        of a live alert is evaluated again after a restart, and the state in that result dropped.

        Args:
            history: the windows.
            state: what the last evaluation of the scope left, of `state_type`; null for nothing.
        """

    def account(self, history: ScopeHistory, state: Any) -> Account:  # noqa: ARG002 - some need it
        """Say in figures why a scope breaches, or why not: for whoever asks, not for a decision.

        Args:
            history: the windows, as `evaluate` is shown them.
            state: likewise.
        """
        seen = list(history.open.values())
        attempts, hits = sum(each.attempts for each in seen), sum(each.hits for each in seen)
        since = 1_000 * min(history.open) if history.open else None
        return Account(attempts, hits, since)

    def levels(
        self,
        windows: Iterable[WindowSeen],
        size: int,  # noqa: ARG002 - some need it
        now: Account | None,  # noqa: ARG002 - likewise
    ) -> Iterator[Level]:
        """Yield what each of the windows, oldest first, is compared with: by default nothing.

        Args:
            windows: of one scope, those with attempts.
            size: of a window (s).
            now: the account of the scope as it is now, if there is one.
        """
        return (Level(each.start, None, 0.0, None, None) for each in windows)
