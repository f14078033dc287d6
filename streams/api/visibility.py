"""What a caller may see: campaigns by patterns of their ids and of their apps.

What is out of sight does not exist for the caller: lists leave it out, and a request for it is
answered as one for what there never was.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate

import msgspec

from streams.api.problems import refuse
from streams.domain.counts import OTHER
from streams.domain.rules import Rule
from streams.domain.silences.silence import CompiledSilence

VISIBLE_HEADER = "Campaign-Streams-Visible"
"""Says what the caller may see for whom another worker asks; not there for one who may see all."""
_ALL = ("*",)

_decode = msgspec.json.Decoder(tuple[tuple[str, ...], tuple[str, ...]]).decode
_encode = msgspec.json.Encoder().encode


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)))


@dataclass(frozen=True, slots=True)
class Visibility:
    """What may be seen: campaigns whose id matches a pattern, and whose app does.

    Args:
        campaigns: shell-style patterns.
        apps: the same; what has no app has the empty text.
        is_whole: whether that is everything.
    """

    campaigns: tuple[str, ...] = _ALL
    apps: tuple[str, ...] = _ALL
    is_whole: bool = field(init=False)
    _campaign: re.Pattern[str] = field(init=False, compare=False, repr=False)
    _app: re.Pattern[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        whole = "*" in self.campaigns and "*" in self.apps
        object.__setattr__(self, "is_whole", whole)
        object.__setattr__(self, "_campaign", _any_of(self.campaigns))
        object.__setattr__(self, "_app", _any_of(self.apps))

    @property
    def needs_app(self) -> bool:
        """Whether it depends on a campaign's app."""
        return "*" not in self.apps

    def sees(self, campaign_id: str, app_id: str | None) -> bool:
        """Tell whether what is about a campaign may be seen; what is about several may not."""
        if self.is_whole:
            return True
        if campaign_id in {"", OTHER}:
            return False
        return bool(self._campaign.match(campaign_id) and self._app.match(app_id or ""))

    def sees_silence(self, silence: CompiledSilence) -> bool:
        """Tell whether all alerts that a silence can be about may be seen.

        That is so if it lists campaigns, and apps, that may be: `=`, or `=~` of `a|b|c`.
        """
        return all(
            "*" in patterns or _lists_only(silence, label, pattern)
            for label, patterns, pattern in (
                ("campaign_id", self.campaigns, self._campaign),
                ("app_id", self.apps, self._app),
            )
        )

    def patterns_of(self, rule: Rule) -> tuple[list[str], list[str]]:
        """Return the patterns of a rule that may be seen: for all, and within those of the caller.

        A rule without any of one kind is about nothing that the caller may see.
        """
        if self.is_whole:
            return list(rule.campaigns), list(rule.apps)
        return (
            [each for each in rule.campaigns if each == "*" or self._campaign.match(each)],
            [each for each in rule.apps if each == "*" or self._app.match(each)],
        )

    def header(self) -> str:
        """Return it as the value of `VISIBLE_HEADER`; empty if it is everything."""
        if self.is_whole:
            return ""
        return urlsafe_b64encode(_encode((self.campaigns, self.apps))).decode()


EVERYTHING = Visibility()


def read_header(value: str) -> Visibility:
    """Read the value of `VISIBLE_HEADER`; empty for everything.

    Raises:
        ProblemError: 400, if it is none.
    """
    if not value:
        return EVERYTHING
    try:
        return Visibility(*_decode(urlsafe_b64decode(value.encode("ascii"))))
    except (ValueError, msgspec.MsgspecError):
        refuse(f"{VISIBLE_HEADER}: expected patterns of campaigns and of apps, as workers write it")


def _lists_only(silence: CompiledSilence, label: str, pattern: re.Pattern[str]) -> bool:
    return any(
        matcher.name == label and matcher.literals and all(map(pattern.match, matcher.literals))
        for matcher in silence.matchers
    )
