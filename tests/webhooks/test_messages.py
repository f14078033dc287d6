"""From outboxes to Slack: one message an alert, over restarts and moves of a partition."""

from streams.domain import transitions
from streams.receivers.receiver import Receiver
from streams.webhooks.client import WebhookClient
from streams.webhooks.dispatcher import Dispatcher
from streams.webhooks.guard import Guard
from tests.receivers.test_payloads import transition
from tests.support.changelogs import restored
from tests.support.deliveries import delivery_of
from tests.support.kinds import bot
from tests.support.receiver import Collector
from tests.support.slack_api import Workspace
from tests.webhooks.test_dispatcher import AT_ONCE, FakeHolder, partition, until


class Uncounted:
    """Metrics that nobody reads."""

    def attempted(self, receiver: Receiver, result: str) -> None:
        pass

    def delivered(self, seconds: float) -> None:
        pass

    def receiver_changed(self, name: str, change: str) -> None:
        pass


class Owner:
    """A worker that has a partition, and writes down what changes."""

    def __init__(self, written: dict[bytes, bytes | None] | None = None) -> None:
        self.written = dict(written or {})
        self.partition = partition()
        if self.written:
            self.partition = restored(self.partition.settings, self.written)

    def commit(self) -> None:
        self.written.update(self.partition.take_changes(0.0))
        self.partition.mark_committed()

    async def deliver(self, to: Receiver, name: str, sequence: int) -> None:
        """Deliver one transition; what came of it is not written down."""
        body = transitions.encode(transition(name)).decode()
        self.partition.deliveries.add(delivery_of(f"a.{sequence}", body, "chat"))
        self.commit()
        await self.deliver_waiting(to)

    async def deliver_waiting(self, to: Receiver) -> None:
        """Deliver what waits."""
        holder = FakeHolder()
        holder.held = {0: self.partition}
        client = WebhookClient(Guard(["127.0.0.0/8"]), allow_http=True)
        dispatcher = Dispatcher(holder, client, [to], AT_ONCE, Uncounted())
        await dispatcher.start()
        await until(lambda: len(self.partition.deliveries) == 0)
        await dispatcher.stop(0.0)


async def test_whoever_has_the_partition_updates_the_same_message() -> None:
    slack = Workspace()
    async with Collector(check=lambda _, __: None) as collector:
        collector.always = slack.call
        to = bot(url=f"http://127.0.0.1:{collector.port}/api/")
        owner = Owner()
        for sequence, name in enumerate(("firing", "reminder", "acknowledged", "resolved"), 1):
            await owner.deliver(to, name, sequence)
            owner.commit()
            owner = Owner(owner.written)
        (shown,) = slack.messages.values()
        assert shown.titles == ["Firing", "Still firing", "Acknowledged", "Resolved"]
        assert len(owner.partition.deliveries.messages) == 0

        # It comes back: that is a new message, since nobody sees an old one.
        await owner.deliver(to, "reopened", 5)
    assert [each.titles[-1] for each in slack.messages.values()] == ["Resolved", "Firing again"]


async def test_a_crash_before_the_commit_updates_once_more_and_loses_nothing() -> None:
    slack = Workspace()
    async with Collector(check=lambda _, __: None) as collector:
        collector.always = slack.call
        to = bot(url=f"http://127.0.0.1:{collector.port}/api/")
        owner = Owner()
        await owner.deliver(to, "firing", 1)
        owner.commit()
        await owner.deliver(to, "reminder", 2)
        # Not committed: the next owner does it again, and to the same message.
        owner = Owner(owner.written)
        await owner.deliver_waiting(to)
        owner.commit()
        await owner.deliver(to, "resolved", 3)
    (shown,) = slack.messages.values()
    assert shown.titles == ["Firing", "Still firing", "Still firing", "Resolved"]


async def test_a_replay_is_a_message_of_its_own_and_leaves_the_other_one() -> None:
    slack = Workspace()
    async with Collector(check=lambda _, __: None) as collector:
        collector.always = slack.call
        to = bot(url=f"http://127.0.0.1:{collector.port}/api/")
        owner = Owner()
        await owner.deliver(to, "firing", 1)
        await owner.deliver(to, "reminder", 2)
        await owner.deliver(to, "firing", 1)  # as a replay does
        await owner.deliver(to, "resolved", 3)
    first, replayed = slack.messages.values()
    assert first.titles == ["Firing", "Still firing", "Resolved"]
    assert replayed.titles == ["Firing"]
