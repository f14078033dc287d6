"""The campaigns that events name: one object for each, as long as it is remembered.

Counting by these objects compares no names: an event's campaign is looked up by its name once, and
from there on it is told from others by its identity.
"""

import sys

import msgspec

from streams.domain.partial_counts import partition_of

MOST_CAMPAIGNS = 500_000
"""Campaigns that are remembered; with more, all are forgotten and registered again."""

LONGEST_APP = 1024
"""Characters of an app's name; those of Amazon Pinpoint have 32."""


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
    """The campaigns that were seen, up to `MOST_CAMPAIGNS`.

    Args:
        partitions: the number of partitions of the repartition topic; 1 if the source topic is
            keyed by campaign, so that campaigns stay where they are.

    Attributes:
        known: by name, those whose app is known too. It stays the same object.
    """

    def __init__(self, partitions: int) -> None:
        self.known: dict[str, Campaign] = {}
        self._without_app: dict[str, Campaign] = {}
        self.partitions = partitions

    def register(self, name: str, app_id: str | None) -> Campaign:
        """Return the campaign of a name that is not in `known`.

        Args:
            name: its id.
            app_id: the app that its event names; null for none. A name longer than `LONGEST_APP`
                is none.
        """
        self._make_room()
        campaign = self._without_app.get(name)
        if campaign is None:
            campaign = Campaign(name, partition_of(name, self.partitions))
        if not app_id or len(app_id) > LONGEST_APP:
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
