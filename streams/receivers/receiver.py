"""A receiver of any kind: its settings, what it is sent, what its answers mean."""

import hashlib
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import AfterValidator

from streams.domain.deliveries import Delivery
from streams.domain.silences.matchers import CompiledMatcher, parse
from streams.domain.transitions import Transition
from streams.receivers.outcomes import Answer, Outcome, Retry, of_answer
from streams.receivers.templates import TemplateFailure
from streams.settings import Name, PositiveDuration, Settings, Text, Url


def _readable(text: str) -> str:
    CompiledMatcher(parse(text))
    return text


MatcherText = Annotated[Text, AfterValidator(_readable)]
"""A matcher of a label, as people write it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Args:
        method: of HTTP.
        url: absolute.
        headers: by name, without those of the connection: Host, Content-Length, User-Agent.
        body: what is sent, to the byte.
        template_failures: the texts that are built in, as their templates could not be rendered.
        answer_bytes: how much of the answer's body is needed to know what the answer means; 0: the
            status says it.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    template_failures: tuple[TemplateFailure, ...] = ()
    answer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """What one side said in a conversation, such as one by SMTP.

    Args:
        sent: whether it is what the receiver was sent, and not what it answered.
        text: one or more lines, without secrets.
    """

    sent: bool
    text: str


class Network(Protocol):
    """The way out: only to addresses that the configuration allows."""

    @property
    def tls(self) -> ssl.SSLContext:
        """How certificates are checked."""
        ...

    async def connect(self, host: str, port: int) -> socket.socket | Retry:
        """Return a connected, non-blocking socket, or say why there is none."""
        ...

    async def exchange(self, request: Request) -> Answer | Outcome:
        """Send an HTTP request; return its answer, or say why there is none."""
        ...

    def template_failed(self, failure: TemplateFailure) -> None:
        """A template could not be rendered; the text that is built in is sent."""
        ...

    def conversed(self, line: Line) -> None:
        """Something was said over a connection that is not HTTP; without secrets."""
        ...


class Receiver(Settings, ABC):
    """Somebody who is notified of alerts. No secret shows when it is printed.

    A kind declares `kind` as a `Literal` with a default, and the keys that it has beside these.

    Attributes:
        name: unique among the receivers.
        kind: which class this is; metrics are split by it.
        timeout: for one attempt; s.
        matchers: of labels of alerts, as silences have them: it gets those that all of them match.
    """

    example: ClassVar[str]
    """The keys of such a receiver for the commented example file, as an item of a YAML list."""

    told_of_receivers: ClassVar[bool] = False
    """Whether it renders events about other receivers (`streams.domain.receiver_events`)."""

    told_of_silences: ClassVar[bool] = False
    """Whether it renders events about silences (`streams.domain.silence_events`)."""

    takes_acknowledgements: ClassVar[bool] = False
    """Whether it has a notion of somebody having taken an alert on, and is notified of that."""

    name: Name
    kind: str
    timeout: PositiveDuration = 10.0
    matchers: tuple[MatcherText, ...] = ()

    @abstractmethod
    async def send(self, delivery: Delivery, now: float, network: Network) -> Outcome:
        """Make one attempt at `now` (s, UTC), and say what came of it.

        It is broken off after `timeout`. What is sent follows from the delivery and the settings
        alone, so it is the same in each attempt; only a timestamp of the attempt and what signs it
        may differ.
        """

    @property
    @abstractmethod
    def target(self) -> str:
        """A digest of where it is: tells whether that is still the same, and not what it is."""


class HttpReceiver(Receiver):
    """A receiver that gets an HTTP request. Its URL does not show when it is printed.

    Attributes:
        url: where requests go to; http only if `delivery.allow_http` says so.
    """

    url: Url

    @abstractmethod
    def render(self, delivery: Delivery, now: float) -> Request:
        """Return the request for an attempt at `now` (s, UTC).

        Ids and body follow from the delivery and the settings alone, so they are the same in each
        attempt, byte for byte; only a timestamp of the attempt and what signs it may differ.
        """

    def outcome_of(self, answer: Answer, now: float) -> Outcome:
        """Say what an answer at `now` (s, UTC) means."""
        return of_answer(answer, now)

    async def send(self, delivery: Delivery, now: float, network: Network) -> Outcome:
        """Send the request that `render` returns."""
        return await self.post(self.render(delivery, now), now, network)

    async def post(self, request: Request, now: float, network: Network) -> Outcome:
        """Send a request at `now` (s, UTC)."""
        for failure in request.template_failures:
            network.template_failed(failure)
        answer = await network.exchange(request)
        return self.outcome_of(answer, now) if isinstance(answer, Answer) else answer

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave the URL out, in which there may be a secret."""
        return (each for each in super().__repr_args__() if each[0] != "url")

    @property
    def target(self) -> str:
        """A digest of the URL."""
        return digest_of(self.url)


class ResentReceiver(HttpReceiver):
    """A receiver that takes an alert to have ended unless it is told again that it fires.

    Attributes:
        resend_interval: how often it is told, in s.
    """

    resend_interval: PositiveDuration = 60.0

    @abstractmethod
    def render_firing(self, firing: Sequence[Transition], now: float) -> Request:
        """Return the request that says at `now` (s, UTC) that some alerts go on firing."""


def digest_of(text: str) -> str:
    """Return a digest of a URL or the like, which tells nothing else of it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
