"""`volume`: too few or too many sends, a campaign that stalls, or too few of them delivered."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from math import ceil, log
from typing import Any, ClassVar, NamedTuple

from streams.domain.detectors.accounts import Account, Requirement
from streams.domain.detectors.detector import Detector, Evaluation, Figures, Reason
from streams.domain.detectors.history import Closing, Observation, ScopeHistory, Stretch
from streams.domain.detectors.proportions import is_above, lower_bound
from streams.domain.detectors.settings import Problem, Setting, setting
from streams.domain.hits import NewCounts

MOST_WINDOWS = 120
"""Windows: all of them are read when a window is closed."""
MOST_TO_RECOVER = 50
"""Attempts that always say whether enough are delivered again."""


class _Sends(NamedTuple):
    """What windows say of a scope.

    Attributes:
        closing: how far they are closed.
        open: counts in open windows up to the one that event time is in, newest first.
        closed: counts in closed windows within the lookback, newest first.
    """

    closing: Closing
    open: list[tuple[int, Observation]]
    closed: list[tuple[int, Observation]]

    @property
    def are_recent(self) -> bool:
        """Whether there are any in an open window or in the newest closed one."""
        return bool(self.open) or self.of_newest_closed.attempts > 0

    @property
    def of_newest_closed(self) -> Observation:
        """Counts in the newest closed window, which may be none."""
        start, seen = next(iter(self.closed), (-1, NOTHING))
        return seen if start == self.closing.through else NOTHING


class _Check(NamedTuple):
    """What one of the checks says: the evidence of a breach, or whether all is well.

    `is_well` is null if nothing says so or otherwise.
    """

    breach: Figures | None
    is_well: bool | None


NOTHING = Observation(0, 0, {})
_UNKNOWN = _Check(None, None)
_WELL = _Check(None, is_well=True)
_GOES_ON = _Check(None, is_well=False)


@dataclass(frozen=True)
class Volume(Detector):
    """Too few or too many sends, a campaign that stalls, or too few sends that are delivered.

    Each of four checks is on if its setting is not 0. All but `max_sends` are made when event time
    closes a window, so that counts are complete: an alert comes when the window and its grace
    period are over. What is silent while the whole stream stands still is not silent: windows in
    which no source partition had an event are left out, and so are the first and the last window
    before and after such a pause.

    A campaign that has sent all it had to send is silent too, and nobody tells which it is. Let
    `match` choose campaigns that go on. An alert about silence does not expire by `no_data_after`
    while windows of its campaign are retained; it is resolved when sends come again.

    The rule's statuses are the sends that were delivered: `group: success`. That their share is
    below `min_delivery_rate` has to be certain as it has for the kind `threshold`.
    """

    kind: ClassVar[str] = "volume"
    on_closing: ClassVar[bool] = True

    stalled_windows: int = setting(
        5,
        Setting(
            "after as many windows without sends a campaign has stalled; 0: not checked",
            least=0,
            most=MOST_WINDOWS // 3,
        ),
    )
    active_windows: int = setting(
        3,
        Setting(
            "it stalls only if it had sends in as many windows shortly before",
            least=1,
            most=MOST_WINDOWS // 3,
        ),
    )
    min_sends: int = setting(
        0,
        Setting(
            "fewer in a window are a breach, none included, if there were any before; "
            "0: not checked",
            least=0,
            most=2**31 - 1,
        ),
    )
    max_sends: int = setting(
        0,
        Setting(
            "more in a window are a breach, at once; 0: not checked",
            least=0,
            most=2**31 - 1,
        ),
    )
    min_delivery_rate: float = setting(
        0.0,
        Setting(
            "a lower share of hits, which are the sends that were delivered, is a breach; "
            "0: not checked",
            "share",
            least=0,
            below=1,
        ),
    )
    confidence: float = setting(
        0.99,
        Setting(
            "of the upper bound of the delivery rate, which has to be below `min_delivery_rate`",
            "share",
            least=0.5,
            below=1,
        ),
    )
    min_attempts: int = setting(
        10,
        Setting("fewer say nothing of the delivery rate", least=1, most=2**31 - 1),
    )
    lookback_windows: int = setting(
        30,
        Setting(
            "as many windows in a row are judged together at most for the delivery rate",
            least=1,
            most=MOST_WINDOWS,
        ),
    )

    def problems(self) -> list[Problem]:
        """At least one check is on, and they do not contradict each other."""
        found = []
        if not (self.stalled_windows or self.min_sends or self.max_sends or self.min_delivery_rate):
            expected = (
                "expected more than 0, or so for detector.min_sends, detector.max_sends or "
                "detector.min_delivery_rate: nothing is checked"
            )
            found.append(Problem("stalled_windows", expected))
        if self.max_sends and self.min_sends > self.max_sends:
            expected = f"expected at most detector.max_sends, which is {self.max_sends}"
            found.append(Problem("min_sends", expected))
        return found

    @property
    def lookback(self) -> int:
        """As far as any of the checks needs; a stall is seen for a while, as windows may be many.

        Event time may close several windows at once.
        """
        stall = 2 * self.stalled_windows + self.active_windows + 1 if self.stalled_windows else 0
        rate = self.lookback_windows if self.min_delivery_rate else 0
        return max(stall, rate, 2) + 1

    def triggers(self, counts: NewCounts) -> Collection[str]:
        """Return the campaigns that may have too many sends in the window."""
        return counts.with_events(self.max_sends + 1) if self.max_sends else ()

    def evaluate(self, history: ScopeHistory, state: Any = None) -> Evaluation:  # noqa: ARG002 - it has none
        """Make the checks that are on."""
        closing = history.closing
        if closing is None:
            raise TypeError("history.closing: it is evaluated on closing")
        of_now = [(at, seen) for at, seen in history.open.items() if at <= history.newest]
        is_complete = history.is_live or closing.is_new
        sends = _Sends(closing, of_now, self._closed(history, closing) if is_complete else [])
        checks = [self._too_many(history, sends)] if self.max_sends else []
        if is_complete:
            checks += self._on_closing(history, sends)
        breach = next((check.breach for check in checks if check.breach is not None), None)
        recovered = self._recovered(history, closing, checks)
        current = self._current(sends) if history.is_live else None
        return Evaluation(_reason(history, breach, recovered), breach, current, recovered)

    def _closed(self, history: ScopeHistory, closing: Closing) -> list[tuple[int, Observation]]:
        oldest = closing.through - (self.lookback - 2) * history.size
        return list(takewhile(lambda window: window[0] >= oldest, history.closed()))

    def _on_closing(self, history: ScopeHistory, sends: _Sends) -> Iterator[_Check]:
        if self.stalled_windows:
            yield self._stalled(history, sends)
        if self.min_sends:
            yield self._too_few(history, sends)
        if self.min_delivery_rate:
            yield self._undelivered(history, sends)

    def _recovered(
        self, history: ScopeHistory, closing: Closing, checks: list[_Check]
    ) -> bool | None:
        if not (history.is_live and (closing.is_new or history.has_new_attempts)):
            return None
        said = [check.is_well for check in checks]
        if False in said:
            return False
        return None if None in said else True

    def _too_many(self, history: ScopeHistory, sends: _Sends) -> _Check:
        """Compare the attempts in open windows with `max_sends`."""
        newest = next((start for start, _ in sends.open), None)
        breach, is_well = None, True if sends.are_recent else None
        for start, seen in history.open.items():
            new = seen.attempts
            if start <= history.notified_through and history.notified is not None:
                new -= history.notified.counted.get(start, (0, 0))[0]
            if new > self.max_sends:
                others = {"max_sends": self.max_sends}
                breach = breach or Figures(Stretch(start, start, seen), others=others)
                if start == newest or history.has_more_attempts(start):
                    is_well = False
        return _Check(breach, is_well)

    def _stalled(self, history: ScopeHistory, sends: _Sends) -> _Check:
        """Count the windows since the newest one with sends."""
        if sends.are_recent:
            return _WELL
        if not sends.closed:
            # It has been silent for longer than the lookback is.
            return _GOES_ON if history.is_live else _UNKNOWN
        last, through = sends.closed[0][0], sends.closing.through
        silent = [start for start in sends.closing.observed if last < start <= through]
        if len(silent) < self.stalled_windows:
            return _UNKNOWN
        was_active = history.is_live or len(sends.closed) >= self.active_windows
        is_news = history.notified is None or last >= history.notified.since
        if not (was_active and is_news):
            return _UNKNOWN
        stretch = Stretch(last + history.size, through, NOTHING)
        others = {"silent_windows": len(silent), "last_sends": last}
        return _Check(Figures(stretch, others=others), is_well=False)

    def _too_few(self, history: ScopeHistory, sends: _Sends) -> _Check:
        """Compare the attempts in the newest closed window with `min_sends`."""
        through, observed = sends.closing.through, sends.closing.observed
        around = (through - history.size, through, through + history.size)
        if not all(start in observed for start in around):
            return _UNKNOWN
        seen = sends.of_newest_closed
        if seen.attempts >= self.min_sends:
            return _WELL
        if not any(start < through for start, _ in sends.closed):
            return _GOES_ON if history.is_live else _UNKNOWN
        if through <= history.notified_through:
            return _UNKNOWN
        others = {"min_sends": self.min_sends}
        return _Check(Figures(Stretch(through, through, seen), others=others), is_well=False)

    def _undelivered(self, history: ScopeHistory, sends: _Sends) -> _Check:
        """Judge the delivery rate in the newest closed windows, as `threshold` judges a rate."""
        if not sends.of_newest_closed.attempts:
            return _UNKNOWN
        through = sends.closing.through
        oldest = max(
            history.notified_through + 1, through - (self.lookback_windows - 1) * history.size
        )
        together = NOTHING
        for start, seen in sends.closed:
            if start < oldest:
                break
            together = together.plus(seen)
            if self._is_undelivered(together):
                stretch = Stretch(start, through, together)
                return _Check(self._rate_figures(stretch), is_well=False)
            enough = together.attempts >= self._attempts_to_recover
            if enough and together.rate >= self.min_delivery_rate:
                return _WELL
        return _UNKNOWN

    def _is_undelivered(self, seen: Observation) -> bool:
        if seen.attempts < self.min_attempts:
            return False
        misses, level = seen.attempts - seen.hits, 1 - self.min_delivery_rate
        return is_above(misses, seen.attempts, level, self._needed)

    @cached_property
    def _needed(self) -> float:
        return -log(1 - self.confidence)

    @cached_property
    def _attempts_to_recover(self) -> int:
        level = 1 - self.min_delivery_rate
        return max(self.min_attempts, min(MOST_TO_RECOVER, ceil(2 / level)))

    def _rate_figures(self, stretch: Stretch) -> Figures:
        seen = stretch.seen
        others = {
            "min_delivery_rate": self.min_delivery_rate,
            "upper_bound": 1 - lower_bound(seen.attempts - seen.hits, seen.attempts, self._needed),
        }
        return Figures(stretch, others=others)

    def _current(self, sends: _Sends) -> Figures | None:
        """Return the counts of the newest window with any sends, if it is not long ago."""
        for start, seen in [*sends.open, *sends.closed[:1]]:
            if start >= sends.closing.through:
                return Figures(Stretch(start, start, seen))
        return None

    # Asked

    def account(self, history: ScopeHistory, state: Any = None) -> Account:  # noqa: ARG002 - it has none
        """Say how each of the checks stands that are on. One that is met is a breach."""
        closing = history.closing
        if closing is None:
            raise TypeError("history.closing: it is evaluated on closing")
        of_now = [(at, seen) for at, seen in history.open.items() if at <= history.newest]
        sends = _Sends(closing, of_now, self._closed(history, closing))
        shown = [*sends.open, *sends.closed[:1]][:1]
        attempts, hits = (shown[0][1].attempts, shown[0][1].hits) if shown else (0, 0)
        since = 1_000 * shown[0][0] if shown else None
        found = tuple(self._requirements(history, sends))
        notes = ("checks other than max_sends are made when event time closes a window",)
        return Account(attempts, hits, since, requirements=found, notes=notes, any_is_enough=True)

    def _requirements(self, history: ScopeHistory, sends: _Sends) -> Iterator[Requirement]:
        newest = sends.of_newest_closed
        if self.max_sends:
            most = max((seen.attempts for seen in history.open.values()), default=0)
            yield Requirement(
                "max-sends",
                f"{most:,} sends in an open window, and more than {self.max_sends:,} are a breach",
                most,
                self.max_sends,
                most > self.max_sends,
            )
        if self.stalled_windows:
            silent = self._silent(sends)
            yield Requirement(
                "stalled-windows",
                f"no sends in the newest {silent or 0} windows, and {self.stalled_windows} are a "
                f"breach, after {self.active_windows} with sends",
                silent,
                self.stalled_windows,
                self._stalled(history, sends).breach is not None,
            )
        if self.min_sends:
            yield Requirement(
                "min-sends",
                f"{newest.attempts:,} sends in the newest closed window, and fewer than "
                f"{self.min_sends:,} are a breach",
                newest.attempts,
                self.min_sends,
                self._too_few(history, sends).breach is not None,
            )
        if self.min_delivery_rate:
            yield Requirement(
                "min-delivery-rate",
                f"{newest.rate:.1%} delivered of {newest.attempts:,} in the newest closed window, "
                f"and certainly less than {self.min_delivery_rate:.1%} is a breach",
                round(newest.rate, 6) if newest.attempts else None,
                self.min_delivery_rate,
                self._undelivered(history, sends).breach is not None,
            )

    @staticmethod
    def _silent(sends: _Sends) -> int | None:
        """Return how many windows there were since the newest with sends; null if none had any."""
        if sends.are_recent:
            return 0
        if not sends.closed:
            return None
        last, through = sends.closed[0][0], sends.closing.through
        return sum(last < start <= through for start in sends.closing.observed)


def _reason(history: ScopeHistory, breach: Figures | None, recovered: bool | None) -> Reason:
    if history.is_live and recovered:
        return Reason.RECOVERED
    if breach is not None:
        return Reason.BREACHING
    if not history.is_live:
        return Reason.BELOW_LEVEL
    return Reason.NO_NEW_ATTEMPTS if recovered is None else Reason.ABOVE_RECOVERY_LEVEL
