"""Which message of a receiver the next delivery of an alert updates."""

import pytest

from streams.domain import changelog, sent_messages
from streams.domain.deliveries import Delivery, Outbox
from streams.domain.sent_messages import KEPT_S, MessageKey, SentMessage, SentMessages
from tests.support.changelogs import restore_into, written
from tests.support.deliveries import delivery_of


def sent(name: str, sequence: int = 1, at: float = 0.0) -> SentMessage:
    return SentMessage(name, sequence, at)


def changes(messages: SentMessages) -> list[tuple[MessageKey, SentMessage | None]]:
    return list(messages.take_changes())


def test_a_message_is_of_one_alert_and_one_receiver() -> None:
    messages = SentMessages()
    messages.keep("a", "chat", sent("m"))
    assert messages.shown_before("a", "chat", 2) == "m"
    assert messages.shown_before("a", "ops", 2) is None
    assert messages.shown_before("b", "chat", 2) is None


def test_what_shows_a_later_transition_is_not_updated_by_an_earlier_one() -> None:
    messages = SentMessages()
    messages.keep("a", "chat", sent("m", 3))
    assert [messages.shown_before("a", "chat", n) for n in (2, 3, 4)] == [None, None, "m"]
    messages.keep("a", "chat", sent("replayed", 2))
    assert messages.shown_before("a", "chat", 4) == "m"
    messages.forget("a", "chat", 2)
    assert messages.shown_before("a", "chat", 4) == "m"
    messages.keep("a", "chat", sent("replayed", 3))
    assert messages.shown_before("a", "chat", 4) == "replayed"
    messages.forget("a", "chat", 4)
    assert messages.shown_before("a", "chat", 5) is None


def test_changes_are_handed_out_once() -> None:
    messages = SentMessages()
    messages.keep("a", "chat", sent("m"))
    messages.keep("a", "chat", sent("m", 2))
    key = MessageKey("a", "chat")
    assert changes(messages) == [(key, sent("m", 2))]
    assert changes(messages) == []
    messages.forget("b", "chat", 1)
    assert changes(messages) == []
    messages.forget("a", "chat", 3)
    assert changes(messages) == [(key, None)]


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_messages, "MOST_MESSAGES", 2)
    messages = SentMessages()
    for alert in ("a", "b"):
        messages.keep(alert, "chat", sent(alert))
    messages.keep("a", "chat", sent("a", 2))
    messages.keep("c", "chat", sent("c"))
    assert len(messages) == 2
    assert messages.shown_before("b", "chat", 9) is None
    assert messages.shown_before("a", "chat", 9) == "a"


def test_after_a_time_without_news_a_message_is_forgotten() -> None:
    messages = SentMessages()
    messages.keep("a", "chat", sent("a", at=0.0))
    messages.keep("b", "chat", sent("b", at=10.0))
    messages.forget_old(KEPT_S)
    assert len(messages) == 2
    messages.forget_old(KEPT_S + 5.0)
    assert [messages.shown_before(each, "chat", 9) for each in "ab"] == [None, "b"]
    messages.forget_old(KEPT_S + 15.0)
    assert len(messages) == 0


def handed_out(outbox: Outbox, sequence: int, now: float = 0.0) -> Delivery:
    """Add a delivery of alert `a` to `chat`, commit it, and hand it out."""
    outbox.add(delivery_of(f"a.{sequence}", receiver="chat"))
    list(outbox.take_changes())
    outbox.mark_committed()
    (delivery,) = outbox.due(now)
    return delivery


def test_a_delivery_has_the_message_of_those_before_until_the_end() -> None:
    outbox = Outbox()
    first = handed_out(outbox, 1)
    assert first.message is None
    outbox.delivered(first, "m")
    second = handed_out(outbox, 2)
    assert second.message == "m"
    outbox.failed(second, "503", 5.0)
    assert [each.message for each in outbox.due(5.0)] == ["m"]
    outbox.delivered(second, "m")
    last = handed_out(outbox, 3, 6.0)
    outbox.delivered(last)
    assert len(outbox.messages) == 0
    assert handed_out(outbox, 4, 7.0).message is None


def test_what_is_given_up_leaves_the_message_as_it_was() -> None:
    outbox = Outbox()
    outbox.delivered(handed_out(outbox, 1), "m")
    outbox.give_up(handed_out(outbox, 2), "no")
    assert handed_out(outbox, 3).message == "m"


def test_a_delivery_that_is_handed_out_early_has_it_too() -> None:
    outbox = Outbox()
    outbox.delivered(handed_out(outbox, 1), "m")
    outbox.failed(handed_out(outbox, 2), "503", 1_000.0)
    probe = outbox.next_to("chat")
    assert probe is not None
    probe.message = None
    outbox.hand_out(probe)
    assert probe.message == "m"


def test_what_is_delivered_by_another_outbox_meanwhile_is_not_kept() -> None:
    outbox = Outbox()
    delivery = handed_out(outbox, 1)
    Outbox().delivered(delivery, "m")
    outbox.delivered(delivery, None)
    outbox.delivered(delivery, "late")
    assert len(outbox.messages) == 0


def test_the_next_owner_knows_the_messages_in_the_same_order() -> None:
    before = SentMessages()
    for at, alert in enumerate("abc"):
        before.keep(alert, "chat", sent(alert, at=float(at)))
    before.keep("a", "chat", sent("a", 2, 3.0))
    after = SentMessages()
    restore_into(after.restore, written(before.take_changes()))
    after.forget_old(KEPT_S + 2.5)
    assert [after.shown_before(each, "chat", 9) for each in "abc"] == ["a", None, None]
    assert changes(after) == [(MessageKey(each, "chat"), None) for each in "bc"]
    assert changelog.key_of(MessageKey("a", "chat")) == b'["message","a","chat"]'
