"""Dead letters: every refused record once, as it came, with its coordinates."""

from collections.abc import Mapping

from tests.chaos.truth import Refused, digest
from tests.support.topics import Read


class DeadLetters:
    """The dead letters so far, and what is wrong with them."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], Refused] = {}
        self._problems: list[str] = []

    def take(self, record: Read) -> None:
        """Read one dead letter."""
        headers = {name: value.decode(errors="replace") for name, value in record.headers}
        at = int(headers["source-partition"]), int(headers["source-offset"])
        if at in self._seen:
            self._problems.append(f"dead letter of {at} is there twice")
        # The chaos topic takes 16 MB: what is cut off without need is not what it should be.
        size = int(headers["original-size"]) if "truncated" in headers else None
        self._seen[at] = Refused(headers["reason"], digest(record, size))

    def problems(self, truth: Mapping[tuple[int, int], Refused]) -> list[str]:
        """Compare all of them; return what is wrong, each dead letter once."""
        missing = [f"dead letter of {at} is missing" for at in truth.keys() - self._seen.keys()]
        extra = [f"{at} was counted and dead-lettered" for at in self._seen.keys() - truth.keys()]
        other = [
            f"dead letter of {at} is not what it should be: {self._seen[at]}, not {truth[at]}"
            for at in truth.keys() & self._seen.keys()
            if truth[at] != self._seen[at]
        ]
        found, self._problems = [*self._problems, *missing, *extra, *other], []
        return found
