"""Answers of a receiver without its own secrets, which it may repeat in an error or an echo."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import quote, quote_plus, urlsplit

from pydantic import SecretStr

from streams.receivers.outcomes import Answer
from streams.receivers.receiver import Receiver
from streams.settings import HIDDEN

SHORTEST_HIDDEN = 6
"""Characters; anything shorter is found in texts that have nothing to do with it."""


def secrets_of(receiver: Receiver) -> tuple[str, ...]:
    """Return what must not be shown of a receiver, the longest first.

    These are the values of its secret settings and its URL, whole and from the path on, each also
    as JSON and URLs may write it.
    """
    found = set(_secret_values(getattr(receiver, name) for name in type(receiver).model_fields))
    parts = urlsplit(receiver.url)
    found |= {receiver.url, f"{parts.path}?{parts.query}" if parts.query else parts.path}
    spelled = {spelling for each in found for spelling in _spellings(each)}
    return tuple(
        sorted((each for each in spelled if len(each) >= SHORTEST_HIDDEN), key=len, reverse=True)
    )


def _secret_values(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, tuple | list):
            yield from _secret_values(value)


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield secret.replace("/", "\\/")
    yield quote(secret, safe="")
    yield quote_plus(secret, safe="/")


def without_secrets(answer: Answer, secrets: Iterable[str]) -> Answer:
    """Return an answer in whose excerpt none of these secrets is left, the longest given first.

    An excerpt that ends in the middle of a secret ends before it.
    """
    excerpt = answer.excerpt
    for secret in secrets:
        encoded = secret.encode()
        excerpt = excerpt.replace(encoded, HIDDEN.encode())
        for length in range(len(encoded) - 1, SHORTEST_HIDDEN - 1, -1):
            if excerpt.endswith(encoded[:length]):
                excerpt = excerpt[:-length] + HIDDEN.encode()
                break
    return answer if excerpt == answer.excerpt else replace(answer, excerpt=excerpt)
