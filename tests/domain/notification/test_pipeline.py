from dataclasses import replace

from streams.domain.deliveries import Outbox
from streams.domain.notification import pipeline
from streams.domain.notification.stage import Notification, Stage, Suppressed
from streams.domain.silences.book import SilenceBook
from streams.domain.silences.matchers import parse
from streams.domain.silences.silence import Silence
from tests.support.partitions import PARTITION_SETTINGS
from tests.support.transitions import firing

NOTIFICATION = Notification(firing(), ("*",))


class Apart:
    """A lane whose receivers are told of each alert by itself."""

    def take_over(self, notification: Notification, now: float) -> tuple[str, ...]:
        del now
        return notification.receivers

    def why(self, alert_id: str) -> str:
        raise AssertionError(alert_id)


class InGroups:
    """A lane that takes over all that a receiver is told."""

    def __init__(self, receiver: str) -> None:
        self._receiver = receiver

    def take_over(self, notification: Notification, now: float) -> tuple[str, ...]:
        del now
        return tuple(name for name in notification.receivers if name != self._receiver)

    def why(self, alert_id: str) -> str:
        return f"in group of {alert_id}"


def only(name: str, seen: list[float]) -> Stage:
    """Let notifications pass to one receiver, and remember when."""

    def stage(notification: Notification, now: float) -> Notification:
        seen.append(now)
        return notification._replace(receivers=(name,))

    return stage


def never(notification: Notification, now: float) -> Suppressed:
    return Suppressed("never", f"{notification.receivers} at {now}")


def test_each_stage_gets_what_the_one_before_it_let_pass() -> None:
    seen: list[float] = []
    decision = pipeline.run((only("ops", seen), never, only("dev", seen)), NOTIFICATION, 5.0)
    assert decision == Suppressed("never", "('ops',) at 5.0")
    assert seen == [5.0], "nothing comes after a suppression"
    assert pipeline.run((only("ops", seen),), NOTIFICATION, 6.0) == NOTIFICATION._replace(
        receivers=("ops",)
    )


class Limited:
    """An overflow that takes what is for some receivers."""

    def __init__(self, *receivers: str) -> None:
        self.receivers = receivers

    def take_over(self, notification: Notification, now: float) -> tuple[str, ...]:
        del now
        return tuple(name for name in notification.receivers if name in self.receivers)


def test_the_stages_route_and_enqueue() -> None:
    outbox = Outbox()
    through = pipeline.stages(
        replace(PARTITION_SETTINGS, receivers=("ops", "dev")), Apart(), Limited(), outbox
    )
    assert pipeline.run(through, NOTIFICATION, 5.0) == NOTIFICATION._replace(
        receivers=("ops", "dev")
    )
    assert [each.receiver for each in outbox.deliveries()] == ["ops", "dev"]

    through = pipeline.stages(replace(PARTITION_SETTINGS, receivers=()), Apart(), Limited(), outbox)
    assert pipeline.run(through, NOTIFICATION, 5.0) == Suppressed(
        "no-receiver", "no receiver is configured"
    )
    assert len(outbox) == 2


def test_route_comes_before_silence_and_silence_before_the_outbox() -> None:
    outbox, book = Outbox(), SilenceBook()
    settings = replace(PARTITION_SETTINGS, silences=book)
    book.put(Silence("s", (parse("rule=failing"),), 0.0, 9.0, "ana", "why", 0.0))
    through = pipeline.stages(settings, Apart(), Limited(), outbox)
    assert pipeline.run(through, NOTIFICATION, 5.0) == Suppressed("silenced", "by silence s")
    assert len(outbox) == 0
    assert isinstance(pipeline.run(through, NOTIFICATION, 9.0), Notification)
    through = pipeline.stages(replace(settings, receivers=()), Apart(), Limited(), outbox)
    decision = pipeline.run(through, NOTIFICATION, 5.0)
    assert isinstance(decision, Suppressed)
    assert decision.reason == "no-receiver"


def test_who_is_told_in_groups_gets_no_delivery_of_the_alert_by_itself() -> None:
    outbox = Outbox()
    settings = replace(PARTITION_SETTINGS, receivers=("ops", "dev"))
    through = pipeline.stages(settings, InGroups("ops"), Limited(), outbox)
    assert pipeline.run(through, NOTIFICATION, 5.0) == NOTIFICATION._replace(receivers=("dev",))
    assert [each.receiver for each in outbox.deliveries()] == ["dev"]

    through = pipeline.stages(
        replace(settings, receivers=("ops",)), InGroups("ops"), Limited(), outbox
    )
    alert_id = NOTIFICATION.transition.data.alert_id
    assert pipeline.run(through, NOTIFICATION, 5.0) == Suppressed(
        "grouped", f"in group of {alert_id}"
    )
    assert len(outbox) == 1


def test_who_is_beyond_the_limit_gets_no_delivery_for_now_and_it_is_said_why() -> None:
    outbox = Outbox()
    settings = replace(PARTITION_SETTINGS, receivers=("ops", "dev"))
    decision = pipeline.run(
        pipeline.stages(settings, Apart(), Limited("ops"), outbox), NOTIFICATION, 5.0
    )
    assert isinstance(decision, Notification)
    assert decision.receivers == ("dev",)
    assert [(each.receiver, each.reason) for each in decision.withheld] == [("ops", "rate-limited")]
    assert [each.receiver for each in outbox.deliveries()] == ["dev"]

    through = pipeline.stages(settings, Apart(), Limited("ops", "dev"), outbox)
    decision = pipeline.run(through, NOTIFICATION, 5.0)
    assert isinstance(decision, Suppressed)
    assert decision.reason == "rate-limited"
    assert len(outbox) == 1
