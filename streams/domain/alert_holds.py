"""Alerts that are held: they fire, and nobody was notified of that as they are silenced."""

from streams.domain import alert_labels
from streams.domain.alert_records import Alert
from streams.domain.notification.silence import is_held
from streams.domain.silences.book import SilenceBook


class Holds:
    """The alerts of one partition that are held.

    Args:
        silences: by which alerts are silenced.
    """

    def __init__(self, silences: SilenceBook) -> None:
        self._silences = silences
        self._seen = silences.version
        self._until: dict[str, float] = {}
        """By alert, up to when (s) it certainly is silenced if the silences stay as they are."""

    def __contains__(self, record_id: str) -> bool:
        """Tell whether an alert is held."""
        return record_id in self._until

    def __len__(self) -> int:
        """Return how many alerts are held."""
        return len(self._until)

    def until(self, record_id: str) -> float:
        """Return when (s) to look at an alert again that is held."""
        return self._until[record_id]

    def hold(self, alert: Alert) -> bool:
        """Hold a live alert if the last that was to be told of its firing was silenced.

        Returns:
            Whether it is held, and has to be looked at.
        """
        told = next((s for s in alert.steps[::-1] if s.type != "campaign.alert.acknowledged"), None)
        if alert.state == "firing" and told is not None and is_held(told.suppressed):
            self._until[alert.record_id] = 0.0
        return alert.record_id in self._until

    def drop(self, record_id: str) -> None:
        """Hold an alert no longer, if it is held."""
        self._until.pop(record_id, None)

    def still(self, alert: Alert, now: float) -> bool:
        """Tell whether an alert that is held is still silenced at `now` (s); else drop it."""
        silenced = self._silences.silenced(alert_labels.of_alert(alert), now)
        if silenced is None:
            del self._until[alert.record_id]
            return False
        self._until[alert.record_id] = silenced.until
        return True

    @property
    def have_to_be_looked_at(self) -> bool:
        """Whether `follow` has anything: the silences have changed."""
        return bool(self._until) and self._silences.version != self._seen

    def follow(self) -> list[str]:
        """Return the alerts to look at again, as the silences have changed: all that are held."""
        if self._silences.version == self._seen:
            return []
        self._seen = self._silences.version
        self._until = dict.fromkeys(self._until, 0.0)
        return list(self._until)
