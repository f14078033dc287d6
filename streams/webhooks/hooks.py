"""Who is told of parts of an attempt, beside its outcome."""

from collections.abc import Callable
from dataclasses import dataclass

from streams.domain.deliveries import Delivery
from streams.receivers.outcomes import Answer
from streams.receivers.receiver import Line, Receiver
from streams.receivers.templates import TemplateFailure


def _nobody(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Hooks:
    """Called while an attempt is made.

    Args:
        template_failed: with each template that could not be rendered; the attempt is made with the
            text that is built in.
        sent: with a request's line and headers as they are sent, up to the empty line, and its
            body, before they are.
        answered: with an answer. If this is given, the beginning of the body is read of a success
            too.
        conversed: with what is said over a connection that is not HTTP, without secrets.
    """

    template_failed: Callable[[Receiver, Delivery, TemplateFailure], None] = _nobody
    sent: Callable[[bytes, bytes], None] = _nobody
    answered: Callable[[Answer], None] | None = None
    conversed: Callable[[Line], None] = _nobody


NO_HOOKS = Hooks()
