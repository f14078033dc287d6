"""A test alert to one receiver, with all that is sent and answered.

It goes the way of every other delivery: rendered by the receiver's kind, sent by the client, with
the check of addresses in force. No worker and no Kafka is needed, and nothing of it is kept.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from streams.domain.transitions import TransitionType
from streams.receivers.outcomes import Answer, Delivered, Outcome, Retry
from streams.receivers.receiver import Line, Receiver
from streams.receivers.samples import trial_delivery
from streams.receivers.templates import TemplateFailure
from streams.webhooks.client import WebhookClient
from streams.webhooks.hooks import Hooks

END_OF_MAIL = "\r\n."
"""What the text of a mail ends with as it is sent (RFC 5321, 4.1.1.4)."""


@dataclass(slots=True)
class SentRequest:
    """An HTTP request and its answer.

    Args:
        head: the request's line and headers as they were sent.
        body: of the request.
        answer: of the receiver; null if there was none.
    """

    head: bytes
    body: bytes
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of one transition.

    Args:
        transition: was told.
        requests: what was sent by HTTP, with the answers: mostly one; none if it did not come to
            that.
        conversation: what both sides said, if it was not by HTTP; without secrets.
        outcome: what that means.
        seconds: from before the attempt to its outcome.
        failures: the templates that could not be rendered.
    """

    transition: TransitionType
    requests: tuple[SentRequest, ...]
    conversation: tuple[Line, ...]
    outcome: Outcome
    seconds: float
    failures: tuple[TemplateFailure, ...] = ()

    @property
    def accepted(self) -> bool:
        """Tell whether the receiver took it."""
        return isinstance(self.outcome, Delivered)

    @property
    def may_be_there(self) -> bool:
        """Tell whether the receiver may have taken it: it was sent, and not refused."""
        unanswered = any(each.answer is None for each in self.requests) or (
            bool(self.conversation) and _is_mail(self.conversation[-1])
        )
        return self.accepted or (unanswered and isinstance(self.outcome, Retry))


@dataclass(slots=True)
class _Seen:
    """What an attempt was made of."""

    requests: list[SentRequest] = field(default_factory=list)
    conversation: list[Line] = field(default_factory=list)
    failures: list[TemplateFailure] = field(default_factory=list)

    def sent(self, head: bytes, body: bytes) -> None:
        self.requests.append(SentRequest(head, body))

    def answered(self, answer: Answer) -> None:
        self.requests[-1].answer = answer


def _is_mail(line: Line) -> bool:
    return line.sent and line.text.endswith(END_OF_MAIL)


class Trial:
    """Sends test alerts to a receiver.

    Args:
        client_with: makes a client with hooks.
        clock: wall-clock time (s, UTC).
    """

    def __init__(
        self,
        client_with: Callable[[Hooks], WebhookClient],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client_with = client_with
        self._clock = clock

    async def exchanges(
        self, receiver: Receiver, resolve_after: float = 0.0
    ) -> AsyncIterator[Exchange]:
        """Tell a receiver that a test alert fires and is resolved; yield what came of each.

        An alert that the receiver does not have is not resolved.

        Args:
            receiver: who is told.
            resolve_after: how long (s) the alert fires.
        """
        number, began = str(uuid.uuid4()), self._clock()
        firing = await self._attempt(receiver, number, "campaign.alert.firing", began)
        yield firing
        if firing.may_be_there:
            await asyncio.sleep(resolve_after)
            shown = firing.outcome.message if isinstance(firing.outcome, Delivered) else None
            yield await self._attempt(receiver, number, "campaign.alert.resolved", began, shown)

    async def _attempt(
        self,
        receiver: Receiver,
        number: str,
        kind: TransitionType,
        began: float,
        shown: str | None = None,
    ) -> Exchange:
        now, start = self._clock(), time.monotonic()
        seen = _Seen()
        hooks = Hooks(
            lambda _, __, failure: seen.failures.append(failure),
            seen.sent,
            seen.answered,
            seen.conversation.append,
        )
        delivery = trial_delivery(receiver.name, number, kind, began, now)
        delivery.message = shown
        outcome = await self._client_with(hooks).send(receiver, delivery, now)
        return Exchange(
            kind,
            tuple(seen.requests),
            tuple(seen.conversation),
            outcome,
            time.monotonic() - start,
            tuple(seen.failures),
        )
