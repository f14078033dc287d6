"""The campaigns that events name, one object for each, as long as it is remembered.

Counting by these objects compares no names: an event's campaign is looked up by its name once, and
from there on it is told from others by its identity.
"""

import sys

import msgspec

from streams.domain.events import app_of
from streams.domain.partial_counts import partition_of

MOST_CAMPAIGNS = 500_000
"""So many are remembered, lest the app be decoded from each of their events."""


class Campaign(msgspec.Struct, eq=False, gc=False):
    """A campaign, and where its counts go.

    Args:
        name: its id.
        partition: of the repartition topic, in which it lives.
        app_id: its app; null while no event has named it.
    """

    name: str
    partition: int
    app_id: str | None = None


class Campaigns:
    """The campaigns that were seen, as far as there is room.

    Args:
        partitions: how many there are, of the repartition topic; 1 if all campaigns stay where they
            are.

    Attributes:
        known: by name, those of which the app is known too.
    """

    def __init__(self, partitions: int) -> None:
        self.known: dict[str, Campaign] = {}
        self._without_app: dict[str, Campaign] = {}
        self._partitions = partitions

    def meet(self, name: str, value: bytes) -> Campaign:
        """Return a campaign that is not known yet; learn its app from an event of it."""
        self._make_room()
        campaign = self._without_app.get(name)
        if campaign is None:
            campaign = Campaign(name, partition_of(name, self._partitions))
        app_id = app_of(value)
        if app_id is None:
            self._without_app[name] = campaign
        else:
            # Many campaigns have the same.
            campaign.app_id = sys.intern(app_id)
            self._without_app.pop(name, None)
            self.known[name] = campaign
        return campaign

    def _make_room(self) -> None:
        if len(self.known) + len(self._without_app) >= MOST_CAMPAIGNS:
            self.known.clear()
            self._without_app.clear()
