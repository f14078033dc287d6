"""Text without what looks like an address of a person: for values that leave the system in alerts.

It errs on the side of leaving out: a long code that has digits in it looks like a token.
"""

import re

REDACTED = "[redacted]"

_WORD = re.compile(r"\S+")
_AT = re.compile(r"[@\uff20\ufe6b]|%40|&#64;|\(at\)|\[at\]", re.IGNORECASE)
_NUMBER = re.compile(r"[+(]?\d(?:[\s.()/:_-]{0,2}\d){6,}")
"""Seven digits or more: telephone numbers, addresses of IPv4, numbers of accounts."""
_IPV6 = re.compile(r"(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,}(?![\w:])", re.IGNORECASE)
_RUN = re.compile(r"[\w+/=%~-]{12,}")
_HEXADECIMAL = re.compile(r"[0-9a-f-]+", re.IGNORECASE)
SHORTEST_TOKEN = 16
"""Characters in a row, with a digit among them, that look like a token; hexadecimal ones: 12."""
LONGEST_WORD = 40
"""Characters in a row, without a digit, that may be a word, such as the name of an exception."""


def redacted(text: str) -> str:
    """Return text with `REDACTED` in place of what looks like an address or a token.

    These are e-mail addresses, numbers of seven digits or more however they are grouped, addresses
    of IP, and long runs of hexadecimal digits, base64 and the like.
    """
    text = _IPV6.sub(REDACTED, without_emails(text))
    return _NUMBER.sub(REDACTED, _RUN.sub(_run, text))


def without_emails(text: str) -> str:
    """Return text with `REDACTED` in place of e-mail addresses: for ids, which look like tokens."""
    if _AT.search(text) is None:
        return text
    return _WORD.sub(lambda word: REDACTED if _AT.search(word[0]) else word[0], text)


def _run(found: re.Match[str]) -> str:
    run = found[0]
    has_digit = any(character.isdigit() for character in run)
    is_token = len(run) > LONGEST_WORD or (has_digit and len(run) >= SHORTEST_TOKEN)
    if is_token or (has_digit and _HEXADECIMAL.fullmatch(run)):
        return REDACTED
    return run
