from streams.domain import transitions
from streams.domain.deliveries import Outbox
from streams.domain.notification.enqueue import enqueue
from streams.domain.notification.stage import Notification
from tests.support.transitions import firing


def test_a_delivery_for_each_receiver() -> None:
    outbox, notification = Outbox(), Notification(firing("a", sequence=3), ("ops", "dev"))
    assert enqueue(outbox)(notification, 5.0) == notification
    ops, dev = outbox.deliveries()
    assert (ops.delivery_id, ops.webhook_id, ops.receiver) == ("a.3.ops", "a.3", "ops")
    assert (dev.delivery_id, dev.webhook_id, dev.receiver) == ("a.3.dev", "a.3", "dev")
    assert (ops.campaign_id, ops.alert_id, ops.sequence) == ("c", "a", 3)
    assert (ops.created_at, ops.next_attempt_at, ops.attempts) == (5.0, 5.0, 0)
    assert transitions.decode(ops.transition) == notification.transition
    assert outbox.due(9.0) == [], "not before it is committed"
