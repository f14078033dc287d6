"""`count`: more hits in a window than a fixed number, for those who want no statistics."""

from dataclasses import dataclass
from typing import ClassVar

from streams.domain.detectors.accounts import Requirement
from streams.domain.detectors.detector import Figures
from streams.domain.detectors.history import Observation, ScopeHistory, Stretch
from streams.domain.detectors.settings import Setting, setting
from streams.domain.detectors.windowed import WindowDetector


@dataclass(frozen=True)
class Count(WindowDetector):
    """More hits in a window than a number, whatever the number of attempts."""

    kind: ClassVar[str] = "count"

    more_than: int = setting(
        100,
        Setting(
            "more hits in one window are a breach; an alert is over at as many or fewer",
            least=0,
            most=2**31 - 1,
        ),
    )

    @property
    def lookback(self) -> int:
        """Each window is by itself."""
        return 1

    @property
    def least_attempts(self) -> int:
        """Any number of attempts says something."""
        return 1

    @property
    def least_hits(self) -> int:
        """One more than the number."""
        return self.more_than + 1

    def is_breach(self, seen: Observation) -> bool:
        """Compare the hits with the number."""
        return seen.hits > self.more_than

    def is_low(self, seen: Observation) -> bool:
        """Compare the hits with the number."""
        return not self.is_breach(seen)

    def missing_hits(self, attempts: int, hits: int) -> int:  # noqa: ARG002 - any number does
        """Return how many there are to the first that is too many."""
        return max(0, self.least_hits - hits)

    def hits_to_rise(self, seen: Observation) -> int:
        """Return the same: what is no breach is low."""
        return self.missing_hits(seen.attempts, seen.hits)

    def figures(self, stretch: Stretch) -> Figures:
        """Return the counts with the number that they are compared with."""
        return Figures(stretch, others={"more_than": self.more_than})

    def requirements(self, history: ScopeHistory, last: int) -> tuple[Requirement, ...]:
        """Compare the hits of the window with the number."""
        hits = history.open[last].hits
        return (
            Requirement(
                "hits",
                f"{hits:,} hits in the window, and it takes {self.least_hits:,}",
                hits,
                self.least_hits,
                hits > self.more_than,
            ),
        )
