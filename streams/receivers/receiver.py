"""A receiver of any kind: its settings, the requests it gets, what its answers mean."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from streams.domain.deliveries import Delivery
from streams.domain.silences.matchers import CompiledMatcher, parse
from streams.receivers.outcomes import Answer, Outcome, of_answer
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
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    template_failures: tuple[TemplateFailure, ...] = ()


class Receiver(Settings, ABC):
    """Somebody who is notified of alerts. Neither its URL nor its secrets show when it is printed.

    A kind declares `kind` as a `Literal` with a default, and the keys that it has beside these.

    Attributes:
        name: unique among the receivers.
        kind: which class this is; metrics are split by it.
        url: where requests go to; http only if `delivery.allow_http` says so.
        timeout: for one attempt; s.
        matchers: of labels of alerts, as silences have them: it gets those that all of them match.
    """

    example: ClassVar[str]
    """The keys of such a receiver for the commented example file, as an item of a YAML list."""

    told_of_receivers: ClassVar[bool] = False
    """Whether it renders events about other receivers (`streams.domain.receiver_events`)."""

    takes_acknowledgements: ClassVar[bool] = False
    """Whether it has a notion of somebody having taken an alert on, and is notified of that."""

    name: Name
    kind: str
    url: Url
    timeout: PositiveDuration = 10.0
    matchers: tuple[MatcherText, ...] = ()

    @abstractmethod
    def render(self, delivery: Delivery, now: float) -> Request:
        """Return the request for an attempt at `now` (s, UTC).

        Ids and body follow from the delivery and the settings alone, so they are the same in each
        attempt, byte for byte; only a timestamp of the attempt and what signs it may differ.
        """

    def outcome_of(self, answer: Answer, now: float) -> Outcome:
        """Say what an answer at `now` (s, UTC) means."""
        return of_answer(answer, now)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave the URL out, in which there may be a secret."""
        return (each for each in super().__repr_args__() if each[0] != "url")

    @property
    def target(self) -> str:
        """A digest of the URL: tells whether it is still the same, and not what it is."""
        return digest_of(self.url)


def digest_of(url: str) -> str:
    """Return a digest of a URL, which tells nothing else of it."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]
