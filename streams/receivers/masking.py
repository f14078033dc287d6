"""Keeps the secrets of a receiver out of what is shown of its requests and answers.

A receiver may repeat what it was sent: in an error, a redirect or an echo. So secrets are looked
for in whatever is shown, in each form that they may have there.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import SecretStr

from streams.receivers.outcomes import Answer
from streams.receivers.receiver import HttpReceiver, Receiver
from streams.settings import HIDDEN

SHORTEST_PART = 8
"""Characters from which on a part of a secret is hidden too; a shorter one may be a word."""
SHORTEST_PATH = 6
"""Characters from which on a URL's path is hidden; a shorter one is found in other texts."""

_PREFIX = re.compile(r"whs(ec|k)_")


class Masking:
    """Hides the secrets of one receiver: its secret settings, and the query of its URL.

    Args:
        receiver: whose they are.
        url: whether its URL is hidden too, whole and from the path on.
    """

    def __init__(self, receiver: Receiver, *, url: bool = False) -> None:
        urls = _of_url(receiver.url) if url and isinstance(receiver, HttpReceiver) else ()
        secrets = [*_secrets_of(receiver), *urls]
        forms = {form for secret in secrets for form in _forms(secret)}
        # The longest first: one may be a part of another.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, self._forms)) or r"(?!)", re.IGNORECASE)

    def hide(self, text: str) -> str:
        """Return a text without the secrets."""
        return self._pattern.sub(HIDDEN, text)

    def hide_cut(self, text: str) -> str:
        """Do the same for a text of which the end may be missing: so a secret may be cut there."""
        text = self.hide(text)
        lengths = (
            length
            for form in self._forms
            for length in range(len(form) - 1, SHORTEST_PART - 1, -1)
            if text.endswith(form[:length])
        )
        longest = max(lengths, default=0)
        return text[:-longest] + HIDDEN if longest else text


def _secrets_of(receiver: Receiver) -> Iterator[str]:
    for name in type(receiver).model_fields:
        value = getattr(receiver, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, SecretStr):
                yield from _with_parts(each.get_secret_value())
    # A kind may do without a URL.
    query = urlsplit(getattr(receiver, "url", "")).query
    if query:
        yield query
        yield from _long(value for _, value in parse_qsl(query, keep_blank_values=True))


def _of_url(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    yield url
    for each in (parts.path, f"{parts.path}?{parts.query}"):
        if len(each) >= SHORTEST_PATH:
            yield each


def _with_parts(secret: str) -> Iterator[str]:
    """Yield a secret, and what of it is one without the rest."""
    yield secret
    yield from _long([_PREFIX.sub("", secret), *secret.split("/")])


def _long(texts: Iterable[str]) -> Iterator[str]:
    return (text for text in texts if len(text) >= SHORTEST_PART)


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it may be written: as it is, in JSON, in a URL and in HTML."""
    if secret:
        yield secret
        yield json.dumps(secret)[1:-1]
        yield json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/")
        yield quote(secret)
        yield quote(secret, safe="")
        yield html.escape(secret)


def without_secrets(answer: Answer, receiver: Receiver) -> Answer:
    """Return an answer in whose excerpt neither a receiver's secrets nor its URL are left."""
    excerpt = answer.excerpt.decode(errors="surrogateescape")
    hidden = Masking(receiver, url=True).hide_cut(excerpt)
    if hidden == excerpt:
        return answer
    return replace(answer, excerpt=hidden.encode(errors="surrogateescape"))
