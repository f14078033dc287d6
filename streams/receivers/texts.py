"""Title and text of a notification: those of the kind, or those of the operator's templates.

A kind of receiver with texts for people is a `TextReceiver`, and asks for them with `texts`.
Whatever goes wrong with a template, there is a title and a text: then it is the kind's own.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgspec
from pydantic import AfterValidator

from streams.domain.transitions import Transition, TransitionType
from streams.receivers.receiver import Receiver
from streams.receivers.samples import TEST_MARK, is_test
from streams.receivers.templates import Part, TemplateError, TemplateFailure, compiled
from streams.settings import Text

TITLES: Mapping[TransitionType, str] = {
    "campaign.alert.firing": "Firing",
    "campaign.alert.reminder": "Still firing",
    "campaign.alert.acknowledged": "Acknowledged",
    "campaign.alert.resolved": "Resolved",
    "campaign.alert.expired": "Ended without data",
}
"""What each type of transition says has happened, in words for people."""


def happened(transition: Transition) -> str:
    """Return what happened, in words for people."""
    cause = transition.data.cause
    if transition.type == "campaign.alert.expired" and cause and cause.actor == "configuration":
        return "Ended, as its rule has changed"
    if transition.type == "campaign.alert.firing" and transition.data.episode > 1:
        return "Firing again"
    return TITLES[transition.type]


def _possible(source: str) -> str:
    compiled(source)
    return source


TemplateText = Annotated[Text, AfterValidator(_possible)]
"""A template, as people write it."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What people read of a notification.

    Attributes:
        title: one line.
        text: one or more lines.
        failures: the templates that could not be rendered.
    """

    title: str
    text: str
    failures: tuple[TemplateFailure, ...] = ()


class TextReceiver(Receiver):
    """A receiver of a kind that has texts for people.

    A kind declares the class variables and `built_in`, `as_text` if its texts have markup, and asks
    for `texts` when it renders.

    Attributes:
        longest_title: characters of a title from a template.
        longest_text: characters of a text from a template.
        title: a template in place of the kind's own title; null for that.
        text: the same for the text.
    """

    longest_title: ClassVar[int]
    longest_text: ClassVar[int]

    title: TemplateText | None = None
    text: TemplateText | None = None

    @abstractmethod
    def built_in(self, transition: Transition) -> Texts:
        """Return the kind's own title and text, not escaped."""

    def as_text(self, value: str) -> str:
        """Return a value so that it is nothing but text within a text; a title has no markup."""
        return value

    def texts(self, transition: Transition) -> Texts:
        """Return title and text for a transition, as they can be sent."""
        built_in = self.built_in(transition)
        values = values_of(transition, built_in)
        mark = TEST_MARK if is_test(transition) else ""
        failures: list[TemplateFailure] = []

        def rendered(part: Part, source: str | None, most: int) -> str:
            if source is None:
                return ""
            try:
                escape = self.as_text if part == "text" else str
                return compiled(source).render(values, most - len(mark), escape)
            except TemplateError as error:
                failures.append(TemplateFailure(part, str(error)))
                return ""

        # A template that shows nothing leaves the kind's own text in place.
        title = " ".join(rendered("title", self.title, self.longest_title).split())
        text = rendered("text", self.text, self.longest_text)
        return Texts(
            _marked(title or built_in.title, mark),
            _marked(text or self.as_text(built_in.text), mark),
            tuple(failures),
        )


def values_of(transition: Transition, built_in: Texts) -> Mapping[str, object]:
    """Return what the names in a template stand for.

    These are the fields of the transition's `data`, its `type` and `timestamp`, and the kind's own
    `title` and `text`.
    """
    data = msgspec.to_builtins(transition.data)
    data["evidence"].setdefault("figures", {})
    data.setdefault("campaign_name", None)
    data.setdefault("app_name", None)
    return {
        **data,
        "type": transition.type,
        "timestamp": transition.timestamp,
        "title": built_in.title,
        "text": built_in.text,
    }


def _marked(text: str, mark: str) -> str:
    return text if text.startswith(mark) else mark + text
