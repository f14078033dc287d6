"""Who is notified of a silenced alert: nobody.

What becomes of it is as in Alertmanager, whose silence stage drops an alert before what was sent is
compared with what is (https://github.com/prometheus/alertmanager/blob/main/notify/notify.go):

- An alert that begins while it is silenced is told with its firing once it is not silenced any
  more, and still fires (`AlertBook`).
- One that was told before gets no reminders meanwhile; one that is overdue by then is sent at once.
- An end while it is silenced is not told, then or later. Whoever silenced it is at work on it, and
  a silence that lets some messages through is none. What it costs: a receiver with incidents of its
  own keeps one open (https://github.com/prometheus/alertmanager/issues/226).

What counts is when a transition is decided. A delivery that is in the outbox is attempted whatever
is silenced later.
"""

from streams.domain.alert_labels import of_data
from streams.domain.notification.stage import Notification, Stage, Suppressed
from streams.domain.silences.book import SilenceBook

SILENCED = "silenced"
MOST_NAMED = 5


def silence(silences: SilenceBook) -> Stage:
    """Return the stage that suppresses what is silenced.

    Args:
        silences: all that the worker knows.
    """

    def stage(notification: Notification, now: float) -> Notification | Suppressed:
        found = silences.silenced(of_data(notification.transition.data), now)
        if found is None:
            return notification
        return Suppressed(SILENCED, _why(found.silence_ids))

    return stage


def is_held(suppressed: Suppressed | None) -> bool:
    """Tell whether a transition was suppressed only for as long as something is silenced."""
    return suppressed is not None and suppressed.reason == SILENCED


def _why(silence_ids: tuple[str, ...]) -> str:
    named = ", ".join(silence_ids[:MOST_NAMED])
    others = len(silence_ids) - MOST_NAMED
    return f"by silence {named}" + (f" and {others} more" if others > 0 else "")
