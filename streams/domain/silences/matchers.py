r"""The labels of an alert, and what a silence asks of them, as Alertmanager does.

A matcher is written `name=value`, `name!=value`, `name=~pattern` or `name!~pattern`; what stands
after the operator may be in double quotes, with \\, \" and \n as Alertmanager has them
(https://prometheus.io/docs/alerting/latest/configuration/#matcher). A pattern has to match the
whole value. A label that an alert does not have is the empty text.
"""

import re
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import msgspec

from streams.domain.silences.patterns import Pattern, PatternError

Operator: TypeAlias = Literal["=", "!=", "=~", "!~"]

LONGEST_NAME = 200
LONGEST_VALUE = 4_096
"""Characters of a label's name, and of a value that a matcher names: no campaign id is longer."""

_WRITTEN = re.compile(
    r"\s*(?P<name>[^\s{}!=~,\\\"'`]+)\s*(?P<operator>=~|!~|!=|=)(?P<value>.*)", re.DOTALL
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class MatcherError(ValueError):
    """A matcher that is refused: says what, and what is possible."""


class Matcher(msgspec.Struct, frozen=True, array_like=True):
    """What the value of one label has to be.

    Attributes:
        name: of the label.
        operator: `=` and `!=` compare with the value, `=~` and `!~` with the pattern.
        value: a text or a pattern.
    """

    name: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        """Return the matcher as `parse` reads it."""
        escaped = self.value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        return f'{self.name}{self.operator}"{escaped}"'

    @property
    def is_negative(self) -> bool:
        """Whether it matches all values but those that it names."""
        return self.operator in {"!=", "!~"}


def parse(text: str) -> Matcher:
    """Read a matcher as people write it.

    Raises:
        MatcherError: if it is none.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise MatcherError(
            f"{text!r} is no matcher: expected a label, one of = != =~ !~ and a value, such as "
            'campaign_id="spring" or campaign_id=~"spring-.*"'
        )
    name, operator, value = found["name"], found["operator"], found["value"].strip()
    return msgspec.convert((name, operator, _unquoted(text, value)), Matcher)


def _unquoted(text: str, value: str) -> str:
    if not value.startswith('"'):
        return value
    body = value[1:-1]
    if len(value) == 1 or not value.endswith('"') or '"' in _ESCAPED.sub("", body) or _is_cut(body):
        raise MatcherError(
            f'{text!r} has a " that is not closed, or more after it: write \\" for the character'
        )
    return _ESCAPED.sub(lambda found: {"n": "\n"}.get(found[1], _kept(found[1])), body)


def _kept(char: str) -> str:
    """Return what an escaped character stands for: itself if it has to be escaped."""
    return char if char in {"\\", '"'} else f"\\{char}"


def _is_cut(body: str) -> bool:
    """Tell whether the last character of a quoted text is a backslash without a partner."""
    return _ESCAPED.sub("", body).endswith("\\")


class CompiledMatcher:
    """A matcher, ready to be applied.

    Args:
        matcher: what it does.

    Attributes:
        matches: tells whether it matches a value.
        literals: the values that it matches, if these are listed: `=`, and `=~` of `a|b|c`. Null
            otherwise.

    Raises:
        MatcherError: if its pattern is none, or its texts are too long.
    """

    def __init__(self, matcher: Matcher) -> None:
        self.name = matcher.name
        self.literals: frozenset[str] | None = None
        _check_lengths(matcher)
        value = matcher.value
        self.matches: Callable[[str], bool]
        match matcher.operator:
            case "=":
                self.literals = frozenset({value})
                self.matches = value.__eq__
            case "!=":
                self.matches = value.__ne__
            case "=~" | "!~":
                try:
                    pattern = Pattern(value)
                except PatternError as error:
                    raise MatcherError(f"the pattern {value[:200]!r} {error}") from error
                if matcher.is_negative:
                    self.matches = lambda text: not pattern.matches(text)
                else:
                    self.literals = pattern.literals
                    self.matches = pattern.matches


def _check_lengths(matcher: Matcher) -> None:
    if not 0 < len(matcher.name) <= LONGEST_NAME:
        raise MatcherError(
            f"the label's name {matcher.name[:50]!r} has {len(matcher.name)} characters: expected "
            f"1 to {LONGEST_NAME}"
        )
    if len(matcher.value) > LONGEST_VALUE:
        raise MatcherError(
            f"the value {matcher.value[:50]!r}… has {len(matcher.value)} characters: at most "
            f"{LONGEST_VALUE} are possible"
        )


def labels_of(  # noqa: PLR0913 - the labels that every alert has
    own: Mapping[str, str],
    *,
    rule: str,
    severity: str,
    campaign_id: str,
    app_id: str | None,
    treatment_id: str | None,
    channel_type: str | None,
) -> dict[str, str]:
    """Return all labels of an alert, given those of its rule; these six names mean what they do."""
    return {
        **own,
        "rule": rule,
        "severity": severity,
        "campaign_id": campaign_id,
        "app_id": app_id or "",
        "treatment_id": treatment_id or "",
        "channel_type": channel_type or "",
    }
