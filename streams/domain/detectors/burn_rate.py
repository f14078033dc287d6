"""`burn-rate`: the failures that an objective allows are used up too fast."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from math import floor
from typing import ClassVar

from streams.domain.detectors.accounts import Account, Level, Requirement, WindowSeen
from streams.domain.detectors.detector import Figures
from streams.domain.detectors.history import Observation, ScopeHistory, Stretch
from streams.domain.detectors.settings import Problem, Setting, setting
from streams.domain.detectors.windowed import Judgement, WindowDetector, together
from streams.domain.hits import NewCounts

MOST_WINDOWS = 360
"""Windows: six hours of those of a minute. All of them are read while the newest ones burn."""


@dataclass(frozen=True)
class BurnRate(WindowDetector):
    """The failures that an objective allows are used up too fast, for a while and right now.

    The burn rate is the share of hits divided by the share that `objective` allows: at 1, just as
    many fail as may. It has to be above a factor both in the newest `long_windows` together, so
    that it matters, and in the newest `short_windows`, so that it goes on (the Site Reliability
    Workbook, Google 2018, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"; there it is 14.4 in an
    hour and in five minutes). The Workbook's other pair, 6 in six hours and in thirty minutes, is
    a second rule.

    Nothing is proven of false alarms: a campaign with few attempts needs `min_attempts`.
    """

    kind: ClassVar[str] = "burn-rate"
    hits_only: ClassVar[bool] = False

    objective: float = setting(
        0.01, Setting("the share of hits that is allowed", "share", above=0, below=1)
    )
    long_windows: int = setting(
        60,
        Setting(
            "as many windows in a row, the newest one included, say that it matters",
            least=1,
            most=MOST_WINDOWS,
        ),
    )
    long_factor: float = setting(
        14.4, Setting("a burn rate above it in the long windows is a breach", above=0, most=1000)
    )
    short_windows: int = setting(
        5,
        Setting(
            "as many windows in a row, the newest one included, say that it goes on",
            least=1,
            most=MOST_WINDOWS,
        ),
    )
    short_factor: float = setting(
        None,
        Setting(
            "a burn rate above it in the short windows is a breach",
            above=0,
            most=1000,
            derived=lambda known: known["long_factor"],
            default="`long_factor`",
        ),
    )
    recovery_factor: float = setting(
        None,
        Setting(
            "an alert is over at this burn rate or below in the short windows",
            least=0,
            most=1000,
            derived=lambda known: known["short_factor"] / 2,
            default="half of `short_factor`",
        ),
    )
    min_attempts: int = setting(
        50,
        Setting("fewer in the long windows raise no alert", least=1, most=2**31 - 1),
    )

    def problems(self) -> list[Problem]:
        """The short windows are a part of the long ones, and a factor has to be reachable."""
        found = []
        if self.short_windows > self.long_windows:
            expected = f"expected at most detector.long_windows, which is {self.long_windows}"
            found.append(Problem("short_windows", expected))
        if self.recovery_factor > self.short_factor:
            expected = f"expected at most detector.short_factor, which is {self.short_factor}"
            found.append(Problem("recovery_factor", expected))
        for name in ("long_factor", "short_factor"):
            if getattr(self, name) * self.objective >= 1:
                expected = f"expected less than {1 / self.objective:g}: then everything fails"
                found.append(Problem(name, expected))
        return found

    @property
    def lookback(self) -> int:
        """The long windows."""
        return self.long_windows

    @property
    def least_attempts(self) -> int:
        """As the setting says, in the long windows."""
        return self.min_attempts

    @property
    def least_hits(self) -> int:
        """One more than the long factor allows among the fewest attempts."""
        return floor(self.min_attempts * self.objective * self.long_factor) + 1

    def triggers(self, counts: NewCounts) -> Collection[str]:
        """Return the campaigns with any new counts that have enough hits in recent windows.

        When a window opens, others are left out, and that alone may raise a burn rate.
        """
        return counts.with_recent_hits(self.least_hits)

    def judge(self, history: ScopeHistory, last: int) -> Judgement:
        """Judge the long and the short windows up to an open one (s)."""
        short_from = last - (self.short_windows - 1) * history.size
        parts: list[Observation] = []
        short, begin = None, last
        for start, part in self.windows(history, last):
            if start < short_from and short is None:
                short = together(begin, last, parts)
                if not self._is_fast(short.seen, self.short_factor):
                    return Judgement(None, short, None)
            parts.append(part)
            begin = start
        long = together(begin, last, parts)
        short = short or long
        breaches = (
            long.seen.attempts >= self.min_attempts
            and self._is_fast(long.seen, self.long_factor)
            and self._is_fast(short.seen, self.short_factor)
        )
        others = {"short_burn_rate": short.seen.rate / self.objective}
        return Judgement(long if breaches else None, short, None, others=others)

    def _is_fast(self, seen: Observation, factor: float) -> bool:
        return seen.hits > seen.attempts * self.objective * factor

    def is_breach(self, seen: Observation) -> bool:
        """Compare the burn rate with both factors."""
        return self._is_fast(seen, max(self.long_factor, self.short_factor))

    def is_low(self, seen: Observation) -> bool:
        """Compare the burn rate with the recovery factor."""
        return not self._is_fast(seen, self.recovery_factor)

    def figures(self, stretch: Stretch) -> Figures:
        """Return the counts with the burn rate and the objective."""
        burn_rate = stretch.seen.rate / self.objective
        return Figures(stretch, others={"objective": self.objective, "burn_rate": burn_rate})

    @property
    def limit_rate(self) -> float:
        """What the factor of the short windows comes to."""
        return self.objective * self.short_factor

    def requirements(self, history: ScopeHistory, last: int) -> tuple[Requirement, ...]:
        """Compare the burn rates of the long and the short windows up to an open one (s)."""
        seen = list(self.windows(history, last))
        short_from = last - (self.short_windows - 1) * history.size
        long = together(last, last, [part for _, part in seen]).seen
        short = together(last, last, [part for start, part in seen if start >= short_from]).seen
        return (
            Requirement(
                "attempts",
                f"{long.attempts:,} attempts in the newest {self.long_windows} windows, and it "
                f"takes {self.min_attempts:,}",
                long.attempts,
                self.min_attempts,
                long.attempts >= self.min_attempts,
            ),
            self._requirement("long-burn-rate", self.long_windows, long, self.long_factor),
            self._requirement("short-burn-rate", self.short_windows, short, self.short_factor),
        )

    def _requirement(
        self, name: str, windows: int, seen: Observation, factor: float
    ) -> Requirement:
        burn_rate = seen.rate / self.objective
        return Requirement(
            name,
            f"the burn rate of the newest {windows} windows is {burn_rate:.2f}, and has to be "
            f"above {factor:g}",
            round(burn_rate, 6),
            factor,
            self._is_fast(seen, factor),
        )

    def levels(
        self,
        windows: Iterable[WindowSeen],
        size: int,
        now: Account | None,  # noqa: ARG002 - nothing is learned
    ) -> Iterator[Level]:
        """Yield for each window the share with which it and those before it are a breach."""
        long = _Sums((self.long_windows - 1) * size)
        short = _Sums((self.short_windows - 1) * size)
        for each in windows:
            long.add(each)
            short.add(each)
            least = 1 + max(
                floor(long.attempts * self.objective * self.long_factor) - long.hits_before,
                floor(short.attempts * self.objective * self.short_factor) - short.hits_before,
            )
            rate = max(0, least) / each.attempts if each.attempts else None
            if long.attempts < self.min_attempts or rate is None or rate > 1:
                rate = None
            yield Level(each.start, None, 0.0, self.limit_rate, rate)


class _Sums:
    """Attempts and hits of windows in a row, up to the newest.

    Args:
        reach: how long before the newest one the first begins, at most (s).
    """

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._windows: deque[WindowSeen] = deque()
        self.attempts = 0
        self.hits_before = 0
        """Those before the newest window."""

    def add(self, newest: WindowSeen) -> None:
        """Add a window, and drop those that are out of reach."""
        if self._windows:
            self.hits_before += self._windows[-1].hits
        self._windows.append(newest)
        self.attempts += newest.attempts
        while self._windows[0].start < newest.start - self._reach:
            gone = self._windows.popleft()
            self.attempts -= gone.attempts
            self.hits_before -= gone.hits
