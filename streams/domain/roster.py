"""Which campaigns of a partition are counted under their own ids.

There is room for so many distinct campaigns in all retained windows. One that has counts in any of
them keeps its place for as long as it has: whatever comes later cannot push it out. A new one gets
a place as long as its app has fewer places than are free: so an app that makes up ids without end
can take half of the room, while there are always places for the others. The same rule shares the
memory of a switch between its queues (A. K. Choudhury and E. L. Hahne, "Dynamic Queue Length
Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on Networking, 1998). All other
new campaigns are counted together, as `OTHER`.
"""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from streams.domain.blocks import WindowCounts
from streams.domain.counts import OTHER


class Admitted(NamedTuple):
    """Counts under the ids that they are kept under, and how many events are under `OTHER`."""

    counts: WindowCounts
    folded: int


class Roster:
    """The campaigns that have counts in retained windows.

    Args:
        room: how many there can be.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._windows: dict[str, int] = {}
        """By campaign, in how many windows it has counts."""
        self._apps: dict[str, str | None] = {}
        """By campaign, the app that has its place."""
        self._places: dict[str | None, int] = {}
        """By app, how many places it has."""

    def __len__(self) -> int:
        """Return the number of campaigns."""
        return len(self._windows)

    def admit(self, counts: WindowCounts) -> Admitted:
        """Give places to new campaigns, as far as there are any for them."""
        if all(map(self._windows.__contains__, counts.campaigns)):
            return Admitted(counts, 0)
        refused = set()
        for at, (name, at_app) in enumerate(zip(counts.campaigns, counts.at_app, strict=True)):
            if name not in self._windows and not self._enter(name, counts.apps[at_app]):
                refused.add(at)
        return _without(counts, refused) if refused else Admitted(counts, 0)

    def _enter(self, name: str, app: str | None) -> bool:
        places = self._places.get(app, 0)
        if name == OTHER or places >= self._room - len(self._windows):
            return False
        self._windows[name] = 0
        self._apps[name] = app
        self._places[app] = places + 1
        return True

    def appear(self, campaigns: Iterable[str]) -> None:
        """Take note of campaigns that have counts in one more window."""
        windows = self._windows
        for name in campaigns:
            if name != OTHER:
                windows[name] += 1

    def restore(self, campaigns: Iterable[tuple[str, str | None]]) -> None:
        """Read back the campaigns of a window, with their apps: they had places before."""
        for name, app in campaigns:
            if name == OTHER:
                continue
            if name not in self._windows:
                self._windows[name] = 0
                self._apps[name] = app
                self._places[app] = self._places.get(app, 0) + 1
            self._windows[name] += 1

    def leave(self, campaigns: Iterable[str]) -> None:
        """Take note of campaigns whose counts in one window have expired."""
        for name in campaigns:
            if name == OTHER:
                continue
            self._windows[name] -= 1
            if not self._windows[name]:
                del self._windows[name]
                app = self._apps.pop(name)
                self._places[app] -= 1
                if not self._places[app]:
                    del self._places[app]


def _without(counts: WindowCounts, refused: set[int]) -> Admitted:
    """Count the campaigns at these positions as `OTHER`, which is of no app."""
    no_app = len(counts.apps)
    kept = replace(
        counts,
        campaigns=[OTHER if at in refused else name for at, name in enumerate(counts.campaigns)],
        apps=[*counts.apps, None],
        at_app=[no_app if at in refused else app for at, app in enumerate(counts.at_app)],
    )
    folded = sum(
        count
        for column in counts.columns
        for at, count in zip(column.at, column.counts, strict=True)
        if at in refused
    )
    return Admitted(kept, folded)
