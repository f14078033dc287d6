"""Which campaigns of a partition are counted under their own ids.

A partition has a bounded number of places: one for each distinct campaign in its retained windows
(`Limits.campaigns`). A campaign keeps its place while any retained window has counts of it:
whatever comes later cannot push it out. A new campaign is admitted as long as its app has fewer
places than are free: so an app that makes up ids without end can take half of the places, and there
are always places for other apps. The same rule shares the memory of a switch between its queues
(A. K. Choudhury and E. L. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
Switches", IEEE/ACM Transactions on Networking, 1998). All campaigns that are not admitted are
counted together, as `OTHER`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from streams.domain.counts import OTHER
from streams.domain.partial_counts import WindowCounts

_MARK = 2**32
"""More windows than can be retained."""


class Admitted(NamedTuple):
    """Counts by the campaign that they are kept under, and the number of events under `OTHER`."""

    counts: WindowCounts
    folded: int


class Roster:
    """The campaigns that have counts in retained windows.

    Args:
        room: the number of places.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._windows: Counter[str] = Counter()
        """By campaign, the number of windows in which it has counts, added to the mark of the app
        that has its place: one dictionary of many names weighs less than two."""
        self._marks: dict[str | None, int] = {}
        """By app that has places, its mark: a multiple of `_MARK`."""
        self._apps: dict[int, str | None] = {}
        """By mark, the app."""
        self._places: Counter[int] = Counter()
        """By mark, the number of places that the app has."""
        self._last_mark = 0

    def __len__(self) -> int:
        """Return the number of campaigns."""
        return len(self._windows)

    def windows_with(self, campaign_id: str) -> int:
        """Return the number of windows in which a campaign has counts."""
        return self._windows.get(campaign_id, 0) % _MARK

    def admit(self, counts: WindowCounts, new_in_window: Iterable[int] | None = None) -> Admitted:
        """Give places to new campaigns; count those that get none as `OTHER`.

        Args:
            counts: of one window.
            new_in_window: positions of the campaigns without counts in the window so far, and that
                of `OTHER`: the others have places. Null: it is not known which they are.
        """
        windows, names, at_app = self._windows, counts.campaigns, counts.at_app
        positions = range(len(names)) if new_in_window is None else new_in_window
        unknown = [position for position in positions if names[position] not in windows]
        if not unknown:
            return Admitted(counts, 0)
        marks = [self._mark(app) for app in counts.apps]
        new = {names[position]: marks[at_app[position]] for position in unknown}
        refused: set[int] = set()
        if not self._enter_all(new):
            for position in unknown:
                name = names[position]
                if name not in windows and not self._enter(name, marks[at_app[position]]):
                    refused.add(position)
        self._forget_apps(marks)
        return _without(counts, refused) if refused else Admitted(counts, 0)

    def _mark(self, app: str | None) -> int:
        mark = self._marks.get(app)
        if mark is None:
            mark = self._marks[app] = self._last_mark = self._last_mark + _MARK
            self._apps[mark] = app
        return mark

    def _forget_apps(self, marks: Iterable[int]) -> None:
        """Forget apps without places: anybody can make up any number of apps."""
        for mark in marks:
            if not self._places[mark] and mark in self._apps:
                del self._places[mark]
                del self._marks[self._apps.pop(mark)]

    def _enter_all(self, new: dict[str, int]) -> bool:
        """Give places to all new campaigns, or to none of them if one might get none.

        Args:
            new: by campaign, the mark of its app.

        Returns:
            Whether they got places.
        """
        wanted = Counter(new.values())
        free_at_last = self._room - len(self._windows) - len(new) + 1
        fits = all(self._places[mark] + n - 1 < free_at_last for mark, n in wanted.items())
        if not fits or OTHER in new:
            return False
        dict.update(self._windows, new)
        self._places.update(wanted)
        return True

    def _enter(self, name: str, mark: int) -> bool:
        if name == OTHER or self._places[mark] >= self._room - len(self._windows):
            return False
        self._windows[name] = mark
        self._places[mark] += 1
        return True

    def appear(self, campaigns: Sequence[str]) -> None:
        """Note campaigns that have counts in one more window."""
        self._windows.update(campaigns)
        self._windows.pop(OTHER, None)

    def restore(self, campaigns: Iterable[tuple[str, str | None]]) -> None:
        """Give places to the campaigns of a restored window, with their apps: they had places."""
        for name, app in campaigns:
            if name == OTHER:
                continue
            if name not in self._windows:
                mark = self._windows[name] = self._mark(app)
                self._places[mark] += 1
            self._windows[name] += 1

    def leave(self, campaigns: Iterable[str]) -> None:
        """Note campaigns whose counts in one window have expired."""
        for name in campaigns:
            if name == OTHER:
                continue
            self._windows[name] -= 1
            mark = self._windows[name]
            if not mark % _MARK:
                del self._windows[name]
                self._places[mark] -= 1
                self._forget_apps([mark])


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
